"""The interval of a rate that is probably near 0 or 1, such as that of failures."""

import math
from collections.abc import Callable

from llm_assets.intervals import Interval

_STEPS = 60


def rate_sequence(total: float, n: int, *, alpha: float) -> Interval:
    """Return an interval of the mean of variables in [0, 1] that holds at every look.

    The mixture is over all rates, with Jeffreys' Beta(½, ½), instead of those near the one that is
    bet against: Krichevsky and Trofimov's code (1981) as a bet, in Orabona, Jun, "Tight
    concentrations and confidence sequences from the regret of universal portfolio", IEEE
    Transactions on Information Theory 70 (2024). Next to 0 and 1 it is narrower than
    `mean.confidence_sequence` while n is below about 200, else a little wider. nan when n is 0.

    >>> low, high = rate_sequence(0, 100, alpha=0.01)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.072)
    """
    assert 0 <= total <= n, f"a sum of {total} of {n} in [0, 1]"
    if not n:
        return Interval(math.nan, math.nan)
    mean = total / n
    limit = _log_beta(total + 0.5, n - total + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)

    def holds(rate: float) -> bool:
        likelihood = _times_log(total, rate) + _times_log(n - total, 1 - rate)
        return likelihood > limit

    return Interval(_end(holds, mean, 0.0), _end(holds, mean, 1.0))


def _end(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where a rate ceases to hold, seen from the observed one; never too near to it."""
    if holds(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return outside


def _times_log(times: float, value: float) -> float:
    if times <= 0:
        return 0.0
    return times * math.log(value) if value > 0 else -math.inf


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)
