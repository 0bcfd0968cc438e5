"""The drift scores of one window, the day, against the reference of the version that served."""

import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from llm_assets.drift.config import OF_ANSWERS, OF_CELLS, OF_TEXTS, Detector, DriftConfig
from llm_assets.drift.detectors import texts
from llm_assets.drift.detectors.calibration import Measured, Undefined
from llm_assets.drift.detectors.cells import cell_occupancy
from llm_assets.drift.detectors.domain_classifier import domain_classifier
from llm_assets.drift.detectors.mean_shift import mean_shift
from llm_assets.drift.detectors.novelty import Novelty, novelty
from llm_assets.drift.detectors.texts import TextReference
from llm_assets.drift.detectors.topic_growth import TopicGrowth, topic_growth
from llm_assets.drift.reference import Reference, Sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class DriftScore:
    """What one detector says of a window.

    `score` and everything computed with it is nan where it is undefined, and `reason` says why;
    such a window is never drifted. Only a detector that `decides` flags a window. See `Calibrated`
    for the exceedance rate and the effect size.
    """

    detector: Detector
    n: int
    num_baseline: int
    score: float = math.nan
    threshold: float = math.nan
    exceedance_rate: float = math.nan
    effect_size: float = math.nan
    interval_low: float = math.nan
    interval_high: float = math.nan
    decides: bool = False
    is_drifted: bool = False
    reason: str | None = None


class Scored(NamedTuple):
    """The scores of a window, and what tells where on the map they come from."""

    scores: list[DriftScore]
    growth: TopicGrowth | None = None
    novel: Novelty | None = None


_NO_ANSWERS = Undefined("there are no answers to compare with")

SCORE_SCHEMA = pl.Schema(
    {
        "detector": pl.String,
        "n": pl.Int64,
        "num_baseline": pl.Int64,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "exceedance_rate": pl.Float64,
        "effect_size": pl.Float64,
        "interval_low": pl.Float64,
        "interval_high": pl.Float64,
        "decides": pl.Boolean,
        "is_drifted": pl.Boolean,
        "reason": pl.String,
        "model_version": pl.String,
        "embedder": pl.String,
    }
)


def score_window(
    sample: Sample,
    reference: Reference,
    *,
    embedder: str,
    config: DriftConfig,
    rng: np.random.Generator,
    answers: TextReference | Undefined = _NO_ANSWERS,
    detectors: Collection[Detector] = tuple(Detector),
) -> Scored:
    """Score one day with each of the `detectors`, in the order of `Detector`.

    `answers` are those that the day's answers are compared with.

    Raises:
        UserError: the sample and the baseline come from different embedders.
    """
    reference.baseline.require_embedder(embedder)
    n, num_baseline = len(sample.vectors), len(reference.vectors)
    reason = undefined_reason(sample.vectors, reference.vectors, config=config)
    if reason is not None:
        scores = undefined_scores(
            reason, n=n, num_baseline=num_baseline, config=config, detectors=detectors
        )
        return Scored(scores)
    from threadpoolctl import threadpool_limits

    wanted = frozenset(detectors)
    # The products are small: threads would wait for each other, at twice the cost.
    with threadpool_limits(1):
        return _score(sample, reference, wanted, answers, config=config, rng=rng)


def _score(
    sample: Sample,
    reference: Reference,
    wanted: Collection[Detector],
    answers: TextReference | Undefined,
    *,
    config: DriftConfig,
    rng: np.random.Generator,
) -> Scored:
    n, num_baseline = len(sample.vectors), len(reference.vectors)
    found, growth, novel = _measure_vectors(sample, reference, wanted, config=config, rng=rng)
    rate = config.false_alarm_rate_each
    if not OF_TEXTS.isdisjoint(wanted):
        found |= texts.score_prompts(
            sample.prompts, reference.texts, false_alarm_rate=rate, rng=rng
        )
    sizes = dict.fromkeys(found, (n, num_baseline))
    if not OF_ANSWERS.isdisjoint(wanted):
        told = _measure_answers(sample.responses, answers, config=config, rng=rng)
        num_answers = 0 if isinstance(answers, Undefined) else len(answers.texts)
        found |= told
        sizes |= dict.fromkeys(told, (len(sample.responses), num_answers))
    scores = [
        _drift_score(detector, found[detector], *sizes[detector], config=config)
        for detector in Detector
        if detector in wanted
    ]
    return Scored(scores, growth, novel)


def _measure_vectors(
    sample: Sample,
    reference: Reference,
    wanted: Collection[Detector],
    *,
    config: DriftConfig,
    rng: np.random.Generator,
) -> tuple[dict[Detector, Measured], TopicGrowth | None, Novelty | None]:
    rate, current, baseline = config.false_alarm_rate_each, sample.vectors, reference.vectors
    growth = novel = None
    found: dict[Detector, Measured] = {}
    if Detector.MEAN_SHIFT in wanted:
        found[Detector.MEAN_SHIFT] = mean_shift(current, baseline, false_alarm_rate=rate, rng=rng)
    if Detector.NOVELTY in wanted:
        novel = novelty(current, reference.novelty, false_alarm_rate=rate, rng=rng)
        found[Detector.NOVELTY] = novel.measured
    if Detector.TOPIC_GROWTH in wanted:
        growth = topic_growth(current, baseline, false_alarm_rate=rate, rng=rng)
        found[Detector.TOPIC_GROWTH] = growth.measured
    if Detector.DOMAIN_CLASSIFIER in wanted:
        classified = domain_classifier(current, baseline, false_alarm_rate=rate, rng=rng)
        found[Detector.DOMAIN_CLASSIFIER] = classified.measured
    if not OF_CELLS.isdisjoint(wanted):
        found |= cell_occupancy(current, reference.cells, false_alarm_rate=rate, rng=rng)
    return found, growth, novel


def undefined_scores(
    reason: str,
    *,
    n: int,
    num_baseline: int,
    config: DriftConfig,
    detectors: Collection[Detector] = tuple(Detector),
) -> list[DriftScore]:
    """Return scores that say why there are none, e.g. for a day that belongs to the baseline."""
    undefined = Undefined(reason)
    return [
        _drift_score(detector, undefined, n, num_baseline, config=config)
        for detector in Detector
        if detector in detectors
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
        return (
            f"the baseline ({len(baseline)} prompts) is smaller than the window ({n}); a lower "
            "drift.max_prompts looks at fewer prompts of a day"
        )
    for name, vectors in (("window", current), ("baseline", baseline)):
        num_bad = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
        if num_bad:
            return f"{num_bad} vectors of the {name} are not finite"
        if (vectors == vectors[0]).all():
            return f"all {len(vectors)} prompts of the {name} are the same"
    return None


def score_table(scores: Sequence[DriftScore], *, model_version: str, embedder: str) -> pl.DataFrame:
    """Return scores as the rows of a partition of `drift_scores`."""
    rows = [
        {**dataclasses.asdict(score), "model_version": model_version, "embedder": embedder}
        for score in scores
    ]
    return pl.DataFrame(rows, schema=SCORE_SCHEMA)


def _measure_answers(
    responses: Sequence[str],
    answers: TextReference | Undefined,
    *,
    config: DriftConfig,
    rng: np.random.Generator,
) -> dict[Detector, Measured]:
    reason = answers.reason if isinstance(answers, Undefined) else None
    if len(responses) < config.min_prompts:
        reason = f"{len(responses)} answers, fewer than min_prompts {config.min_prompts}"
    if reason is not None or isinstance(answers, Undefined):
        return dict.fromkeys(OF_ANSWERS, Undefined(reason or ""))
    rate = config.false_alarm_rate_each
    return texts.score_responses(responses, answers, false_alarm_rate=rate, rng=rng)


def _drift_score(
    detector: Detector, measured: Measured, n: int, num_baseline: int, *, config: DriftConfig
) -> DriftScore:
    decides = detector in config.detectors
    known = {"detector": detector, "n": n, "num_baseline": num_baseline, "decides": decides}
    if isinstance(measured, Undefined):
        return DriftScore(**known, reason=measured.reason)
    return DriftScore(
        **known,
        score=measured.score,
        threshold=measured.threshold,
        exceedance_rate=measured.exceedance_rate,
        effect_size=measured.effect_size,
        interval_low=measured.interval.low,
        interval_high=measured.interval.high,
        is_drifted=decides and measured.score > measured.threshold,
    )
