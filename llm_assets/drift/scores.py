"""The drift scores of one window, the day, against the baseline of the version that served."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from llm_assets.drift.baseline import Baseline
from llm_assets.drift.config import DriftConfig
from llm_assets.drift.mean_shift import mean_shift
from llm_assets.drift.novelty import nearest_distances, novelty

DETECTORS = ("mean_shift", "novelty")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DriftScore:
    """What one detector says of a window.

    `score` and everything computed with it is nan where it is undefined, and `reason` says why;
    such a window is never drifted. `effect_size` is for people: how many standard deviations of
    the baseline its mean moved, or by how much the share of novel prompts exceeds the usual one.
    """

    detector: str
    n: int
    num_baseline: int
    score: float = math.nan
    threshold: float = math.nan
    effect_size: float = math.nan
    interval_low: float = math.nan
    interval_high: float = math.nan
    is_drifted: bool = False
    reason: str | None = None


class NovelPrompt(NamedTuple):
    """A prompt and its cosine distance to the nearest prompt of the baseline."""

    prompt: str
    distance: float


SCORE_SCHEMA = pl.Schema(
    {
        "detector": pl.String,
        "n": pl.Int64,
        "num_baseline": pl.Int64,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "effect_size": pl.Float64,
        "interval_low": pl.Float64,
        "interval_high": pl.Float64,
        "is_drifted": pl.Boolean,
        "reason": pl.String,
        "model_version": pl.String,
    }
)


def score_window(
    current: np.ndarray,
    baseline: Baseline,
    *,
    embedder: str,
    config: DriftConfig,
    rng: np.random.Generator,
) -> list[DriftScore]:
    """Score the vectors of one day with every detector.

    Each detector gets an equal part of the configured rate of false alarms.

    Raises:
        UserError: `current` and the baseline come from different embedders.
    """
    baseline.require_embedder(embedder)
    reason = undefined_reason(current, baseline.vectors, config=config)
    if reason is not None:
        return undefined_scores(reason, n=len(current), num_baseline=len(baseline.vectors))
    rate = config.false_alarm_rate / len(DETECTORS)
    shift = mean_shift(current, baseline.vectors, false_alarm_rate=rate, rng=rng)
    novel = novelty(current, baseline.vectors, false_alarm_rate=rate, rng=rng)
    n, num_baseline = len(current), len(baseline.vectors)
    return [
        DriftScore(
            detector="mean_shift",
            score=shift.score,
            threshold=shift.threshold,
            effect_size=math.sqrt(max(0.0, shift.score)),
            interval_low=shift.interval.low,
            interval_high=shift.interval.high,
            is_drifted=shift.score > shift.threshold,
            n=n,
            num_baseline=num_baseline,
        ),
        DriftScore(
            detector="novelty",
            score=novel.score,
            threshold=novel.threshold,
            effect_size=novel.score - novel.expected,
            interval_low=novel.interval.low,
            interval_high=novel.interval.high,
            is_drifted=novel.score > novel.threshold,
            n=n,
            num_baseline=num_baseline,
        ),
    ]


def undefined_scores(reason: str, *, n: int, num_baseline: int) -> list[DriftScore]:
    """Return scores that say why there are none, e.g. for a day that belongs to the baseline."""
    return [
        DriftScore(detector=detector, n=n, num_baseline=num_baseline, reason=reason)
        for detector in DETECTORS
    ]


def undefined_reason(
    current: np.ndarray, baseline: np.ndarray, *, config: DriftConfig
) -> str | None:
    """Return why a window cannot be scored, or None where it can."""
    n = len(current)
    if n == 0:
        return "no prompts on this day"
    if n < config.min_prompts:
        return f"{n} prompts, fewer than min_prompts {config.min_prompts}"
    if len(baseline) < n:
        return f"the baseline ({len(baseline)} prompts) is smaller than the window ({n})"
    for name, vectors in (("window", current), ("baseline", baseline)):
        num_bad = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
        if num_bad:
            return f"{num_bad} vectors of the {name} are not finite"
        if (vectors == vectors[0]).all():
            return f"all {len(vectors)} prompts of the {name} are the same"
    return None


def score_table(scores: Sequence[DriftScore], *, model_version: str) -> pl.DataFrame:
    """Return scores as the rows of a partition of `drift_scores`."""
    rows = [{**dataclasses.asdict(score), "model_version": model_version} for score in scores]
    return pl.DataFrame(rows, schema=SCORE_SCHEMA)


def most_novel(
    prompts: Sequence[str], vectors: np.ndarray, baseline: Baseline, *, num_prompts: int = 5
) -> list[NovelPrompt]:
    """Return the distinct prompts that are farthest from the baseline, the farthest first."""
    if not len(prompts):
        return []
    distances = nearest_distances(vectors, baseline.vectors)
    farthest: dict[str, float] = {}
    for row in np.argsort(-distances, kind="stable"):
        farthest.setdefault(prompts[int(row)], float(distances[row]))
        if len(farthest) == num_prompts:
            break
    return [NovelPrompt(prompt, distance) for prompt, distance in farthest.items()]
