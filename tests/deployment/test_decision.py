import dataclasses
import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.deployment.config import DeploymentConfig
from llm_assets.deployment.decision import Decision, decide
from llm_assets.deployment.evidence import ArmEvidence, Away, Evidence, Rate
from llm_assets.deployment.guardrails import State
from llm_assets.deployment.registry import Rollout
from llm_assets.deployment.steps import Stage
from tests.deployment.rollouts import START, a_rollout, an_arm, some_evidence

CONFIG = DeploymentConfig()
BLUE_GREEN = DeploymentConfig.of_plain({"strategy": "blue_green"})
JUDGED = DeploymentConfig.of_plain({"shadow": {"judge": {"kind": "scorer"}}})
STAGES: tuple[Stage, ...] = ("smoke", "shadow", "canary", "ab", "blue_green")


def config_of(stage: str) -> DeploymentConfig:
    return BLUE_GREEN if stage == "blue_green" else CONFIG


def decided(
    rollout: Rollout,
    evidence: Evidence,
    *,
    config: DeploymentConfig = CONFIG,
    minutes: float = 0,
) -> Decision:
    return decide(rollout, evidence, config=config, now=START + timedelta(minutes=minutes))


# -- Any evidence

_NUMBERS = st.integers(0, 3000)
_SECONDS = st.lists(st.floats(0, 100) | st.just(math.nan), max_size=60)


@st.composite
def rates(draw: st.DrawFn, *, halves: bool = False) -> Rate:
    n = draw(_NUMBERS)
    total = draw(st.integers(0, 2 * n)) / 2 if halves else draw(st.floats(0, n))
    return Rate(total, n)


@st.composite
def arms(draw: st.DrawFn) -> ArmEvidence:
    return ArmEvidence(
        failures=draw(rates()),
        fallbacks=draw(_NUMBERS),
        refusals=draw(rates()),
        negative=draw(rates()),
        metric=draw(rates()),
        num_users=draw(_NUMBERS),
        seconds=draw(_SECONDS),
        first_token_seconds=draw(_SECONDS),
        num_response_tokens=draw(rates()),
    )


EVIDENCE = st.builds(
    Evidence,
    champion=arms(),
    challenger=arms(),
    smoke=st.sampled_from([None, True, False]),
    problem=st.sampled_from(["", "the server starts"]),
    waited_seconds=st.floats(-1e6, 1e6),
    away=st.none() | st.builds(Away, st.floats(0, 1e6), st.sampled_from(["", "no such file"])),
    num_pairs=_NUMBERS,
    judged=rates(halves=True),
    num_restarts=st.integers(0, 10),
)
CONFIGS = st.sampled_from(
    [
        {},
        {"shadow": {"judge": {"kind": "scorer"}, "min_pairs": 1}},
        {"guardrails": dict.fromkeys(["error_margin", "refusal_margin", "negative_margin"])},
        {"guardrails": dict.fromkeys(["max_latency_ratio", "max_first_token_ratio"])},
        {"ab": {"max_users": 100, "min_users": 1}, "canary": {"min_requests": 1}},
        {"ab": {"allocation": "best_arm", "margin": 0.05}},
        {"smoke": None, "shadow": None, "canary": None, "ab": None},
    ]
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Rollout, DeploymentConfig, datetime]:
    """Return a rollout in any step, which a file may have been changed under, and the time."""
    stage = draw(st.sampled_from(STAGES))
    rollout = a_rollout(stage, config=config_of(stage))
    held = draw(st.sampled_from([None, START]))
    rollout = replace(rollout, holding_since=held, has_alerted=draw(st.booleans()))
    if draw(st.booleans()):
        rollout = replace(rollout, steps=rollout.steps[: rollout.position + 1])
    config = DeploymentConfig.of_plain(draw(CONFIGS))
    # A clock may have been set back.
    return rollout, config, START + timedelta(minutes=draw(st.integers(-10_000, 10_000)))


@given(situations(), EVIDENCE)
def test_any_evidence_in_any_step_gives_the_same_decision_each_time(
    situation: tuple[Rollout, DeploymentConfig, datetime], evidence: Evidence
) -> None:
    rollout, config, now = situation
    before = dataclasses.asdict(evidence)
    decision = decide(rollout, evidence, config=config, now=now)
    assert repr(decide(rollout, evidence, config=config, now=now)) == repr(decision)
    assert repr(dataclasses.asdict(evidence)) == repr(before)
    assert decision.reason
    is_last = rollout.at_next_step(now) is None
    assert decision.move != "advance" or not is_last
    assert decision.move != "promote" or is_last
    states = {finding.state for finding in decision.findings}
    if State.BREACHED in states:
        assert decision.move == "reject"
    if State.OPEN in states:
        assert decision.move not in ("advance", "promote")
    if decision.move == "hold":
        assert rollout.holding_since is None
    if decision.move == "alert":
        assert rollout.holding_since is not None
        assert not rollout.has_alerted


@settings(max_examples=40)
@given(EVIDENCE, st.integers(0, 49))
def test_nothing_goes_on_below_its_minimum(evidence: Evidence, few: int) -> None:
    evidence = replace(
        evidence,
        num_pairs=few,
        challenger=replace(
            evidence.challenger, failures=Rate(0, few), metric=Rate(few, few), num_users=few
        ),
    )
    for stage in STAGES[1:]:
        rollout = a_rollout(stage, config=config_of(stage))
        decision = decided(rollout, evidence, config=config_of(stage), minutes=1000)
        assert decision.move not in ("advance", "promote")


# -- Smoke


@pytest.mark.parametrize(
    ("fields", "move", "reason"),
    [
        ({}, "stay", "no answer yet"),
        ({"problem": "the server starts", "waited_seconds": 119}, "stay", "the server starts"),
        ({"smoke": True}, "advance", "the server answers"),
        ({"smoke": False, "problem": "status 500"}, "reject", "smoke test: status 500"),
        (
            {"problem": "the server starts", "waited_seconds": 120},
            "reject",
            "smoke test: after 120 s: the server starts",
        ),
    ],
)
def test_a_server_has_a_while_to_answer(fields: dict[str, Any], move: str, reason: str) -> None:
    # It is counted from when somebody looks: `up` may have been down for a night.
    decision = decided(a_rollout("smoke"), Evidence(**fields), minutes=600)
    assert (decision.move, decision.reason) == (move, reason)


# -- Shadow


def test_enough_pairs_end_the_shadow_step() -> None:
    few, enough = (some_evidence(400, num_pairs=num) for num in (49, 50))
    assert decided(a_rollout("shadow"), few).move == "stay"
    decision = decided(a_rollout("shadow"), enough)
    assert (decision.move, decision.reason) == ("advance", "50 of 50 pairs")


@pytest.mark.parametrize(
    ("score", "n", "move"),
    [
        (0.5, 2000, "advance"),
        (0.9, 300, "advance"),
        (0.45, 40, "hold"),
        (0.2, 200, "reject"),
        (0.0, 0, "hold"),
    ],
)
def test_with_a_judge_the_challenger_must_not_lose(score: float, n: int, move: str) -> None:
    evidence = some_evidence(400, num_pairs=100, judged=Rate(score * n, n))
    assert decided(a_rollout("shadow"), evidence, config=JUDGED).move == move


def test_a_step_without_a_judged_pair_says_why_it_holds() -> None:
    decision = decided(a_rollout("shadow"), some_evidence(400, num_pairs=100), config=JUDGED)
    reason = "not decided: 100 of 50 pairs; none of them judged"
    assert (decision.move, decision.reason) == ("hold", reason)


def test_what_keeps_pairs_from_being_judged_is_told() -> None:
    evidence = some_evidence(400, num_pairs=100, problem="judge m: no connection")
    decision = decided(a_rollout("shadow"), evidence, config=JUDGED)
    assert decision.move == "hold"
    assert "judge m: no connection" in decision.reason


# -- Canary


def test_a_canary_goes_on_when_every_guardrail_is_clear() -> None:
    decision = decided(a_rollout("canary"), some_evidence(1000))
    assert (decision.move, decision.reason) == (
        "advance",
        "1000 and 1000 requests, no guardrail breached",
    )


def test_a_canary_waits_for_both_arms_and_its_minutes() -> None:
    config = DeploymentConfig.of_plain({"canary": {"min_minutes": 10}})
    canary = a_rollout("canary", config=config)
    assert decided(canary, some_evidence(1000, champion=49), config=config, minutes=11).move == (
        "stay"
    )
    assert decided(canary, some_evidence(1000), config=config, minutes=9).move == "stay"
    assert decided(canary, some_evidence(1000), config=config, minutes=10).move == "advance"


def test_a_step_that_could_go_on_but_for_an_open_guardrail_holds_once_and_alerts_once() -> None:
    evidence, canary = some_evidence(60), a_rollout("canary")
    decision = decided(canary, evidence)
    assert decision.move == "hold"
    assert decision.reason.startswith("not decided: errors open: +0.000 (")
    canary = replace(canary, holding_since=START)
    moves = [decided(canary, evidence, minutes=minutes).move for minutes in (0, 59, 60, 600)]
    assert moves == ["stay", "stay", "alert", "alert"]
    canary = replace(canary, has_alerted=True)
    assert decided(canary, evidence, minutes=600).move == "stay"
    assert decided(canary, some_evidence(1000), minutes=601).move == "advance"


def test_a_breached_guardrail_ends_a_step_that_is_over_too_early_or_held() -> None:
    bad = replace(some_evidence(40), challenger=an_arm(40, num_failed=30))
    for stage in STAGES[1:]:
        rollout = a_rollout(stage, config=config_of(stage))
        for held in (rollout, replace(rollout, holding_since=START, has_alerted=True)):
            decision = decided(held, bad, config=config_of(stage))
            assert decision.move == "reject"
            assert decision.reason.startswith("errors breached: +0.750")


# -- A/B


def test_a_better_challenger_is_promoted_and_a_worse_one_rejected() -> None:
    test, n = a_rollout("ab"), 1000
    for num_better, move in ((650, "promote"), (350, "reject"), (500, "stay")):
        evidence = replace(some_evidence(n), challenger=an_arm(n, num_better=num_better))
        decision = decided(test, evidence)
        assert decision.move == move
        assert decision.effect is not None
        assert decision.effect.value == pytest.approx(num_better / n - 0.5)
        assert decision.effect.interval.low < decision.effect.value < decision.effect.interval.high


def test_a_margin_promotes_what_is_shown_to_be_as_good() -> None:
    config = DeploymentConfig.of_plain({"ab": {"margin": 0.1}})
    evidence = some_evidence(3000)
    assert decided(a_rollout("ab"), evidence).move == "stay"
    assert decided(a_rollout("ab"), evidence, config=config).move == "promote"


def test_a_test_that_is_open_at_its_end_holds() -> None:
    config = DeploymentConfig.of_plain({"ab": {"max_users": 500}})
    decision = decided(a_rollout("ab"), some_evidence(500), config=config)
    assert decision.move == "hold"
    assert decision.reason.startswith("not decided: not corrected 0.500 against 0.500: +0.000")


def test_a_sample_ratio_mismatch_holds_whatever_the_metric_says() -> None:
    evidence = replace(
        some_evidence(1000), challenger=an_arm(700, num_better=600), champion=an_arm(1000)
    )
    decision = decided(a_rollout("ab"), evidence)
    assert (decision.move, decision.reason) == (
        "hold",
        "sample ratio mismatch: 700 and 1000 users at a share of 0.5",
    )
    config = DeploymentConfig.of_plain({"ab": {"allocation": "best_arm"}})
    assert decided(a_rollout("ab"), evidence, config=config).move == "promote"


# -- Blue-green


def test_a_switch_is_compared_with_what_was_before_it() -> None:
    switch = a_rollout("blue_green", config=BLUE_GREEN)
    assert decided(switch, some_evidence(1000), config=BLUE_GREEN, minutes=9).move == "stay"
    assert decided(switch, some_evidence(1000), config=BLUE_GREEN, minutes=10).move == "promote"


def test_a_switch_without_anything_before_it_holds() -> None:
    switch = a_rollout("blue_green", config=BLUE_GREEN)
    decision = decided(switch, some_evidence(1000, champion=3), config=BLUE_GREEN, minutes=10)
    assert decision.move == "hold"
    assert "3 of 50 requests before the switch" in decision.reason


def test_without_its_server_a_step_waits_and_then_holds_whatever_else_is_known() -> None:
    for stage in ("shadow", "canary", "ab"):
        for seconds, move, reason in (
            (119.0, "stay", "its server is not ready: no such file"),
            (120.0, "hold", "its server has not been ready for 120 s: no such file"),
        ):
            away = Away(seconds, "no such file")
            evidence = some_evidence(1000, num_pairs=100, away=away)
            decision = decided(a_rollout(stage), evidence)
            assert (decision.move, decision.reason) == (move, reason)


def test_the_last_step_of_all_promotes_whatever_it_is() -> None:
    last: list[tuple[Stage, Evidence]] = [
        ("smoke", Evidence(smoke=True)),
        ("shadow", some_evidence(1000, num_pairs=100)),
        ("canary", some_evidence(1000)),
    ]
    for stage, evidence in last:
        rollout = a_rollout(stage)
        rollout = replace(rollout, steps=rollout.steps[: rollout.position + 1])
        assert decided(rollout, evidence).move == "promote"
