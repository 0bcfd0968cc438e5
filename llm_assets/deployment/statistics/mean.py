"""The mean of one arm, with an interval that may be looked at at any time."""

import functools
import math

from llm_assets.deployment.statistics.mixture import furthest, log_evidence, standard_error
from llm_assets.intervals import Interval


def confidence_sequence(total: float, n: int, *, alpha: float) -> Interval:
    """Return an interval of the mean of variables in [0, 1], from their sum and number.

    With probability 1 - alpha it holds the mean at every look, for looks without end: it is made of
    the means against which the bet of `mixture.log_evidence` has not won 1 / alpha. It is nan when
    n is 0.

    >>> low, high = confidence_sequence(84, 100, alpha=0.05)
    >>> round(low, 3), round(high, 3)
    (0.707, 0.928)
    >>> confidence_sequence(0, 0, alpha=0.05)
    Interval(low=nan, high=nan)
    """
    assert 0 <= total <= n, f"a sum of {total} of {n} variables in [0, 1]"
    if n == 0:
        return Interval(math.nan, math.nan)

    @functools.cache
    def evidence(mean: float) -> float:
        return float(log_evidence(total, n, mean))

    def end(outside: float) -> float:
        return furthest(
            evidence,
            inside=total / n,
            outside=outside,
            limit=-math.log(alpha),
            step=4 * standard_error(total, n),
        )

    return Interval(end(0.0), end(1.0))
