"""Has the average prompt moved? The squared distance between the means, against a resampled null.

This is the squared maximum mean discrepancy of Gretton et al., "A kernel two-sample test" (JMLR
13, 2012), under the linear kernel: linear in the number of prompts, and on real queries as
powerful as the Gaussian kernel with permutations. It sees new intents in the known domain, which
novelty misses; it is weak where foreign prompts lie on all sides of the baseline.
"""

from typing import NamedTuple

import numpy as np

from llm_assets.drift.resampling import resampled_means
from llm_assets.intervals import Interval

_NUM_NULL_SAMPLES = 4000
_NUM_BOOTSTRAP_SAMPLES = 1000
# The null needs the spread of the baseline, which this many prompts give well enough.
_MAX_NULL_ROWS = 2000


class MeanShift(NamedTuple):
    """The score, the threshold for it, and its 95 % bootstrap interval.

    The score is in units of the baseline's total variance, less what chance gives at this n: 0 on
    average when nothing has changed, and then negative about half of the time.
    """

    score: float
    threshold: float
    interval: Interval


def mean_shift(
    current: np.ndarray,
    baseline: np.ndarray,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> MeanShift:
    """Compare the mean of the current vectors with the baseline's.

    The baseline must have some spread, which the caller sees to.
    """
    mean = baseline.mean(axis=0, dtype=np.float64)
    variance = _variance(baseline, mean)
    assert variance > 0
    num_current, num_baseline = len(current), len(baseline)
    expected = 1 / num_current + 1 / num_baseline
    shift = current.mean(axis=0, dtype=np.float64) - mean
    score = float(shift @ shift) / variance - expected
    null = _null(baseline, variance=variance, num_current=num_current, rng=rng)
    return MeanShift(
        score=score,
        threshold=float(np.quantile(null, 1 - false_alarm_rate, method="higher")),
        interval=_interval(current, mean, variance=variance, expected=expected, rng=rng),
    )


def _null(
    baseline: np.ndarray, *, variance: float, num_current: int, rng: np.random.Generator
) -> np.ndarray:
    """Return scores of windows that the baseline itself could have brought."""
    num_baseline = len(baseline)
    pool = baseline
    if num_baseline > _MAX_NULL_ROWS:
        pool = baseline[rng.choice(num_baseline, _MAX_NULL_ROWS, replace=False)]
    chunks = resampled_means(pool, num_draws=num_current, num_samples=_NUM_NULL_SAMPLES, rng=rng)
    squares = np.concatenate([_squared_distances(chunk, pool.mean(axis=0)) for chunk in chunks])
    # A resampled window strays from the mean of its own pool only; a real one also from the error
    # of the baseline's mean. The factor gives both, and the pool's variance its n - 1.
    factor = (1 + num_current / num_baseline) * len(pool) / (len(pool) - 1)
    return squares * factor / variance - (1 / num_current + 1 / num_baseline)


def _interval(
    current: np.ndarray,
    mean: np.ndarray,
    *,
    variance: float,
    expected: float,
    rng: np.random.Generator,
) -> Interval:
    num = len(current)
    chunks = resampled_means(current, num_draws=num, num_samples=_NUM_BOOTSTRAP_SAMPLES, rng=rng)
    squares = np.concatenate([_squared_distances(chunk, mean) for chunk in chunks])
    # Resampling adds the window's own noise a second time, so it is taken off a second time.
    noise = _variance(current, current.mean(axis=0, dtype=np.float64)) / num
    low, high = np.quantile((squares - noise) / variance - expected, [0.025, 0.975])
    return Interval(float(low), float(high))


def _variance(vectors: np.ndarray, mean: np.ndarray) -> float:
    num = len(vectors)
    squares = float(np.einsum("ij,ij->", vectors, vectors, dtype=np.float64))
    return (squares - num * float(mean @ mean)) / (num - 1)


def _squared_distances(means: np.ndarray, mean: np.ndarray) -> np.ndarray:
    difference = means - mean
    return np.einsum("ij,ij->i", difference, difference)
