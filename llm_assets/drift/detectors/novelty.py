"""Do prompts come that nobody was seen to ask? Distance to the nearest prompt of the baseline.

A prompt is novel when it lies farther from its nearest neighbour in the baseline than 95 % of
held-out baseline prompts do. The score of a window is the share of novel prompts. It sees a few
foreign prompts at once; it is blind to a change in how often known things are asked.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llm_assets.drift.detectors.calibration import Calibrated, calibrate
from llm_assets.drift.detectors.nearest import nearest_distances
from llm_assets.intervals import wilson

_NOVEL_RATE = 0.05
_NUM_NULL_SAMPLES = 20_000
_MAX_CALIBRATION_ROWS = 2000
# Comparing with more of a large baseline finds hardly more, and the cost grows with it.
_MAX_NEIGHBOURS = 5000


@dataclass(frozen=True, eq=False)
class NoveltyReference:
    """The baseline's prompts that are looked at, and the distance beyond which one is novel.

    `neighbours` has the shape (rows, dimensions); `cut` is the `rank`-th largest of
    `num_held_out` distances of held-out prompts.
    """

    neighbours: np.ndarray
    cut: float
    rank: int
    num_held_out: int

    @classmethod
    def of(cls, baseline: np.ndarray, *, rng: np.random.Generator) -> "NoveltyReference":
        """Calibrate on a baseline of unit vectors, at least two of them."""
        neighbours = baseline
        if len(baseline) > _MAX_NEIGHBOURS:
            neighbours = baseline[rng.choice(len(baseline), _MAX_NEIGHBOURS, replace=False)]
        held_out = held_out_distances(neighbours, rng=rng)
        num_held_out = len(held_out)
        rank = max(1, int(_NOVEL_RATE * (num_held_out + 1)))
        cut = float(np.partition(held_out, num_held_out - rank)[num_held_out - rank])
        return cls(neighbours, cut, rank, num_held_out)

    @property
    def expected(self) -> float:
        """The share of prompts that is novel when nothing has changed."""
        return self.rank / (self.num_held_out + 1)


class Novelty(NamedTuple):
    """The share of novel prompts, and the cosine distance of each; beyond `cut` it is novel.

    The effect size is the share beyond the usual one, the interval Wilson's.
    """

    measured: Calibrated
    distances: np.ndarray
    cut: float


def novelty(
    current: np.ndarray,
    reference: NoveltyReference,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> Novelty:
    """Compare each current vector (of unit length) with its nearest one in the baseline.

    The null takes the uncertainty of the cut into account: where among the held-out distances a
    fresh one falls depends on no distribution, so the share beyond the k-th largest of m is
    Beta(k, m + 1 - k) and the count in a window binomial at that share. That is what resampling
    windows of this n from the baseline gives, without its ties.
    """
    n, rank, num_held_out = len(current), reference.rank, reference.num_held_out
    distances = nearest_distances(current, reference.neighbours)
    num_novel = int(np.count_nonzero(distances > reference.cut))
    shares = rng.beta(rank, num_held_out + 1 - rank, _NUM_NULL_SAMPLES)
    score = num_novel / n
    measured = calibrate(
        score,
        rng.binomial(n, shares) / n,
        false_alarm_rate=false_alarm_rate,
        interval=wilson(num_novel, n),
        effect_size=score - reference.expected,
    )
    return Novelty(measured, distances, reference.cut)


def held_out_distances(baseline: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return the distance of baseline prompts to their nearest other one.

    Of a large baseline a random part is taken, each still compared with all the others.
    """
    rows = np.arange(len(baseline))
    if len(baseline) > _MAX_CALIBRATION_ROWS:
        rows = np.sort(rng.choice(len(baseline), _MAX_CALIBRATION_ROWS, replace=False))
    return nearest_distances(baseline[rows], baseline, own_rows=rows)
