"""Can today's prompts be told from the baseline's? A classifier tries, and says which ones moved.

The classifier two-sample test: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests" (ICLR
2017); as a detector of drift: Rabanser et al., "Failing loudly" (NeurIPS 2019). The classifier is
a regularised linear discriminant, which has a closed form, so fitting it again for hundreds of
shuffled labels costs little. Its ranks make it blinder than the mean shift where a few prompts
moved far; what it adds is a measure that needs no explaining and a score for each prompt.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llm_assets.drift.detectors.calibration import Measured, Undefined, calibrate
from llm_assets.drift.detectors.whitening import Whitening
from llm_assets.intervals import Z_95, Interval, wilson

_MAX_ROWS = 2000
_NUM_FOLDS = 5
_NUM_PERMUTATIONS = 400
_NUM_NULL_QUANTILES = 20_000


class DomainClassifier(NamedTuple):
    """How well the two sides are told apart, and how typical of today each prompt is.

    The measured score is the AUC: the chance that a prompt of today scores higher than one of the
    baseline, 0.5 when nothing has changed. The effect size is 2 AUC - 1, or 0 where that is
    negative: about that share of today's prompts, or more, is unlike the baseline's. `scores`,
    shape (n,), are out of fold; 0 is an average prompt of both sides, more is typical of today.
    """

    measured: Measured
    scores: np.ndarray


class _Fold(NamedTuple):
    """Rows that are held out together, in random order.

    `vectors` has the shape (rows, dimensions) and `labels` (1 + permutations, rows): which rows
    are today's, truly in the first line and by chance in the others.
    """

    vectors: np.ndarray
    labels: np.ndarray


def domain_classifier(
    current: np.ndarray,
    baseline: np.ndarray,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> DomainClassifier:
    """Tell the vectors of a window, shape (n, dimensions), from the baseline's by cross-validation.

    Each side needs two rows; the caller sees to it. Of each side at most 2,000 rows are drawn;
    further prompts of a larger window are scored by the mean of the folds' classifiers. The AUC is
    the mean over the folds; undefined, with scores of nan, where all drawn prompts are the same.

    The null shuffles the labels within the folds and fits again. Its quantiles are those of a
    normal distribution with the permutations' moments (Student's, for they are estimated). The
    interval is DeLong's (DeLong et al., Biometrics 44, 1988) with ranks within folds (LeDell et
    al., Electronic Journal of Statistics 9, 2015): it takes the classifiers as given.
    """
    drawn, drawn_baseline = (rng.permutation(len(side))[:_MAX_ROWS] for side in (current, baseline))
    vectors = np.concatenate([current[drawn], baseline[drawn_baseline]])
    if (vectors == vectors[0]).all():
        undefined = Undefined(f"all of {len(vectors)} prompts drawn from both sides are the same")
        return DomainClassifier(undefined, np.full(len(current), np.nan, np.float32))
    middle = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    # Which rows are today's plays no part in it, so permutations need not repeat it.
    whitening = Whitening.of(vectors).matrix.astype(np.float32)
    whitened = (vectors - middle) @ whitening
    is_current = np.arange(len(vectors)) < len(drawn)
    held_out = _held_out(len(drawn), len(drawn_baseline), rng=rng)
    folds = [_Fold(whitened[rows], _labels(is_current[rows], rng=rng)) for rows in held_out]
    directions = _directions(folds)
    aucs = np.mean([_auc(fold, fits) for fold, fits in zip(folds, directions, strict=True)], axis=0)
    auc = float(aucs[0])
    scores = (current - middle) @ (whitening @ directions[:, 0].mean(axis=0))
    for rows, fold, fits in zip(held_out, folds, directions, strict=True):
        ours = is_current[rows]
        scores[drawn[rows[ours]]] = fold.vectors[ours] @ fits[0]
    return DomainClassifier(
        measured=calibrate(
            auc,
            _null(aucs[1:]),
            false_alarm_rate=false_alarm_rate,
            interval=_interval(auc, folds, directions[:, 0]),
            effect_size=max(0.0, 2 * auc - 1),
        ),
        scores=scores,
    )


def _held_out(num_current: int, num_baseline: int, *, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of each fold, which has its part of both sides; today's come first of all.

    The order within a fold is random, so that equal scores are ranked by chance.
    """
    assert min(num_current, num_baseline) >= 2
    num_folds = min(_NUM_FOLDS, num_current, num_baseline)
    fold_of = np.concatenate([np.arange(num) % num_folds for num in (num_current, num_baseline)])
    return [rng.permutation(np.flatnonzero(fold_of == fold)) for fold in range(num_folds)]


def _labels(is_current: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    labels = np.tile(is_current.astype(np.float32), (1 + _NUM_PERMUTATIONS, 1))
    rng.permuted(labels[1:], axis=1, out=labels[1:])
    return labels


def _directions(folds: Sequence[_Fold]) -> np.ndarray:
    """Return the difference of the means of all other folds' rows, by fold and labels.

    The shape is (folds, 1 + permutations, dimensions).
    """
    sums = np.stack([fold.labels @ fold.vectors for fold in folds])
    totals = np.stack([fold.vectors.sum(axis=0) for fold in folds])
    counts = np.array([fold.labels[0].sum() for fold in folds])
    sizes = np.array([len(fold.vectors) for fold in folds])
    ours = sums.sum(axis=0) - sums
    theirs = (totals.sum(axis=0) - totals)[:, None] - ours
    num_ours = counts.sum() - counts
    num_theirs = sizes.sum() - sizes - num_ours
    return ours / num_ours[:, None, None] - theirs / num_theirs[:, None, None]


def _auc(fold: _Fold, directions: np.ndarray) -> np.ndarray:
    """Return the AUC under each line of labels, by the rank sum of Mann and Whitney."""
    order = np.argsort(directions @ fold.vectors.T, axis=1)
    labels = np.take_along_axis(fold.labels, order, axis=1)
    num = labels.shape[1]
    num_ours = float(labels[0].sum())
    rank_sums = labels @ np.arange(1, num + 1, dtype=np.float64)
    return (rank_sums - num_ours * (num_ours + 1) / 2) / (num_ours * (num - num_ours))


def _null(aucs: np.ndarray) -> np.ndarray:
    """Return evenly spaced quantiles of what the AUC of one more permutation would be."""
    from scipy import stats

    num = len(aucs)
    at = (np.arange(_NUM_NULL_QUANTILES) + 0.5) / _NUM_NULL_QUANTILES
    spread = float(aucs.std(ddof=1)) * np.sqrt(1 + 1 / num)
    return float(aucs.mean()) + spread * stats.t.ppf(at, num - 1)


def _interval(auc: float, folds: Sequence[_Fold], directions: np.ndarray) -> Interval:
    above: list[np.ndarray] = []
    below: list[np.ndarray] = []
    for fold, direction in zip(folds, directions, strict=True):
        scores = fold.vectors @ direction
        ours, theirs = (np.sort(scores[fold.labels[0] == label]) for label in (1, 0))
        above.append(np.searchsorted(theirs, ours) / len(theirs))
        below.append(np.searchsorted(ours, theirs) / len(ours))
    sides = [np.concatenate(above), np.concatenate(below)]
    half = Z_95 * float(np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides)))
    if half == 0:
        # Told apart without a mistake, the sides leave no spread to learn from.
        num = min(map(len, sides))
        return wilson(round(auc * num), num)
    return Interval(max(0.0, auc - half), min(1.0, auc + half))
