import contextlib
import errno
import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llm_assets.api import create_app
from llm_assets.feedback import log as log_module
from llm_assets.feedback import unassigned
from llm_assets.feedback.formats import genai
from llm_assets.installation import Installation
from llm_assets.records import FeedbackKind
from tests.feedback.collecting import a_client, feedback, installation_in, interactions
from tests.feedback.formats.telemetry import (
    GENAI,
    a_log_record,
    a_span,
    in_protobuf,
    logs,
    traces,
)
from tests.records import TIME

JSON, PROTOBUF = "application/json", "application/x-protobuf"
THUMB = {
    "gen_ai.evaluation.name": "user_thumb",
    "gen_ai.evaluation.score.label": "thumbs_up",
    "gen_ai.response.id": "chatcmpl-1",
}
WITHOUT_TEXT = {key: value for key, value in GENAI.items() if "messages" not in key}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return installation_in(tmp_path)  # of the applications helpdesk and bank


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    with a_client(installation) as client:
        yield client


def post(client: TestClient, fields: dict[str, Any], **headers: str) -> Any:
    """Send an export request in JSON; a header's underscores stand for dashes."""
    path = "/v1/traces" if "resourceSpans" in fields else "/v1/logs"
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.post(path, content=json.dumps(fields), headers={"content-type": JSON} | named)


def test_spans_and_evaluations_in_json_are_in_the_log(
    client: TestClient, installation: Installation
) -> None:
    response = post(client, traces(a_span(GENAI), a_span({}), service_name="bank"))
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == JSON
    assert post(client, logs(a_log_record("gen_ai.evaluation.result", THUMB))).json() == {}
    (interaction,), (thumb,) = interactions(installation), feedback(installation)
    assert (interaction.application, interaction.request_id) == ("bank", "chatcmpl-1")
    # Nothing but its request tells whose feedback it is.
    assert (thumb.application, thumb.kind, thumb.value) == ("bank", FeedbackKind.THUMB, 1)


def test_protobuf_is_answered_in_protobuf(client: TestClient, installation: Installation) -> None:
    content = in_protobuf(traces(a_span(GENAI), service_name="bank"))
    response = client.post("/v1/traces", content=content, headers={"content-type": PROTOBUF})
    assert (response.status_code, response.headers["content-type"]) == (200, PROTOBUF)
    assert ExportTraceServiceResponse.FromString(response.content) == ExportTraceServiceResponse()
    assert len(interactions(installation)) == 1


def test_a_batch_that_is_sent_again_changes_nothing(
    client: TestClient, installation: Installation
) -> None:
    details = a_log_record("gen_ai.client.inference.operation.details", GENAI)
    thumb = a_log_record("gen_ai.evaluation.result", THUMB)
    for _ in range(2):
        post(client, traces(a_span(GENAI), service_name="bank"))
        post(client, logs(details, thumb, service_name="bank"))
    assert (len(interactions(installation)), len(feedback(installation))) == (1, 1)


def test_what_could_not_be_read_is_told_and_the_rest_is_kept(
    client: TestClient, installation: Installation
) -> None:
    spans = traces(
        a_span(GENAI),
        a_span(WITHOUT_TEXT),
        a_span(WITHOUT_TEXT),
        a_span(GENAI, spanId="jane"),
        service_name="bank",
    )
    partial = post(client, spans).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "3"
    assert f"{genai.WITHOUT_TEXT} (and 1 more)" in partial["errorMessage"]
    assert "spans.3: spanId: must be 16 hex digits" in partial["errorMessage"]
    assert len(interactions(installation)) == 1


def test_the_reasons_that_a_rejection_tells_are_limited(client: TestClient) -> None:
    spans = [a_span(GENAI, startTimeUnixNano=number) for number in range(1, 9)]
    partial = post(client, traces(*spans, service_name="bank")).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "8"
    assert partial["errorMessage"].endswith("; 3 other reasons")


def test_log_records_that_were_rejected_are_told_in_protobuf(client: TestClient) -> None:
    record = a_log_record("gen_ai.client.inference.operation.details", WITHOUT_TEXT)
    content = in_protobuf(logs(record, service_name="bank"))
    response = client.post("/v1/logs", content=content, headers={"content-type": PROTOBUF})
    partial = ExportLogsServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_log_records) == (200, 1)
    assert genai.WITHOUT_TEXT in partial.error_message


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "body: is not JSON"),
        (b"[]", "body: must be a JSON object"),
        (b'{"resourceSpans": 1, "resourceLogs": 1}', ": must be a list of objects"),
    ],
)
def test_a_bad_body_in_json_is_400_with_a_status(
    client: TestClient, path: str, content: bytes, message: str
) -> None:
    response = client.post(path, content=content, headers={"content-type": JSON})
    assert (response.status_code, response.json()["code"]) == (400, 3)
    assert message in response.json()["message"]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_a_bad_body_in_protobuf_is_400_with_a_status(client: TestClient, path: str) -> None:
    response = client.post(path, content=b"\xff" * 9, headers={"content-type": PROTOBUF})
    assert (response.status_code, response.headers["content-type"]) == (400, PROTOBUF)
    # A google.rpc.Status has its code and message where this message has its own two fields.
    status = ExportTracePartialSuccess.FromString(response.content)
    assert status.rejected_spans == 3
    assert status.error_message.startswith("body: is no Export")


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-protobuf-2"])
def test_another_content_type_is_415(client: TestClient, content_type: str) -> None:
    response = client.post("/v1/traces", content=b"", headers={"content-type": content_type})
    assert response.status_code == 415
    assert response.json()["message"].startswith("content-type: must be application/x-protobuf")


def test_a_content_type_may_have_parameters_and_a_body_may_be_empty(client: TestClient) -> None:
    headers = {"content-type": f"{JSON}; charset=utf-8"}
    assert client.post("/v1/traces", content=b"{}", headers=headers).json() == {}
    headers = {"content-type": PROTOBUF}
    assert client.post("/v1/logs", content=b"", headers=headers).content == b""


def test_a_large_compressed_batch_is_read(client: TestClient, installation: Installation) -> None:
    spans = [a_span({**GENAI, "gen_ai.response.id": f"chatcmpl-{i}"}) for i in range(300)]
    content = gzip.compress(json.dumps(traces(*spans, service_name="bank")).encode())
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    assert client.post("/v1/traces", content=content, headers=headers).json() == {}
    assert len(interactions(installation)) == 300


def test_a_full_disk_is_503_because_senders_drop_what_is_answered_with_507(
    client: TestClient, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_module.os, "fsync", full)
    response = post(client, traces(a_span(GENAI), service_name="bank"))
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")
    monkeypatch.undo()
    assert post(client, traces(a_span(GENAI), service_name="bank")).json() == {}
    assert len(interactions(installation)) == 1


def test_the_application_is_that_of_the_header_the_resource_or_the_service(
    client: TestClient, installation: Installation
) -> None:
    def sent(number: int, headers: dict[str, str], **resource: str) -> None:
        span = a_span({**GENAI, "gen_ai.response.id": f"r{number}"})
        assert post(client, traces(span, **resource), **headers).json() == {}

    sent(1, {"x_llm_assets_application": "bank"}, service_name="helpdesk")
    sent(2, {}, application="bank", service_name="helpdesk")
    sent(3, {}, service_name="helpdesk")
    found = {one.request_id: one.application for one in interactions(installation)}
    assert found == {"r1": "bank", "r2": "bank", "r3": "helpdesk"}


def test_the_only_application_need_not_be_named(tmp_path: Path) -> None:
    installation = installation_in(tmp_path, "bank")
    with a_client(installation) as client:
        assert post(client, traces(a_span(GENAI), service_name="shop")).json() == {}
    assert [one.application for one in interactions(installation)] == ["bank"]


def test_where_nothing_tells_the_application_only_llm_calls_are_rejected(
    client: TestClient, installation: Installation
) -> None:
    assert post(client, traces(a_span({"http.route": "/"}))).json() == {}
    partial = post(client, traces(a_span(GENAI), a_span({}))).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert "must be given by a token, by the header x-llm-assets-app" in partial["errorMessage"]
    assert "as one of bank, helpdesk" in partial["errorMessage"]
    assert interactions(installation) == []


def test_feedback_of_an_application_that_nothing_tells_waits_for_its_request(
    client: TestClient, installation: Installation
) -> None:
    assert post(client, logs(a_log_record("gen_ai.evaluation.result", THUMB))).json() == {}
    assert feedback(installation) == []
    assert len(list(unassigned.read(installation.home))) == 1
    post(client, traces(a_span(GENAI), service_name="bank"))
    assert [one.application for one in feedback(installation)] == ["bank"]


def test_an_application_that_is_not_known_is_refused(client: TestClient) -> None:
    response = post(client, traces(a_span(GENAI)), x_llm_assets_application="shop")
    assert response.status_code == 400
    assert response.json()["message"].startswith("application: must be one of bank, helpdesk")
    partial = post(client, traces(a_span(GENAI), application="shop")).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert "must be one of bank, helpdesk" in partial["errorMessage"]


def test_a_token_is_asked_for_and_tells_the_application(installation: Installation) -> None:
    token = installation.tokens.create("bank", "collector", now=TIME)
    bearer = {"authorization": f"Bearer {token}"}
    with a_client(installation, host="0.0.0.0") as client:
        assert post(client, traces(a_span(GENAI))).status_code == 401
        assert post(client, traces(a_span(GENAI), service_name="helpdesk"), **bearer).json() == {}
        other = post(client, traces(a_span(GENAI)), x_llm_assets_application="helpdesk", **bearer)
        assert other.status_code == 403
        of_other = traces(a_span({**GENAI, "gen_ai.response.id": "r2"}), application="helpdesk")
        partial = post(client, of_other, **bearer).json()["partialSuccess"]
        assert partial["rejectedSpans"] == "1"
    assert [one.application for one in interactions(installation)] == ["bank"]


def test_personal_data_in_a_span_does_not_reach_the_disk(
    client: TestClient, installation: Installation
) -> None:
    messages = json.dumps([{"role": "user", "content": "I am jane@example.com"}])
    span = a_span({**GENAI, "gen_ai.input.messages": messages, "user.id": "jane@example.com"})
    assert post(client, traces(span, service_name="bank")).json() == {}
    (interaction,) = interactions(installation)
    assert interaction.prompt == "I am <EMAIL_1>"
    files = [path for path in installation.home.rglob("*") if path.is_file()]
    assert all(b"jane@" not in path.read_bytes() for path in files)


@contextlib.contextmanager
def a_server(app: Starlette) -> Iterator[str]:
    """Serve an app from a thread, on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_opentelemetrys_own_sdk_sends_spans_and_evaluations(installation: Installation) -> None:
    resource = Resource({"service.name": "bank"})
    with a_server(create_app(installation)) as url:
        spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{url}/v1/traces", compression=Compression.Gzip)
        spans.add_span_processor(BatchSpanProcessor(exporter))
        records = LoggerProvider(resource=resource, shutdown_on_exit=False)
        log_exporter = OTLPLogExporter(f"{url}/v1/logs", compression=Compression.Gzip)
        records.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
        try:
            tracer = spans.get_tracer("test")
            with tracer.start_as_current_span("POST /chat"):
                for number in range(3):
                    attributes = {**GENAI, "gen_ai.response.id": f"chatcmpl-{number}"}
                    with tracer.start_as_current_span("chat", attributes=attributes):
                        pass
            logger = records.get_logger("test")
            logger.emit(LogRecord(event_name="gen_ai.evaluation.result", attributes=THUMB))
            assert spans.force_flush()
            assert records.force_flush()
        finally:
            spans.shutdown()
            records.shutdown()
    found = interactions(installation)
    assert sorted(one.request_id for one in found) == [f"chatcmpl-{i}" for i in range(3)]
    assert {(one.application, one.prompt, one.response) for one in found} == {
        ("bank", "Why?", "Because.")
    }
    (thumb,) = feedback(installation)
    assert (thumb.kind, thumb.value, thumb.request_id) == (FeedbackKind.THUMB, 1, "chatcmpl-1")
