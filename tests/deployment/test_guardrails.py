import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llm_assets.deployment import guardrails
from llm_assets.deployment.config import GuardrailConfig
from llm_assets.deployment.evidence import ArmEvidence, Evidence, Rate
from llm_assets.deployment.guardrails import Finding, State, look, percentile_95
from tests.deployment.rollouts import an_arm, some_evidence

ALL = ["errors", "refusals", "negative_feedback", "slow_answers", "slow_first_tokens", "restarts"]


def found(evidence: Evidence, *, alpha: float = 0.05, **config: Any) -> dict[str, Finding]:
    findings = look(evidence, config=GuardrailConfig(**config), alpha=alpha, share=0.5)
    return {finding.name: finding for finding in findings}


def states(evidence: Evidence, **config: Any) -> dict[str, State]:
    return {name: finding.state for name, finding in found(evidence, **config).items()}


def test_of_two_equal_arms_all_guardrails_are_clear_once_there_is_enough() -> None:
    assert states(some_evidence(1000)) == dict.fromkeys(ALL, State.CLEAR)
    few = states(some_evidence(40))
    assert few["errors"] is State.OPEN
    assert State.BREACHED not in few.values()


def test_a_finding_tells_its_value_its_interval_and_its_margin() -> None:
    evidence = replace(some_evidence(200), challenger=an_arm(200, num_failed=60))
    errors = found(evidence)["errors"]
    assert (errors.state, errors.value) == (State.BREACHED, pytest.approx(0.3))
    assert 0 < errors.low < 0.3 < errors.high < 1
    assert (errors.num_champion, errors.num_challenger) == (200, 200)
    assert str(errors).startswith("errors breached: +0.300 (+0.1")
    assert str(errors).endswith(", n=200 and 200), must stay below +0.050")


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("errors", {"failures": Rate(12, 30)}),
        ("refusals", {"refusals": Rate(12, 30)}),
        ("negative_feedback", {"negative": Rate(12, 30)}),
        ("slow_answers", {"seconds": [1.0] * 18 + [2.1] * 12}),
        ("slow_first_tokens", {"first_token_seconds": [0.1] * 18 + [0.21] * 12}),
    ],
)
def test_what_is_bad_in_one_thing_breaches_it_within_thirty_requests(
    name: str, worse: dict[str, Any]
) -> None:
    evidence = some_evidence(30, champion=1000)
    evidence = replace(evidence, challenger=replace(evidence.challenger, **worse))
    assert [key for key, state in states(evidence).items() if state is State.BREACHED] == [name]


def test_a_challenger_that_answers_nothing_is_breached_within_ten_requests() -> None:
    evidence = replace(some_evidence(200), challenger=an_arm(10, num_failed=10))
    assert found(evidence, alpha=0.05 / 6)["errors"].state is State.BREACHED


@pytest.mark.parametrize("key", ["failures", "refusals", "negative"])
def test_what_is_better_than_the_champion_is_clear_and_never_breached(key: str) -> None:
    evidence = some_evidence(100)
    evidence = replace(evidence, champion=replace(evidence.champion, **{key: Rate(80, 100)}))
    name = {"failures": "errors", "refusals": "refusals", "negative": "negative_feedback"}[key]
    finding = found(evidence)[name]
    assert finding.state is State.CLEAR
    assert finding.high < 0


def test_a_faster_challenger_is_clear() -> None:
    evidence = some_evidence(300)
    fast = replace(evidence.challenger, seconds=[0.01] * 300)
    assert found(replace(evidence, challenger=fast))["slow_answers"].state is State.CLEAR


def test_what_nobody_measured_neither_breaches_nor_is_clear() -> None:
    nothing = Evidence()
    assert states(nothing) == {**dict.fromkeys(ALL[:-1], State.UNMEASURED), "restarts": "clear"}
    assert all(math.isnan(found(nothing)[name].value) for name in ALL[:-1])
    # No stream was asked for, and of the champion too few answers were for a percentile.
    evidence = Evidence(champion=an_arm(19), challenger=replace(an_arm(50), first_token_seconds=[]))
    unmeasured = {n for n, state in states(evidence).items() if state is State.UNMEASURED}
    assert unmeasured == {"slow_answers", "slow_first_tokens"}


def test_a_guardrail_that_is_left_out_is_not_looked_at_and_leaves_its_part_to_the_others() -> None:
    evidence = replace(some_evidence(200), challenger=an_arm(200, num_failed=20))
    alone: dict[str, Any] = dict.fromkeys(
        [
            "refusal_margin",
            "negative_margin",
            "max_latency_ratio",
            "max_first_token_ratio",
            "max_restarts",
        ]
    )
    assert list(found(evidence, **alone)) == ["errors"]
    width = {
        name: finding["errors"].high - finding["errors"].low
        for name, finding in (("all", found(evidence)), ("one", found(evidence, **alone)))
    }
    assert width["one"] < width["all"]
    none: dict[str, Any] = {**alone, "error_margin": None}
    assert found(evidence, **none) == {}


def test_a_server_that_is_started_again_too_often_is_breached() -> None:
    assert found(some_evidence(0, num_restarts=3))["restarts"].state is State.CLEAR
    restarts = found(some_evidence(0, num_restarts=4))["restarts"]
    assert (restarts.state, restarts.value, restarts.margin) == (State.BREACHED, 4, 3)


def test_seconds_that_are_no_number_count_as_not_slow() -> None:
    evidence = some_evidence(100)
    odd = replace(evidence.challenger, seconds=[math.nan] * 100)
    assert found(replace(evidence, challenger=odd))["slow_answers"].state is not State.BREACHED


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile_95([]))
    assert percentile_95([3.0]) == 3.0


RATE, SIMULATIONS, STEPS, REQUESTS = 0.2, 200, 3, 100


def test_an_equal_challenger_is_seldom_rolled_back_however_often_one_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Thousands of looks see few different numbers.
    for name in ("difference", "rate_sequence"):
        monkeypatch.setattr(guardrails, name, functools.cache(getattr(guardrails, name)))
    rng = np.random.default_rng(0)
    num_back = sum(_is_rolled_back(rng) for _ in range(SIMULATIONS))
    assert num_back <= RATE * SIMULATIONS


def _is_rolled_back(rng: np.random.Generator) -> bool:
    """Simulate a whole rollout, with a look after every ten requests."""
    for _ in range(STEPS):
        arms = _Simulated(rng), _Simulated(rng)
        for n in range(10, REQUESTS + 1, 10):
            champion, challenger = (arm.first(n) for arm in arms)
            evidence = Evidence(champion=champion, challenger=challenger)
            if State.BREACHED in states(evidence, alpha=RATE / STEPS).values():
                return True
    return False


class _Simulated:
    """The requests of an arm, of which some are slow: seconds are lognormal, as they often are."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._totals = np.cumsum(rng.random((3, REQUESTS)) < 0.05, axis=1)
        self._seconds = np.exp(rng.standard_normal((2, REQUESTS)))

    def first(self, n: int) -> ArmEvidence:
        failures, refusals, negative = (Rate(float(t), n) for t in self._totals[:, n - 1])
        seconds, first_token_seconds = self._seconds[:, :n].tolist()
        return ArmEvidence(
            failures=failures,
            refusals=refusals,
            negative=negative,
            seconds=seconds,
            first_token_seconds=first_token_seconds,
        )
