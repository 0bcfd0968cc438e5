"""Do prompts come that nobody was seen to ask? Distance to the nearest prompt of the baseline.

A prompt is novel when it lies farther from its nearest neighbour in the baseline than 95 % of
held-out baseline prompts do. The score of a window is the share of novel prompts. It sees a few
foreign prompts at once; it is blind to a change in how often known things are asked.
"""

from typing import NamedTuple

import numpy as np

from llm_assets.intervals import Interval, wilson

_NOVEL_RATE = 0.05
_NUM_NULL_SAMPLES = 20_000
_MAX_CALIBRATION_ROWS = 2000
_CURRENT_ROWS = 1024
_BASELINE_ROWS = 4096


class Novelty(NamedTuple):
    """The share of novel prompts, the threshold for it, and its 95 % Wilson interval.

    `expected` is the share when nothing has changed; `distances` holds one cosine distance for
    each prompt and `cut` the distance beyond which a prompt is novel.
    """

    score: float
    threshold: float
    interval: Interval
    expected: float
    distances: np.ndarray
    cut: float


def novelty(
    current: np.ndarray,
    baseline: np.ndarray,
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
    held_out = held_out_distances(baseline, rng=rng)
    num_held_out = len(held_out)
    rank = max(1, int(_NOVEL_RATE * (num_held_out + 1)))
    cut = float(np.partition(held_out, num_held_out - rank)[num_held_out - rank])
    distances = nearest_distances(current, baseline)
    num_novel = int(np.count_nonzero(distances > cut))
    shares = rng.beta(rank, num_held_out + 1 - rank, _NUM_NULL_SAMPLES)
    null = rng.binomial(len(current), shares) / len(current)
    return Novelty(
        score=num_novel / len(current),
        threshold=float(np.quantile(null, 1 - false_alarm_rate, method="higher")),
        interval=wilson(num_novel, len(current)),
        expected=rank / (num_held_out + 1),
        distances=distances,
        cut=cut,
    )


def held_out_distances(baseline: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return the distance of baseline prompts to their nearest other one.

    Of a large baseline a random part is taken, each still compared with all the others.
    """
    rows = np.arange(len(baseline))
    if len(baseline) > _MAX_CALIBRATION_ROWS:
        rows = np.sort(rng.choice(len(baseline), _MAX_CALIBRATION_ROWS, replace=False))
    return nearest_distances(baseline[rows], baseline, own_rows=rows)


def nearest_distances(
    current: np.ndarray, baseline: np.ndarray, *, own_rows: np.ndarray | None = None
) -> np.ndarray:
    """Return each current vector's cosine distance to its nearest in the baseline, exactly.

    `own_rows` says which row of the baseline each current vector is, and that one is passed over.
    Memory stays the same however many there are: the similarities are made in blocks.
    """
    nearest = np.full(len(current), -np.inf, np.float32)
    for top in range(0, len(current), _CURRENT_ROWS):
        rows = slice(top, top + _CURRENT_ROWS)
        for left in range(0, len(baseline), _BASELINE_ROWS):
            similarities = current[rows] @ baseline[left : left + _BASELINE_ROWS].T
            if own_rows is not None:
                own = own_rows[rows] - left
                inside = np.flatnonzero((own >= 0) & (own < similarities.shape[1]))
                similarities[inside, own[inside]] = -np.inf
            np.maximum(nearest[rows], similarities.max(axis=1), out=nearest[rows])
    return 1 - nearest
