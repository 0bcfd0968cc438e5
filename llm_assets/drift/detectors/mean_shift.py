"""Has the average prompt moved? The distance between the means, where wide directions count less.

This is the squared maximum mean discrepancy under a linear kernel (Gretton et al., "A kernel
two-sample test", JMLR 13, 2012) after a regularised whitening (Chen et al., "A regularized
Hotelling's T² test", JASA 106, 2011): the few directions in which prompts differ most in any case
do not drown the others. It is linear in the number of prompts. It sees a change that all prompts
share, which the other detectors see late; it is weak where a few prompts changed.
"""

import math

import numpy as np

from llm_assets.drift.detectors.calibration import Measured, Undefined, calibrate
from llm_assets.drift.detectors.whitening import Whitening
from llm_assets.intervals import Z_95, Interval

_NUM_NULL_SAMPLES = 8000
# The directions come from a part of many prompts, which tells them well enough.
_MAX_FITTED_ROWS = 5000


def mean_shift(
    current: np.ndarray,
    baseline: np.ndarray,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> Measured:
    """Compare the mean of the current vectors with the baseline's, shapes (n or m, dimensions).

    The score is the squared distance in units of the total variance, less what chance gives at
    this n: 0 on average when nothing has changed, and then negative about half of the time. The
    effect size is its root, the distance in standard deviations. The null is what permuting who is
    current gives, in its normal limit: the directions and their variances are those of both sides
    together. The interval is normal. Undefined where nearly all prompts are the same.
    """
    chance = 1 / len(current) + 1 / len(baseline)
    pooled = _drawn_in_proportion(current, baseline, rng=rng)
    if (pooled == pooled[0]).all():
        return Undefined(f"all of {len(pooled)} prompts drawn from both sides are the same")
    whitening, variances = Whitening.of(pooled)
    total = float(variances.sum())
    shift = (_mean(current) - _mean(baseline)) @ whitening
    score = float(shift @ shift) / total - chance
    half = Z_95 * _standard_error(current, baseline, whitening @ shift, variances) / total
    null = _null(variances / total, num_rows=len(pooled), rng=rng) * chance
    return calibrate(
        score,
        null,
        false_alarm_rate=false_alarm_rate,
        interval=Interval(score - half, score + half),
        effect_size=math.sqrt(max(0.0, score)),
    )


def _drawn_in_proportion(
    current: np.ndarray, baseline: np.ndarray, *, rng: np.random.Generator
) -> np.ndarray:
    """Return both sides together, of many rows so many as keep the proportion of the sides."""
    share = min(1.0, _MAX_FITTED_ROWS / (len(current) + len(baseline)))
    drawn = [
        side[rng.choice(len(side), math.ceil(len(side) * share), replace=False)]
        for side in (current, baseline)
    ]
    return np.concatenate(drawn)


def _null(shares: np.ndarray, *, num_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return squared distances of permuted means in units of their mean, less that mean.

    `shares` are those of each direction of the total variance. Permuting does not change how far
    each prompt lies from the mean, so that part of the spread is taken off; it counts where there
    are hardly more prompts than directions.
    """
    squares = np.square(rng.standard_normal((_NUM_NULL_SAMPLES, len(shares)), np.float32))
    spread = float(np.square(shares).sum())
    left = max(0.0, 1 - 1 / (num_rows * spread))
    return (squares @ shares.astype(np.float32) - 1) * math.sqrt(left)


def _standard_error(
    current: np.ndarray, baseline: np.ndarray, direction: np.ndarray, variances: np.ndarray
) -> float:
    """Return the standard error of the squared distance between the means.

    The first part is the spread along the shift, the second what is left where there is none
    (delta method to second order).
    """
    direction = direction.astype(np.float32)
    along = sum(
        float((side @ direction).var(ddof=1, dtype=np.float64)) / len(side)
        for side in (current, baseline)
    )
    chance = 1 / len(current) + 1 / len(baseline)
    return math.sqrt(4 * along + 2 * float(np.square(variances).sum()) * chance**2)


def _mean(vectors: np.ndarray) -> np.ndarray:
    return vectors.mean(axis=0, dtype=np.float64)
