from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.formats.scores import Target, read_score
from llm_assets.records import Feedback

TARGET = Target(
    application="hotel",
    time=datetime(2026, 3, 2, 9, tzinfo=UTC),
    request_id="r1",
    session_id="stay-1",
    user_id="guest-4",
)


def said(**score: Any) -> list[tuple[str, float | None, str | None]]:
    reading = read_score(TARGET, **{"feedback_id": "f1", "name": "helpful", **score})
    assert reading.problems == []
    assert [record.record_id for record in reading.records[:1]] in ([], ["f1"])
    return [
        (record.kind.value, record.value, record.text)
        for record in reading.records
        if isinstance(record, Feedback)
    ]


@pytest.mark.parametrize(
    ("score", "thumb"),
    [
        ({"value": True}, 1),
        ({"value": False}, -1),
        ({"value": 1}, 1),
        ({"value": 0.0}, -1),
        ({"value": -1}, -1),
        ({"label": "thumbs_up"}, 1),
        ({"label": "Thumbs Down"}, -1),
        ({"label": "GOOD"}, 1),
        ({"label": "bad", "value": 0}, -1),
        ({"value": "dislike"}, -1),
        ({"value": "positive"}, 1),
        ({"value": "negative"}, -1),
        ({"value": True, "name": "rating"}, 1),
        ({"value": 0, "name": "rating"}, -1),
    ],
)
def test_a_yes_or_no_of_a_human_is_a_thumb(score: dict[str, Any], thumb: int) -> None:
    assert said(**score) == [("thumb", thumb, None)]


@pytest.mark.parametrize("name", ["rating", "star_rating", "Stars", "user-rating"])
@pytest.mark.parametrize("value", [1, 3, 5.0])
def test_one_to_five_of_a_human_is_a_rating_by_its_name(name: str, value: float) -> None:
    assert said(name=name, value=value) == [("rating", value, None)]


@pytest.mark.parametrize(
    "score",
    [{"value": 0.7}, {"value": 3}, {"value": 7, "name": "rating"}, {"value": 2.5, "name": "star"}],
)
def test_any_other_number_of_a_human_is_a_score(score: dict[str, Any]) -> None:
    assert said(**score) == [("score", score["value"], None)]


@pytest.mark.parametrize("value", [0, 1, 0.5])
def test_a_point_on_a_scale_is_a_score_and_no_thumb(value: float) -> None:
    assert said(value=value, is_graded=True) == [("score", value, None)]


def test_a_label_that_says_nothing_to_us_is_a_comment_under_its_name() -> None:
    assert said(label="late check-out", name="topic") == [("comment", None, "late check-out")]


def test_what_is_said_beside_a_score_is_feedback_of_its_own() -> None:
    reading = read_score(
        TARGET, feedback_id="f1", name="helpful", value=0, comment="No.", correction="At eight."
    )
    assert [(record.record_id, getattr(record, "text", "")) for record in reading.records] == [
        ("f1", None),
        ("f1-comment", "No."),
        ("f1-correction", "At eight."),
    ]
    for record in reading.records:
        assert isinstance(record, Feedback)
        assert (record.request_id, record.session_id) == ("r1", "stay-1")
        assert (record.user_id, record.name, record.time) == ("guest-4", "helpful", TARGET.time)


def test_a_comment_alone_keeps_the_id() -> None:
    assert said(comment="Wrong hours.") == [("comment", None, "Wrong hours.")]


@pytest.mark.parametrize(
    ("score", "value"),
    [
        ({"value": True}, 1),
        ({"value": False}, 0),
        ({"value": 0}, 0),
        ({"value": 4, "name": "rating"}, 4),
        ({"label": "yes"}, 1),
        ({"value": "no"}, 0),
        ({"label": "thumbs_down"}, -1),
    ],
)
def test_what_a_judge_says_is_a_score_with_its_explanation(
    score: dict[str, Any], value: float
) -> None:
    assert said(**score, comment="As asked.", is_human=False) == [("score", value, "As asked.")]


@pytest.mark.parametrize(
    "score",
    [
        {},
        {"comment": " "},
        {"correction": {"score": 1}},
        {"value": [1]},
        {"value": float("nan")},
        {"value": 10**400},
        {"label": "fluent", "comment": "As asked.", "is_human": False},
    ],
)
def test_a_score_that_says_nothing_is_passed_over(score: dict[str, Any]) -> None:
    reading = read_score(TARGET, **{"feedback_id": "f1", "name": "helpful", **score})
    assert reading == ([], [], 1)


@pytest.mark.parametrize("is_human", [True, False])
@pytest.mark.parametrize("name", [None, ""])
def test_a_score_without_a_name_is_called_score(name: str | None, is_human: bool) -> None:
    (record,) = read_score(
        TARGET, feedback_id="f1", name=name, value=0.5, is_human=is_human
    ).records
    assert getattr(record, "name", None) == "score"


def test_a_score_of_nothing_is_refused() -> None:
    nowhere = TARGET._replace(request_id=None, session_id=None)
    with pytest.raises(UserError, match="must name the request or the session"):
        read_score(nowhere, feedback_id="f1", name="helpful", value=1)


@given(st.text("ab", min_size=1, max_size=200))
def test_derived_ids_are_as_short_as_an_id_must_be_and_always_the_same(feedback_id: str) -> None:
    first, second = (
        read_score(TARGET, feedback_id=feedback_id, name="n", value=1, comment="x")
        for _ in range(2)
    )
    assert first == second
    assert first.problems == []
    assert len({record.record_id for record in first.records}) == 2
