"""Which days of logs have to be worked through again, decided from their sizes alone.

A day is due when it holds more than was last worked through and either nothing has arrived since
the last look, so the burst is over, or it has waited for `max_looks` looks.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import NamedTuple

from pydantic import TypeAdapter


class Seen(NamedTuple):
    """What is known of one day's log: sizes in bytes, and how often it was found not to be due."""

    size: int
    processed: int = 0
    num_looks: int = 0


class DateRange(NamedTuple):
    """Days from first to last, both included."""

    first: date
    last: date


Cursor = dict[str, Seen]
_LONGEST_GAP = timedelta(days=31)
_CURSOR = TypeAdapter(Cursor)


def read_cursor(text: str | None) -> Cursor:
    """Return the cursor that was written; an empty one at the start."""
    return _CURSOR.validate_json(text) if text else {}


def write_cursor(cursor: Cursor) -> str:
    """Return the cursor as text."""
    return _CURSOR.dump_json(cursor).decode()


def look(
    cursor: Mapping[str, Seen], sizes: Mapping[str, int], *, max_looks: int = 30
) -> tuple[list[str], Cursor]:
    """Return the keys that are due now, and the cursor for the next look.

    >>> due, cursor = look({}, {"2026-03-01": 10})
    >>> due
    []
    >>> due, cursor = look(cursor, {"2026-03-01": 10})
    >>> due
    ['2026-03-01']
    >>> look(cursor, {"2026-03-01": 10})[0]
    []
    """
    due: list[str] = []
    after: Cursor = {}
    for key, size in sizes.items():
        seen = cursor.get(key, Seen(size=-1))
        is_quiet = size == seen.size
        if size == seen.processed:
            after[key] = Seen(size=size, processed=size)
        elif is_quiet or seen.num_looks >= max_looks:
            due.append(key)
            after[key] = Seen(size=size, processed=size)
        else:
            after[key] = Seen(size=size, processed=seen.processed, num_looks=seen.num_looks + 1)
    return due, after


def days_to_process(
    interaction_days: list[date], feedback_days: list[date], *, late_feedback_days: int
) -> list[DateRange]:
    """Return the days that new records of those days change, in as few ranges as are worth it.

    New feedback changes the quality of the days before it, as far back as late feedback counts.
    A range costs seconds to start and a day without news next to nothing, so a short gap is
    worked through as well, and a long one, before logs of other years, is not.
    """
    spans = [(day, day) for day in interaction_days]
    spans += [(day - timedelta(days=late_feedback_days), day) for day in feedback_days]
    ranges: list[DateRange] = []
    for first, last in sorted(spans):
        if ranges and first - ranges[-1].last <= _LONGEST_GAP:
            ranges[-1] = DateRange(ranges[-1].first, max(ranges[-1].last, last))
        else:
            ranges.append(DateRange(first, last))
    return ranges
