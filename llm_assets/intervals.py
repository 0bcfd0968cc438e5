"""Confidence intervals for rates: every reported rate carries one, and its n."""

import math
from typing import NamedTuple

Z_95 = 1.959963984540054


class Interval(NamedTuple):
    """The two ends of an interval; both are nan where the interval is undefined."""

    low: float
    high: float


def wilson(successes: int, n: int, *, z: float = Z_95) -> Interval:
    """Return the score interval of a rate, 95 % unless `z` says otherwise; nan when n is 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    >>> low, high = wilson(84, 100)
    >>> round(low, 3), round(high, 3)
    (0.756, 0.899)
    >>> wilson(0, 0)
    Interval(low=nan, high=nan)
    """
    assert 0 <= successes <= n, f"{successes} successes of {n}"
    if n == 0:
        return Interval(math.nan, math.nan)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At 0 and n the ends are exactly the rate; rounding must not put them beyond it.
    return Interval(max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate)))


def newcombe(
    successes: int, n: int, other_successes: int, other_n: int, *, z: float = Z_95
) -> Interval:
    """Return the interval of a rate less another one, 95 % unless `z` says otherwise.

    Method 10 of Newcombe, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17 (1998). It is nan where either n is 0.

    >>> low, high = newcombe(56, 70, 48, 80)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    if not n or not other_n:
        return Interval(math.nan, math.nan)
    rate, other = successes / n, other_successes / other_n
    ends, other_ends = wilson(successes, n, z=z), wilson(other_successes, other_n, z=z)
    return Interval(
        rate - other - math.hypot(rate - ends.low, other_ends.high - other),
        rate - other + math.hypot(ends.high - rate, other - other_ends.low),
    )
