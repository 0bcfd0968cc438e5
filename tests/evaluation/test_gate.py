import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.evaluation.config import EvaluationConfig
from llm_assets.evaluation.gate import gate
from tests.evaluation.reports import a_report

CONFIG = EvaluationConfig(min_samples=20)
TARGETS = [f"t{i % 5}" for i in range(60)]
GOOD = a_report(TARGETS, [True] * 50 + [False] * 10, [False] * 60, training_targets=["t0"])


def failed(report: object, config: EvaluationConfig = CONFIG) -> list[str]:
    verdict = gate(report, config=config)  # pyright: ignore[reportArgumentType]
    return [rule.name for rule in verdict.rules if not rule.passed]


def test_a_clearly_better_candidate_passes() -> None:
    verdict = gate(GOOD, config=CONFIG)
    assert verdict.passed
    assert len(verdict.reasons) == 4


def test_too_few_samples_are_refused() -> None:
    assert failed(GOOD, EvaluationConfig(min_samples=61)) == ["enough_samples"]


def test_an_improvement_that_chance_may_have_brought_is_refused() -> None:
    report = a_report(TARGETS, [True] * 42 + [False] * 18, [True] * 40 + [False] * 20)
    assert failed(report) == ["beats_champion"]


def test_the_wanted_improvement_must_be_reached_by_the_whole_interval() -> None:
    low = GOOD.difference_low
    assert not failed(GOOD, EvaluationConfig(min_samples=20, min_improvement=low - 0.001))
    assert failed(GOOD, EvaluationConfig(min_samples=20, min_improvement=low)) == ["beats_champion"]


def test_gains_on_the_largest_target_alone_are_refused() -> None:
    targets = ["big"] * 50 + [f"t{i}" for i in range(10)]
    report = a_report(targets, [True] * 50 + [False] * 10, [False] * 50 + [True] * 10)
    assert failed(report) == ["beats_champion_over_targets"]


def test_always_answering_the_largest_target_is_refused() -> None:
    targets = ["big"] * 50 + [f"t{i}" for i in range(10)]
    report = a_report(
        targets, [True] * 50 + [False] * 10, [False] * 60, training_targets=["big", "big", "t1"]
    )
    verdict = gate(report, config=CONFIG)
    assert verdict.reasons[0] == (
        "FAILED: accuracy 0.833 (0.720 to 0.907) must lie above 0.833 of "
        "always giving the most frequent answer"
    )
    assert verdict.reasons[1].startswith("passed: ")


@pytest.mark.parametrize("field", ["difference_low", "majority_rate"])
def test_an_undefined_number_never_passes(field: str) -> None:
    assert len(failed(dataclasses.replace(GOOD, **{field: math.nan}))) == 1


outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120)


@settings(deadline=None)
@given(outcomes, st.floats(0.0, 0.5))
def test_a_candidate_that_is_no_better_than_the_champion_never_passes(
    outcomes: list[tuple[bool, bool]], min_improvement: float
) -> None:
    worse, better = sorted(zip(*outcomes, strict=True), key=sum)
    targets = [f"t{i % 3}" for i in range(len(outcomes))]
    config = EvaluationConfig(min_samples=1, min_improvement=min_improvement)
    report = a_report(targets, worse, better, training_targets=["unseen"])
    assert "beats_champion" in failed(report, config)


@settings(deadline=None)
@given(outcomes)
def test_one_more_right_answer_never_turns_a_pass_into_a_refusal(
    outcomes: list[tuple[bool, bool]],
) -> None:
    candidate, champion = ([pair[side] for pair in outcomes] for side in (0, 1))
    targets = [f"t{i % 3}" for i in range(len(outcomes))]
    config = EvaluationConfig(min_samples=1)
    if False not in candidate or failed(a_report(targets, candidate, champion), config):
        return
    candidate[candidate.index(False)] = True
    assert not failed(a_report(targets, candidate, champion), config)
