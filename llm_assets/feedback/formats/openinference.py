"""Phoenix: spans with OpenInference attributes, one JSON object a line, and annotations of them.

    {"name": …, "context": {"trace_id": …, "span_id": …}, "attributes": {"llm.model_name": …}, …}
    {"span_id": …, "name": …, "annotator_kind": "HUMAN", "result": {"label": …, "score": …}, …}

Attributes may be nested or flat, and so may the object itself, as a data frame writes it
(`context.span_id`, `attributes.llm.model_name`). OpenTelemetry's console exporter writes the same.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats import genai
from llm_assets.feedback.formats.reading import (
    Reading,
    digest,
    first_identifier,
    identifier,
    time_of,
)
from llm_assets.feedback.formats.scores import Target, read_score
from llm_assets.feedback.formats.telemetry import MAX_DEPTH, Event, Span, Telemetry
from llm_assets.records import described

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a span of Phoenix or an annotation."""
    return _is_annotation(fields) or "context.span_id" in fields or _has_context(fields)


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interaction of a span that is an LLM call, or the feedback of an annotation.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    if _is_annotation(fields):
        return _annotation(fields, application)
    return genai.read(Telemetry({}, spans=[_span(fields)]), application)


def _is_annotation(fields: dict[str, Any]) -> bool:
    targets = ("span_id", "trace_id", "session_id")
    return "annotator_kind" in fields and any(key in fields for key in targets)


def _has_context(fields: dict[str, Any]) -> bool:
    context = fields.get("context")
    return isinstance(context, dict) and "span_id" in context


def _annotation(fields: dict[str, Any], application: str) -> Reading:
    result = fields.get("result")
    if not isinstance(result, dict):
        prefix = "result."
        result = {key.removeprefix(prefix): value for key, value in fields.items()}
    request_id = first_identifier(fields, "span_id", "trace_id")
    session_id = identifier(fields.get("session_id"))
    name = identifier(fields.get("name"))
    key = "created_at" if fields.get("created_at") is not None else "updated_at"
    told = [request_id, session_id, name, identifier(fields.get("identifier"))]
    return read_score(
        Target(
            application,
            time_of(fields.get(key), key),
            request_id,
            session_id=session_id,
            user_id=identifier(fields.get("user_id")),
        ),
        feedback_id=identifier(fields.get("id")) or f"annotation-{digest(*told)}",
        name=name,
        value=result.get("score"),
        label=result.get("label"),
        comment=result.get("explanation"),
        is_human=fields["annotator_kind"] == "HUMAN",
    )


def _span(fields: dict[str, Any]) -> Span:
    attributes = fields.get("attributes")
    if attributes is not None and not isinstance(attributes, dict):
        raise UserError(f"attributes: must be an object, got {described(attributes)}")
    flat = flattened({**fields, "events": None})
    prefix = "attributes."
    attributes = {
        key.removeprefix(prefix): value for key, value in flat.items() if key.startswith(prefix)
    }
    trace_id, span_id = _hex_id(flat, "context.trace_id"), _hex_id(flat, "context.span_id")
    status = flat.get("status_code", flat.get("status.status_code"))
    kind = flat.get("span_kind")
    if kind is not None:
        attributes.setdefault("openinference.span.kind", kind)
    events = fields.get("events")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=_hex_id(flat, "parent_id"),
        name=str(flat.get("name", "")),
        start_ns=_time_ns(flat, "start_time"),
        end_ns=_time_ns(flat, "end_time") if flat.get("end_time") is not None else 0,
        is_error=status == "ERROR",
        attributes=attributes,
        events=[
            _event(event, trace_id, span_id)
            for event in (events if isinstance(events, list) else [])
            if isinstance(event, dict)
        ],
    )


def _event(fields: dict[str, Any], trace_id: str, span_id: str) -> Event:
    name = fields.get("name")
    return Event(
        name=name if isinstance(name, str) else "",
        time_ns=_time_ns(fields, "timestamp"),
        attributes=flattened(fields.get("attributes") or {}),
        trace_id=trace_id,
        span_id=span_id,
    )


def flattened(fields: Any) -> dict[str, Any]:
    """Return nested objects, and lists of them, as one object with dotted keys.

    Raises:
        UserError: it is no object, or nested too deeply.

    >>> flattened({"llm": {"input_messages": [{"message": {"role": "user"}}], "stop": ["a"]}})
    {'llm.input_messages.0.message.role': 'user', 'llm.stop': ['a']}
    """
    if not isinstance(fields, dict):
        raise UserError(f"attributes: must be an object, got {described(fields)}")
    found: dict[str, Any] = {}
    _flatten(fields, "", found, 0)
    return found


def _flatten(value: Any, key: str, found: dict[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UserError(f"attributes: must not be nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(inner, f"{key}.{name}" if key else name, found, depth + 1)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, inner in enumerate(value):
            _flatten(inner, f"{key}.{number}", found, depth + 1)
    else:
        found[key] = value


def _hex_id(fields: dict[str, Any], key: str) -> str:
    return (identifier(fields.get(key)) or "").removeprefix("0x")


def _time_ns(fields: dict[str, Any], key: str) -> int:
    return (time_of(fields.get(key), key) - _EPOCH) // timedelta(microseconds=1) * 1000
