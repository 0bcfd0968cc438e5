"""How unlike are two mixes of tokens, or of languages? The Jensen-Shannon divergence, in bits.

Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory
37 (1991). Two samples of one mix are never quite alike, so it is above 0 where nothing has
changed: the null says by how much.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llm_assets.drift.detectors.relabelling import sums
from llm_assets.intervals import Z_95, Interval

if TYPE_CHECKING:
    from scipy import sparse

# Ties of the null with the score must stay ties, whatever the order of summation.
DECIMALS = 12


class Divergence(NamedTuple):
    """The divergence of a day from its reference, its 95 % interval, and what chance gives.

    `null` has the shape (windows,).
    """

    score: float
    interval: Interval
    null: np.ndarray


def js_divergence(current: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the divergence in bits, 0 to 1, of mixes with the shape (categories, ...).

    >>> float(js_divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    1.0
    """
    middle = (current + reference) / 2
    bits = _entropy(middle) - (_entropy(current) + _entropy(reference)) / 2
    return np.clip(np.round(bits, DECIMALS), 0, 1)


def divergence(counts: "sparse.csr_array", labels: np.ndarray) -> Divergence:
    """Compare the day's mix with the reference's, both counted over whole texts.

    `counts` holds how often each pooled text holds each category, shape (texts, categories);
    `labels` are those of `relabelled`. Both sides must hold something.

    The interval is around the score at this n, chance's part included. Its variance is that of
    the linear part over the texts (the delta method) and, because that one vanishes where nothing
    has changed, that of the null (both terms of Hoeffding's decomposition, Annals of
    Mathematical Statistics 19, 1948).
    """
    totals = np.asarray(counts.sum(axis=0), np.float64)[:, None]
    scores = np.concatenate([_of_sums(chunk, totals - chunk) for chunk in sums(counts, labels)])
    is_current = labels[0].astype(bool)
    variance = _linear_variance(counts, is_current) + float(np.var(scores[1:]))
    score, half = float(scores[0]), Z_95 * math.sqrt(variance)
    return Divergence(
        score=score,
        interval=Interval(max(0.0, score - half), min(1.0, score + half)),
        null=scores[1:],
    )


def _of_sums(current: np.ndarray, reference: np.ndarray) -> np.ndarray:
    # A window without a single token can be dealt out: it is as far as can be, not undefined.
    with np.errstate(invalid="ignore"):
        bits = js_divergence(current / current.sum(axis=0), reference / reference.sum(axis=0))
    return np.nan_to_num(bits, nan=1.0)


def _entropy(mix: np.ndarray) -> np.ndarray:
    return -np.sum(mix * np.log2(mix, where=mix > 0, out=np.zeros_like(mix)), axis=0)


def _linear_variance(counts: "sparse.csr_array", is_current: np.ndarray) -> float:
    sides = [counts[is_current], counts[~is_current]]
    means = [np.asarray(side.mean(axis=0), np.float64) for side in sides]
    mixes = [mean / mean.sum() for mean in means]
    middle = (mixes[0] + mixes[1]) / 2
    variance = 0.0
    for side, mean, mix in zip(sides, means, mixes, strict=True):
        ratio = np.divide(mix, middle, out=np.ones_like(mix), where=mix > 0)
        slope = np.log2(ratio) / 2
        influence = (side @ slope - (mix @ slope) * side.sum(axis=1)) / mean.sum()
        variance += float(np.var(influence)) / side.shape[0]
    return variance
