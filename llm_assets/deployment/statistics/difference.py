"""The difference between the means of two arms, with an interval that may be looked at any time."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from llm_assets.deployment.statistics import mixture
from llm_assets.intervals import Interval

# Log odds ratios between the arms on which is bet: a normal prior, in geometric steps. Its standard
# deviation suits a difference of ten points; half of it or twice as much costs a few samples.
_STANDARD_DEVIATION = 0.5
_SIZES = 0.01 * 1.6 ** np.arange(13)
_LOG_ODDS = np.concatenate([-_SIZES[::-1], _SIZES])
_LOG_DENSITY = np.log(np.abs(_LOG_ODDS)) - (_LOG_ODDS / _STANDARD_DEVIATION) ** 2 / 2
_LOG_WEIGHTS = _LOG_DENSITY - np.log(np.exp(_LOG_DENSITY).sum())
_PART_APART = 0.2
_NUM_POINTS = 33
_TOLERANCE = 0.01
_NEXT_TO_0 = 1e-12


def difference(
    first_total: float,
    first_n: int,
    second_total: float,
    second_n: int,
    *,
    alpha: float,
    share: float = 0.5,
) -> Interval:
    """Return an interval of the first arm's mean less the second's, of variables in [0, 1].

    With probability 1 - alpha it holds the difference at every look, for looks without end, however
    the requests were dealt out, even if that followed from what was seen. It holds each difference
    d for which there are two means, d apart, against which no bet has won 1 / alpha.

    `share` is the first arm's planned share, the same at every look: a plan that was not kept costs
    width, never validity, but to change it after a look is to look at another test. The interval is
    nan when either n is 0.

    >>> low, high = difference(330, 500, 250, 500, alpha=0.05)
    >>> round(low, 3), round(high, 3)
    (0.063, 0.255)
    """
    assert 0 <= first_total <= first_n, f"a sum of {first_total} of {first_n} in [0, 1]"
    assert 0 <= second_total <= second_n, f"a sum of {second_total} of {second_n} in [0, 1]"
    if not first_n or not second_n:
        return Interval(math.nan, math.nan)

    first_observed, second_observed = first_total / first_n, second_total / second_n
    step = math.hypot(
        mixture.standard_error(first_total, first_n),
        mixture.standard_error(second_total, second_n),
    )

    @functools.cache
    def evidence(apart: float) -> float:
        return _least(
            lambda means: log_evidence(
                first_total, first_n, second_total, second_n, means + apart, means, share=share
            ),
            low=max(0.0, -apart),
            high=min(1.0, 1.0 - apart),
            likely_low=min(second_observed, first_observed - apart) - step,
            likely_high=max(second_observed, first_observed - apart) + step,
        )

    def end(outside: float) -> float:
        return mixture.furthest(
            evidence,
            inside=first_observed - second_observed,
            outside=outside,
            limit=-math.log(alpha),
            step=4 * step,
        )

    return Interval(end(-1.0), end(1.0))


def log_evidence(
    first_total: Any,
    first_n: Any,
    second_total: Any,
    second_n: Any,
    first_mean: Any,
    second_mean: Any,
    *,
    share: float,
) -> Any:
    """Return the log of the wealth of bets against two means at once; numbers and arrays work.

    One part of the stake bets on the first arm alone and what comes of it on the second: the
    product of two martingales of `mixture`. The larger part bets that the arms differ, as Turner,
    Ly, Grünwald, "Generic e-variables for exact sequential k-sample tests that allow for optional
    stopping", Journal of Statistical Planning and Inference 230 (2024), do block by block: it
    raises the odds of one arm and lowers those of the other by their shares, so that no stake is
    lost on what both have in common. With the product alone, a fifth more samples are needed at
    equal shares and half as many more at 5 % against 95 %.

    Each bet is an exponential supermartingale of Howard and others (2021), log-convex in the means.
    """
    first_mean = np.clip(first_mean, _NEXT_TO_0, 1 - _NEXT_TO_0)
    second_mean = np.clip(second_mean, _NEXT_TO_0, 1 - _NEXT_TO_0)
    each = _LOG_WEIGHTS + _tilted(first_total, first_n, first_mean, (1 - share) * _LOG_ODDS)
    each = each + _tilted(second_total, second_n, second_mean, -share * _LOG_ODDS)
    largest = each.max(axis=-1)
    together = largest + np.log(np.exp(each - largest[..., None]).sum(axis=-1))
    apart = mixture.log_evidence(first_total, first_n, first_mean)
    apart = apart + mixture.log_evidence(second_total, second_n, second_mean)
    return np.logaddexp(math.log(1 - _PART_APART) + together, math.log(_PART_APART) + apart)


def _tilted(total: Any, n: Any, mean: Any, shifts: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratios of odds shifted by each of `shifts`, on a last axis."""
    total, n, mean = (np.asarray(value)[..., None] for value in (total, n, mean))
    return total * shifts - n * np.log1p(mean * np.expm1(shifts))


def _least(
    function: Callable[[np.ndarray], np.ndarray],
    *,
    low: float,
    high: float,
    likely_low: float,
    likely_high: float,
) -> float:
    """Return a bound below the least value of a convex function, nearly the value itself."""
    start, stop = max(low, likely_low), min(high, likely_high)
    while True:
        points = np.linspace(start, stop, _NUM_POINTS)
        values = function(points)
        best = int(values.argmin())
        if (best == 0 and low < start == likely_low) or (
            best == _NUM_POINTS - 1 and high > stop == likely_high
        ):
            start, stop = low, high
            continue
        # By convexity the function sinks between points no deeper than it rises beside them.
        rise = float(values[max(best - 2, 0) : best + 3].max() - values[best])
        if rise <= _TOLERANCE:
            return float(values[best]) - rise
        start, stop = points[max(best - 1, 0)], points[min(best + 1, _NUM_POINTS - 1)]
