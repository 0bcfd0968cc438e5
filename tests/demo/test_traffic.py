from datetime import UTC, datetime, timedelta

import pytest

from llm_assets.demo.questions import DESKS, load_questions
from llm_assets.demo.traffic import (
    FULL,
    KNOWN_DESKS,
    SMALL,
    PlannedRequest,
    TrafficPlan,
    plan_traffic,
)

END = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module", params=[FULL, SMALL], ids=["full", "small"])
def plan(request: pytest.FixtureRequest) -> TrafficPlan:
    return request.param


@pytest.fixture(scope="module")
def traffic(plan: TrafficPlan) -> tuple[list[PlannedRequest], list[PlannedRequest]]:
    return plan_traffic(load_questions(seed=0), plan, end=END, seed=0)


Traffic = tuple[list[PlannedRequest], list[PlannedRequest]]


def test_the_first_days_know_some_desks_and_the_last_days_all(traffic: Traffic) -> None:
    known, new = traffic
    assert {request.question.desk for request in known} == KNOWN_DESKS
    desks = {request.question.desk for request in new}
    assert desks >= set(DESKS) - KNOWN_DESKS
    num_repeats = sum(request.question.desk in KNOWN_DESKS for request in new)
    assert 0 < num_repeats < 0.2 * len(new)


def test_every_request_lies_in_its_days_in_order(plan: TrafficPlan, traffic: Traffic) -> None:
    known, new = traffic
    start = END - timedelta(days=plan.num_known_days + plan.num_new_days)
    change = END - timedelta(days=plan.num_new_days)
    times = [request.time for request in known + new]
    assert times == sorted(times)
    assert start <= known[0].time
    assert known[-1].time <= change <= new[0].time
    assert new[-1].time <= END
    # Every day has traffic, so the reference days are over when the new ones begin.
    assert len({request.time.date() for request in known + new}) in (10, 11)


def test_feedback_follows_its_request_and_is_never_in_the_future(traffic: Traffic) -> None:
    for request in [*traffic[0], *traffic[1]]:
        assert request.feedback_delay > timedelta(0)
        assert request.time + request.feedback_delay <= END + timedelta(seconds=1)


def test_most_users_correct_and_some_do_it_late(plan: TrafficPlan, traffic: Traffic) -> None:
    requests = [*traffic[0], *traffic[1]]
    correcting = sum(request.will_correct for request in requests) / len(requests)
    late = sum(r.feedback_delay > timedelta(hours=12) for r in requests) / len(requests)
    assert correcting == pytest.approx(plan.correction_rate, abs=0.08)
    assert late == pytest.approx(plan.late_rate, abs=0.08)


def test_the_same_seed_is_the_same_plan(plan: TrafficPlan, traffic: Traffic) -> None:
    questions = load_questions(seed=0)
    assert plan_traffic(questions, plan, end=END, seed=0) == traffic
    assert plan_traffic(questions, plan, end=END, seed=1) != traffic


def test_a_session_belongs_to_one_user_and_one_day(traffic: Traffic) -> None:
    for request in [*traffic[0], *traffic[1]]:
        user = request.user_id.removeprefix("user-")
        assert request.session_id == f"session-{user}-{request.time:%m%d}"
