"""Progress of long runs, for the log of the Dagster UI."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_SECONDS_BETWEEN = 10.0

T = TypeVar("T")


def with_progress(
    items: Sequence[T],
    log: Callable[[str], object],
    *,
    noun: str,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Yield the items, and tell every ten seconds how many are done and how long the rest takes."""
    start = told = clock()
    for done, item in enumerate(items):
        now = clock()
        if done and now - told >= _SECONDS_BETWEEN:
            left = (now - start) / done * (len(items) - done)
            log(f"{done} of {len(items)} {noun}, about {left:.0f} s left")
            told = now
        yield item
