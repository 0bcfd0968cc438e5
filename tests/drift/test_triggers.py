import dataclasses
import math
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers import Cause, Decision, History, TriggerConfig, Window, decide

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
DRIFT = DriftConfig(windows=3, windows_needed=2)
TRIGGERS = TriggerConfig(min_new_feedback=50, cooldown_hours=24, warm_up_hours=12)


def windows(*drifted: bool | None) -> list[Window]:
    """Return one window a day, the last one on 19 March."""
    first = NOW.date() - timedelta(days=len(drifted))
    return [
        Window(day=first + timedelta(days=i), is_drifted=is_drifted, summary=f"window {i}")
        for i, is_drifted in enumerate(drifted)
    ]


def a_history(**fields: object) -> History:
    history = History(application="helpdesk", windows=[], num_new_feedback=0)
    return dataclasses.replace(history, **fields)


def asked(history: History) -> Decision:
    return decide(history, drift=DRIFT, triggers=TRIGGERS, now=NOW)


def test_two_of_the_last_three_windows_start_a_cycle() -> None:
    decision = asked(a_history(windows=windows(False, True, False, True)))
    assert decision.should_start
    assert decision.cause is Cause.DRIFT
    assert decision.run_key == "helpdesk:drift:2026-03-19"
    assert decision.reason == "2 of the last 3 windows drifted, the newest on 2026-03-19: window 3"


def test_one_drifted_window_is_not_enough_and_the_reason_names_numbers() -> None:
    decision = asked(a_history(windows=windows(True, True, False, False, True)))
    assert decision == Decision(
        should_start=False,
        cause=None,
        run_key=None,
        reason="1 of the last 3 windows drifted, 2 needed; 2026-03-19: window 4; "
        "0 new feedback of 50 needed",
    )


def test_undefined_windows_neither_count_nor_push_others_out() -> None:
    assert asked(a_history(windows=windows(True, None, True, None, None, False))).should_start


def test_the_order_of_the_windows_does_not_matter() -> None:
    days = windows(False, True, False, True)
    assert asked(a_history(windows=days[::-1])) == asked(a_history(windows=days))


def test_drift_that_a_cycle_has_answered_starts_no_other() -> None:
    history = a_history(windows=windows(True, True), last_cycle_at=NOW - timedelta(days=1))
    assert "no window with defined drift scores since the last cycle" in asked(history).reason


def test_enough_new_feedback_starts_a_cycle_once_for_each_counting() -> None:
    first = asked(a_history(num_new_feedback=50))
    assert (first.cause, first.run_key) == (Cause.VOLUME, "helpdesk:volume:first")
    assert asked(a_history(num_new_feedback=51)).run_key == first.run_key
    again = asked(a_history(num_new_feedback=60, last_cycle_at=datetime(2026, 3, 1, tzinfo=UTC)))
    assert again.run_key == "helpdesk:volume:since-2026-03-01T00:00:00+00:00"


def test_a_persons_request_is_served_first() -> None:
    decision = asked(
        a_history(manual_request="r7", windows=windows(True, True), num_new_feedback=99)
    )
    assert (decision.cause, decision.run_key) == (Cause.MANUAL, "helpdesk:manual:r7")


@pytest.mark.parametrize(
    ("brake", "reason"),
    [
        ({"has_open_cycle": True}, "a cycle is open"),
        (
            {"last_cycle_at": NOW - timedelta(hours=23)},
            "the cooldown of 24 hours lasts until 2026-03-20T13:00+00:00",
        ),
        (
            {"promoted_at": NOW - timedelta(hours=11)},
            "the warm-up of 12 hours lasts until 2026-03-20T13:00+00:00",
        ),
    ],
)
def test_a_brake_holds_the_cause_back_and_says_until_when(
    brake: dict[str, object], reason: str
) -> None:
    decision = asked(a_history(num_new_feedback=50, **brake))
    assert decision == Decision(
        should_start=False,
        cause=Cause.VOLUME,
        run_key=None,
        reason=f"50 new feedback, 50 needed, but {reason}",
    )


@pytest.mark.parametrize("hours", [24, 25])
def test_brakes_end_with_their_hour(hours: int) -> None:
    past = NOW - timedelta(hours=hours)
    assert asked(a_history(num_new_feedback=50, last_cycle_at=past, promoted_at=past)).should_start


def test_a_day_is_summed_up_from_its_scores() -> None:
    row = {"detector": "novelty", "score": 0.12, "threshold": 0.18, "n": 412, "reason": None}
    day = date(2026, 3, 1)
    calm = Window.from_scores(day, [{**row, "is_drifted": False}])
    assert calm == Window(
        day=day, is_drifted=False, summary="novelty 0.12 is under the threshold 0.18, n=412"
    )
    alarm = {**row, "score": 0.2, "detector": "mean_shift", "is_drifted": True}
    assert Window.from_scores(day, [{**row, "is_drifted": False}, alarm]) == Window(
        day=day, is_drifted=True, summary="mean_shift 0.2 is over the threshold 0.18, n=412"
    )
    undefined = {**row, "score": math.nan, "reason": "no prompts on this day", "is_drifted": False}
    assert Window.from_scores(day, [undefined, undefined]) == Window(
        day=day, is_drifted=None, summary="no prompts on this day"
    )
    assert Window.from_scores(day, []).is_drifted is None


past_times = st.none() | st.integers(0, 100).map(lambda hours: NOW - timedelta(hours=hours))
histories = st.builds(
    a_history,
    windows=st.lists(st.sampled_from([True, False, None]), max_size=6).map(
        lambda drifted: windows(*drifted)
    ),
    num_new_feedback=st.integers(0, 100),
    last_cycle_at=past_times,
    promoted_at=past_times,
    has_open_cycle=st.booleans(),
    manual_request=st.none() | st.just("r1"),
)


@settings(deadline=None)
@given(histories)
def test_a_run_key_is_there_exactly_when_a_cycle_starts(history: History) -> None:
    decision = asked(history)
    assert (decision.run_key is not None) == decision.should_start
    assert decision.reason
    assert decision == asked(history)


@settings(deadline=None)
@given(histories)
def test_an_open_cycle_always_wins(history: History) -> None:
    assert not asked(dataclasses.replace(history, has_open_cycle=True)).should_start


@settings(deadline=None)
@given(histories, st.integers(0, 11))
def test_the_hours_after_a_promotion_always_win(history: History, hours: int) -> None:
    promoted_at = NOW - timedelta(hours=hours)
    assert not asked(dataclasses.replace(history, promoted_at=promoted_at)).should_start


@settings(deadline=None)
@given(histories, st.integers(0, 23))
def test_the_hours_after_a_cycle_always_win(history: History, hours: int) -> None:
    last_cycle_at = NOW - timedelta(hours=hours)
    assert not asked(dataclasses.replace(history, last_cycle_at=last_cycle_at)).should_start


@settings(deadline=None)
@given(histories, st.integers(0, 50), st.data())
def test_more_drift_or_feedback_never_stops_a_cycle(
    history: History, more: int, data: st.DataObject
) -> None:
    worse = [
        dataclasses.replace(window, is_drifted=True)
        if window.is_drifted is False and data.draw(st.booleans())
        else window
        for window in history.windows
    ]
    pressed = dataclasses.replace(
        history, windows=worse, num_new_feedback=history.num_new_feedback + more
    )
    assert asked(pressed).should_start >= asked(history).should_start
