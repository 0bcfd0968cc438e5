import dataclasses
import math
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from llm_assets.drift.confidence import Calibration
from llm_assets.drift.detectors.calibration import Undefined
from llm_assets.drift.quality import (
    QUALITY_SCHEMA,
    calibration_of,
    confident_version,
    quality_scores,
)
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.records import TIME, a_correction, an_interaction


def a_thumb(feedback_id: str, request_id: str, value: float, **fields: Any) -> Feedback:
    return Feedback(
        feedback_id=feedback_id,
        request_id=request_id,
        application="helpdesk",
        time=fields.pop("time", TIME),
        kind=fields.pop("kind", FeedbackKind.THUMB),
        value=value,
    )


def rates(num_answered: int, feedback: list[Feedback], num_failed: int = 0) -> dict[str, Any]:
    answered = [an_interaction(f"r{i}") for i in range(num_answered)]
    failed = [an_interaction(f"failed{i}", status=503) for i in range(num_failed)]
    table = quality_scores(interaction_table([*answered, *failed]), feedback_table(feedback))
    assert table.schema == QUALITY_SCHEMA
    return {row["metric"]: row for row in table.to_dicts()}


def test_each_rate_has_its_own_n_and_an_interval() -> None:
    feedback = [a_thumb("f0", "r0", 1), a_thumb("f1", "r1", -1), a_correction("f2", "r1", "money")]
    found = rates(8, feedback, num_failed=2)
    counts = {name: (row["num_events"], row["n"]) for name, row in found.items()}
    assert counts == {
        "satisfaction_rate": (1, 2),
        "correction_rate": (1, 8),
        "error_rate": (2, 10),
        "feedback_rate": (2, 8),
        "fallback_rate": (0, 10),
        "estimated_accuracy": (None, 0),
    }
    for row in found.values():
        if row["metric"] in ("fallback_rate", "estimated_accuracy"):
            continue
        assert row["reason"] is None
        assert row["interval_low"] < row["value"] < row["interval_high"]


def test_the_latest_signal_of_an_interaction_decides() -> None:
    later = TIME + timedelta(days=3)
    feedback = [
        a_thumb("f0", "r0", -1),
        a_thumb("f1", "r0", 1, time=later),
        a_thumb("f2", "r1", 1),
        a_correction("f3", "r1", "money"),
        a_thumb("f4", "r2", 4, kind=FeedbackKind.RATING),
        a_thumb("f5", "r3", 3, kind=FeedbackKind.RATING),
    ]
    found = rates(5, feedback)["satisfaction_rate"]
    assert (found["num_events"], found["n"]) == (2, 4)


def test_feedback_on_other_or_failed_interactions_is_passed_over() -> None:
    feedback = [a_thumb("f0", "unknown", 1), a_thumb("f1", "failed0", 1)]
    found = rates(3, feedback, num_failed=1)
    assert found["feedback_rate"]["num_events"] == 0
    assert found["satisfaction_rate"]["n"] == 0


@pytest.mark.parametrize("metric", ["satisfaction_rate", "error_rate"])
def test_a_rate_of_nothing_is_nan(metric: str) -> None:
    row = rates(0, [])[metric]
    assert all(math.isnan(row[column]) for column in ("value", "interval_low", "interval_high"))
    assert (row["n"], row["reason"]) == (0, "n is 0")


def test_the_content_does_not_depend_on_the_order_of_feedback() -> None:
    feedback = feedback_table([a_thumb("f0", "r0", 1), a_thumb("f1", "r0", -1)])
    interactions = interaction_table([an_interaction("r0")])
    assert quality_scores(interactions, feedback).equals(
        quality_scores(interactions, pl.DataFrame(feedback[::-1]))
    )


def test_the_score_of_a_judge_is_nobody_s_feedback() -> None:
    score = dataclasses.replace(a_thumb("f0", "r0", 1), kind=FeedbackKind.SCORE, name="judge")
    assert rates(2, [score, a_thumb("f1", "r1", 1)])["feedback_rate"]["num_events"] == 1


def test_answers_of_another_model_are_counted_whether_they_failed_or_not() -> None:
    rows = [
        an_interaction("r0"),
        an_interaction("r1", variant="challenger"),
        an_interaction("r2", variant="fallback"),
        an_interaction("r3", variant="fallback", status=503),
    ]
    table = quality_scores(interaction_table(rows), feedback_table([]))
    row = table.row(by_predicate=pl.col("metric") == "fallback_rate", named=True)
    assert (row["num_events"], row["n"], row["value"]) == (2, 4, 0.5)
    assert row["interval_low"] < 0.5 < row["interval_high"]


def confident(first: int, confidences: list[float], **fields: Any) -> list[Interaction]:
    """Return an answer a confidence, with ids from a number on."""
    return [
        an_interaction(f"r{first + i}", confidence=confidence, **fields)
        for i, confidence in enumerate(confidences)
    ]


# Of 300 earlier answers the sure half was right nine times of ten, the other half three times.
SURE, UNSURE = 0.9, 0.4
EARLIER = confident(0, [SURE] * 150 + [UNSURE] * 150)
VERDICTS = [
    a_thumb(f"f{i}", f"r{i}", 1 if i % 10 < (9 if i < 150 else 3) else -1) for i in range(300)
]


def calibration(
    earlier: list[Interaction] = EARLIER, feedback: list[Feedback] = VERDICTS
) -> Calibration | Undefined:
    version = "helpdesk-v0001"
    return calibration_of(version, interaction_table(earlier), feedback_table(feedback))


def estimate(today: list[Interaction], calibration: Calibration | Undefined | None) -> Any:
    table = quality_scores(interaction_table(today), feedback_table([]), calibration=calibration)
    assert table.schema == QUALITY_SCHEMA
    return table.row(by_predicate=pl.col("metric") == "estimated_accuracy", named=True)


@pytest.mark.parametrize(("num_sure", "expected"), [(100, 0.9), (50, 0.6), (0, 0.3)])
def test_answers_that_nobody_judged_are_as_good_as_earlier_ones_of_their_confidence(
    num_sure: int, expected: float
) -> None:
    today = confident(1000, [SURE] * num_sure + [UNSURE] * (100 - num_sure))
    row = estimate(today, calibration())
    assert row["value"] == pytest.approx(expected)
    assert row["interval_low"] < expected < row["interval_high"]
    assert (row["n"], row["num_events"], row["reason"]) == (100, None, None)


def test_only_judged_answers_of_the_same_version_calibrate() -> None:
    of_others = confident(500, [SURE] * 100, model_version="helpdesk-v0002")
    failed = confident(600, [SURE] * 100, status=500)
    silent = [an_interaction(f"r{i}") for i in range(700, 800)]
    unjudged = confident(800, [SURE] * 100)
    bad = [a_thumb(f"bad{i}", f"r{i}", -1) for i in range(500, 800)]
    found = calibration([*EARLIER, *of_others, *failed, *silent, *unjudged], [*VERDICTS, *bad])
    alone = calibration()
    assert isinstance(found, Calibration)
    assert isinstance(alone, Calibration)
    assert found.rates.tolist() == alone.rates.tolist() == pytest.approx([0.3, 0.9])
    assert found.counts.tolist() == [150, 150]


def test_the_estimate_is_of_the_version_that_gave_most_of_the_answers() -> None:
    today = [
        *confident(1000, [SURE] * 30),
        *confident(1100, [UNSURE] * 20, model_version="helpdesk-v0002"),
        *confident(1200, [UNSURE] * 30, status=500),
        *[an_interaction(f"r{i}", model_version="helpdesk-v0003") for i in range(1300, 1400)],
    ]
    assert confident_version(interaction_table(today)) == "helpdesk-v0001"
    row = estimate(today, calibration())
    assert (row["n"], row["value"]) == (30, pytest.approx(0.9))


@pytest.mark.parametrize(
    ("today", "calibrated", "n", "reason"),
    [
        ([], calibration(), 0, "0 answers with a confidence"),
        ([an_interaction("r0")], calibration(), 0, "0 answers with a confidence"),
        (confident(0, [0.5]), None, 1, "0 earlier days to calibrate on"),
        (confident(0, [0.5]), calibration(feedback=[]), 1, "0 good and 0 bad verdicts"),
        (confident(0, [0.01]), calibration(), 1, "1 of 1 answers have a confidence outside"),
    ],
)
def test_an_estimate_that_nothing_supports_is_nan_and_says_why(
    today: list[Interaction], calibrated: Calibration | Undefined | None, n: int, reason: str
) -> None:
    row = estimate(today, calibrated)
    assert all(math.isnan(row[column]) for column in ("value", "interval_low", "interval_high"))
    assert row["n"] == n
    assert row["reason"].startswith(reason)


def test_a_day_without_confidences_is_of_no_version() -> None:
    assert confident_version(interaction_table([an_interaction("r0")])) is None


def test_the_calibration_does_not_depend_on_the_order_of_answers() -> None:
    answers = interaction_table(EARLIER)
    feedback = feedback_table(VERDICTS)
    found = calibration_of("helpdesk-v0001", answers[::-1], feedback[::-1])
    other = calibration()
    assert isinstance(found, Calibration)
    assert isinstance(other, Calibration)
    assert [array.tolist() for array in found[:3]] == [array.tolist() for array in other[:3]]
