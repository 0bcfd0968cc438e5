"""Are the parts of the map asked as often as before? The population stability index and others.

The map is cut into a fixed set of cells once, so the scores of many days and months are of one
measure, and one that people know. They see a mix of known things that changed; prompts of a kind
that the baseline lacks fall into whichever cell is nearest, where novelty and topic growth see
them earlier.
"""

import math
from dataclasses import dataclass

import numpy as np

from llm_assets.drift.config import Detector
from llm_assets.drift.detectors.calibration import Calibrated, Measured, Undefined, calibrate
from llm_assets.drift.detectors.js_divergence import DECIMALS, js_divergence
from llm_assets.drift.detectors.nearest import centres_of, nearest_centres
from llm_assets.intervals import Interval

_MAX_CELLS = 64
_MAX_FITTED_ROWS = 5000
_NUM_NULL_SAMPLES = 5000
_NUM_BOOTSTRAP_SAMPLES = 1000
# Added to each count: the index is infinite where a cell is empty on one side (Jeffreys' prior).
_SMOOTHING = 0.5


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of like prompts, and how many of the baseline's prompts lie in each.

    `centres` has the shape (cells, dimensions) and a prompt is of the cell whose centre is
    nearest; `counts`, shape (cells,), are of prompts that the centres were not fitted on.
    """

    centres: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, baseline: np.ndarray, *, rng: np.random.Generator) -> "Cells":
        """Find cells on one half of a baseline, at least two rows, and count the other half.

        Prompts that centres were fitted on lie nearer to them than fresh ones, so their counts
        would not be what an unchanged day brings. The number of cells is about the root of the
        number of rows, so finer cells come with more prompts in each.
        """
        assert len(baseline) >= 2
        rows = rng.permutation(len(baseline))
        fitted, counted = np.array_split(rows, 2)
        num_cells = min(_MAX_CELLS, max(2, math.isqrt(len(baseline))), len(fitted))
        centres = centres_of(baseline[fitted[:_MAX_FITTED_ROWS]], num_cells)
        cells = nearest_centres(baseline[counted], centres)
        return cls(centres, np.bincount(cells, minlength=num_cells))


def cell_occupancy(
    current: np.ndarray,
    cells: Cells,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> dict[Detector, Measured]:
    """Compare how the vectors of a window, shape (n, dimensions), and the baseline fill the cells.

    The index is that of `population_stability_index`, the divergence in bits, 0 to 1. Neither is 0
    where nothing has changed, because both sides are finite; the effect size is the score less
    what chance gives.

    The null deals the prompts of both sides out again (multivariate hypergeometric), which is
    exact at every n and for a finite baseline. The interval is around the score at this n, chance's
    part included: resampled counts of both sides, whose mean is put on the score because
    resampling adds chance a second time. Undefined where all prompts lie in one cell.
    """
    counts = np.bincount(nearest_centres(current, cells.centres), minlength=len(cells.counts))
    pooled = counts + cells.counts
    n, m = int(counts.sum()), int(cells.counts.sum())
    if np.count_nonzero(pooled) < 2:
        reason = f"all {n} prompts of the window and {m} of the baseline lie in one cell"
        undefined = Undefined(reason)
        return {Detector.CELL_PSI: undefined, Detector.CELL_JS: undefined}
    dealt = rng.multivariate_hypergeometric(pooled, n, _NUM_NULL_SAMPLES, method="marginals")
    resampled, resampled_baseline = (
        rng.multinomial(num, side / num, _NUM_BOOTSTRAP_SAMPLES)
        for num, side in ((n, counts), (m, cells.counts))
    )
    found: dict[Detector, Measured] = {}
    for detector, score_of in (
        (Detector.CELL_PSI, population_stability_index),
        (Detector.CELL_JS, _js_divergence),
    ):
        found[detector] = _measured(
            float(score_of(counts, cells.counts)),
            null=score_of(dealt, pooled - dealt),
            resampled=score_of(resampled, resampled_baseline),
            most=1.0 if detector is Detector.CELL_JS else math.inf,
            false_alarm_rate=false_alarm_rate,
        )
    return found


def population_stability_index(current: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Return the symmetric Kullback-Leibler divergence, in nats, of counts (..., cells).

    Half a prompt is added to each count. By custom 0.1 is little and 0.25 much (Yurdakul and
    Naranjo, "Statistical properties of the population stability index", Journal of Risk Model
    Validation 14, 2020), but chance alone gives about (cells - 1) (1 / n + 1 / m), as shown there.

    >>> float(population_stability_index(np.array([30, 10]), np.array([60, 20])).round(4))
    0.0
    >>> float(population_stability_index(np.array([20, 20]), np.array([60, 20])).round(2))
    0.27
    """
    shares, baseline_shares = (
        (counts + _SMOOTHING) / (counts + _SMOOTHING).sum(axis=-1, keepdims=True)
        for counts in (current, baseline)
    )
    terms = (shares - baseline_shares) * np.log(shares / baseline_shares)
    # Ties of the null with the score must stay ties, whatever the order of summation.
    return np.round(terms.sum(axis=-1), DECIMALS)


def _js_divergence(current: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    shares = (counts / counts.sum(axis=-1, keepdims=True) for counts in (current, baseline))
    return js_divergence(*(np.moveaxis(share, -1, 0) for share in shares))


def _measured(
    score: float,
    *,
    null: np.ndarray,
    resampled: np.ndarray,
    most: float,
    false_alarm_rate: float,
) -> Calibrated:
    low, high = np.quantile(resampled - resampled.mean(), [0.025, 0.975]) + score
    return calibrate(
        score,
        null,
        false_alarm_rate=false_alarm_rate,
        interval=Interval(max(0.0, min(float(low), score)), min(most, max(float(high), score))),
        effect_size=score - float(null.mean()),
    )
