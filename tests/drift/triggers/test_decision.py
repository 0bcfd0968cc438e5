import dataclasses
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers.brakes import Cycle
from llm_assets.drift.triggers.causes import Change, Request, Window
from llm_assets.drift.triggers.decision import Cause, Decision, History, TriggerConfig, decide
from llm_assets.drift.triggers.outcomes import DayOutcomes, Outcomes

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
DRIFT = DriftConfig(windows=3, windows_needed=2)
TRIGGERS = TriggerConfig(
    min_new_feedback=50,
    quality_days=2,
    min_verdicts=20,
    cooldown_hours=24,
    warm_up_hours=12,
    max_gpu_hours_per_month=100,
)
REQUEST = Request(request_id="r7", because="new desks")
CHANGE = Change(model_version="helpdesk-v0001", parts={"system_prompt": "ab"})


def windows(*drifted: bool | None, share: float = math.nan) -> list[Window]:
    """Return one window a day, the last one on 19 March."""
    first = NOW.date() - timedelta(days=len(drifted))
    return [
        Window(
            day=first + timedelta(days=number),
            is_drifted=is_drifted,
            summary=f"window {number}",
            affected_share=share,
        )
        for number, is_drifted in enumerate(drifted)
    ]


def days(*satisfied: float) -> list[DayOutcomes]:
    """Return one day for each satisfaction rate, the last one today."""
    first = NOW.date() - timedelta(days=len(satisfied) - 1)
    return [
        DayOutcomes(
            day=first + timedelta(days=number),
            outcomes=Outcomes(
                num_requests=100,
                num_answers=100,
                num_corrected=20,
                num_verdicts=50,
                num_content=round(50 * rate),
            ),
        )
        for number, rate in enumerate(satisfied)
    ]


def a_cycle(hours_ago: float, hours: float | None = 1.0, run_key: str | None = None) -> Cycle:
    return Cycle(started_at=NOW - timedelta(hours=hours_ago), hours=hours, run_key=run_key)


def a_history(**fields: Any) -> History:
    return dataclasses.replace(History(application="helpdesk"), **fields)


def asked(history: History, triggers: TriggerConfig = TRIGGERS) -> Decision:
    return decide(history, drift=DRIFT, triggers=triggers, now=NOW)


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
        reason="0 verdicts in the last 2 days of 20 needed; "
        "1 of the last 3 windows drifted, 2 needed; 2026-03-19: window 4; "
        "0 new feedback of 50 needed",
    )


def test_undefined_windows_neither_count_nor_push_others_out() -> None:
    assert asked(a_history(windows=windows(True, None, True, None, None, False))).should_start


def test_the_order_of_the_windows_does_not_matter() -> None:
    days = windows(False, True, False, True)
    assert asked(a_history(windows=days[::-1])) == asked(a_history(windows=days))


def test_drift_that_a_cycle_has_answered_starts_no_other() -> None:
    history = a_history(windows=windows(True, True), cycles=[a_cycle(24)])
    assert "no window with defined drift scores since the last cycle" in asked(history).reason


def test_enough_new_feedback_starts_a_cycle_once_for_each_counting() -> None:
    first = asked(a_history(num_new_feedback=50))
    assert (first.cause, first.run_key) == (Cause.VOLUME, "helpdesk:volume:first")
    assert asked(a_history(num_new_feedback=51)).run_key == first.run_key
    cycle = Cycle(started_at=datetime(2026, 3, 1, tzinfo=UTC), hours=1)
    again = asked(a_history(num_new_feedback=60, cycles=[cycle]))
    assert again.run_key == "helpdesk:volume:since-2026-03-01T00:00:00+00:00"


def test_a_fall_of_satisfaction_starts_a_cycle() -> None:
    decision = asked(a_history(days=days(0.9, 0.9, 0.9, 0.5, 0.5)))
    assert (decision.cause, decision.run_key) == (Cause.QUALITY, "helpdesk:quality:first")
    assert decision.reason.startswith("satisfaction 0.500 in the last 2 days, n=100, 0.900 before")


def test_the_strongest_cause_is_served_first() -> None:
    everything: dict[str, Any] = {
        "request": REQUEST,
        "change": CHANGE,
        "days": days(0.9, 0.9, 0.9, 0.5, 0.5),
        "windows": windows(True, True),
        "num_new_feedback": 99,
    }
    found = []
    for field in everything:
        decision = asked(a_history(**everything))
        found.append(decision.cause)
        everything[field] = 0 if field == "num_new_feedback" else None if field in _ONE else ()
    assert found == list(Cause)
    assert asked(a_history(**everything)).cause is None


_ONE = ("request", "change")


@pytest.mark.parametrize(
    ("brake", "reason"),
    [
        ({"cycles": [a_cycle(90, hours=None)]}, "a cycle is open"),
        (
            {"cycles": [a_cycle(90), a_cycle(23)]},
            "the cooldown of 24 hours lasts until 2026-03-20T13:00+00:00",
        ),
        (
            {"promoted_at": NOW - timedelta(hours=11)},
            "the warm-up of 12 hours lasts until 2026-03-20T13:00+00:00",
        ),
        (
            {"cycles": [a_cycle(90, hours=95), a_cycle(60, hours=1), a_cycle(40, hours=20)]},
            "116 of 100 GPU hours were used in 30 days, and a cycle takes 20",
        ),
    ],
)
@pytest.mark.parametrize("cause", [{"num_new_feedback": 50}, {"request": REQUEST}])
def test_a_brake_holds_every_cause_back_and_says_why(
    brake: dict[str, Any], reason: str, cause: dict[str, Any]
) -> None:
    decision = asked(a_history(**cause, **brake))
    assert (decision.should_start, decision.run_key, decision.brake) == (False, None, reason)
    assert decision.cause is (Cause.MANUAL if "request" in cause else Cause.VOLUME)
    assert decision.reason.endswith(f", but {reason}")


@pytest.mark.parametrize("hours", [24, 25])
def test_brakes_end_with_their_hour(hours: int) -> None:
    promoted_at = NOW - timedelta(hours=hours)
    history = a_history(num_new_feedback=50, cycles=[a_cycle(hours)], promoted_at=promoted_at)
    assert asked(history).should_start


@pytest.mark.parametrize(
    ("cause", "key"),
    [
        ({"request": REQUEST}, "helpdesk:manual:r7"),
        ({"change": CHANGE}, "helpdesk:change:helpdesk-v0001:"),
    ],
)
def test_what_a_cycle_was_started_for_is_no_cause_again_and_leaves_room_for_others(
    cause: dict[str, Any], key: str
) -> None:
    first = asked(a_history(**cause))
    assert first.run_key is not None
    assert first.run_key.startswith(key)
    started = a_cycle(240, run_key=first.run_key)
    decision = asked(a_history(**cause, cycles=[started]))
    assert decision.cause is None
    assert "a cycle was started for it on 2026-03-10" in decision.reason
    assert asked(a_history(**cause, cycles=[started], num_new_feedback=50)).cause is Cause.VOLUME


PRICED = TRIGGERS.model_copy(
    update={
        "gpu_hour_cost": 10.0,
        "value_per_better_answer": 0.1,
        "expected_gain": 0.5,
        "benefit_days": 10.0,
        "expected_gpu_hours": 2.0,
    }
)


def test_a_cause_that_is_not_worth_its_cost_is_held_back_with_both_numbers() -> None:
    # 100 requests a day for 10 days, half of a share of 0.3 gets better: 150 answers.
    history = a_history(windows=windows(True, True, share=0.3), days=days(0.9, 0.9))
    decision = asked(history, PRICED)
    assert (decision.should_start, decision.cause) == (False, Cause.DRIFT)
    assert decision.brake == "its expected benefit of 15 is under its cost of 20"
    assert decision.reason.endswith(f"window 1, but {decision.brake}")
    worth_it = dataclasses.replace(history, windows=windows(True, True, share=0.5))
    assert asked(worth_it, PRICED).should_start
    assert asked(history).should_start


def test_a_weaker_cause_that_is_worth_it_starts_although_a_stronger_one_is_not() -> None:
    history = a_history(
        windows=windows(True, True, share=0.01), days=days(0.9, 0.9), num_new_feedback=50
    )
    # One answer in five was corrected: 100 answers get better, worth 10 in 1 hour at 10.
    decision = asked(history, PRICED.model_copy(update={"expected_gpu_hours": 1.0}))
    assert (decision.should_start, decision.cause) == (True, Cause.VOLUME)


def test_the_hours_of_past_cycles_are_what_the_next_one_costs() -> None:
    history = a_history(
        windows=windows(True, True, share=0.3), days=days(0.9, 0.9), cycles=[a_cycle(99, hours=1.0)]
    )
    assert asked(history, PRICED).should_start


@pytest.mark.parametrize("cause", [{"request": REQUEST}, {"change": CHANGE}])
def test_what_a_person_asks_for_is_not_weighed(cause: dict[str, Any]) -> None:
    assert asked(a_history(**cause, days=days(0.9)), PRICED).should_start


def test_an_unknown_share_or_traffic_holds_nothing_back() -> None:
    assert asked(a_history(windows=windows(True, True), days=days(0.9)), PRICED).should_start
    assert asked(a_history(windows=windows(True, True, share=0.01)), PRICED).should_start


@pytest.mark.parametrize("prices", [(1.0, 0.0), (0.0, 1.0)])
def test_a_price_without_the_other_is_refused(prices: tuple[float, float]) -> None:
    with pytest.raises(pydantic.ValidationError, match=r"must both be 0 or both be more, got \d"):
        TriggerConfig(gpu_hour_cost=prices[0], value_per_better_answer=prices[1])


past_times = st.none() | st.integers(0, 100).map(lambda hours: NOW - timedelta(hours=hours))
histories = st.builds(
    a_history,
    windows=st.lists(st.sampled_from([True, False, None]), max_size=6).map(
        lambda drifted: windows(*drifted, share=0.2)
    ),
    days=st.lists(st.sampled_from([0.5, 0.8, 0.9]), max_size=6).map(lambda rates: days(*rates)),
    num_new_feedback=st.integers(0, 100),
    cycles=st.lists(
        st.builds(a_cycle, st.integers(0, 1000), st.none() | st.floats(0, 60)), max_size=4
    ),
    promoted_at=past_times,
    request=st.none() | st.just(REQUEST),
    change=st.none() | st.just(CHANGE),
)
policies = st.sampled_from([TRIGGERS, PRICED])


@given(histories, policies)
def test_a_run_key_is_there_exactly_when_a_cycle_starts(
    history: History, triggers: TriggerConfig
) -> None:
    decision = asked(history, triggers)
    assert (decision.run_key is not None) == decision.should_start
    assert decision.reason
    assert decision == asked(history, triggers)
    # A cause either starts a cycle or something holds it back.
    assert (decision.cause is None) == (not decision.should_start and decision.brake is None)


@given(histories, policies)
def test_an_open_cycle_always_wins(history: History, triggers: TriggerConfig) -> None:
    cycles = [*history.cycles, a_cycle(999, hours=None)]
    assert not asked(dataclasses.replace(history, cycles=cycles), triggers).should_start


@given(histories, policies, st.integers(0, 11))
def test_the_hours_after_a_promotion_always_win(
    history: History, triggers: TriggerConfig, hours: int
) -> None:
    promoted_at = NOW - timedelta(hours=hours)
    assert not asked(dataclasses.replace(history, promoted_at=promoted_at), triggers).should_start


@given(histories, policies, st.integers(0, 23))
def test_the_hours_after_a_cycle_always_win(
    history: History, triggers: TriggerConfig, hours: int
) -> None:
    cycles = [*history.cycles, a_cycle(hours)]
    assert not asked(dataclasses.replace(history, cycles=cycles), triggers).should_start


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


@given(histories, policies, st.integers(1, 8), st.integers(1, 72))
def test_whatever_happens_no_key_starts_twice_and_cycles_keep_their_distance_and_budget(
    history: History, triggers: TriggerConfig, num_looks: int, hours_between: int
) -> None:
    """Look again and again at the same traffic; each cycle that starts takes three hours."""
    started: list[Cycle] = []
    for look in range(num_looks):
        now = NOW + timedelta(hours=look * hours_between)
        cycles = [*history.cycles, *started]
        seen = dataclasses.replace(history, cycles=cycles)
        decision = decide(seen, drift=DRIFT, triggers=triggers, now=now)
        if decision.should_start:
            started.append(Cycle(started_at=now, hours=3.0, run_key=decision.run_key))
            used = [c.hours or 0 for c in cycles if c.started_at > now - timedelta(days=30)]
            assert sum(used) <= 100
    keys = [cycle.run_key for cycle in started]
    assert len(set(keys)) == len(keys)
    for before, after in pairwise(started):
        assert after.started_at - before.started_at >= timedelta(hours=24)
