"""Dictionaries that hold only so much: the oldest entries make room."""

from typing import Any


def drop_oldest(entries: dict[Any, Any], capacity: int) -> int:
    """Remove the oldest entries beyond a capacity; return how many that were.

    >>> entries = {"a": 1, "b": 2, "c": 3}
    >>> drop_oldest(entries, 2), entries
    (1, {'b': 2, 'c': 3})
    """
    num_dropped = 0
    while len(entries) > capacity:
        del entries[next(iter(entries))]
        num_dropped += 1
    return num_dropped
