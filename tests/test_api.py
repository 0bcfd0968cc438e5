"""The polite answer that the API gives where no model server could, and what becomes of it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.testclient import TestClient

from llm_assets.feedback.log import LogWriter
from llm_assets.installation import Installation
from llm_assets.records import FALLBACK_VARIANT, SHADOW_VARIANT
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.sse import EventSplitter, event_data
from tests.feedback.collecting import a_client, feedback, installation_in, interactions

FALLBACK_ANSWER = ServingConfig().fallback_answer

FAILED = {"x-llm-assets-variant": "champion", "x-request-id": "r1"}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "who wrote hamlet"},
]
QUESTION = {"model": "helpdesk", "messages": MESSAGES}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return installation_in(tmp_path)


@pytest.fixture
def client(installation: Installation) -> Iterator[TestClient]:
    with a_client(installation) as client:
        yield client


def ask(client: TestClient, headers: dict[str, str] = FAILED, **fields: Any) -> Any:
    return client.post("/v1/chat/completions", json={**QUESTION, **fields}, headers=headers)


def message(response: Any) -> str:
    return response.json()["error"]["message"]


def events(response: Any) -> list[bytes]:
    return list(EventSplitter().feed(response.content))


def test_a_client_whom_every_arm_failed_gets_a_completion_that_says_so(client: TestClient) -> None:
    response = ask(client)
    assert response.status_code == 200
    assert response.headers["x-llm-assets-variant"] == "fallback"
    assert response.headers["x-llm-assets-model-version"] == "none"
    assert response.headers["x-request-id"] == "r1"
    completion = ChatCompletion.model_validate(response.json(), strict=True)
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", FALLBACK_ANSWER)
    assert choice.finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 0


@pytest.mark.parametrize("has_usage", [False, True])
def test_who_asked_for_a_stream_gets_one(client: TestClient, has_usage: bool) -> None:
    response = ask(client, stream=True, stream_options={"include_usage": has_usage})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-llm-assets-variant"] == "fallback"
    *told, done = events(response)
    assert done == b"data: [DONE]\n\n"
    chunks = [ChatCompletionChunk.model_validate(event_data(event), strict=True) for event in told]
    deltas = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert deltas == [FALLBACK_ANSWER, None]
    assert [chunk.usage is not None for chunk in chunks] == [False, False, *[True] * has_usage]
    assert {chunk.id for chunk in chunks} == {"chatcmpl-r1"}


def test_the_fallback_is_recorded_with_all_that_a_model_server_would_record(
    installation: Installation,
) -> None:
    with a_client(installation) as client:
        ask(client, user="u1", metadata={"session_id": "s1", "timestamp": "2026-03-01T12:00:00Z"})
    (kept,) = interactions(installation)
    assert (kept.request_id, kept.application, kept.variant) == ("r1", "helpdesk", FALLBACK_VARIANT)
    assert (kept.prompt, kept.response) == ("who wrote hamlet", FALLBACK_ANSWER)
    assert (kept.messages, kept.session_id, kept.user_id) == (MESSAGES, "s1", "u1")
    assert (kept.status, kept.finish_reason, kept.model_version) == (200, "fallback", "none")
    assert kept.time == datetime(2026, 3, 1, 12, tzinfo=UTC)
    # How long the servers were tried before is not known here, so it is no short latency either.
    assert (kept.latency_seconds, kept.first_token_seconds) == (None, None)


def test_feedback_on_a_fallback_finds_it(installation: Installation) -> None:
    with a_client(installation) as client:
        ask(client)
        thumb = {"request_id": "r1", "kind": "thumb", "value": -1}
        assert client.post("/v1/feedback", json=thumb).status_code == 200
    (kept,) = feedback(installation)
    assert (kept.application, kept.request_id) == ("helpdesk", "r1")


def test_nobody_waits_for_the_disk_to_be_told_sorry(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, append = threading.Event(), LogWriter.append

    def slow(writer: LogWriter, records: Any) -> None:
        assert may_write.wait(timeout=30)
        append(writer, records)

    monkeypatch.setattr(LogWriter, "append", slow)
    with a_client(installation) as client:
        assert ask(client).status_code == 200
        assert interactions(installation) == []
        may_write.set()
    assert len(interactions(installation)) == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "user", "content": " "}]}, "there must be a message of the user"),
        ({"messages": [{"role": "user", "content": "x" * 2001}]}, "2001 characters, the limit of"),
        ({"temperature": 3}, "temperature: "),
        ({"metadata": {"timestamp": "yesterday"}}, "metadata.timestamp: must be ISO 8601"),
        ({"metadata": {"timestamp": "2001-01-01T00:00:00Z"}}, "must not be before 2023"),
    ],
)
def test_what_a_model_server_would_refuse_is_refused(
    installation: Installation, fields: dict[str, Any], problem: str
) -> None:
    with a_client(installation) as client:
        response = ask(client, **fields)
    assert response.status_code == 400
    assert problem in message(response)
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.headers["x-request-id"] == "r1"
    assert interactions(installation) == []


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"\xff", b"[" * 100_000, b'{"model":'])
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/chat/completions", content=body, headers=FAILED)
    assert response.status_code == 400
    assert response.headers["x-llm-assets-variant"] == "fallback"


@pytest.mark.parametrize("request_id", ["", "x" * 201, "caf\xe9"])
def test_without_a_usable_request_id_it_gets_one(client: TestClient, request_id: str) -> None:
    headers = [(b"x-llm-assets-variant", b"champion"), (b"x-request-id", request_id.encode())]
    response = client.post("/v1/chat/completions", json=QUESTION, headers=headers)
    assert response.status_code == 200
    assert len(response.headers["x-request-id"]) == 36


def test_only_what_the_gateway_sent_on_is_answered(installation: Installation) -> None:
    with a_client(installation) as client:
        response = ask(client, headers={})
        assert response.status_code == 404
        assert message(response) == "model: 'helpdesk' is not served here (served: none)"
        assert ask(client, model="elsewhere").status_code == 404
        # Its user gets an answer by another way, which must not be taken for a second one.
        assert ask(client, headers={**FAILED, "x-llm-assets-variant": SHADOW_VARIANT}).is_error
    assert interactions(installation) == []


def test_a_token_of_another_application_gets_no_answer(installation: Installation) -> None:
    now = datetime.now(UTC)
    ours, other = (installation.tokens.create(name, now=now) for name in ("helpdesk", "bank"))
    with a_client(installation, host="0.0.0.0") as client:
        assert ask(client).status_code == 401
        refused = ask(client, headers={**FAILED, "authorization": f"Bearer {other}"})
        assert (refused.status_code, message(refused)) == (
            403,
            "model: is not the token's application",
        )
        answered = ask(client, headers={**FAILED, "authorization": f"Bearer {ours}"})
        assert answered.status_code == 200
    assert len(interactions(installation)) == 1


def test_fallbacks_are_counted_by_their_variant(installation: Installation) -> None:
    with a_client(installation) as client:
        ask(client)
        # The second batch is acknowledged when the first one is on disk.
        client.post("/v1/feedback", json={"request_id": "r1", "kind": "thumb", "value": 1})
        text = client.get("/metrics").text
    labels = 'application="helpdesk",model_version="none",status="200",variant="fallback"'
    assert f"llm_assets_requests_total{{{labels}}} 1.0" in text
