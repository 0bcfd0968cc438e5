"""Did some corner of the map fill up? Small cells of like prompts, and the one that grew most.

A new intent, or a known one that is asked far more often, comes as a tight group of prompts. The
groups are found without knowing which prompts are today's, so when nothing has changed, today's
are spread over them by chance alone: the null deals them out again and again. It sees few prompts
of one kind, known or foreign; it is blind to prompts that are all unlike each other, which novelty
sees.
"""

from typing import NamedTuple

import numpy as np

from llm_assets.drift.detectors.calibration import Measured, Undefined, calibrate
from llm_assets.drift.detectors.nearest import centres_of, nearest_centres
from llm_assets.intervals import Interval, wilson

_NUM_NULL_SAMPLES = 5000
_PROMPTS_A_CELL = 10
_MAX_CELLS = 256
_MAX_FITTED_ROWS = 6000


class TopicGrowth(NamedTuple):
    """The score of the cell that grew most, and the cells.

    `centres` has the shape (cells, dimensions). `cells` holds the cell of each of today's prompts,
    `baseline_cells` that of each of the baseline's, and `growth` by how many standard deviations
    each cell holds more of today's than chance puts there.
    """

    measured: Measured
    centres: np.ndarray
    cells: np.ndarray
    baseline_cells: np.ndarray
    growth: np.ndarray


def topic_growth(
    current: np.ndarray,
    baseline: np.ndarray,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> TopicGrowth:
    """Compare how the vectors of both sides, of unit length, are spread over small cells.

    The score is the growth of the cell that grew most. The effect size is the share of today's
    prompts in that cell less the baseline's share, and the interval of the score follows from the
    Wilson interval of the first.
    """
    n, m = len(current), len(baseline)
    centres = _centres(current, baseline, rng=rng)
    cells, baseline_cells = nearest_centres(current, centres), nearest_centres(baseline, centres)
    counts = np.bincount(cells, minlength=len(centres))
    sizes = counts + np.bincount(baseline_cells, minlength=len(centres))
    growth = _growth(counts, sizes, num_current=n)
    spreads = _spread(sizes, num_current=n)
    if not spreads.any():
        alike = Undefined(f"all {n} prompts of the window and {m} of the baseline are alike")
        return TopicGrowth(alike, centres, cells, baseline_cells, growth)
    null = _growth(
        rng.multivariate_hypergeometric(sizes, n, _NUM_NULL_SAMPLES), sizes, num_current=n
    )
    largest = int(np.argmax(np.where(spreads > 0, growth, -np.inf)))
    low, high = wilson(int(counts[largest]), n)
    expected = sizes[largest] * n / (n + m)
    interval = tuple(float((end * n - expected) / spreads[largest]) for end in (low, high))
    grown = counts[largest] / n - (sizes[largest] - counts[largest]) / m
    measured = calibrate(
        float(growth[largest]),
        null.max(axis=1),
        false_alarm_rate=false_alarm_rate,
        interval=Interval(*interval),
        effect_size=float(grown),
    )
    return TopicGrowth(measured, centres, cells, baseline_cells, growth)


def _centres(current: np.ndarray, baseline: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return the centres of small cells of both sides' vectors, shape (cells, dimensions)."""
    num = len(current) + len(baseline)
    num_cells = min(_MAX_CELLS, max(2, num // _PROMPTS_A_CELL))
    drawn = rng.permutation(num)[:_MAX_FITTED_ROWS]
    is_current = drawn < len(current)
    sides = np.concatenate(
        [current[drawn[is_current]], baseline[drawn[~is_current] - len(current)]]
    )
    return centres_of(sides[rng.permutation(len(sides))], num_cells)


def _growth(counts: np.ndarray, sizes: np.ndarray, *, num_current: int) -> np.ndarray:
    """Return for each cell how far its count lies above chance, in standard deviations.

    Cells that cannot differ (empty ones) have a growth of 0.
    """
    spread = _spread(sizes, num_current=num_current)
    expected = sizes * (num_current / sizes.sum())
    return np.where(spread > 0, (counts - expected) / np.where(spread > 0, spread, 1), 0.0)


def _spread(sizes: np.ndarray, *, num_current: int) -> np.ndarray:
    """Return the standard deviations of hypergeometric counts."""
    total = sizes.sum()
    share = num_current / total
    return np.sqrt(sizes * share * (1 - share) * (total - sizes) / (total - 1))
