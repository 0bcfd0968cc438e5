"""Spans and log events for tests, in the JSON of OTLP and in protobuf."""

import base64
import copy
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "00f067aa0ba902b7"
START_NS = 1_760_000_000_000_000_000

GENAI: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "qwen2.5-7b",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "Why?"}]}]',
    "gen_ai.output.messages": (
        '[{"role": "assistant", "parts": [{"type": "text", "content": "Because."}],'
        ' "finish_reason": "stop"}]'
    ),
}


def a_value(value: Any) -> dict[str, Any]:
    """Return an AnyValue of OTLP's JSON."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [a_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP's JSON lists them."""
    return [{"key": key, "value": a_value(value)} for key, value in attributes.items()]


def a_span(attributes: dict[str, Any], /, **fields: Any) -> dict[str, Any]:
    """Return a span in OTLP's JSON; it took 1.2 seconds."""
    return {
        "traceId": TRACE,
        "spanId": SPAN,
        "name": "chat qwen2.5-7b",
        "kind": 3,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 1_200_000_000),
        "status": {},
        "attributes": pairs(attributes),
        **fields,
    }


def an_event(name: str, attributes: dict[str, Any], /, **fields: Any) -> dict[str, Any]:
    """Return an event in a span."""
    time = str(START_NS + 60_000_000_000)
    return {"name": name, "timeUnixNano": time, "attributes": pairs(attributes), **fields}


def a_log_record(name: str, attributes: dict[str, Any], /, **fields: Any) -> dict[str, Any]:
    """Return a log event in OTLP's JSON."""
    return {
        "timeUnixNano": str(START_NS + 60_000_000_000),
        "eventName": name,
        "traceId": TRACE,
        "spanId": SPAN,
        "attributes": pairs(attributes),
        **fields,
    }


def traces(*spans: dict[str, Any], **resource: Any) -> dict[str, Any]:
    """Return a TracesData of one resource; its attributes' dots are written as underscores."""
    scopes = [{"scope": {"name": "test"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": _resource(resource), "scopeSpans": scopes}]}


def logs(*records: dict[str, Any], **resource: Any) -> dict[str, Any]:
    """Return a LogsData of one resource."""
    scopes = [{"scope": {"name": "test"}, "logRecords": list(records)}]
    return {"resourceLogs": [{"resource": _resource(resource), "scopeLogs": scopes}]}


def _resource(attributes: dict[str, Any]) -> dict[str, Any]:
    names = {"service_name": "service.name", "application": "llm_assets.application"}
    return {"attributes": pairs({names[key]: value for key, value in attributes.items()})}


def in_protobuf(fields: dict[str, Any]) -> bytes:
    """Return an export request as an SDK sends it; general JSON wants ids in base64."""
    is_traces = "resourceSpans" in fields
    message: Message = ExportTraceServiceRequest() if is_traces else ExportLogsServiceRequest()
    return json_format.ParseDict(in_base64(fields), message).SerializeToString()


def in_base64(value: Any) -> Any:
    """Return OTLP's JSON with ids as a general protobuf library writes them."""
    if isinstance(value, list):
        return [in_base64(item) for item in value]
    if not isinstance(value, dict):
        return copy.deepcopy(value)
    return {
        key: base64.b64encode(bytes.fromhex(inner)).decode()
        if key in ("traceId", "spanId", "parentSpanId")
        else in_base64(inner)
        for key, inner in value.items()
    }
