"""What spans and log events say of LLM calls, as interactions and feedback.

Understood are the conventions of OpenTelemetry GenAI, current and older, of OpenInference, and of
OpenLLMetry. A span that is no LLM call is passed over. One that is, without the text of its
messages, is a problem: its instrumentation captures content only when told to.

An interaction is known by the id of the model's response, or else by its span's; the ids of its
span, its trace, and the span around it are its aliases.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats.conventions import (
    CHOICE,
    MESSAGE_ROLES,
    OPERATION_DETAILS,
    contents_of,
    conversation_of_call,
)
from llm_assets.feedback.formats.reading import (
    Parts,
    Reading,
    count_of,
    digest,
    identifier,
    last_prompt,
)
from llm_assets.feedback.formats.scores import Target, read_score
from llm_assets.feedback.formats.span_annotations import has_annotations, read_annotations
from llm_assets.feedback.formats.telemetry import Event, Span, Telemetry, time_of_ns
from llm_assets.records import Interaction

EVALUATION = "gen_ai.evaluation.result"
WITHOUT_TEXT = (
    "is an LLM call without the text of its messages; switch on the capture of message content in "
    "its instrumentation (OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, for OpenLLMetry "
    "TRACELOOP_TRACE_CONTENT)"
)

USER_KEYS = (
    "user.id",
    "enduser.id",
    "traceloop.association.properties.user_id",
    "gen_ai.user",
    "llm.user",
)
SESSION_KEYS = (
    "gen_ai.conversation.id",
    "session.id",
    "traceloop.association.properties.session_id",
)
_OPERATIONS = ("chat", "text_completion", "generate_content", "completion")
_MODEL_KEYS = (
    "llm_assets.model_version",
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
)
_PROMPT_TOKEN_KEYS = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
)
_RESPONSE_TOKEN_KEYS = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
)
_FINISH_REASON_KEYS = ("gen_ai.response.finish_reasons", "llm.finish_reason")
_MESSAGE_EVENTS = (*MESSAGE_ROLES, CHOICE)


def read(telemetry: Telemetry, application: str) -> Reading:
    """Return the interactions and the feedback in what a resource sent."""
    parts = Parts()
    parts.problems += telemetry.problems
    for span in telemetry.spans:
        _read_span(span, application, parts)
    calls: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in telemetry.events:
        place = f"log event of span {event.span_id or '?'}"
        if event.name == EVALUATION:
            with parts.part(place):
                parts.add(_evaluation(event, {}, application))
        elif event.name == OPERATION_DETAILS and _is_inference(contents_of(event)):
            with parts.part(place):
                parts.records.append(_interaction_of_event(event, [], application))
        elif event.name in _MESSAGE_EVENTS:
            calls[event.trace_id, event.span_id].append(event)
        else:
            parts.num_passed_over += 1
    for events in calls.values():
        with parts.part(f"log events of span {events[0].span_id or '?'}"):
            parts.records.append(_interaction_of_event(events[-1], events, application))
    return parts.reading()


def num_of_interest(telemetry: Telemetry) -> int:
    """Return how many spans and events are about an LLM call, or were not readable."""
    names = (EVALUATION, OPERATION_DETAILS, *_MESSAGE_EVENTS)
    num_spans = sum(
        is_llm_call(span.attributes)
        or has_annotations(span.attributes)
        or any(event.name == EVALUATION for event in span.events)
        for span in telemetry.spans
    )
    num_events = sum(event.name in names for event in telemetry.events)
    return num_spans + num_events + len(telemetry.problems)


def is_llm_call(attributes: dict[str, Any]) -> bool:
    """Say whether a span with these attributes is one call of an LLM.

    An agent, a workflow, or a tool is none, nor is what makes embeddings.
    """
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        return operation in _OPERATIONS
    kind = attributes.get("openinference.span.kind")
    if kind is not None:
        return kind == "LLM"
    request_type = attributes.get("llm.request.type")
    if request_type is not None:
        return request_type in ("chat", "completion")
    return "gen_ai.request.model" in attributes and "traceloop.span.kind" not in attributes


def _read_span(span: Span, application: str, parts: Parts) -> None:
    num_before = len(parts.records) + len(parts.problems)
    place = f"span {span.span_id or '?'}"
    if is_llm_call(span.attributes):
        with parts.part(place):
            parts.records.append(_interaction_of_span(span, application))
    for event in span.events:
        if event.name == EVALUATION:
            with parts.part(place):
                parts.add(_evaluation(event, span.attributes, application))
    if has_annotations(span.attributes):
        with parts.part(place):
            parts.add(read_annotations(span, _request_id(span.attributes, span), application))
    if num_before == len(parts.records) + len(parts.problems):
        parts.num_passed_over += 1


def _interaction_of_span(span: Span, application: str) -> Interaction:
    duration_ns = span.end_ns - span.start_ns
    return _interaction(
        span,
        span.attributes,
        span.events,
        application=application,
        time=time_of_ns(span.start_ns, "startTimeUnixNano"),
        is_error=span.is_error,
        latency_seconds=duration_ns / 1e9 if duration_ns >= 0 and span.end_ns else None,
        parent_span_id=span.parent_span_id,
    )


def _interaction_of_event(event: Event, events: list[Event], application: str) -> Interaction:
    return _interaction(
        event,
        contents_of(event),
        events,
        application=application,
        time=time_of_ns(event.time_ns, "timeUnixNano"),
        is_error=False,
    )


def _interaction(
    source: Span | Event,
    attributes: dict[str, Any],
    events: list[Event],
    *,
    application: str,
    time: datetime,
    is_error: bool,
    latency_seconds: float | None = None,
    parent_span_id: str = "",
) -> Interaction:
    request_id = _request_id(attributes, source)
    if request_id is None:
        raise UserError("must have gen_ai.response.id or spanId: an interaction needs an id")
    is_error = is_error or "error.type" in attributes
    conversation = conversation_of_call(attributes, events)
    response = "" if is_error else conversation.response
    if response is None or not any(message["content"] for message in conversation.messages):
        raise UserError(WITHOUT_TEXT)
    return Interaction(
        request_id=request_id,
        application=application,
        time=time,
        model_version=_first_text(attributes, _MODEL_KEYS) or "unknown",
        variant=_first_text(attributes, ("llm_assets.variant",)) or "external",
        prompt=last_prompt(conversation.messages),
        response=response,
        messages=conversation.messages,
        session_id=_first_identifier(attributes, SESSION_KEYS),
        user_id=_first_identifier(attributes, USER_KEYS),
        status=500 if is_error else 200,
        finish_reason=_finish_reason(attributes) or conversation.finish_reason,
        latency_seconds=latency_seconds,
        num_prompt_tokens=_first_count(attributes, _PROMPT_TOKEN_KEYS),
        num_response_tokens=_first_count(attributes, _RESPONSE_TOKEN_KEYS),
        aliases=[
            alias
            for alias in (source.span_id, source.trace_id, parent_span_id)
            if alias and alias != request_id
        ],
    )


def _evaluation(event: Event, of_span: dict[str, Any], application: str) -> Reading:
    """Return the feedback of an evaluation event; what it does not say itself its span may."""
    attributes = contents_of(event)
    name = identifier(attributes.get("gen_ai.evaluation.name"))
    value = _plain(attributes, "gen_ai.evaluation.score.value", "gen_ai.evaluation.score")
    label = _plain(attributes, "gen_ai.evaluation.score.label", "gen_ai.evaluation.label")
    request_id = _request_id(attributes, None) or _request_id(of_span, event)
    return read_score(
        Target(
            application,
            time_of_ns(event.time_ns, "timeUnixNano"),
            request_id,
            session_id=_first_identifier({**of_span, **attributes}, SESSION_KEYS),
            user_id=_first_identifier({**of_span, **attributes}, USER_KEYS),
        ),
        # Made of the content, so that a batch that is sent again adds nothing.
        feedback_id="eval-"
        + digest(event.trace_id, event.span_id, request_id, name, event.time_ns, value, label),
        name=name,
        value=value,
        label=label,
        comment=attributes.get("gen_ai.evaluation.explanation"),
        is_human=_is_human(name, label),
    )


def _is_human(name: str | None, label: Any) -> bool:
    """Whether a user gave it: the convention does not tell, so its name or its thumb must."""
    is_thumb = isinstance(label, str) and label.lower().startswith(("thumb", "👍", "👎"))
    return is_thumb or (name or "").lower().startswith(("user", "human", "thumb"))


def _is_inference(attributes: dict[str, Any]) -> bool:
    return attributes.get("gen_ai.operation.name", "chat") in _OPERATIONS


def _request_id(attributes: dict[str, Any], source: Span | Event | None) -> str | None:
    found = identifier(attributes.get("gen_ai.response.id"))
    return found or (source.span_id if source is not None else None) or None


def _finish_reason(attributes: dict[str, Any]) -> str | None:
    for key in _FINISH_REASON_KEYS:
        value = attributes.get(key)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, str):
            return first
    return None


def _first_identifier(attributes: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        if key in attributes and (found := identifier(attributes[key])):
            return found
    return None


def _first_text(attributes: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def _first_count(attributes: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        if key in attributes:
            return count_of(attributes[key])
    return None


def _plain(attributes: dict[str, Any], *keys: str) -> Any:
    """Return the first that is a text, a number, or a boolean."""
    values = (attributes.get(key) for key in keys)
    return next((value for value in values if isinstance(value, str | int | float)), None)
