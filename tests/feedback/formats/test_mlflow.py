import json
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import mlflow
from llm_assets.records import Feedback, Interaction
from tests.feedback.formats.examples import ANSWER, LATER, MLFLOW_TRACE, QUESTION, SYSTEM

INFO: dict[str, Any] = MLFLOW_TRACE["info"]
ROOT, CHAT = MLFLOW_TRACE["data"]["spans"]


def trace(*spans: dict[str, Any], **info: Any) -> dict[str, Any]:
    return {"info": {**INFO, "assessments": [], **info}, "data": {"spans": list(spans)}}


def said(**assessment: Any) -> list[tuple[str, float | None, str | None]]:
    given = {"assessment_id": "a-1", "assessment_name": "helpful", "create_time": LATER}
    reading = mlflow.read(trace(CHAT, assessments=[{**given, **assessment}]), "hotel")
    assert reading.problems == []
    return [(r.kind.value, r.value, r.text) for r in reading.records if isinstance(r, Feedback)]


def test_the_only_call_of_a_model_is_the_interaction_of_its_trace() -> None:
    reading = mlflow.read(MLFLOW_TRACE, "hotel")
    interaction = reading.records[0]
    assert isinstance(interaction, Interaction)
    assert interaction.request_id == "tr-1"
    # Its own span and that around it, as they stand and in hexadecimal.
    assert interaction.aliases == [
        "AAAAAAAAAAI=",
        "0000000000000002",
        "AAAAAAAAAAE=",
        "0000000000000001",
    ]
    assert interaction.messages == [SYSTEM, QUESTION]
    assert interaction.response == ANSWER["content"]
    assert (interaction.session_id, interaction.user_id) == ("stay-1", "guest-4")
    assert (interaction.model_version, interaction.status) == ("guest-model", 200)
    assert (interaction.finish_reason, interaction.latency_seconds) == ("stop", 1.5)
    assert interaction.confidence == pytest.approx(0.8)
    assert (interaction.num_prompt_tokens, interaction.num_response_tokens) == (19, 6)
    # The span around it, and the assessment that is not valid any more.
    assert (reading.problems, reading.num_passed_over) == ([], 2)


def test_assessments_are_feedback_on_the_trace() -> None:
    feedback = [r for r in mlflow.read(MLFLOW_TRACE, "hotel").records if isinstance(r, Feedback)]
    assert {record.request_id for record in feedback} == {"tr-1"}
    assert [(r.feedback_id, r.kind, r.value, r.text, r.user_id) for r in feedback] == [
        ("a-1", "thumb", -1, None, "guest-4"),
        ("a-1-comment", "comment", None, "Wrong hours.", "guest-4"),
        ("a-2", "correction", None, "From eight to eleven.", "clerk-2"),
        ("a-3", "score", 1, "It speaks of breakfast.", None),
    ]


def test_of_several_calls_each_is_an_interaction_by_its_span() -> None:
    second = {**CHAT, "span_id": "AAAAAAAAAAM="}
    first, last = mlflow.read(trace(ROOT, CHAT, second), "hotel").records
    assert isinstance(first, Interaction)
    assert isinstance(last, Interaction)
    assert (first.request_id, last.request_id) == ("AAAAAAAAAAI=", "AAAAAAAAAAM=")
    assert "tr-1" in first.aliases
    assert "tr-1" in last.aliases


def test_a_trace_without_a_call_of_a_model_is_an_interaction_itself() -> None:
    inputs, outputs = json.dumps({"question": QUESTION["content"]}), json.dumps(ANSWER["content"])
    root = {**ROOT, "attributes": {"mlflow.spanInputs": inputs, "mlflow.spanOutputs": outputs}}
    reading = mlflow.read(trace(root), "hotel")
    (interaction,) = reading.records
    assert isinstance(interaction, Interaction)
    assert interaction.request_id == "tr-1"
    assert (interaction.prompt, interaction.response) == (QUESTION["content"], ANSWER["content"])
    assert reading.num_passed_over == 0


@pytest.mark.parametrize(("spans", "num_passed_over"), [([ROOT], 1), ([], 1)])
def test_a_trace_without_a_conversation_is_passed_over(
    spans: list[dict[str, Any]], num_passed_over: int
) -> None:
    assert mlflow.read(trace(*spans), "hotel") == ([], [], num_passed_over)


def test_a_trace_of_mlflow_2_is_read() -> None:
    old = {
        "info": {
            "request_id": "tr-0",
            "timestamp_ms": 1772442000000,
            "status": "ERROR",
            "request_metadata": {"mlflow.trace.session": "stay-1"},
        },
        "data": {
            "spans": [
                {
                    "context": {"span_id": "s-1", "trace_id": "x"},
                    "parent_id": None,
                    "start_time": 1772442000000000000,
                    "end_time": 1772442001000000000,
                    "attributes": CHAT["attributes"],
                }
            ]
        },
    }
    assert mlflow.recognises(old)
    (interaction,) = mlflow.read(old, "hotel").records
    assert isinstance(interaction, Interaction)
    assert (interaction.request_id, interaction.aliases) == ("tr-0", ["s-1"])
    assert (interaction.session_id, interaction.status) == ("stay-1", 500)
    assert interaction.latency_seconds == 1


def test_a_row_of_a_search_is_read_like_the_trace() -> None:
    row = {**INFO, "spans": MLFLOW_TRACE["data"]["spans"]}
    assert mlflow.recognises(row)
    assert mlflow.read(row, "hotel") == mlflow.read(MLFLOW_TRACE, "hotel")


@pytest.mark.parametrize(
    ("assessment", "feedback"),
    [
        ({"feedback": {"value": True}}, ("thumb", 1, None)),
        ({"feedback": {"value": 4}, "assessment_name": "rating"}, ("rating", 4, None)),
        ({"feedback": {"value": 0.4}}, ("score", 0.4, None)),
        ({"feedback": {"value": "too long"}}, ("comment", None, "too long")),
        ({"feedback": {"value": True}, "source": {"source_type": "CODE"}}, ("score", 1, None)),
        (
            {"feedback": {"value": 3}, "name": "n", "create_time_ms": 1772442300000},
            ("score", 3, None),
        ),
    ],
)
def test_an_assessment_is_read_by_its_value_and_its_source(
    assessment: dict[str, Any], feedback: tuple[str, float | None, str | None]
) -> None:
    assert said(**assessment) == [feedback]


@pytest.mark.parametrize(
    "assessment",
    [
        {"feedback": {"value": True}, "valid": False},
        {"feedback": None, "error": {"error_code": "TIMEOUT"}},
        {"expectation": {"value": ["fact one", "fact two"]}},
        {"expectation": {"value": "x"}, "source": {"source_type": "LLM_JUDGE"}},
    ],
)
def test_an_assessment_that_does_not_count_is_passed_over(assessment: dict[str, Any]) -> None:
    assert said(**assessment) == []


def test_an_assessment_of_a_span_names_the_span() -> None:
    span = {"assessment_id": "a", "assessment_name": "n", "span_id": "0000000000000002"}
    given = {**span, "create_time": LATER, "feedback": {"value": True}}
    interaction, thumb = mlflow.read(trace(CHAT, assessments=[given]), "hotel").records
    assert isinstance(interaction, Interaction)
    assert isinstance(thumb, Feedback)
    assert thumb.request_id == "0000000000000002"
    assert thumb.request_id in interaction.aliases


def test_a_bad_part_is_a_problem_and_the_others_are_kept() -> None:
    bad = {"assessment_id": "a", "create_time": LATER, "feedback": {"value": True}}
    late = {**CHAT, "start_time_unix_nano": "when Jane came"}
    reading = mlflow.read(trace(CHAT, late, assessments=[bad]), "hotel")
    assert len(reading.records) == 1
    assert reading.problems == [
        "model span 1: start_time_unix_nano: must be a time (ISO 8601 or since 1970), "
        "got a text of 14 characters",
        "assessments.0: assessment_name: must be of type str",
    ]


@pytest.mark.parametrize("fields", [{}, {"info": {"trace_id": ""}}, {"info": {"trace_id": 0.5}}])
def test_a_trace_needs_an_id(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="_id: must be an id of 1 to 200 characters"):
        mlflow.read(fields, "hotel")


def test_ancestors_in_a_circle_come_to_an_end() -> None:
    loop = {**ROOT, "parent_span_id": CHAT["span_id"]}
    (interaction,) = mlflow.read(trace(loop, CHAT), "hotel").records
    assert isinstance(interaction, Interaction)
