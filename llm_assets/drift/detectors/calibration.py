"""A score beside what unchanged traffic would have scored: what every detector returns."""

import math
from typing import NamedTuple

import numpy as np

from llm_assets.intervals import Interval


class Calibrated(NamedTuple):
    """A score, the threshold for it, and its 95 % interval.

    `exceedance_rate` is how often a window of unchanged traffic would score at least as high: the
    score is over the threshold of every false-alarm rate above it. `effect_size` is for people and
    in units of its own, which the detector names.
    """

    score: float
    threshold: float
    exceedance_rate: float
    interval: Interval
    effect_size: float


class Undefined(NamedTuple):
    """What a detector says where its score means nothing, and why."""

    reason: str


Measured = Calibrated | Undefined


def calibrate(
    score: float,
    null: np.ndarray,
    *,
    false_alarm_rate: float,
    interval: Interval,
    effect_size: float,
) -> Calibrated:
    """Hold a score against scores of windows in which nothing has changed, shape (samples,).

    The window itself counts as one of them, so the exceedance rate is never 0 (Phipson and Smyth,
    "Permutation p-values should never be zero", 2010). A score is over the threshold exactly when
    its exceedance rate is at most the false-alarm rate; the threshold is infinite where so few
    samples cannot tell such a rate.
    """
    num_higher = int(np.count_nonzero(null >= score))
    num_allowed = int(false_alarm_rate * (1 + len(null)))
    place = len(null) - num_allowed
    return Calibrated(
        score=score,
        threshold=float(np.partition(null, place)[place]) if num_allowed else math.inf,
        exceedance_rate=(1 + num_higher) / (1 + len(null)),
        interval=interval,
        effect_size=effect_size,
    )
