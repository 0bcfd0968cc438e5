"""The evidence against a mean that one arm's numbers give, which may be looked at at any time.

A bet against a hypothetical mean is a martingale: if the mean is true, its wealth ever reaches
1 / alpha with probability alpha at most, however often someone looks and whenever they stop
(Ville's inequality). The wealth here depends on a sum and a number only, so that it can be
computed from a log in any order, and again after a restart.

The variables lie in [0, 1]; each has the same mean, whatever came before it. So count independent
draws: users, where all requests of a user get the same arm.
"""

import math
from collections.abc import Callable
from typing import Any, cast

# The width of the intervals hardly depends on it: it is least for n of some hundreds.
_CONCENTRATION = 20.0
# Jeffreys' half keeps the bet a proper one, and log-convex, for means next to 0 and 1.
_HALF = 0.5
_TOLERANCE = 1e-4
_MOST_EVIDENCE = 1e6


def log_evidence(total: Any, n: Any, mean: Any) -> Any:
    """Return the log of the wealth of a bet against `mean`, from the sum of n variables in [0, 1].

    Robbins' beta-binomial mixture: the likelihood ratio of success rates drawn from a Beta
    distribution round `mean`, against `mean`. Robbins, "Statistical methods related to the law of
    the iterated logarithm", Annals of Mathematical Statistics 41 (1970). It holds for any variables
    in [0, 1], since they are sub-Bernoulli: Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform,
    nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021).

    It is convex in `mean` and in `total`, and at most 0 where `mean` is what was observed. Numbers
    and numpy arrays work.

    >>> round(float(log_evidence(70, 100, 0.5)), 2)
    5.91
    """
    from scipy.special import betaln, xlog1py, xlogy

    first, second = _CONCENTRATION * mean + _HALF, _CONCENTRATION * (1 - mean) + _HALF
    ratio = betaln(first + total, second + n - total) - betaln(first, second)
    return ratio - xlogy(total, mean) - xlog1py(n - total, -mean)


def furthest(
    evidence: Callable[[float], float], *, inside: float, outside: float, limit: float, step: float
) -> float:
    """Return where convex `evidence` reaches `limit` between the two, or `outside` if it does not.

    `step` is a guess of how far away that is. What is returned lies a little further than the true
    value, never nearer, so that rounding costs no validity.
    """
    from scipy.optimize import brentq

    direction = 1.0 if outside > inside else -1.0
    distance, least = abs(outside - inside), evidence(inside)

    def at(away: float) -> float:
        return outside if away >= distance else inside + direction * away

    # The root of what is above the least is nearly linear in the distance, which takes few steps.
    def excess(away: float) -> float:
        above = min(max(evidence(at(away)) - least, 0.0), _MOST_EVIDENCE)
        return math.sqrt(above) - math.sqrt(limit - least)

    near = 0.0
    while near < distance:
        far = near + step
        if excess(far) > 0:
            precision = _TOLERANCE * step
            return at(cast(float, brentq(excess, near, far, xtol=precision)) + 2 * precision)
        near, step = far, 2 * step
    return outside


def standard_error(total: float, n: int) -> float:
    """Return about how far the mean may lie from what was observed, never 0."""
    mean = (total + _HALF) / (n + 1)
    return math.sqrt(mean * (1 - mean) / n)
