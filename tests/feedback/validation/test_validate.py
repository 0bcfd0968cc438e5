"""What the suites find; each test breaks something in good rows."""

import socket
import sys
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from llm_assets.feedback.joining import known_ids
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.feedback.validation import validate
from llm_assets.feedback.validation.config import ValidationConfig
from llm_assets.feedback.validation.rules import Rule
from llm_assets.feedback.validation.suite import broken
from llm_assets.feedback.validation.validate import (
    DayReport,
    Outcome,
    validate_feedback,
    validate_interactions,
)
from llm_assets.records import Feedback, FeedbackKind
from tests.records import TIME, a_correction, an_interaction

DAY = TIME.date()
NEXT = DAY + timedelta(days=1)
NOW = TIME + timedelta(days=1)
SECRET = "wonderful secret"


def some_interactions(num: int = 4) -> pl.DataFrame:
    fields = {
        "latency_seconds": 0.5,
        "first_token_seconds": 0.1,
        "num_prompt_tokens": 3,
        "num_response_tokens": 0,
    }
    return interaction_table([an_interaction(f"r{n}", prompt=SECRET, **fields) for n in range(num)])


def some_feedback() -> pl.DataFrame:
    def signal(number: int, kind: FeedbackKind, **fields: Any) -> Feedback:
        return Feedback(
            feedback_id=f"f{number}",
            application="helpdesk",
            time=TIME,
            kind=kind,
            request_id="r0",
            **fields,
        )

    return feedback_table(
        [
            signal(0, FeedbackKind.THUMB, value=-1),
            signal(1, FeedbackKind.RATING, value=5),
            signal(2, FeedbackKind.COMMENT, text=SECRET),
            signal(3, FeedbackKind.REPHRASE, confidence=0.7, rule="rephrase-1"),
            a_correction("f4", "r1", SECRET),
        ]
    )


def interactions_report(frame: pl.DataFrame | None, **options: Any) -> DayReport:
    (report,) = validate_interactions([(DAY, frame)], **_options(frame, options))
    return report


def feedback_report(frame: pl.DataFrame, **options: Any) -> DayReport:
    known = known_ids(some_interactions())
    (report,) = validate_feedback([(DAY, frame)], known=known, **_options(frame, options))
    return report


def _options(frame: pl.DataFrame | None, options: dict[str, Any]) -> dict[str, Any]:
    published = {} if frame is None else {DAY: frame.height}
    return {"num_rows": published, "config": ValidationConfig(), "now": NOW, **options}


def only(report: DayReport) -> Outcome:
    (violation,) = report.violations
    return violation


def replaced(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """Return the rows with some values of one of them replaced."""
    is_row = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(is_row).then(pl.lit(value, frame.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )


def test_good_rows_pass_every_rule() -> None:
    for report in (interactions_report(some_interactions()), feedback_report(some_feedback())):
        assert report.violations == []
        assert report.num_rows == report.outcomes[1].num_rows > 0
        assert len(report.outcomes) > 10


@pytest.mark.parametrize(
    ("rule", "values", "shown"),
    [
        ("status_is_http", {"status": 99}, 99),
        ("status_is_http", {"status": 600}, 600),
        ("latency_is_plausible", {"latency_seconds": -0.1}, -0.1),
        ("latency_is_plausible", {"latency_seconds": 3600.0}, 3600.0),
        ("first_token_is_plausible", {"first_token_seconds": -0.1}, -0.1),
        ("num_prompt_tokens_is_a_count", {"num_prompt_tokens": -1}, -1),
        ("num_response_tokens_is_a_count", {"num_response_tokens": -1}, -1),
        ("prompt_is_not_blank", {"prompt": " \n"}, 0),
        ("time_lies_in_the_day", {"time": TIME + timedelta(days=1)}, 1),
        ("time_lies_in_the_day", {"time": TIME - timedelta(days=3)}, -3),
    ],
)
def test_an_interaction_out_of_its_range_is_named(
    rule: str, values: dict[str, Any], shown: float
) -> None:
    violation = only(interactions_report(replaced(some_interactions(), 2, **values)))
    assert violation.rule.name == rule
    assert (violation.num_broken, violation.num_rows) == (1, 4)
    assert violation.offenders == [("r2", shown)]


@pytest.mark.parametrize(
    ("rule", "row", "values", "shown"),
    [
        ("thumb_is_up_or_down", 0, {"value": 0.5}, 0.5),
        ("thumb_is_up_or_down", 0, {"value": None}, 0),
        ("rating_has_five_steps", 1, {"value": 6}, 6),
        ("confidence_is_a_rate", 3, {"confidence": 1.5}, 1.5),
        ("text_is_not_empty", 2, {"text": None}, 0),
        ("text_is_not_empty", 4, {"text": ""}, 0),
        ("kind_is_known", 3, {"kind": SECRET}, f"a text of {len(SECRET)} characters"),
        ("request_is_known", 1, {"request_id": "elsewhere"}, 1),
    ],
)
def test_feedback_out_of_its_range_is_named(
    rule: str, row: int, values: dict[str, Any], shown: float | str
) -> None:
    violation = only(feedback_report(replaced(some_feedback(), row, **values)))
    assert violation.rule.name == rule
    assert violation.offenders == [(f"f{row}", shown)]


def test_feedback_that_names_neither_a_request_nor_a_session_is_an_error() -> None:
    report = feedback_report(replaced(some_feedback(), 0, request_id=None))
    found = {violation.rule.name: violation.rule.is_error for violation in report.violations}
    assert found["speaks_of_something"]


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.drop("variant"),
        lambda frame: frame.with_columns(more=1),
        lambda frame: frame.with_columns(pl.col("status").cast(pl.String)),
        lambda frame: frame.with_columns(pl.col("time").dt.cast_time_unit("ms")),
    ],
)
def test_a_column_too_few_too_many_or_of_another_type_is_an_error(
    change: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    violation = only(interactions_report(change(some_interactions())))
    assert (violation.rule.name, violation.rule.is_error) == ("schema", True)
    ((column, shown),) = violation.offenders
    assert column in {"variant", "more", "status", "time"}
    assert " instead of " in str(shown)


def test_an_id_twice_in_a_day_is_an_error_and_on_two_days_it_is_not() -> None:
    rows = some_interactions()
    violation = only(interactions_report(pl.concat([rows, rows[:1]])))
    assert (violation.rule.name, violation.num_broken) == ("id_is_unique", 2)
    assert violation.rule.is_error
    tomorrow = rows.with_columns(pl.col("time").dt.offset_by("1d"))
    reports = validate_interactions([(DAY, rows), (NEXT, tomorrow)], **_options(rows, {}))
    assert [report.violations for report in reports] == [[], []]


def test_rows_without_an_id_are_an_error() -> None:
    report = interactions_report(replaced(some_interactions(), 1, request_id=None))
    assert only(report).rule.name == "id_is_given"


def test_some_rows_may_break_a_rule_that_allows_it() -> None:
    rows = replaced(some_interactions(10), 3, prompt="")
    assert only(interactions_report(rows)).num_broken == 1
    tolerant = ValidationConfig(max_blank_prompt_rate=0.1)
    assert interactions_report(rows, config=tolerant).violations == []


def test_the_prompt_of_a_failed_request_may_be_blank() -> None:
    assert (
        interactions_report(replaced(some_interactions(), 0, prompt="", status=503)).violations
        == []
    )


def test_a_published_day_without_rows_passes_for_no_good_day() -> None:
    assert only(interactions_report(some_interactions()[:0])).rule.name == "has_rows"


def test_a_day_that_never_was_published_has_nothing_to_break() -> None:
    report = interactions_report(None)
    assert (report.num_rows, report.violations) == (0, [])


def test_a_day_is_compared_with_the_same_weekday_of_the_weeks_before() -> None:
    weeks = {DAY - timedelta(weeks=n): 100 for n in (1, 2, 3)}
    few = interactions_report(some_interactions(), num_rows={**weeks, DAY: 4})
    assert only(few).rule.name == "volume_is_usual"
    assert only(few).offenders == [(None, -16)]
    assert few.usual.num_weeks == 3
    missing = interactions_report(None, num_rows=weeks)
    assert only(missing).offenders == [(None, -20)]


def test_only_the_newest_day_has_to_be_fresh() -> None:
    later = NOW + timedelta(days=30)
    rows = some_interactions()
    violation = only(interactions_report(rows, now=later))
    assert (violation.rule.name, violation.offenders) == ("is_fresh", [(None, 31)])
    assert interactions_report(rows, now=later, num_rows={DAY: 4, NEXT: 4}).violations == []


def test_days_checked_together_have_reports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "_BATCH_ROWS", 5)
    days: list[tuple[date, pl.DataFrame | None]] = []
    for number in range(6):
        moved = some_interactions().with_columns(pl.col("time").dt.offset_by(f"{number}d"))
        rows = replaced(moved, number % 4, status=number) if number % 2 else moved
        days.append((DAY + timedelta(days=number), None if number == 4 else rows))
    reports = validate_interactions(days, **_options(None, {}))
    assert [report.day for report in reports] == [day for day, _ in days]
    shown = [
        [offender for v in report.violations for offender in v.offenders] for report in reports
    ]
    assert shown == [[], [("r1", 1)], [], [("r3", 3)], [], [("r1", 5)]]


def test_no_text_of_a_user_is_shown() -> None:
    interactions = replaced(some_interactions(), 1, status=1).with_columns(more=pl.lit(SECRET))
    feedback = replaced(some_feedback(), 3, kind=SECRET, confidence=2.0)
    for report in (interactions_report(interactions), feedback_report(feedback)):
        assert len(report.violations) == 2
        assert SECRET not in repr(report)


def test_a_rule_that_cannot_be_checked_does_not_pass() -> None:
    rule = Rule(name="odd", claim="", column="text", at_least=0)
    with pytest.raises(RuntimeError, match="rule 'odd' cannot be checked"):
        broken(pl.DataFrame({"text": ["a", None]}), [rule])


def test_nothing_is_printed_and_nobody_is_called(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a validation must not use the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    interactions_report(replaced(some_interactions(), 1, status=1))
    assert "great_expectations" in sys.modules
    assert capfd.readouterr() == ("", "")
