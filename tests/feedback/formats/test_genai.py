import json
from typing import Any

import pytest

from llm_assets.feedback.formats import genai, otlp
from llm_assets.feedback.formats.reading import Reading
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.feedback.formats.telemetry import (
    GENAI,
    PARENT,
    SPAN,
    START_NS,
    TRACE,
    a_log_record,
    a_span,
    a_value,
    an_event,
    logs,
    traces,
)

WITHOUT_TEXT = {key: value for key, value in GENAI.items() if "messages" not in key}
THUMB_DOWN = {
    "gen_ai.evaluation.name": "user_thumb",
    "gen_ai.evaluation.score.value": 0.0,
    "gen_ai.evaluation.score.label": "thumbs_down",
    "gen_ai.evaluation.explanation": "did not answer",
    "gen_ai.response.id": "chatcmpl-1",
}
PARTS = [{"type": "image", "uri": "x"}, {"type": "text", "content": "Why?"}]


def read_span(attributes: dict[str, Any], **fields: Any) -> Reading:
    return otlp.read(traces(a_span(attributes, **fields)), "bank")


def interaction_of(reading: Reading) -> Interaction:
    assert reading.problems == []
    (interaction,) = reading.records
    assert isinstance(interaction, Interaction)
    return interaction


def interaction(attributes: dict[str, Any], **fields: Any) -> Interaction:
    return interaction_of(read_span(attributes, **fields))


def feedback_of(reading: Reading) -> list[Feedback]:
    assert reading.problems == []
    found = [record for record in reading.records if isinstance(record, Feedback)]
    assert len(found) == len(reading.records)
    return found


def evaluation(attributes: dict[str, Any], **fields: Any) -> list[Feedback]:
    record = a_log_record(genai.EVALUATION, attributes, **fields)
    return feedback_of(otlp.read(logs(record), "bank"))


def test_a_span_by_the_current_conventions_is_an_interaction() -> None:
    attributes = {
        **GENAI,
        "gen_ai.response.model": "qwen2.5-7b-instruct",
        "gen_ai.conversation.id": "c-9",
        "user.id": "u-17",
        "gen_ai.usage.input_tokens": 21,
        "gen_ai.usage.output_tokens": 14,
        "gen_ai.response.finish_reasons": ["length"],
        "gen_ai.system_instructions": '[{"type": "text", "content": "Be brief."}]',
    }
    found = interaction(attributes, parentSpanId=PARENT)
    assert (found.request_id, found.aliases) == ("chatcmpl-1", [SPAN, TRACE, PARENT])
    assert (found.prompt, found.response) == ("Why?", "Because.")
    assert found.messages[0] == {"role": "system", "content": "Be brief."}
    assert (found.model_version, found.variant) == ("qwen2.5-7b-instruct", "external")
    assert (found.session_id, found.user_id) == ("c-9", "u-17")
    assert (found.num_prompt_tokens, found.num_response_tokens) == (21, 14)
    assert (found.finish_reason, found.status, found.latency_seconds) == ("length", 200, 1.2)
    assert found.time.timestamp() == START_NS / 1e9


def test_without_a_response_id_a_span_is_known_by_its_own() -> None:
    attributes = {key: value for key, value in GENAI.items() if key != "gen_ai.response.id"}
    found = interaction(attributes)
    assert (found.request_id, found.aliases) == (SPAN, [TRACE])


def test_our_own_attributes_name_the_version_and_the_variant() -> None:
    ours = {"llm_assets.model_version": "bank-v0002", "llm_assets.variant": "challenger"}
    found = interaction({**GENAI, **ours})
    assert (found.model_version, found.variant) == ("bank-v0002", "challenger")


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.input.messages": [{"role": "user", "parts": PARTS}]},
        {"gen_ai.input.messages": json.dumps([{"role": "user", "content": "Why?"}])},
        {"gen_ai.prompt": "Why?"},
        {"gen_ai.prompt": json.dumps([{"role": "user", "content": "Why?"}])},
        {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Why?"},
        {
            "gen_ai.prompt.10.role": "user",
            "gen_ai.prompt.10.content": json.dumps([{"type": "text", "text": "Why?"}]),
            "gen_ai.prompt.9.role": "user",
            "gen_ai.prompt.9.content": "[an earlier question]",
        },
        {
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "Why?",
        },
        {
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.contents.0.message_content.type": "text",
            "llm.input_messages.0.message.contents.0.message_content.text": "Why?",
        },
        {"llm.prompts.0.prompt.text": "Why?"},
        {"input.value": "Why?"},
        {"input.value": json.dumps({"messages": [{"role": "user", "content": "Why?"}]})},
        {"ai.prompt.messages": json.dumps([{"role": "user", "content": "Why?"}])},
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        {"gen_ai.output.messages": [{"role": "assistant", "parts": [{"content": "Because."}]}]},
        {"gen_ai.completion": "Because."},
        {"gen_ai.completion.0.content": "Because.", "gen_ai.completion.0.role": "assistant"},
        {
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "Because.",
        },
        {"llm.choices.0.completion.text": "Because."},
        {"output.value": "Because."},
        {"output.value": json.dumps({"choices": [{"message": {"content": "Because."}}]})},
        {"ai.response.text": "Because."},
    ],
)
def test_each_convention_for_messages_is_understood(
    attributes: dict[str, Any], answer: dict[str, Any]
) -> None:
    found = interaction({**WITHOUT_TEXT, **attributes, **answer})
    assert (found.prompt, found.response) == ("Why?", "Because.")


@pytest.mark.parametrize(
    "attributes",
    [
        {"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.token_count.prompt": 3},
        {"llm.request.type": "chat", "gen_ai.response.model": "m", "gen_ai.usage.prompt_tokens": 3},
        {"gen_ai.system": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3},
    ],
)
def test_an_llm_call_is_known_by_each_convention(attributes: dict[str, Any]) -> None:
    found = interaction({**attributes, "input.value": "Why?", "output.value": "Because."})
    assert (found.model_version, found.num_prompt_tokens) == ("m", 3)


@pytest.mark.parametrize(
    "attributes",
    [
        {"http.route": "/"},
        {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "m"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"},
        {"gen_ai.operation.name": ["chat"]},
        {"openinference.span.kind": "CHAIN", "input.value": "a", "output.value": "b"},
        {"llm.request.type": "embedding", "gen_ai.request.model": "m"},
        {"traceloop.span.kind": "workflow", "gen_ai.request.model": "m"},
        # A model server's own span: it never has text, and the client's span tells the same call.
        {"gen_ai.response.model": "m", "gen_ai.request.id": "r"},
    ],
)
def test_a_span_that_is_no_llm_call_is_passed_over(attributes: dict[str, Any]) -> None:
    assert read_span(attributes) == Reading([], [], 1)


def test_properties_of_traceloop_tell_the_user_and_the_session() -> None:
    properties = {
        "traceloop.association.properties.user_id": 17,
        "traceloop.association.properties.session_id": "c-9",
    }
    found = interaction({**GENAI, **properties})
    assert (found.user_id, found.session_id) == ("17", "c-9")


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"gen_ai.input.messages": GENAI["gen_ai.input.messages"]},
        {"gen_ai.output.messages": GENAI["gen_ai.output.messages"]},
        {
            "gen_ai.input.messages": '[{"role": "user"}]',
            "gen_ai.output.messages": '[{"role": "assistant"}]',
        },
    ],
)
def test_an_llm_call_without_text_says_to_switch_content_capture_on(
    attributes: dict[str, Any],
) -> None:
    reading = read_span({**WITHOUT_TEXT, **attributes})
    assert reading == Reading([], [f"span {SPAN}: {genai.WITHOUT_TEXT}"], 0)


def test_an_answer_that_only_calls_a_tool_is_empty() -> None:
    output = [{"role": "assistant", "parts": [{"type": "tool_call", "name": "t"}]}]
    found = interaction({**GENAI, "gen_ai.output.messages": json.dumps(output)})
    assert found.response == ""


def test_of_several_choices_the_first_with_text_is_the_answer() -> None:
    output = [
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm"}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "One"}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "Two"}]},
    ]
    found = interaction({**GENAI, "gen_ai.output.messages": json.dumps(output)})
    assert found.response == "One"


@pytest.mark.parametrize(
    "fields", [{"status": {"code": 2}}, {"status": {"code": "STATUS_CODE_ERROR"}}]
)
def test_a_call_that_failed_is_an_interaction_without_an_answer(fields: dict[str, Any]) -> None:
    attributes = {**GENAI, "gen_ai.output.messages": "[]"}
    found = interaction(attributes, **fields)
    assert (found.status, found.response, found.prompt) == (500, "", "Why?")


def test_a_conversation_without_a_user_is_a_problem() -> None:
    messages = json.dumps([{"role": "system", "content": "Be brief."}])
    reading = read_span({**GENAI, "gen_ai.input.messages": messages})
    problem = f"span {SPAN}: messages: must hold a user message with text"
    assert reading == Reading([], [problem], 0)


def test_a_span_without_a_time_or_an_id_is_a_problem() -> None:
    (problem,) = read_span(GENAI, startTimeUnixNano=0).problems
    assert problem.startswith(f"span {SPAN}: startTimeUnixNano: must be nanoseconds since 1970")
    attributes = {key: value for key, value in GENAI.items() if key != "gen_ai.response.id"}
    (problem,) = read_span(attributes, spanId="").problems
    assert problem.startswith("span ?: must have gen_ai.response.id or spanId")


@pytest.mark.parametrize(
    "events",
    [
        [
            an_event("gen_ai.content.prompt", {"gen_ai.prompt": "Why?"}),
            an_event("gen_ai.content.completion", {"gen_ai.completion": "Because."}),
        ],
        [
            an_event("gen_ai.system.message", {"content": "Be brief."}),
            an_event("gen_ai.user.message", {"gen_ai.event.content": '{"content": "Why?"}'}),
            an_event("gen_ai.choice", {"message": '{"content": "Because."}', "index": 0}),
        ],
        [an_event("gen_ai.client.inference.operation.details", GENAI)],
    ],
)
def test_older_events_of_a_span_hold_its_messages(events: list[dict[str, Any]]) -> None:
    found = interaction(WITHOUT_TEXT, events=events)
    assert (found.prompt, found.response) == ("Why?", "Because.")


def test_the_event_with_the_details_of_a_call_has_the_ids_of_its_span() -> None:
    details = a_log_record("gen_ai.client.inference.operation.details", GENAI)
    of_event = interaction_of(otlp.read(logs(details), "bank"))
    of_span = interaction(GENAI)
    assert (of_event.request_id, of_event.aliases) == (of_span.request_id, of_span.aliases)
    assert (of_event.prompt, of_event.response) == ("Why?", "Because.")
    without_id = {key: value for key, value in GENAI.items() if key != "gen_ai.response.id"}
    details = a_log_record("gen_ai.client.inference.operation.details", without_id)
    assert interaction_of(otlp.read(logs(details), "bank")).request_id == SPAN


def test_details_of_what_is_no_inference_are_passed_over() -> None:
    attributes = {**GENAI, "gen_ai.operation.name": "embeddings"}
    details = a_log_record("gen_ai.client.inference.operation.details", attributes)
    assert otlp.read(logs(details, a_log_record("app.started", {})), "bank") == Reading([], [], 2)


def test_older_log_events_of_one_span_are_put_together() -> None:
    def event(name: str, body: dict[str, Any], span_id: str = SPAN) -> dict[str, Any]:
        attributes = {"gen_ai.system": "openai"}
        return a_log_record(name, attributes, body=a_value(body), spanId=span_id)

    answer = {"finish_reason": "stop", "message": {"content": "Because."}}
    reading = otlp.read(
        logs(
            event("gen_ai.system.message", {"content": "Be brief."}),
            event("gen_ai.user.message", {"content": "Why?"}),
            event("gen_ai.user.message", {"content": "How?"}, PARENT),
            event("gen_ai.choice", {"index": 0, **answer}),
        ),
        "bank",
    )
    (found,) = reading.records
    assert isinstance(found, Interaction)
    assert (found.request_id, found.prompt, found.response) == (SPAN, "Why?", "Because.")
    assert (found.finish_reason, len(found.messages)) == ("stop", 2)
    assert reading.problems == [f"log events of span {PARENT}: {genai.WITHOUT_TEXT}"]


def test_a_users_evaluation_is_a_thumb_and_its_explanation_a_comment() -> None:
    thumb, comment = evaluation(THUMB_DOWN)
    assert (thumb.kind, thumb.value, thumb.name) == (FeedbackKind.THUMB, -1, "user_thumb")
    assert (comment.kind, comment.text) == (FeedbackKind.COMMENT, "did not answer")
    assert {thumb.request_id, comment.request_id} == {"chatcmpl-1"}
    assert comment.feedback_id == f"{thumb.feedback_id}-comment"


@pytest.mark.parametrize(
    ("name", "value", "label", "kind", "expected"),
    [
        ("user_thumb", 1, "", FeedbackKind.THUMB, 1),
        ("user_satisfied", False, "", FeedbackKind.THUMB, -1),
        ("quality", 1.0, "thumbs_up", FeedbackKind.THUMB, 1),
        ("user_rating", 4, "", FeedbackKind.RATING, 4),
        ("user_effort", 0.3, "", FeedbackKind.SCORE, 0.3),
        ("relevance", 1, "", FeedbackKind.SCORE, 1),
        ("sentiment", 0.0, "positive", FeedbackKind.SCORE, 0),
        ("faithful", 0.25, "", FeedbackKind.SCORE, 0.25),
    ],
)
def test_only_a_users_evaluation_is_more_than_a_score(
    name: str, value: Any, label: str, kind: FeedbackKind, expected: float
) -> None:
    attributes = {
        "gen_ai.evaluation.name": name,
        "gen_ai.evaluation.score.value": value,
        "gen_ai.evaluation.score.label": label,
    }
    (found,) = evaluation(attributes)
    assert (found.kind, found.value, found.request_id) == (kind, expected, SPAN)


def test_an_evaluation_that_is_sent_again_has_the_same_id() -> None:
    assert evaluation(THUMB_DOWN) == evaluation(THUMB_DOWN)
    first, _ = evaluation(THUMB_DOWN)
    changes: list[dict[str, Any]] = [
        {"gen_ai.evaluation.score.label": "thumbs_up"},
        {"gen_ai.evaluation.name": "user_thumb_2"},
        {"gen_ai.response.id": "chatcmpl-2"},
    ]
    others = [evaluation({**THUMB_DOWN, **change})[0] for change in changes]
    others.append(evaluation(THUMB_DOWN, timeUnixNano=str(START_NS))[0])
    others.append(evaluation(THUMB_DOWN, traceId=TRACE[::-1])[0])
    assert len({feedback.feedback_id for feedback in (first, *others)}) == 6


def test_an_evaluation_as_an_event_of_its_span_speaks_of_that_call() -> None:
    attributes = {key: value for key, value in THUMB_DOWN.items() if key != "gen_ai.response.id"}
    event = an_event(genai.EVALUATION, attributes)
    reading = read_span({**GENAI, "user.id": "u-17"}, events=[event])
    call, thumb, _ = reading.records
    assert isinstance(thumb, Feedback)
    assert (thumb.request_id, thumb.user_id) == (call.record_id, "u-17")


def test_an_evaluation_of_a_conversation_speaks_of_the_session() -> None:
    attributes = {
        "gen_ai.evaluation.name": "user_rating",
        "gen_ai.evaluation.score.value": 5,
        "gen_ai.conversation.id": "c-9",
    }
    (found,) = evaluation(attributes, spanId="", traceId="")
    assert (found.request_id, found.session_id) == (None, "c-9")


def test_an_evaluation_of_nothing_is_a_problem_and_one_that_says_nothing_is_passed_over() -> None:
    nothing = a_log_record(genai.EVALUATION, {"gen_ai.evaluation.score.value": 1}, spanId="")
    silent = a_log_record(genai.EVALUATION, {"gen_ai.evaluation.name": "quality"})
    reading = otlp.read(logs(nothing, silent), "bank")
    assert (reading.records, reading.num_passed_over) == ([], 1)
    assert reading.problems == [
        "log event of span ?: a score must name the request or the session that it speaks of"
    ]


def test_annotations_among_a_spans_attributes_are_feedback() -> None:
    attributes = {
        "openinference.span.kind": "CHAIN",
        "session.id": "c-9",
        "annotations.0.annotation.name": "user_thumb",
        "annotations.0.annotation.score": 1,
        "annotations.0.annotation.annotator_kind": "HUMAN",
        "trace.evaluations.0.evaluation.name": "correctness",
        "trace.evaluations.0.evaluation.score": 0.95,
        "trace.evaluations.0.evaluation.annotator_kind": "LLM",
        "session.annotations.0.annotation.name": "stars",
        "session.annotations.0.annotation.score": 4,
        "session.annotations.0.annotation.annotator_kind": "HUMAN",
    }
    found = feedback_of(read_span(attributes))
    assert [(one.kind, one.value, one.request_id, one.session_id) for one in found] == [
        (FeedbackKind.THUMB, 1, SPAN, "c-9"),
        (FeedbackKind.SCORE, 0.95, TRACE, "c-9"),
        (FeedbackKind.RATING, 4, None, "c-9"),
    ]


def test_nothing_that_a_message_says_is_quoted_in_a_problem() -> None:
    secret = "jane@example.com"
    messages = json.dumps([{"role": "system", "content": secret}])
    reading = read_span({**GENAI, "gen_ai.input.messages": messages, "user.id": secret * 50})
    assert reading.problems != []
    assert secret not in " ".join(reading.problems)
