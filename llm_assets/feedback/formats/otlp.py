"""OTLP in JSON: one TracesData or LogsData a line, as the Collector's file exporter writes it.

    {"resourceSpans": [{"resource": …, "scopeSpans": [{"spans": [{"traceId": …, …}]}]}]}

Ids are hex and 64-bit integers texts, as the standard has it; base64 ids and plain integers, which
general protobuf libraries write, and keys in snake_case are read as well. Metrics are passed over.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats import genai
from llm_assets.feedback.formats.reading import Parts, Reading
from llm_assets.feedback.formats.telemetry import MAX_DEPTH, Event, Span, Telemetry
from llm_assets.records import described

_Object = dict[str, Any]


def recognises(fields: _Object) -> bool:
    """Say whether the object holds the spans, logs, or metrics of resources."""
    return any(
        key in fields or snake in fields
        for key, snake in (
            ("resourceSpans", "resource_spans"),
            ("resourceLogs", "resource_logs"),
            ("resourceMetrics", "resource_metrics"),
        )
    )


def read(fields: _Object, application: str) -> Reading:
    """Return the interactions and the feedback of an application.

    A resource that says with `llm_assets.application` that it is another's is a problem.

    Raises:
        UserError: the object's structure is not OTLP's; a single bad span is a problem.
    """
    parts = Parts()
    for telemetry in (*traces_of(fields), *logs_of(fields)):
        owner = telemetry.resource.get("llm_assets.application", application)
        if owner == application:
            parts.add(genai.read(telemetry, application))
        elif genai.num_of_interest(telemetry):
            parts.problems.append(f"resource llm_assets.application: must be {application!r}")
    parts.num_passed_over += len(_objects(fields, "resourceMetrics", "resource_metrics"))
    return parts.reading()


def traces_of(fields: _Object) -> list[Telemetry]:
    """Return the spans of a TracesData or an ExportTraceServiceRequest, by resource.

    Raises:
        UserError: its structure is not OTLP's.
    """
    found: list[Telemetry] = []
    for resource in _objects(fields, "resourceSpans", "resource_spans"):
        telemetry = Telemetry(_resource(resource))
        for scope in _objects(resource, "scopeSpans", "scope_spans"):
            telemetry.add_spans(_objects(scope, "spans", "spans"), _span)
        found.append(telemetry)
    return found


def logs_of(fields: _Object) -> list[Telemetry]:
    """Return the log events of a LogsData or an ExportLogsServiceRequest, by resource.

    Raises:
        UserError: its structure is not OTLP's.
    """
    found: list[Telemetry] = []
    for resource in _objects(fields, "resourceLogs", "resource_logs"):
        telemetry = Telemetry(_resource(resource))
        for scope in _objects(resource, "scopeLogs", "scope_logs"):
            telemetry.add_events(_objects(scope, "logRecords", "log_records"), _log_event)
        found.append(telemetry)
    return found


def _span(fields: _Object) -> Span:
    trace_id = _hex_id(fields, "traceId", "trace_id", 16)
    span_id = _hex_id(fields, "spanId", "span_id", 8)
    status = _field(fields, "status", "status") or {}
    if not isinstance(status, dict):
        raise UserError(f"status: must be an object, got {described(status)}")
    events = _objects(fields, "events", "events")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=_hex_id(fields, "parentSpanId", "parent_span_id", 8),
        name=_text(fields, "name", "name"),
        start_ns=_time(fields, "startTimeUnixNano", "start_time_unix_nano"),
        end_ns=_time(fields, "endTimeUnixNano", "end_time_unix_nano"),
        is_error=status.get("code") in (2, "STATUS_CODE_ERROR"),
        attributes=_attributes(fields.get("attributes")),
        events=[_span_event(event, trace_id, span_id) for event in events],
    )


def _span_event(fields: _Object, trace_id: str, span_id: str) -> Event:
    return Event(
        name=_text(fields, "name", "name"),
        time_ns=_time(fields, "timeUnixNano", "time_unix_nano"),
        attributes=_attributes(fields.get("attributes")),
        trace_id=trace_id,
        span_id=span_id,
    )


def _log_event(fields: _Object) -> Event:
    attributes = _attributes(fields.get("attributes"))
    observed = ("observedTimeUnixNano", "observed_time_unix_nano")
    return Event(
        name=event_name(_text(fields, "eventName", "event_name"), attributes),
        time_ns=_time(fields, "timeUnixNano", "time_unix_nano") or _time(fields, *observed),
        attributes=attributes,
        body=_value(fields.get("body"), 0),
        trace_id=_hex_id(fields, "traceId", "trace_id", 16),
        span_id=_hex_id(fields, "spanId", "span_id", 8),
    )


def event_name(name: str, attributes: _Object) -> str:
    """Return the name of a log event; before OTLP 1.5 it was an attribute."""
    named = name or attributes.get("event.name")
    return named if isinstance(named, str) else ""


def _resource(fields: _Object) -> _Object:
    resource = fields.get("resource") or {}
    if not isinstance(resource, dict):
        raise UserError(f"resource: must be an object, got {described(resource)}")
    return _attributes(resource.get("attributes"))


def _field(fields: _Object, key: str, snake: str) -> Any:
    value = fields.get(key)
    return fields.get(snake) if value is None else value


def _objects(fields: _Object, key: str, snake: str) -> list[_Object]:
    values = _field(fields, key, snake)
    if values is None:
        return []
    if not isinstance(values, list):
        raise UserError(f"{key}: must be a list of objects")
    for value in values:
        if not isinstance(value, dict):
            raise UserError(f"{key}: must be a list of objects")
    return values


def _text(fields: _Object, key: str, snake: str) -> str:
    value = _field(fields, key, snake)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{key}: must be a text, got {described(value)}")
    return value or ""


def _time(fields: _Object, key: str, snake: str) -> int:
    value = _field(fields, key, snake)
    time_ns = 0 if value is None else _integer(value, key)
    if not 0 <= time_ns < 2**64:
        raise UserError(f"{key}: must be nanoseconds since 1970 in 64 bits")
    return time_ns


def _hex_id(fields: _Object, key: str, snake: str, num_bytes: int) -> str:
    value = _field(fields, key, snake)
    if not value:
        return ""
    if isinstance(value, str):
        content = _id_bytes(value, num_bytes)
        if content is not None:
            return content.hex() if any(content) else ""
    raise UserError(f"{key}: must be {2 * num_bytes} hex digits, got {described(value)}")


def _id_bytes(text: str, num_bytes: int) -> bytes | None:
    try:
        is_hex = len(text) == 2 * num_bytes
        content = bytes.fromhex(text) if is_hex else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return content if len(content) == num_bytes else None


def _attributes(values: Any) -> _Object:
    if values is None:
        return {}
    if not isinstance(values, list):
        raise UserError(f"attributes: must be a list, got {described(values)}")
    return _dictionary(values, 0)


def _dictionary(pairs: list[Any], depth: int) -> _Object:
    found: _Object = {}
    for pair in pairs:
        if not isinstance(pair, dict) or not isinstance(key := pair.get("key"), str):
            raise UserError("attributes: must hold objects with a key")
        value = pair.get("value")
        # Nearly all values are texts, so these are looked for first.
        text = value.get("stringValue") if isinstance(value, dict) else None
        found[key] = text if isinstance(text, str) else _value(value, depth)
    return found


def _value(value: Any, depth: int) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise UserError(f"attributes: a value must be an object, got {described(value)}")
    for kind, content in value.items():
        reader = _READERS.get(kind)
        if reader is not None and content is not None:
            return reader(content, depth)
    return None


def _string(content: Any, _: int) -> str:
    if not isinstance(content, str):
        raise UserError(f"stringValue: must be a text, got {described(content)}")
    return content


def _boolean(content: Any, _: int) -> bool:
    if not isinstance(content, bool):
        raise UserError(f"boolValue: must be a boolean, got {described(content)}")
    return content


def _int64(content: Any, _: int) -> int:
    number = _integer(content, "intValue")
    if not -(2**63) <= number < 2**63:
        raise UserError("intValue: must fit in 64 bits")
    return number


def _integer(content: Any, key: str) -> int:
    if isinstance(content, int) and not isinstance(content, bool):
        return content
    try:
        if isinstance(content, str) or (isinstance(content, float) and content.is_integer()):
            return int(content)
    except ValueError:
        pass  # it is a text that is no number
    raise UserError(f"{key}: must be an integer, got {described(content)}")


def _double(content: Any, _: int) -> float:
    """Return a number; as texts the standard has NaN, Infinity, and -Infinity."""
    try:
        if isinstance(content, int | float | str) and not isinstance(content, bool):
            return float(content)
    except (ValueError, OverflowError):
        pass  # it is a text that is no number, or a number beyond every double
    raise UserError(f"doubleValue: must be a number, got {described(content)}")


def _array(content: Any, depth: int) -> list[Any]:
    return [_value(value, depth + 1) for value in _values(content, "arrayValue", depth)]


def _key_values(content: Any, depth: int) -> _Object:
    return _dictionary(_values(content, "kvlistValue", depth), depth + 1)


def _values(content: Any, key: str, depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise UserError(f"attributes: must not be nested more than {MAX_DEPTH} deep")
    values = content.get("values", []) if isinstance(content, dict) else None
    if not isinstance(values, list):
        raise UserError(f"{key}: must have a list of values")
    return values


def _bytes(content: Any, _: int) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (ValueError, TypeError):
        raise UserError("bytesValue: must be base64") from None


_READERS: dict[str, Callable[[Any, int], Any]] = {
    "stringValue": _string,
    "string_value": _string,
    "boolValue": _boolean,
    "bool_value": _boolean,
    "intValue": _int64,
    "int_value": _int64,
    "doubleValue": _double,
    "double_value": _double,
    "arrayValue": _array,
    "array_value": _array,
    "kvlistValue": _key_values,
    "kvlist_value": _key_values,
    "bytesValue": _bytes,
    "bytes_value": _bytes,
}
