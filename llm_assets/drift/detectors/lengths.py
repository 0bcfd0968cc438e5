"""Did texts grow longer or shorter? The mean of the logarithm of their length."""

import math
from collections.abc import Sequence

import numpy as np

from llm_assets.drift.detectors.calibration import Measured, Undefined, calibrate
from llm_assets.drift.detectors.js_divergence import DECIMALS
from llm_assets.drift.detectors.relabelling import sums
from llm_assets.intervals import Z_95, Interval


def log_lengths(texts: Sequence[str]) -> np.ndarray:
    """Return ln(1 + characters) of each text: a few huge ones must not make the mean."""
    return np.log1p(np.fromiter(map(len, texts), np.float64, len(texts)))


def length_shift(
    current: np.ndarray, reference: np.ndarray, labels: np.ndarray, *, false_alarm_rate: float
) -> Measured:
    """Compare the means of log lengths, in standard deviations of the reference.

    The score has no sign, because both directions matter; the effect size has (Glass's delta,
    "Primary, Secondary, and Meta-Analysis of Research", Educational Researcher 5, 1976): above 0
    the texts are longer. The interval is Welch's, of the score.
    """
    for name, side in (("window", current), ("reference", reference)):
        if np.ptp(side) == 0:
            return Undefined(f"all {len(side)} texts of the {name} are of the same length")
    deviation = float(np.std(reference, ddof=1))
    pooled = np.concatenate([current, reference])
    # Around the mean, so that the sums of a large pool keep their digits.
    centred = (pooled - pooled.mean())[:, None]
    of_current = np.concatenate([chunk[0] for chunk in sums(centred, labels)])
    shifts = of_current * (1 / len(current) + 1 / len(reference)) / deviation
    shift = float(shifts[0])
    variance = np.var(current, ddof=1) / len(current) + deviation**2 / len(reference)
    half = Z_95 * math.sqrt(variance) / deviation
    magnitudes = np.round(np.abs(shifts), DECIMALS)
    return calibrate(
        float(magnitudes[0]),
        magnitudes[1:],
        false_alarm_rate=false_alarm_rate,
        interval=_of_magnitude(shift - half, shift + half),
        effect_size=shift,
    )


def _of_magnitude(low: float, high: float) -> Interval:
    if low <= 0 <= high:
        return Interval(0.0, max(-low, high))
    return Interval(min(abs(low), abs(high)), max(abs(low), abs(high)))
