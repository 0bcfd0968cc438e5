"""OTLP in protobuf: the bodies that OpenTelemetry's SDKs and Collectors send over HTTP."""

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from llm_assets.errors import UserError
from llm_assets.feedback.formats.otlp import event_name
from llm_assets.feedback.formats.telemetry import MAX_DEPTH, Event, Span, Telemetry

_Message = TypeVar("_Message", bound=Message)


def traces_of(content: bytes) -> list[Telemetry]:
    """Return the spans of an ExportTraceServiceRequest, by resource.

    Raises:
        UserError: the bytes are none.
    """
    found: list[Telemetry] = []
    for resource in _decoded(ExportTraceServiceRequest(), content).resource_spans:
        telemetry = Telemetry(_attributes(resource.resource.attributes, 0))
        for scope in resource.scope_spans:
            telemetry.add_spans(scope.spans, _span)
        found.append(telemetry)
    return found


def logs_of(content: bytes) -> list[Telemetry]:
    """Return the log events of an ExportLogsServiceRequest, by resource.

    Raises:
        UserError: the bytes are none.
    """
    found: list[Telemetry] = []
    for resource in _decoded(ExportLogsServiceRequest(), content).resource_logs:
        telemetry = Telemetry(_attributes(resource.resource.attributes, 0))
        for scope in resource.scope_logs:
            telemetry.add_events(scope.log_records, _log_event)
        found.append(telemetry)
    return found


def _decoded(message: _Message, content: bytes) -> _Message:
    try:
        message.ParseFromString(content)
    except DecodeError:
        raise UserError(f"body: is no {message.DESCRIPTOR.name} in protobuf") from None
    return message


def _span(message: SpanMessage) -> Span:
    trace_id = _hex_id(message.trace_id, "traceId", 16)
    span_id = _hex_id(message.span_id, "spanId", 8)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=_hex_id(message.parent_span_id, "parentSpanId", 8),
        name=message.name,
        start_ns=message.start_time_unix_nano,
        end_ns=message.end_time_unix_nano,
        is_error=message.status.code == Status.STATUS_CODE_ERROR,
        attributes=_attributes(message.attributes, 0),
        events=[
            Event(
                name=event.name,
                time_ns=event.time_unix_nano,
                attributes=_attributes(event.attributes, 0),
                trace_id=trace_id,
                span_id=span_id,
            )
            for event in message.events
        ],
    )


def _log_event(message: LogRecord) -> Event:
    attributes = _attributes(message.attributes, 0)
    return Event(
        name=event_name(message.event_name, attributes),
        time_ns=message.time_unix_nano or message.observed_time_unix_nano,
        attributes=attributes,
        body=_value(message.body, 0),
        trace_id=_hex_id(message.trace_id, "traceId", 16),
        span_id=_hex_id(message.span_id, "spanId", 8),
    )


def _hex_id(content: bytes, key: str, num_bytes: int) -> str:
    if not any(content):
        return ""
    if len(content) != num_bytes:
        raise UserError(f"{key}: must have {num_bytes} bytes, got {len(content)}")
    return content.hex()


def _attributes(pairs: Any, depth: int) -> dict[str, Any]:
    return {pair.key: _value(pair.value, depth) for pair in pairs}


def _value(value: AnyValue, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    content = getattr(value, kind)
    if kind not in ("array_value", "kvlist_value"):
        return content
    if depth >= MAX_DEPTH:
        raise UserError(f"attributes: must not be nested more than {MAX_DEPTH} deep")
    if kind == "array_value":
        return [_value(item, depth + 1) for item in content.values]
    return _attributes(content.values, depth + 1)
