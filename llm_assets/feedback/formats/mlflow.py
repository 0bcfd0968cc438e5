"""MLflow's traces with their assessments.

    {"info": {"trace_id": …, "request_time": …, "assessments": […]}, "data": {"spans": […]}}

The fields are those of `mlflow/entities/trace.py`, `trace_info.py`, `span.py`, and `assessment.py`
of MLflow 3, and of the trace of MLflow 2 (`request_id`, `timestamp_ms`, `request_metadata`, spans
with a `context`). A row of `search_traces`, which has all of it on one level, is read as well.

Each span of a model is an interaction; the only one of a trace has the trace's id, by which people
assess. A trace without one is an interaction itself if it holds a conversation. An assessment that
is not valid was superseded and is passed over.
"""

import base64
import binascii
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats.bodies import (
    answer_of,
    confidence_of_response,
    conversation_of,
    finish_reason_of,
)
from llm_assets.feedback.formats.json_text import unpacked
from llm_assets.feedback.formats.reading import (
    Parts,
    Reading,
    count_of,
    distinct_identifiers,
    first_identifier,
    identifier,
    interaction_of,
    optional,
    required_identifier,
    seconds_between,
    time_of,
)
from llm_assets.feedback.formats.scores import Target, read_score

_MODEL_SPANS = ("CHAT_MODEL", "LLM")


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a trace of MLflow."""
    info = fields.get("info")
    if isinstance(info, dict):
        return "trace_metadata" in info or "request_metadata" in info or "request_time" in info
    return "trace_metadata" in fields and "request_time" in fields


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interactions and the feedback.

    Raises:
        UserError: the trace has no id.
    """
    info = optional(fields, "info", dict) or fields
    data = optional(fields, "data", dict) or fields
    trace_id = required_identifier(info, "trace_id" if "trace_id" in info else "request_id")
    spans = [span for span in optional(data, "spans", list) or [] if isinstance(span, dict)]
    parts = Parts()
    models = [span for span in spans if _attribute(span, "spanType") in _MODEL_SPANS]
    parts.num_passed_over = len(spans) - len(models)
    for place, span in enumerate(models):
        with parts.part(f"model span {place}"):
            parts.add(
                _read_span(span, spans, info, trace_id, application, is_only=len(models) == 1)
            )
    if not models:
        with parts.part("trace"):
            parts.add(_read_bare_trace(info, data, spans, trace_id, application))
    for place, assessment in enumerate(optional(info, "assessments", list) or []):
        if isinstance(assessment, dict):
            with parts.part(f"assessments.{place}"):
                parts.add(_read_assessment(assessment, trace_id, application))
    return parts.reading()


def _read_span(
    span: dict[str, Any],
    spans: list[dict[str, Any]],
    info: dict[str, Any],
    trace_id: str,
    application: str,
    *,
    is_only: bool,
) -> Reading:
    ids = _ids(span)
    request_id = trace_id if is_only or not ids else ids[0]
    start = span.get("start_time_unix_nano", span.get("start_time"))
    end = span.get("end_time_unix_nano", span.get("end_time"))
    inputs, outputs = _attribute(span, "spanInputs"), _attribute(span, "spanOutputs")
    usage = _attribute(span, "chat.tokenUsage")
    usage = usage if isinstance(usage, dict) else {}
    time = time_of(start, "start_time_unix_nano")
    interaction = interaction_of(
        request_id=request_id,
        application=application,
        time=time,
        messages=conversation_of(inputs),
        response=answer_of(outputs),
        model=_model(inputs, outputs),
        finish_reason=finish_reason_of(outputs),
        confidence=confidence_of_response(outputs),
        latency_seconds=seconds_between(time, end),
        num_prompt_tokens=count_of(usage.get("input_tokens")),
        num_response_tokens=count_of(usage.get("output_tokens")),
        aliases=distinct_identifiers(
            *ids, *_ancestors(span, spans), trace_id, other_than=request_id
        ),
        **_of_trace(info),
    )
    return Reading([interaction], [])


def _read_bare_trace(
    info: dict[str, Any],
    data: dict[str, Any],
    spans: list[dict[str, Any]],
    trace_id: str,
    application: str,
) -> Reading:
    root = next((span for span in spans if not _parent(span)), {})
    messages = conversation_of(data.get("request") or _attribute(root, "spanInputs"))
    answer = answer_of(data.get("response") or _attribute(root, "spanOutputs"))
    if not messages or answer is None:
        return Reading([], [], 0 if spans else 1)
    interaction = interaction_of(
        request_id=trace_id,
        application=application,
        time=time_of(info.get("request_time", info.get("timestamp_ms")), "request_time"),
        messages=messages,
        response=answer,
        aliases=distinct_identifiers(*_ids(root), other_than=trace_id),
        **_of_trace(info),
    )
    return Reading([interaction], [], -1 if root else 0)


def _of_trace(info: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        **(optional(info, "request_metadata", dict) or {}),
        **(optional(info, "trace_metadata", dict) or {}),
    }
    is_error = info.get("state", info.get("status")) == "ERROR"
    return {
        "session_id": first_identifier(metadata, "mlflow.trace.session"),
        "user_id": first_identifier(metadata, "mlflow.trace.user"),
        "status": 500 if is_error else 200,
    }


def _model(inputs: Any, outputs: Any) -> Any:
    places = [place for place in (outputs, inputs) if isinstance(place, dict)]
    return next((place["model"] for place in places if place.get("model")), None)


def _attribute(span: dict[str, Any], name: str) -> Any:
    """Return an attribute of MLflow's own, which is JSON in a text."""
    value = (optional(span, "attributes", dict) or {}).get(f"mlflow.{name}")
    unquoted = value.strip('"') if isinstance(value, str) and value[:1] == '"' else value
    return unpacked(unquoted)


def _ids(span: dict[str, Any]) -> list[str]:
    """Return the ids of a span: as it stands, and in hexadecimal, as assessments name it."""
    place = optional(span, "context", dict) or span
    given = identifier(place.get("span_id"))
    if given is None:
        return []
    try:
        decoded = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return [given]
    return [given, decoded.hex()] if len(decoded) == 8 else [given]


def _parent(span: dict[str, Any]) -> str | None:
    return first_identifier(span, "parent_span_id", "parent_id")


def _ancestors(span: dict[str, Any], spans: list[dict[str, Any]]) -> list[str]:
    by_id = {ids[0]: candidate for candidate in spans if (ids := _ids(candidate))}
    found: list[str] = []
    parent = by_id.get(_parent(span) or "")
    while parent is not None and _ids(parent)[0] not in found:
        found += _ids(parent)
        parent = by_id.get(_parent(parent) or "")
    return found


def _read_assessment(fields: dict[str, Any], trace_id: str, application: str) -> Reading:
    feedback, expectation = fields.get("feedback"), fields.get("expectation")
    given = feedback if isinstance(feedback, dict) else expectation
    if fields.get("valid") is False or not isinstance(given, dict):
        return Reading([], [], 1)
    source = optional(fields, "source", dict) or {}
    kind = source.get("source_type")
    is_human = not isinstance(kind, str) or kind.upper() == "HUMAN"
    is_expectation = given is expectation
    value = given.get("value")
    if is_expectation and not (is_human and isinstance(value, str)):
        return Reading([], [], 1)  # such as a list of facts that an answer should hold
    given_time = next(
        (fields[key] for key in ("create_time", "create_time_ms") if fields.get(key)), None
    )
    target = Target(
        application=application,
        time=time_of(given_time, "create_time"),
        request_id=first_identifier(fields, "span_id") or trace_id,
        user_id=first_identifier(source, "source_id") if is_human else None,
    )
    name = fields.get("assessment_name", fields.get("name"))
    if not isinstance(name, str):
        raise UserError("assessment_name: must be of type str")
    return read_score(
        target,
        feedback_id=required_identifier(fields, "assessment_id"),
        name=name,
        value=None if is_expectation else value,
        comment=fields.get("rationale"),
        correction=value if is_expectation else None,
        is_human=is_human,
    )
