"""What cannot be judged is told with its reason: never as 0, and never as an alarm."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.config import Detector, DriftConfig
from llm_assets.drift.detectors.calibration import Calibrated, Measured, Undefined
from llm_assets.drift.detectors.cells import Cells, cell_occupancy
from llm_assets.drift.detectors.domain_classifier import domain_classifier
from llm_assets.drift.detectors.mean_shift import mean_shift
from llm_assets.drift.detectors.texts import TextReference, score_prompts, score_responses
from llm_assets.drift.reference import Reference, Sample
from llm_assets.drift.scores import DriftScore, score_window, undefined_scores
from llm_assets.errors import UserError
from tests.drift.vectors import a_baseline, topic

# Every detector decides, so that an alarm of any of them would be one.
CONFIG = DriftConfig(min_prompts=2, detectors=tuple(Detector))
TEXTS_OF_ALL_SIZES = ["", "\U0001f600", "hi", "where is my invoice", "wo ist meine Rechnung " * 9]


def prompts(num: int) -> np.ndarray:
    return topic(num, centre=num % 3, rng=np.random.default_rng(num))


def texts(num: int) -> list[str]:
    return [f"{row} {TEXTS_OF_ALL_SIZES[row % 5]}" for row in range(num)]


def scores_of(
    current: np.ndarray,
    baseline: np.ndarray,
    *,
    asked: list[str] | None = None,
    answered: list[str] | None = None,
    config: DriftConfig = CONFIG,
    embedder: str = "hash",
) -> list[DriftScore]:
    sample = Sample(
        vectors=current,
        prompts=texts(len(current)) if asked is None else asked,
        responses=texts(len(current)) if answered is None else answered,
    )
    with np.errstate(all="raise", under="ignore"):
        scored = score_window(
            sample,
            Reference(a_baseline(baseline)),
            embedder=embedder,
            config=config,
            rng=np.random.default_rng(0),
            answers=TextReference(texts(50)),
        )
    assert [score.detector for score in scored.scores] == list(Detector)
    return scored.scores


def require_undefined(score: DriftScore, reason: str) -> None:
    numbers = (
        score.score,
        score.threshold,
        score.exceedance_rate,
        score.effect_size,
        score.interval_low,
        score.interval_high,
    )
    assert all(math.isnan(number) for number in numbers)
    assert not score.is_drifted
    assert reason in (score.reason or "")


def require_sound(score: DriftScore) -> None:
    """Require a score with all its numbers, or none of them and a reason."""
    if score.reason is not None:
        require_undefined(score, score.reason)
        assert any(sign.isdigit() for sign in score.reason) or score.n == 0
        return
    assert math.isfinite(score.score)
    assert math.isfinite(score.threshold)
    assert math.isfinite(score.effect_size)
    assert 0 < score.exceedance_rate <= 1
    assert score.interval_low <= score.score <= score.interval_high
    assert score.is_drifted == (score.score > score.threshold)


def with_one(value: float, num: int) -> np.ndarray:
    rows = prompts(num).copy()
    rows[num // 2, 3] = value
    return rows


def repeated(num: int) -> np.ndarray:
    return prompts(1).repeat(num, axis=0)


BAD_WINDOWS: dict[str, tuple[np.ndarray, np.ndarray, str]] = {
    "an empty day": (prompts(0), prompts(60), "no prompts on this day"),
    "an empty day of no width": (np.empty((0, 0), np.float32), prompts(60), "no prompts"),
    "one prompt": (prompts(1), prompts(60), "1 prompts, fewer than min_prompts 2"),
    "no baseline": (prompts(9), prompts(0), "the baseline (0 prompts) is smaller than the window"),
    "a smaller baseline": (prompts(9), prompts(8), "(8 prompts) is smaller than the window (9)"),
    "one prompt repeated": (repeated(40), prompts(60), "all 40 prompts of the window are the same"),
    "a baseline of one": (prompts(40), repeated(60), "all 60 prompts of the baseline are the same"),
    "nan": (with_one(math.nan, 40), prompts(60), "1 vectors of the window are not finite"),
    "inf": (with_one(math.inf, 40), prompts(60), "1 vectors of the window are not finite"),
    "-inf": (with_one(-math.inf, 40), prompts(60), "1 vectors of the window are not finite"),
    "nan known": (prompts(40), with_one(math.nan, 60), "1 vectors of the baseline are not finite"),
    "inf known": (prompts(40), with_one(math.inf, 60), "1 vectors of the baseline are not finite"),
    "only nan": (prompts(40) * np.float32(math.nan), prompts(60), "40 vectors of the window"),
}


@pytest.mark.parametrize("name", BAD_WINDOWS)
def test_a_bad_window_is_undefined_in_every_detector_for_a_reason_in_numbers(name: str) -> None:
    current, baseline, reason = BAD_WINDOWS[name]
    for score in scores_of(current, baseline):
        require_undefined(score, reason)
        assert (score.n, score.num_baseline) == (len(current), len(baseline))


def test_a_window_smaller_than_wanted_is_undefined_though_detectors_could_score_it() -> None:
    for score in scores_of(prompts(29), prompts(60), config=DriftConfig(detectors=tuple(Detector))):
        require_undefined(score, "29 prompts, fewer than min_prompts 30")


def test_another_embedding_model_is_refused_with_both_names_and_flags_nothing() -> None:
    with pytest.raises(UserError, match=r"embedded by 'hash'.*vectors of 'another'") as refused:
        scores_of(prompts(40), prompts(60), embedder="another")
    undefined = undefined_scores(str(refused.value), n=40, num_baseline=60, config=CONFIG)
    assert [score.detector for score in undefined] == list(Detector)
    for score in undefined:
        require_undefined(score, "cannot be compared with vectors of 'another'")


def spoil(vectors: np.ndarray, how: str, row: int) -> np.ndarray:
    rows = vectors.copy()
    if not len(rows):
        return rows
    at = row % len(rows)
    if how == "same":
        rows[:] = rows[at]
    elif how == "same but one":
        other = rows[at].copy()
        rows[:] = rows[0]
        rows[at] = -other
    elif how == "zero":
        rows[at] = 0
    elif how != "good":
        rows[at, row % rows.shape[1]] = float(how)
    return rows


ways = st.sampled_from(["good", "same", "same but one", "zero", "nan", "inf", "-inf"])


@settings(max_examples=40, deadline=None)
@given(
    num_current=st.integers(0, 30),
    num_baseline=st.integers(0, 50),
    how=ways,
    how_baseline=ways,
    row=st.integers(0, 50),
    asked=st.sampled_from([*TEXTS_OF_ALL_SIZES, None]),
)
def test_every_window_has_all_its_numbers_or_a_reason_in_numbers(
    num_current: int, num_baseline: int, how: str, how_baseline: str, row: int, asked: str | None
) -> None:
    current = spoil(prompts(num_current), how, row)
    baseline = spoil(prompts(num_baseline), how_baseline, row)
    same = None if asked is None else [asked] * num_current
    for score in scores_of(current, baseline, asked=same, answered=same):
        require_sound(score)
    is_bad = {"nan", "inf", "-inf", "same"} & {how, how_baseline}
    if is_bad or num_current < 2 or num_baseline < num_current:
        assert all(score.reason for score in scores_of(current, baseline))


Measure = Callable[[np.ndarray, np.ndarray, np.random.Generator], list[Measured]]

ON_VECTORS: dict[str, Measure] = {
    "mean_shift": lambda current, baseline, rng: [
        mean_shift(current, baseline, false_alarm_rate=0.1, rng=rng)
    ],
    "domain_classifier": lambda current, baseline, rng: [
        domain_classifier(current, baseline, false_alarm_rate=0.1, rng=rng).measured
    ],
    "cells": lambda current, baseline, rng: list(
        cell_occupancy(current, Cells.of(baseline, rng=rng), false_alarm_rate=0.1, rng=rng).values()
    ),
}


@pytest.mark.parametrize("name", ON_VECTORS)
def test_what_compares_a_repeated_prompt_with_itself_says_that_there_is_nothing_to_compare(
    name: str,
) -> None:
    for measured in ON_VECTORS[name](repeated(20), repeated(40), np.random.default_rng(0)):
        assert isinstance(measured, Undefined)
        assert any(sign.isdigit() for sign in measured.reason)


@pytest.mark.parametrize("score", [score_prompts, score_responses])
@pytest.mark.parametrize(
    ("current", "known"),
    [
        ([], texts(30)),
        (["hi"], texts(30)),
        (texts(30), []),
        (["hi"] * 20, texts(30)),
        (texts(20), ["hi"] * 30),
        (["\U0001f600", "\U0001f44d\U0001f44d"] * 10, texts(30)),
        (["", " "] * 10, ["\n", ""] * 20),
    ],
)
def test_texts_that_cannot_be_compared_are_never_an_alarm(
    score: Callable[..., dict[Detector, Measured]], current: list[str], known: list[str]
) -> None:
    found = score(current, TextReference(known), false_alarm_rate=0.1, rng=np.random.default_rng(0))
    assert found
    for measured in found.values():
        if isinstance(measured, Calibrated):
            assert math.isfinite(measured.score)
            assert measured.interval.low <= measured.score <= measured.interval.high
        else:
            assert any(sign.isdigit() for sign in measured.reason)
    if len(current) < 2 or not known:
        assert all(isinstance(measured, Undefined) for measured in found.values())
