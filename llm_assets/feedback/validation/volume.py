"""How many rows a day usually has, by the same weekday of the weeks before."""

import math
import statistics
from collections.abc import Mapping
from datetime import date, timedelta
from typing import NamedTuple

_WEEKS = 4
# One week says nothing of what is usual.
_MIN_WEEKS = 2
_NOISE_SIGMAS = 3


class Usual(NamedTuple):
    """The median of the weeks before and what is still usual; nan where too few weeks are known."""

    num_weeks: int
    median: float
    low: float
    high: float

    def excess(self, num_rows: int, *, is_over: bool) -> float | None:
        """Return how many rows are too many, or as a negative number too few; 0 in between.

        None where nothing is known of what is usual. A day that is not over may still grow, so it
        never has too few.
        """
        if math.isnan(self.median):
            return None
        if num_rows > self.high:
            return num_rows - self.high
        return num_rows - self.low if is_over and num_rows < self.low else 0.0


def usual_rows(day: date, num_rows: Mapping[date, int], *, tolerance: float) -> Usual:
    """Return what is usual on a day, given how many rows the published days have.

    A day between them without rows counts as 0, a day before the first one not at all. Around the
    tolerated range there is room for the noise of counting, which matters for small numbers.

    >>> weeks = {date(2026, 3, day): 100 for day in (2, 9, 16)}
    >>> usual_rows(date(2026, 3, 23), weeks, tolerance=0.5)
    Usual(num_weeks=3, median=100, low=20.0, high=230.0)
    """
    before = [day - timedelta(weeks=week) for week in range(1, _WEEKS + 1)]
    counts = [num_rows.get(d, 0) for d in before if d >= min(num_rows, default=date.max)]
    if len(counts) < _MIN_WEEKS:
        return Usual(len(counts), math.nan, math.nan, math.nan)
    median = statistics.median(counts)
    noise = _NOISE_SIGMAS * math.sqrt(median)
    low, high = median * (1 - tolerance) - noise, median / (1 - tolerance) + noise
    return Usual(len(counts), median, max(low, 0.0), high)
