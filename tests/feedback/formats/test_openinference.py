from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import openinference
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.feedback.formats.telemetry import PARENT, SPAN, TRACE

MESSAGES: dict[str, Any] = {
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "Why?",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "Because.",
    "llm.model_name": "qwen2.5-7b",
    "session.id": "c-9",
    "user.id": "u-17",
}
A_SPAN: dict[str, Any] = {
    "name": "ChatCompletion",
    "context": {"trace_id": TRACE, "span_id": SPAN},
    "parent_id": PARENT,
    "span_kind": "LLM",
    "start_time": "2025-10-09T08:53:20+00:00",
    "end_time": "2025-10-09T08:53:21.2+00:00",
    "status_code": "OK",
    "attributes": MESSAGES,
    "events": [],
}
ANNOTATION: dict[str, Any] = {
    "id": "U3Bhbg==",
    "span_id": SPAN,
    "name": "user_thumb",
    "annotator_kind": "HUMAN",
    "result": {"label": "thumbs_down", "score": 0, "explanation": "did not answer"},
    "user_id": None,
    "created_at": "2025-10-09T08:54:20Z",
}


def interaction(fields: dict[str, Any]) -> Interaction:
    assert openinference.recognises(fields)
    (found,) = openinference.read(fields, "bank").records
    assert isinstance(found, Interaction)
    return found


def feedback(**fields: Any) -> list[Feedback]:
    reading = openinference.read({**ANNOTATION, **fields}, "bank")
    return [record for record in reading.records if isinstance(record, Feedback)]


def test_a_span_is_an_interaction_known_by_its_id() -> None:
    found = interaction(A_SPAN)
    assert (found.request_id, found.aliases) == (SPAN, [TRACE, PARENT])
    assert (found.prompt, found.response, found.latency_seconds) == ("Why?", "Because.", 1.2)
    assert (found.session_id, found.user_id) == ("c-9", "u-17")


def test_nested_attributes_and_the_columns_of_a_data_frame_are_the_same_span() -> None:
    nested = {
        "llm": {
            "input_messages": [{"message": {"role": "user", "content": "Why?"}}],
            "output_messages": [{"message.role": "assistant", "message.content": "Because."}],
            "model_name": "qwen2.5-7b",
        },
        "session": {"id": "c-9"},
        "user": {"id": "u-17"},
    }
    assert interaction({**A_SPAN, "attributes": nested}) == interaction(A_SPAN)
    columns = {key: A_SPAN[key] for key in A_SPAN if key not in ("context", "attributes")}
    columns |= {"context.trace_id": TRACE, "context.span_id": SPAN}
    columns |= {f"attributes.{key}": value for key, value in MESSAGES.items()}
    assert interaction(columns) == interaction(A_SPAN)


def test_a_span_of_the_console_exporter_is_read() -> None:
    fields = {
        **A_SPAN,
        "context": {"trace_id": f"0x{TRACE}", "span_id": f"0x{SPAN}", "trace_state": "[]"},
        "parent_id": f"0x{PARENT}",
        "kind": "SpanKind.INTERNAL",
        "status": {"status_code": "UNSET"},
        "attributes": {**MESSAGES, "openinference.span.kind": "LLM"},
    }
    del fields["span_kind"], fields["status_code"]
    assert interaction(fields) == interaction(A_SPAN)


def test_a_span_that_failed_or_is_no_llm_call() -> None:
    assert interaction({**A_SPAN, "status_code": "ERROR"}).status == 500
    assert openinference.read({**A_SPAN, "span_kind": "CHAIN"}, "bank").num_passed_over == 1


def test_a_persons_annotation_is_a_thumb_with_a_comment() -> None:
    thumb, comment = feedback()
    assert (thumb.feedback_id, thumb.kind, thumb.value) == ("U3Bhbg==", FeedbackKind.THUMB, -1)
    assert (thumb.request_id, comment.text) == (SPAN, "did not answer")


@pytest.mark.parametrize("kind", ["LLM", "CODE"])
def test_a_judges_annotation_is_a_score_whatever_its_label(kind: str) -> None:
    (score,) = feedback(annotator_kind=kind)
    assert (score.kind, score.value, score.name) == (FeedbackKind.SCORE, 0, "user_thumb")


def test_annotations_of_a_trace_or_a_session() -> None:
    without_span = {key: value for key, value in ANNOTATION.items() if key != "span_id"}
    of_trace = openinference.read({**without_span, "trace_id": TRACE}, "bank").records[0]
    of_session = openinference.read({**without_span, "session_id": "c-9"}, "bank").records[0]
    assert getattr(of_trace, "request_id", None) == TRACE
    assert getattr(of_session, "session_id", None) == "c-9"


def test_without_an_id_an_annotation_gets_one_that_is_the_same_each_time() -> None:
    (first, _), (second, _) = feedback(id=None), feedback(id=None)
    (other, _) = feedback(id=None, identifier="second opinion")
    assert first.feedback_id == second.feedback_id != other.feedback_id


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({**A_SPAN, "start_time": None}, "start_time: must be a time"),
        ({**A_SPAN, "attributes": "jane"}, "attributes: must be an object, got a text of 4"),
        ({**ANNOTATION, "created_at": "soon"}, "created_at: must be a time"),
        ({**ANNOTATION, "span_id": ""}, "a score must name the request or the session"),
    ],
)
def test_a_part_that_is_needed_and_wrong_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=f"^{problem}"):
        openinference.read(fields, "bank")
