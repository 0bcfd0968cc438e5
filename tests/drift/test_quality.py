import dataclasses
import math
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from llm_assets.drift.quality import QUALITY_SCHEMA, quality_scores
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.records import Feedback, FeedbackKind
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
    }
    for row in found.values():
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
    assert row["n"] == 0


def test_the_content_does_not_depend_on_the_order_of_feedback() -> None:
    feedback = feedback_table([a_thumb("f0", "r0", 1), a_thumb("f1", "r0", -1)])
    interactions = interaction_table([an_interaction("r0")])
    assert quality_scores(interactions, feedback).equals(
        quality_scores(interactions, pl.DataFrame(feedback[::-1]))
    )


def test_the_score_of_a_judge_is_nobody_s_feedback() -> None:
    score = dataclasses.replace(a_thumb("f0", "r0", 1), kind=FeedbackKind.SCORE, name="judge")
    assert rates(2, [score, a_thumb("f1", "r1", 1)])["feedback_rate"]["num_events"] == 1
