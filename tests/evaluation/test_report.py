from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.evaluation.plot import accuracy_png, named_targets
from llm_assets.evaluation.report import EvalReport, TargetScore, build_report
from tests.evaluation.reports import a_report, scored

TARGETS = ["money"] * 6 + ["sports"] * 2
REPORT = a_report(
    TARGETS,
    [True] * 6 + [False, True],
    [True] * 3 + [False] * 5,
    training_targets=["sports", "Money", "money", "sports"],
)


def test_both_models_are_scored_on_the_same_samples() -> None:
    assert REPORT.model_version == "helpdesk-v0002"
    assert REPORT.n == 8
    assert REPORT.candidate.accuracy == 7 / 8
    assert REPORT.champion.accuracy == 3 / 8
    assert REPORT.difference == 0.5
    assert REPORT.difference_low < 0.5 < REPORT.difference_high
    assert REPORT.candidate.interval_low < 7 / 8 < REPORT.candidate.interval_high


def test_macro_accuracy_gives_every_target_the_same_weight() -> None:
    assert REPORT.candidate.macro_accuracy == (1 + 0.5) / 2
    assert REPORT.champion.macro_accuracy == (0.5 + 0) / 2


def test_targets_are_listed_the_most_frequent_first() -> None:
    assert REPORT.targets == [
        TargetScore(target="money", n=6, num_correct_candidate=6, num_correct_champion=3),
        TargetScore(target="sports", n=2, num_correct_candidate=1, num_correct_champion=0),
    ]


def test_the_trivial_guess_is_learnt_from_training_rows_and_measured_on_the_samples() -> None:
    # Two training rows each: the tie goes to the first in the alphabet.
    assert (REPORT.majority_target, REPORT.majority_rate) == ("money", 6 / 8)
    other = a_report(TARGETS, [True] * 8, [True] * 8, training_targets=["science"])
    assert (other.majority_target, other.majority_rate) == ("science", 0)


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    REPORT.write(tmp_path)
    assert EvalReport.read(tmp_path) == REPORT


def test_a_missing_or_damaged_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"eval_report\.json: no evaluation report"):
        EvalReport.read(tmp_path)
    (tmp_path / "eval_report.json").write_text('{"n": "many"}')
    with pytest.raises(UserError, match=r"eval_report\.json: candidate: is missing"):
        EvalReport.read(tmp_path)


@pytest.mark.parametrize(("first", "second"), [(["a"], ["b"]), (["a", "a"], ["a"]), ([], [])])
def test_models_that_did_not_get_the_same_samples_are_not_compared(
    first: list[str], second: list[str]
) -> None:
    with pytest.raises(UserError, match="needs the same samples as helpdesk-v0001"):
        build_report(
            scored(first, [True] * len(first)),
            scored(second, [True] * len(second)),
            model_version="helpdesk-v0002",
            champion_version="helpdesk-v0001",
            training_targets=["a"],
            dataset_version="helpdesk-v0002",
            dataset_sha256="ab" * 32,
            seconds=1.5,
        )


def test_a_dataset_that_trains_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="dataset helpdesk-v0002 trains nothing"):
        a_report(["a"], [True], [False], training_targets=[])


def test_the_plot_is_a_png() -> None:
    assert accuracy_png(REPORT).startswith(b"\x89PNG")


def test_the_plot_names_no_target_that_few_samples_have() -> None:
    report = a_report(["often"] * 5 + ["my own words", "mine too"], [True] * 7, [False] * 7)
    named = named_targets(report.targets)
    assert [(score.target, score.n) for score in named] == [("often", 5), ("2 rare ones", 2)]
    assert named[1].num_correct_candidate == 2
