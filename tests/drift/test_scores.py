import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.config import Detector, DriftConfig
from llm_assets.drift.detectors.calibration import Undefined, calibrate
from llm_assets.drift.detectors.texts import TextReference
from llm_assets.drift.reference import Reference, Sample
from llm_assets.drift.scores import (
    SCORE_SCHEMA,
    DriftScore,
    Scored,
    score_table,
    score_window,
    undefined_scores,
)
from llm_assets.errors import UserError
from llm_assets.intervals import Interval
from tests.drift.vectors import a_baseline, topic

CONFIG = DriftConfig(min_prompts=20)
OF_ANSWERS = {Detector.RESPONSE_TOKEN_JS, Detector.RESPONSE_LENGTH, Detector.REFUSAL_RATE}


def texts(num: int, *, word: str = "invoice") -> list[str]:
    return [f"where is the {word} number {row} {'please ' * (row % 5)}" for row in range(num)]


def vectors(num: int, centre: int = 0) -> np.ndarray:
    return topic(num, centre=centre, rng=np.random.default_rng(num))


def scored(
    current: np.ndarray,
    baseline: np.ndarray,
    *,
    config: DriftConfig = CONFIG,
    prompts: list[str] | None = None,
    answers: list[str] | None = None,
) -> Scored:
    sample = Sample(
        vectors=current,
        prompts=texts(len(current)) if prompts is None else prompts,
        responses=texts(len(current), word="answer"),
    )
    known = Undefined("not yet") if answers is None else TextReference(answers)
    return score_window(
        sample,
        Reference(a_baseline(baseline)),
        embedder="hash",
        config=config,
        rng=np.random.default_rng(0),
        answers=known,
    )


def by_detector(found: Scored) -> dict[Detector, DriftScore]:
    return {score.detector: score for score in found.scores}


def test_foreign_prompts_drift_in_every_deciding_detector() -> None:
    found = by_detector(scored(vectors(40, centre=1), vectors(100)))
    assert list(found) == list(Detector)
    for detector in CONFIG.detectors:
        score = found[detector]
        assert score.is_drifted
        assert score.score > score.threshold
        assert score.exceedance_rate <= CONFIG.false_alarm_rate_each
        assert score.interval_low <= score.score <= score.interval_high
        assert (score.n, score.num_baseline, score.reason) == (40, 100, None)


def test_prompts_of_the_same_kind_do_not_drift() -> None:
    assert not any(score.is_drifted for score in scored(vectors(40), vectors(100)).scores)


def test_a_detector_that_does_not_decide_tells_its_score_and_flags_nothing() -> None:
    config = DriftConfig(min_prompts=20, detectors=(Detector.NOVELTY,))
    found = by_detector(scored(vectors(40, centre=1), vectors(100), config=config))
    assert found[Detector.NOVELTY].is_drifted
    quiet = found[Detector.MEAN_SHIFT]
    assert quiet.score > quiet.threshold
    assert not quiet.decides
    assert not quiet.is_drifted


def test_any_detector_may_decide() -> None:
    config = DriftConfig(min_prompts=20, detectors=(Detector.LENGTH,))
    long = [f"{text} {'and so on ' * 30}" for text in texts(40)]
    found = scored(vectors(40), vectors(100), config=config, prompts=long)
    assert [score.detector for score in found.scores if score.is_drifted] == [Detector.LENGTH]


def test_answers_are_compared_with_the_answers_that_are_known() -> None:
    known = by_detector(scored(vectors(40), vectors(100), answers=texts(60, word="thing")))
    assert {known[detector].num_baseline for detector in OF_ANSWERS} == {60}
    assert known[Detector.RESPONSE_TOKEN_JS].score > 0


def test_answers_without_known_ones_are_undefined_and_prompts_are_scored_all_the_same() -> None:
    found = by_detector(scored(vectors(40), vectors(100)))
    for detector in OF_ANSWERS:
        assert math.isnan(found[detector].score)
        assert found[detector].reason == "not yet"
    assert not math.isnan(found[Detector.MEAN_SHIFT].score)


def with_nan(num: int) -> np.ndarray:
    rows = vectors(num).copy()
    rows[3, 2] = np.nan
    return rows


@pytest.mark.parametrize(
    ("current", "baseline", "reason"),
    [
        (vectors(40)[:0], vectors(100), "no prompts on this day"),
        (vectors(1), vectors(100), "1 prompts, fewer than min_prompts 20"),
        (vectors(40), vectors(39), "the baseline (39 prompts) is smaller than the window"),
        (with_nan(40), vectors(100), "1 vectors of the window are not finite"),
        (vectors(40), with_nan(100), "1 vectors of the baseline are not finite"),
        (vectors(1).repeat(40, axis=0), vectors(100), "all 40 prompts of the window are the same"),
        (vectors(40), vectors(1).repeat(90, axis=0), "all 90 prompts of the baseline are"),
    ],
)
def test_an_undefined_score_is_nan_with_a_reason_and_never_an_alarm(
    current: np.ndarray, baseline: np.ndarray, reason: str
) -> None:
    found = scored(current, baseline)
    assert [score.detector for score in found.scores] == list(Detector)
    for score in found.scores:
        assert math.isnan(score.score)
        assert not score.is_drifted
        assert reason in (score.reason or "")


def test_vectors_of_another_embedder_are_refused() -> None:
    with pytest.raises(UserError, match="embedded by 'hash', cannot be compared with vectors"):
        score_window(
            Sample(vectors=vectors(40)),
            Reference(a_baseline(vectors(100))),
            embedder="another",
            config=CONFIG,
            rng=np.random.default_rng(0),
        )


def test_of_a_huge_baseline_a_part_is_looked_at_and_its_size_is_told() -> None:
    reference = Reference(a_baseline(vectors(20_100)))
    assert reference.vectors.shape == (20_000, 16)
    assert [reference.baseline.prompts.index(prompt) for prompt in reference.prompts[:3]] == [
        int(np.flatnonzero((reference.baseline.vectors == row).all(axis=1))[0])
        for row in reference.vectors[:3]
    ]
    found = score_window(
        Sample(vectors=vectors(40)),
        reference,
        embedder="hash",
        config=CONFIG,
        rng=np.random.default_rng(0),
        detectors=[Detector.NOVELTY],
    )
    assert found.scores[0].num_baseline == 20_000


def test_only_the_detectors_that_are_asked_for_are_computed() -> None:
    found = score_window(
        Sample(vectors=vectors(40)),
        Reference(a_baseline(vectors(100))),
        embedder="hash",
        config=CONFIG,
        rng=np.random.default_rng(0),
        detectors=[Detector.NOVELTY, Detector.MEAN_SHIFT],
    )
    assert [score.detector for score in found.scores] == [Detector.MEAN_SHIFT, Detector.NOVELTY]
    assert found.growth is None
    assert found.novel is not None


def test_scores_become_rows_of_one_schema_defined_or_not() -> None:
    named = {"model_version": "helpdesk-v0001", "embedder": "hash"}
    defined = score_table(scored(vectors(40), vectors(100)).scores, **named)
    undefined = score_table(
        undefined_scores("belongs to the baseline", n=40, num_baseline=100, config=CONFIG), **named
    )
    assert defined.schema == undefined.schema == SCORE_SCHEMA
    assert undefined["reason"].unique().to_list() == ["belongs to the baseline"]


@settings(deadline=None)
@given(
    score=st.integers(0, 12),
    null=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    rate=st.floats(0.01, 0.5),
)
def test_a_score_is_over_the_threshold_exactly_when_it_is_as_rare_as_the_rate(
    score: int, null: list[int], rate: float
) -> None:
    found = calibrate(
        score,
        np.array(null),
        false_alarm_rate=rate,
        interval=Interval(0, 0),
        effect_size=0.0,
    )
    assert found.exceedance_rate >= 1 / (1 + len(null))
    assert (score > found.threshold) == (found.exceedance_rate <= rate)
