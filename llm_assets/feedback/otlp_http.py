"""OTLP over HTTP: `/v1/traces` and `/v1/logs`, as OpenTelemetry's SDKs and Collectors send to.

    OTEL_EXPORTER_OTLP_ENDPOINT=https://… OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer …"

An answer is in the encoding of its request, protobuf or JSON. What is not about LLM calls is
accepted and not kept. What is, and could not be read, is told in the answer's partial success:
the rest is kept, and the sender does not try again.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_assets.errors import UserError
from llm_assets.feedback import unassigned
from llm_assets.feedback.formats import genai, otlp, otlp_protobuf
from llm_assets.feedback.formats.json_text import json_of
from llm_assets.feedback.formats.reading import Parts, Reading
from llm_assets.feedback.formats.telemetry import Telemetry
from llm_assets.feedback.http import ForbiddenError, Intake, is_disk_full, parsed
from llm_assets.feedback.log import Record
from llm_assets.records import Interaction

APPLICATION_HEADER = "x-llm-assets-application"
APPLICATION_ATTRIBUTE = "llm_assets.application"

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_RETRY_SECONDS = 10
_MAX_REASONS = 5
# google.rpc.Code
_INVALID_ARGUMENT, _RESOURCE_EXHAUSTED = 3, 8


@dataclass(frozen=True)
class _Signal:
    """Spans or logs: how a body is decoded, and how the answer is made of what was rejected."""

    from_protobuf: Callable[[bytes], list[Telemetry]]
    from_json: Callable[[dict[str, Any]], list[Telemetry]]
    response: Callable[[int, str], Message]


def _traces_response(num_rejected: int, message: str) -> ExportTraceServiceResponse:
    if not message:
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=num_rejected, error_message=message)
    return ExportTraceServiceResponse(partial_success=partial)


def _logs_response(num_rejected: int, message: str) -> ExportLogsServiceResponse:
    if not message:
        return ExportLogsServiceResponse()
    partial = ExportLogsPartialSuccess(rejected_log_records=num_rejected, error_message=message)
    return ExportLogsServiceResponse(partial_success=partial)


_TRACES = _Signal(otlp_protobuf.traces_of, otlp.traces_of, _traces_response)
_LOGS = _Signal(otlp_protobuf.logs_of, otlp.logs_of, _logs_response)


def routes(intake: Intake) -> list[Route]:
    """Return the routes for spans and logs."""

    async def post_traces(request: Request, body: bytes, of_token: str | None) -> Response:
        return await _export(intake, _TRACES, request, body, of_token)

    async def post_logs(request: Request, body: bytes, of_token: str | None) -> Response:
        return await _export(intake, _LOGS, request, body, of_token)

    return [intake.route("/v1/traces", post_traces), intake.route("/v1/logs", post_logs)]


async def _export(
    intake: Intake, signal: _Signal, request: Request, body: bytes, of_token: str | None
) -> Response:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in (_PROTOBUF, _JSON):
        message = f"content-type: must be {_PROTOBUF} or {_JSON}"
        return _status(415, _INVALID_ARGUMENT, message, _JSON)
    named = request.headers.get(APPLICATION_HEADER)
    if of_token is not None and named not in (None, of_token):
        raise ForbiddenError(f"{APPLICATION_HEADER}: is not the token's application")

    def read(body: bytes) -> Reading:
        return _read(intake, _decoded(signal, body, content_type), of_token or named)

    try:
        if named is not None:
            intake.require_application(named)
        reading = await parsed(body, read)
        if reading.records:
            await intake.accept(reading.records)
    except UserError as error:
        return _status(400, _INVALID_ARGUMENT, str(error), content_type)
    except OSError as error:
        if not is_disk_full(error):
            raise
        # OTLP's clients drop what is answered with 507; after 503 they try again.
        message = "no space left on the collector's disk"
        response = _status(503, _RESOURCE_EXHAUSTED, message, content_type)
        response.headers["retry-after"] = str(_RETRY_SECONDS)
        return response
    message = _summary(reading.problems)
    return _response(200, signal.response(len(reading.problems), message), content_type)


def _decoded(signal: _Signal, body: bytes, content_type: str) -> list[Telemetry]:
    if content_type == _PROTOBUF:
        return signal.from_protobuf(body)
    try:
        fields = json_of(body)
    except UserError as error:
        raise UserError(f"body: {error}") from None
    if not isinstance(fields, dict):
        raise UserError("body: must be a JSON object")
    return signal.from_json(fields)


def _read(intake: Intake, batch: list[Telemetry], named: str | None) -> Reading:
    """Return what a batch holds; each item that cannot be kept is one problem."""
    parts = Parts()
    for telemetry in batch:
        try:
            application = _application(intake, telemetry, named)
        except UserError as error:
            problem = f"resource: {error}"
            parts.problems += [problem] * genai.num_of_interest(telemetry)
            continue
        reading = genai.read(telemetry, application or unassigned.APPLICATION)
        parts.add(reading if application else _assigned(intake, reading))
    return parts.reading()


def _application(intake: Intake, telemetry: Telemetry, named: str | None) -> str | None:
    """Return whose telemetry it is, or None where nothing tells.

    `named` is what the token or the header says; a resource may not say otherwise.

    Raises:
        UserError: the resource names an application that is not known, or another than `named`.
    """
    of_resource = telemetry.resource.get(APPLICATION_ATTRIBUTE)
    if of_resource is not None:
        intake.require_application(of_resource)
        if named not in (None, of_resource):
            raise UserError(f"{APPLICATION_ATTRIBUTE}: is not the application of the request")
        return of_resource
    if named is not None:
        return named
    if telemetry.service_name in intake.applications:
        return telemetry.service_name
    return next(iter(intake.applications)) if len(intake.applications) == 1 else None


def _assigned(intake: Intake, reading: Reading) -> Reading:
    """Return the feedback with its requests' applications; interactions must have one themselves.

    Feedback whose request has not arrived stays unassigned until then.
    """
    records: list[Record] = []
    problems = list(reading.problems)
    known = ", ".join(sorted(intake.applications))
    for record in reading.records:
        if isinstance(record, Interaction) or record.request_id is None:
            problems.append(
                f"resource: application: must be given by a token, by the header "
                f"{APPLICATION_HEADER}, or as {APPLICATION_ATTRIBUTE} or service.name of the "
                f"resource, as one of {known}"
            )
            continue
        application = intake.collector.application_of(record.request_id)
        records.append(replace(record, application=application or unassigned.APPLICATION))
    return Reading(records, problems, reading.num_passed_over)


def _summary(problems: list[str]) -> str:
    """Return the problems in a line: each reason once, with where it was found first."""
    reasons: Counter[str] = Counter()
    places: dict[str, str] = {}
    for problem in problems:
        place, _, reason = problem.partition(": ")
        reasons[reason] += 1
        places.setdefault(reason, place)
    told = [
        f"{places[reason]}: {reason}" + (f" (and {count - 1} more)" if count > 1 else "")
        for reason, count in reasons.most_common(_MAX_REASONS)
    ]
    if len(reasons) > _MAX_REASONS:
        told.append(f"{len(reasons) - _MAX_REASONS} other reasons")
    return "; ".join(told)


def _status(status: int, code: int, message: str, content_type: str) -> Response:
    """Return a failure in the body that OTLP wants: a google.rpc.Status."""
    # Its package is not ours to need: code (1) and message (2) are on the wire as these two are.
    body = ExportTracePartialSuccess(rejected_spans=code, error_message=message)
    if content_type == _PROTOBUF:
        return _response(status, body, content_type)
    content = json.dumps({"code": code, "message": message})
    return Response(content, status, media_type=_JSON)


def _response(status: int, message: Message, content_type: str) -> Response:
    if content_type == _PROTOBUF:
        content: str | bytes = message.SerializeToString()
    else:
        content = json_format.MessageToJson(message, indent=None)
    # Set as a header, because as a media type it would be given a charset.
    return Response(content, status, headers={"content-type": content_type})
