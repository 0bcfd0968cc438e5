import math
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.triggers.causes import (
    Change,
    Finding,
    Request,
    Window,
    change,
    manual,
    quality,
)
from llm_assets.drift.triggers.causes import volume as volume_of
from llm_assets.drift.triggers.outcomes import DayOutcomes, Outcomes

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = date(2026, 3, 1)
ROW = {"detector": "novelty", "score": 0.12, "threshold": 0.18, "n": 412, "reason": None}


def days(*satisfied: float | None, n: int = 20) -> list[DayOutcomes]:
    """Return one day for each satisfaction rate, the last one today."""
    first = NOW.date() - timedelta(days=len(satisfied) - 1)
    return [
        DayOutcomes(
            day=first + timedelta(days=number),
            outcomes=Outcomes(num_verdicts=n, num_content=round(rate * n)),
        )
        for number, rate in enumerate(satisfied)
        if rate is not None
    ]


def asked(
    outcomes: list[DayOutcomes],
    *,
    since: datetime | None = None,
    champion_since: datetime | None = None,
) -> Finding:
    return quality(
        outcomes,
        since=since,
        champion_since=champion_since,
        now=NOW,
        num_days=3,
        min_verdicts=50,
        false_alarm_rate=12 / 365,
    )


def test_a_fall_of_satisfaction_is_a_cause_with_both_rates_and_their_n() -> None:
    finding = asked(days(*[0.9] * 10, *[0.6] * 3))
    assert finding.key == "first"
    assert finding.reason == (
        "satisfaction 0.600 in the last 3 days, n=60, 0.900 before, n=200: -0.300, at most -0.156"
    )
    assert finding.affected_share == pytest.approx(0.3)


def test_a_rise_of_satisfaction_is_none() -> None:
    finding = asked(days(*[0.6] * 10, *[0.9] * 3))
    assert finding.key is None
    assert "+0.300" in finding.reason


@pytest.mark.parametrize(
    ("satisfied", "reason"),
    [
        ((*[0.9] * 10, 0.1, 0.1, None), "40 verdicts in the last 3 days of 50 needed"),
        ((0.9, 0.9, 0.1, 0.1, 0.1), "40 verdicts before them of 50 needed"),
        ((), "0 verdicts in the last 3 days of 50 needed"),
    ],
)
def test_few_verdicts_prove_nothing(satisfied: tuple[float | None, ...], reason: str) -> None:
    assert asked(days(*satisfied)) == Finding(key=None, reason=reason)


def test_only_the_champions_own_days_are_compared() -> None:
    outcomes = days(*[0.99] * 20, *[0.6] * 7)
    assert asked(outcomes).key is not None
    # Promoted in the evening of the last good day: that day is not its own.
    promoted = datetime.combine(outcomes[19].day, NOW.timetz())
    finding = asked(outcomes, champion_since=promoted)
    assert (finding.key, "n=80: +0.000" in finding.reason) == (None, True)


def test_a_fall_that_a_cycle_has_answered_is_a_cause_again_only_if_it_goes_on() -> None:
    outcomes = days(*[0.9] * 10, *[0.6] * 3, *[0.9] * 3)
    since = NOW - timedelta(days=3)
    assert asked(outcomes, since=since).key is None
    going_on = days(*[0.9] * 10, *[0.6] * 6)
    assert asked(going_on, since=since).key == "since-2026-03-17T12:00:00+00:00"
    assert "40 verdicts" in asked(going_on, since=NOW - timedelta(days=2)).reason


@given(st.lists(st.none() | st.floats(0, 1), max_size=20), st.randoms())
def test_the_order_of_the_days_does_not_matter(
    satisfied: list[float | None], random: object
) -> None:
    outcomes = days(*satisfied)
    shuffled = list(outcomes)
    random.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue]
    assert asked(shuffled) == asked(outcomes)


def test_what_the_manifest_does_not_say_is_no_change() -> None:
    now = {"base_model": "b2", "system_prompt": "s2", "evaluation": "e1"}
    before = {"base_model": "b1", "system_prompt": None, "evaluation": "e1"}
    found = Change.between("helpdesk-v0002", before, now)
    assert found == Change(model_version="helpdesk-v0002", parts={"base_model": "b2"})
    assert Change.between("helpdesk-v0002", now, now) is None
    assert Change.between("helpdesk-v0002", {}, now) is None


def test_the_key_of_a_change_is_that_of_what_is_asked_for_now() -> None:
    parts = {"system_prompt": "s2", "evaluation": "e2"}
    first = change(Change(model_version="helpdesk-v0002", parts=parts))
    assert first.reason == "not what helpdesk-v0002 was made for: evaluation, system_prompt"
    swapped = dict(reversed(parts.items()))
    assert change(Change(model_version="helpdesk-v0002", parts=swapped)) == first
    other = change(Change(model_version="helpdesk-v0002", parts={**parts, "evaluation": "e3"}))
    assert other.key != first.key
    assert change(None) == Finding(key=None, reason="")


def test_another_base_model_starts_nothing_and_says_why() -> None:
    parts = {"system_prompt": "s2", "base_model": "b2"}
    found = change(Change(model_version="helpdesk-v0002", parts=parts))
    assert found.key is None
    assert "is not the one that helpdesk-v0002 was made on" in found.reason


def test_a_request_is_a_cause_with_its_reason() -> None:
    assert manual(Request(request_id="r7", because="new desks")) == Finding(
        key="r7", reason="requested: new desks"
    )
    assert manual(None) == Finding(key=None, reason="")


def test_volume_affects_the_answers_that_were_corrected() -> None:
    recent = [DayOutcomes(day=DAY, outcomes=Outcomes(num_answers=40, num_corrected=10))]
    finding = volume_of(50, recent, since=None, needed=50)
    assert (finding.key, finding.affected_share) == ("first", 0.25)
    assert math.isnan(volume_of(50, [], since=None, needed=50).affected_share)


def test_a_day_is_summed_up_from_its_scores() -> None:
    calm = Window.from_scores(DAY, [{**ROW, "is_drifted": False, "effect_size": 0.01}])
    assert calm == Window(
        day=DAY,
        is_drifted=False,
        summary="novelty 0.12 is under the threshold 0.18, n=412",
        affected_share=0.01,
    )
    alarm = {**ROW, "score": 0.2, "detector": "mean_shift", "is_drifted": True, "effect_size": 9.0}
    drifted = Window.from_scores(DAY, [{**ROW, "is_drifted": False, "effect_size": 0.01}, alarm])
    assert drifted.is_drifted
    assert drifted.summary == "mean_shift 0.2 is over the threshold 0.18, n=412"
    # Standard deviations of a shift are no share of the prompts.
    assert drifted.affected_share == 0.01
    undefined = {**ROW, "score": math.nan, "reason": "no prompts on this day", "is_drifted": False}
    nothing = Window.from_scores(DAY, [undefined, undefined])
    assert (nothing.is_drifted, nothing.summary) == (None, "no prompts on this day")
    assert Window.from_scores(DAY, []).is_drifted is None


def test_a_detector_that_does_not_decide_makes_no_window() -> None:
    told = {**ROW, "detector": "length", "score": 9.0, "is_drifted": False, "decides": False}
    assert Window.from_scores(DAY, [told]).is_drifted is None
    calm = Window.from_scores(DAY, [told, {**ROW, "is_drifted": False, "decides": True}])
    assert calm.summary == "novelty 0.12 is under the threshold 0.18, n=412"
    # Days from before detectors could be chosen do not say who decided: both did.
    assert Window.from_scores(DAY, [{**ROW, "is_drifted": True, "decides": None}]).is_drifted


@pytest.mark.parametrize(
    ("effects", "share"),
    [([0.1, 0.3], 0.3), ([-0.2, -0.1], 0.0), ([math.nan, 0.2], 0.2), ([1.5], 1.0)],
)
def test_the_affected_share_is_the_larger_excess(effects: list[float], share: float) -> None:
    detectors = ("novelty", "topic_growth")
    rows = [
        {**ROW, "detector": detector, "is_drifted": True, "effect_size": effect}
        for detector, effect in zip(detectors, effects, strict=False)
    ]
    assert Window.from_scores(DAY, rows).affected_share == share


def test_without_effect_sizes_the_affected_share_is_unknown() -> None:
    window = Window.from_scores(DAY, [{**ROW, "is_drifted": True}])
    assert math.isnan(window.affected_share)
