import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.config import Detector, DriftConfig
from llm_assets.drift.replay.policy import Policy
from llm_assets.drift.replay.simulation import Origin, Past, Replay, simulate
from llm_assets.drift.triggers.brakes import Cycle
from llm_assets.drift.triggers.decision import Cause, TriggerConfig
from llm_assets.drift.triggers.outcomes import DayOutcomes, Outcomes

FIRST = date(2026, 3, 1)
DRIFT = DriftConfig(
    detectors=(Detector.NOVELTY,), false_alarms_per_year=12, windows=3, windows_needed=2
)
TRIGGERS = TriggerConfig(
    min_new_feedback=50, cooldown_hours=24, warm_up_hours=24, expected_gpu_hours=2
)
POLICY = Policy(name="own", drift=DRIFT, triggers=TRIGGERS)


def day(number: int) -> date:
    """Return a day: the first one is number 0."""
    return FIRST + timedelta(days=number)


def at(number: int, hour: int = 12) -> datetime:
    """Return an hour of a day."""
    return datetime.combine(day(number), datetime.min.time(), UTC) + timedelta(hours=hour)


def a_row(drifted: bool | None, **fields: Any) -> dict[str, Any]:
    return {
        "detector": "novelty",
        "n": 400,
        "score": math.nan if drifted is None else 0.1,
        "threshold": 0.2,
        "exceedance_rate": math.nan if drifted is None else 0.001 if drifted else 0.5,
        "effect_size": 0.1,
        "is_drifted": bool(drifted),
        "reason": "no prompts on this day",
        "model_version": "helpdesk-v0001",
        **fields,
    }


def a_past(*drifted: bool | None, **fields: Any) -> Past:
    """Return days in a row, one window each."""
    past = Past(
        application="helpdesk",
        days=[day(n) for n in range(len(drifted))],
        recorded_with=DRIFT,
        scores={day(n): [a_row(is_drifted)] for n, is_drifted in enumerate(drifted)},
        champion="helpdesk-v0001",
    )
    return dataclasses.replace(past, **fields)


class Rescored:
    """Scores days anew: calm against any baseline of a cycle; it remembers what it was asked."""

    def __init__(self, drifted: bool | None = False) -> None:
        self.drifted = drifted
        self.asked: list[tuple[date, Origin]] = []

    def __call__(
        self, day: date, origin: Origin, config: DriftConfig
    ) -> Sequence[Mapping[str, Any]] | None:
        self.asked.append((day, origin))
        return [a_row(self.drifted)]


def unkept(day: date, origin: Origin, config: DriftConfig) -> None:
    """Score nothing: no vector is kept."""


def started(replay: Replay) -> list[tuple[date, Cause]]:
    return [(event.day, event.cause) for event in replay.starts]


def with_triggers(**changes: Any) -> Policy:
    return dataclasses.replace(POLICY, triggers=TRIGGERS.model_copy(update=changes))


def with_drift(**changes: Any) -> Policy:
    return dataclasses.replace(POLICY, drift=DRIFT.model_copy(update=changes))


def test_a_cycle_starts_on_the_day_that_the_rule_is_met() -> None:
    replay = simulate(a_past(False, True, False, True, False), POLICY, rescore=Rescored())
    assert started(replay) == [(day(3), Cause.DRIFT)]
    assert replay.starts[0].hours == 2
    assert replay.starts[0].reason.startswith(
        "2 of the last 3 windows drifted, the newest on 2026-03-04: novelty 0.1 has a chance of"
    )
    assert (replay.num_days, replay.num_defined, replay.num_drifted) == (5, 5, 2)


def test_days_before_the_first_one_are_among_the_last_windows() -> None:
    past = dataclasses.replace(a_past(True, True, False), days=[day(1), day(2)])
    replay = simulate(past, POLICY, rescore=Rescored())
    assert started(replay) == [(day(1), Cause.DRIFT)]
    assert (replay.num_days, replay.num_drifted) == (2, 1)


def test_later_days_are_compared_with_the_prompts_until_the_start() -> None:
    rescored = Rescored(drifted=False)
    replay = simulate(a_past(*[True] * 6), POLICY, rescore=rescored)
    assert started(replay) == [(day(1), Cause.DRIFT)]
    assert rescored.asked == [(day(n), day(1)) for n in range(2, 6)]
    assert (replay.num_rescored, replay.num_not_rescored) == (4, 0)


def test_a_day_that_the_old_version_answered_most_of_is_compared_with_its_baseline() -> None:
    rescored = Rescored()
    policy = with_triggers(expected_gpu_hours=14.0)
    simulate(a_past(True, True, False, False), policy, rescore=rescored)
    assert [asked for asked, _ in rescored.asked] == [day(3)]


def test_drift_that_stays_after_a_cycle_starts_another_one() -> None:
    replay = simulate(a_past(*[True] * 6), POLICY, rescore=Rescored(drifted=True))
    # The first is promoted after 2 hours, and the warm-up of 24 holds the end of the next day.
    assert started(replay) == [(day(1), Cause.DRIFT), (day(3), Cause.DRIFT), (day(5), Cause.DRIFT)]


def test_days_whose_vectors_are_not_kept_count_as_scored_then_and_are_counted() -> None:
    replay = simulate(a_past(*[True] * 4), POLICY, rescore=unkept)
    assert started(replay) == [(day(1), Cause.DRIFT), (day(3), Cause.DRIFT)]
    assert (replay.num_rescored, replay.num_not_rescored) == (0, 2)


def test_an_open_cycle_a_cooldown_and_a_warm_up_hold_back_one_after_the_other() -> None:
    policy = with_triggers(expected_gpu_hours=60.0, cooldown_hours=100.0, warm_up_hours=72.0)
    replay = simulate(a_past(*[True] * 8), policy, rescore=Rescored(drifted=True))
    brakes = [(e.day, e.brake.split(" lasts")[0]) for e in replay.events if e.brake]
    assert started(replay)[0] == (day(1), Cause.DRIFT)
    assert brakes == [
        (day(3), "a cycle is open"),
        (day(4), "the cooldown of 100 hours"),
        (day(5), "the cooldown of 100 hours"),
        (day(6), "the warm-up of 72 hours"),
    ]


def test_a_month_without_hours_left_holds_back() -> None:
    policy = with_triggers(max_gpu_hours_per_month=3.0)
    replay = simulate(a_past(*[True] * 5), policy, rescore=Rescored(drifted=True))
    assert len(replay.starts) == 1
    assert any("of 3 GPU hours were used" in (event.brake or "") for event in replay.events)


def test_hours_are_the_median_of_the_cycles_before_and_have_a_price() -> None:
    cycles = [Cycle(started_at=at(-9 - n), hours=hours) for n, hours in enumerate((1, 5, 30))]
    policy = with_triggers(gpu_hour_cost=2.0, value_per_better_answer=1000.0)
    outcomes = {
        day(n): [DayOutcomes(day=day(n), outcomes=Outcomes(num_requests=99))] for n in (0, 1)
    }
    past = a_past(True, True, cycles=cycles, outcomes=outcomes)
    replay = simulate(past, policy, rescore=Rescored())
    assert (replay.hours, replay.cost) == (5, 10)


def test_feedback_counts_on_the_day_that_it_was_given_and_since_the_last_start() -> None:
    given = [at(1)] * 49 + [at(3)] * 40 + [at(5)] * 30
    past = a_past(*[False] * 7, feedback_times=given)
    assert started(simulate(past, POLICY, rescore=Rescored())) == [(day(3), Cause.VOLUME)]
    policy = with_triggers(min_new_feedback=30)
    assert started(simulate(past, policy, rescore=Rescored())) == [
        (day(1), Cause.VOLUME),
        (day(3), Cause.VOLUME),
        (day(5), Cause.VOLUME),
    ]


def test_verdicts_that_came_later_are_not_known_yet() -> None:
    """A bad week is seen on the day that it is told of."""
    good, bad = (Outcomes(num_verdicts=100, num_content=content) for content in (95, 40))
    weeks = [DayOutcomes(day=day(-n), outcomes=good) for n in range(7, 14)]
    today = DayOutcomes(day=day(0), outcomes=bad)
    outcomes = {day(0): weeks, day(1): weeks, day(2): [*weeks, today]}
    past = a_past(None, None, None, outcomes=outcomes)
    assert started(simulate(past, POLICY, rescore=Rescored())) == [(day(2), Cause.QUALITY)]


def test_scores_against_a_baseline_of_a_cycle_that_was_not_started_are_made_anew() -> None:
    later = a_row(False, model_version="helpdesk-v0002")
    past = a_past(False, False, later_versions=frozenset({"helpdesk-v0002"}))
    past = dataclasses.replace(past, scores={**past.scores, day(1): [later]})
    rescored = Rescored(drifted=True)
    simulate(past, POLICY, rescore=rescored)
    assert rescored.asked == [(day(1), "helpdesk-v0001")]


def test_a_policy_with_other_scores_has_every_day_scored_anew() -> None:
    rescored = Rescored(drifted=True)
    policy = with_drift(max_prompts=100)
    replay = simulate(a_past(False, False, False), policy, rescore=rescored)
    assert [asked for asked, _ in rescored.asked] == [day(0), day(1), day(2)]
    assert started(replay) == [(day(1), Cause.DRIFT)]
    unknown = a_past(False, False, champion=None)
    assert simulate(unknown, policy, rescore=Rescored()).num_not_rescored == 2


def test_days_compared_with_the_same_weekday_do_not_care_which_version_serves() -> None:
    seasonal = with_drift(reference="same_weekday")
    past = a_past(*[True] * 5, recorded_with=seasonal.drift)
    rescored = Rescored()
    assert len(simulate(past, seasonal, rescore=rescored).starts) == 2
    assert rescored.asked == []


def test_scores_of_answers_stay_when_prompts_are_compared_anew() -> None:
    policy = with_drift(detectors=(Detector.NOVELTY, Detector.REFUSAL_RATE))
    rows = [a_row(True), a_row(True, detector="refusal_rate")]
    past = a_past(*[True] * 4, scores={day(n): rows for n in range(4)}, recorded_with=policy.drift)
    replay = simulate(past, policy, rescore=Rescored(drifted=False))
    assert "refusal_rate" in replay.starts[1].reason


def test_more_false_alarms_a_year_flag_days_that_were_calm_then() -> None:
    rows = [a_row(False, exceedance_rate=0.1)]
    past = a_past(False, False, scores={day(0): rows, day(1): rows})
    assert simulate(past, POLICY, rescore=Rescored()).starts == []
    loose = with_drift(false_alarms_per_year=60.0)
    assert started(simulate(past, loose, rescore=Rescored())) == [(day(1), Cause.DRIFT)]


def test_a_day_without_scores_is_decided_on_too() -> None:
    past = a_past(False, False, scores={}, feedback_times=[at(1)] * 50)
    replay = simulate(past, POLICY, rescore=Rescored())
    assert started(replay) == [(day(1), Cause.VOLUME)]
    assert (replay.num_days, replay.num_defined) == (2, 0)


pasts = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=25)
policies = st.builds(
    lambda windows, hours, cooldown, warm_up, budget: Policy(
        name="any",
        drift=DRIFT.model_copy(update={"windows": windows, "windows_needed": (windows + 1) // 2}),
        triggers=TRIGGERS.model_copy(
            update={
                "expected_gpu_hours": hours,
                "cooldown_hours": cooldown,
                "warm_up_hours": warm_up,
                "max_gpu_hours_per_month": budget,
                "min_new_feedback": 5,
            }
        ),
    ),
    st.integers(1, 4),
    st.floats(0.5, 100.0),
    st.floats(0.0, 100.0),
    st.floats(0.0, 100.0),
    st.none() | st.floats(1.0, 200.0),
)
feedback = st.lists(st.integers(0, 24 * 25), max_size=60).map(
    lambda hours: sorted(at(0, hour) for hour in hours)
)


@given(pasts, policies, feedback, st.booleans())
def test_no_start_breaks_a_brake(
    drifted: list[bool | None], policy: Policy, given_at: list[datetime], again: bool
) -> None:
    past = a_past(*drifted, feedback_times=given_at)
    replay = simulate(past, policy, rescore=Rescored(drifted=again))
    triggers, hours = policy.triggers, policy.triggers.expected_gpu_hours
    for one, next_one in zip(replay.starts, replay.starts[1:], strict=False):
        passed = (next_one.day - one.day) / timedelta(hours=1)
        assert passed >= max(triggers.cooldown_hours, hours + triggers.warm_up_hours)
    limit = triggers.max_gpu_hours_per_month
    for start in replay.starts:
        month = [s for s in replay.starts if timedelta(0) <= start.day - s.day < timedelta(days=30)]
        assert limit is None or sum(s.hours or 0.0 for s in month) <= limit + 1e-9
    assert all(event.is_start == (event.brake is None) for event in replay.events)
    assert replay.num_drifted <= replay.num_defined <= replay.num_days == len(drifted)


@given(pasts, policies, feedback, st.integers(1, 24))
def test_what_happens_later_changes_nothing_before(
    drifted: list[bool | None], policy: Policy, given_at: list[datetime], num_known: int
) -> None:
    whole = simulate(a_past(*drifted, feedback_times=given_at), policy, rescore=Rescored())
    known = drifted[:num_known]
    told = [time for time in given_at if time.date() < day(len(known))]
    part = simulate(a_past(*known, feedback_times=told), policy, rescore=Rescored())
    assert part.events == [event for event in whole.events if event.day < day(len(known))]
