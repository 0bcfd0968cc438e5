import math
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.config import Detector, DriftConfig
from llm_assets.drift.detectors.calibration import calibrate
from llm_assets.drift.replay.rejudging import needs_other_scores, rejudged, window_of
from llm_assets.intervals import Interval

DAY = date(2026, 3, 1)
CONFIG = DriftConfig(detectors=(Detector.NOVELTY, Detector.MEAN_SHIFT), false_alarms_per_year=7.3)


def a_row(**fields: Any) -> dict[str, Any]:
    """Return a row of `drift_scores`: a calm day of 400 prompts."""
    return {
        "detector": "novelty",
        "n": 400,
        "score": 0.12,
        "threshold": 0.18,
        "exceedance_rate": 0.4,
        "effect_size": 0.02,
        "decides": True,
        "is_drifted": False,
        "reason": None,
        **fields,
    }


def is_drifted(*rows: dict[str, Any], config: DriftConfig = CONFIG) -> bool | None:
    return window_of(DAY, rejudged(rows, config=config), config=config).is_drifted


def test_each_detector_may_spend_its_part_of_the_rate() -> None:
    assert CONFIG.false_alarm_rate_each == pytest.approx(0.01)
    assert is_drifted(a_row(exceedance_rate=0.0099))
    assert is_drifted(a_row(exceedance_rate=0.0101)) is False
    loose = CONFIG.model_copy(update={"detectors": (Detector.NOVELTY,)})
    assert is_drifted(a_row(exceedance_rate=0.0101), config=loose)


def test_only_the_detectors_of_the_policy_count_whatever_decided_then() -> None:
    alarm = a_row(detector="length", exceedance_rate=0.0001, is_drifted=True)
    assert is_drifted(a_row(), alarm) is False
    with_length = CONFIG.model_copy(update={"detectors": (Detector.LENGTH,)})
    assert is_drifted(a_row(), {**alarm, "decides": False}, config=with_length)
    assert is_drifted(a_row(), config=with_length) is None


def test_a_day_without_exceedance_rates_counts_as_it_was_judged_then() -> None:
    old = a_row(is_drifted=True)
    del old["exceedance_rate"], old["decides"]
    judged = rejudged([old], config=CONFIG)
    assert judged.is_as_recorded
    window = window_of(DAY, judged, config=CONFIG)
    assert window.is_drifted
    assert window.summary == "novelty 0.12 is over the threshold 0.18, n=400"
    assert rejudged([{**old, "exceedance_rate": None}], config=CONFIG).is_as_recorded


def test_the_summary_says_how_rare_the_scores_are_and_names_the_drifted_ones() -> None:
    rare = a_row(detector="mean_shift", exceedance_rate=0.0005)
    window = window_of(DAY, rejudged([a_row(), rare], config=CONFIG), config=CONFIG)
    assert window.summary == "mean_shift 0.12 has a chance of 0.0005, at most 0.01, n=400"
    calm = window_of(DAY, rejudged([a_row()], config=CONFIG), config=CONFIG)
    assert calm.summary == "novelty 0.12 has a chance of 0.4, over 0.01, n=400"


def test_undefined_stays_undefined_and_a_higher_min_prompts_makes_more_of_it() -> None:
    reason = "12 prompts, fewer than min_prompts 30"
    undefined = a_row(score=math.nan, exceedance_rate=math.nan, n=12, reason=reason)
    window = window_of(DAY, rejudged([undefined], config=CONFIG), config=CONFIG)
    assert (window.is_drifted, window.summary) == (None, reason)
    strict = CONFIG.model_copy(update={"min_prompts": 401})
    window = window_of(DAY, rejudged([a_row(exceedance_rate=0.001)], config=strict), config=strict)
    assert (window.is_drifted, window.summary) == (None, "400 prompts, fewer than min_prompts 401")


@given(st.integers(0, 10_000), st.floats(0.002, 0.4), st.integers(200, 1000), st.floats(-0.2, 3.5))
def test_the_rule_is_the_score_over_its_threshold_but_for_one_draw(
    seed: int, rate: float, num_draws: int, score: float
) -> None:
    null = np.random.default_rng(seed).normal(size=num_draws)
    nowhere = Interval(math.nan, math.nan)
    found = calibrate(score, null, false_alarm_rate=rate, interval=nowhere, effect_size=0.0)
    is_rare = found.exceedance_rate <= rate
    is_over = found.score > found.threshold
    assert is_over or not is_rare
    if is_over and not is_rare:
        assert found.exceedance_rate <= rate + 1 / (num_draws + 1)


def test_what_scores_are_made_with_needs_other_scores_and_what_judges_them_does_not() -> None:
    for update in (
        {"false_alarms_per_year": 3.0, "windows": 5, "detectors": (Detector.LENGTH,)},
        {"min_prompts": 31},
    ):
        assert not needs_other_scores(CONFIG.model_copy(update=update), CONFIG), update
    for update in (
        {"min_prompts": 29},
        {"max_prompts": 100},
        {"reference": "same_weekday"},
        {"embedding_model": "another"},
        {"reference_days": 8},
    ):
        assert needs_other_scores(CONFIG.model_copy(update=update), CONFIG), update
