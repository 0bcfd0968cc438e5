"""How many of a day's answers are right, estimated without anybody saying so.

The model's confidence in an answer (`records.confidence_of`) is no probability that it is right,
but it can be calibrated to one on answers that users judged: this is Confidence-Based Performance
Estimation as NannyML documents it. It holds while an answer of the same confidence is right as
often as before. A world that changed unseen by the model, so that it is wrong and sure, is not
seen here either, and who never says a word is taken to judge like those who did.

Calibrated by histogram binning (Zadrozny and Elkan, "Obtaining calibrated probability estimates",
2001), because of three it was the one whose interval held where confidences had moved: 95 %
intervals covered the truth in 92 to 100 % of simulated days, those of isotonic regression, too
extreme at its ends, in 50 to 97 %. Average thresholded confidence (Garg et al., "Leveraging
unlabeled data to predict out-of-distribution performance", 2022) was up to 0.23 off.
"""

import math
from typing import NamedTuple, Self

import numpy as np

from llm_assets.drift.detectors.calibration import Undefined
from llm_assets.intervals import Z_95, Interval

MIN_VERDICTS = 50
_MAX_UNLIKE_RATE = 0.1


class Estimate(NamedTuple):
    """An estimated rate with its 95 % interval, and of how many answers it is."""

    value: float
    interval: Interval
    n: int


class Calibration(NamedTuple):
    """How often answers of some confidence were right, in bins of rising confidence.

    `confidences`, `rates`, and `counts` have one entry a bin: its mean, the share of right ones,
    and how many answers it holds. Between the means the rate is interpolated, beyond the first and
    the last it stays. `lowest` and `highest` are the ends of what was seen.
    """

    confidences: np.ndarray
    rates: np.ndarray
    counts: np.ndarray
    lowest: float
    highest: float

    @classmethod
    def of(cls, confidences: np.ndarray, is_right: np.ndarray) -> Self | Undefined:
        """Return the calibration on judged answers, two arrays of shape (m,).

        There are about as many bins as answers in a bin. Undefined where fewer than `MIN_VERDICTS`
        answers were right, or fewer were wrong.
        """
        num_right = int(np.count_nonzero(is_right))
        num_wrong = len(is_right) - num_right
        if min(num_right, num_wrong) < MIN_VERDICTS:
            return Undefined(
                f"{num_right} good and {num_wrong} bad verdicts on earlier answers with a "
                f"confidence, {MIN_VERDICTS} of each are needed"
            )
        order = np.argsort(confidences, kind="stable")
        ordered, right = confidences[order], np.asarray(is_right, float)[order]
        # Equal confidences share a bin, so the order of the rows makes no difference.
        rank = np.searchsorted(ordered, ordered)
        _, bins = np.unique(rank // math.isqrt(len(ordered)), return_inverse=True)
        counts = np.bincount(bins)
        return cls(
            confidences=np.bincount(bins, ordered) / counts,
            rates=np.bincount(bins, right) / counts,
            counts=counts,
            lowest=float(ordered[0]),
            highest=float(ordered[-1]),
        )


def estimate_accuracy(confidences: np.ndarray, calibration: Calibration) -> Estimate | Undefined:
    """Return the share of answers that are right, from their confidences alone, shape (n,).

    The interval is normal and adds up two variances: that of the bins' rates, and that of the
    rate among answers like today's. Undefined without answers, and where more than a tenth of
    them are less or more sure than any that was judged.
    """
    n = len(confidences)
    if n == 0:
        return Undefined("0 answers with a confidence")
    is_unlike = (confidences < calibration.lowest) | (confidences > calibration.highest)
    if np.mean(is_unlike) > _MAX_UNLIKE_RATE:
        return Undefined(
            f"{np.count_nonzero(is_unlike)} of {n} answers have a confidence outside "
            f"{calibration.lowest:.3f} to {calibration.highest:.3f}, where verdicts are known"
        )
    weights = _bin_weights(confidences, calibration.confidences)
    value = min(1.0, float(weights @ calibration.rates))
    # A bin whose answers were all right is not certain to: as if one more of each had been seen.
    smoothed = (calibration.rates * calibration.counts + 1) / (calibration.counts + 2)
    variance = float(weights**2 @ (smoothed * (1 - smoothed) / calibration.counts))
    today = np.interp(confidences, calibration.confidences, calibration.rates)
    half = Z_95 * math.sqrt(variance + float(np.var(today)) / n)
    return Estimate(value, Interval(max(0.0, value - half), min(1.0, value + half)), n)


def _bin_weights(confidences: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return how much each bin's rate counts in the mean of the interpolated rates."""
    place = np.interp(confidences, means, np.arange(len(means)))
    lower = np.floor(place).astype(int)
    upper_share = place - lower
    weights = np.bincount(lower, 1 - upper_share, len(means))
    weights += np.bincount(np.minimum(lower + 1, len(means) - 1), upper_share, len(means))
    return weights / len(confidences)
