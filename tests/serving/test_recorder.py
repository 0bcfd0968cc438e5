import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_assets.records import Interaction
from llm_assets.serving.recorder import create_app
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.tokens import Tokens

ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "Who wrote Faust?"}]}
PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 12, "completion_tokens": 2}
PARTS = ["lite", "rature"]


def answer(_: httpx.Request) -> httpx.Response:
    choice = {"message": {"role": "assistant", "content": "literature"}, "finish_reason": "stop"}
    return httpx.Response(200, json={"choices": [choice], "usage": USAGE})


def stream(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=events(), headers={"content-type": "text/event-stream"})


async def events() -> AsyncIterator[bytes]:
    for part in PARTS:
        yield event({"choices": [{"delta": {"content": part}, "finish_reason": None}]})
    yield event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    yield event({"choices": [], "usage": USAGE})
    yield b"data: [DONE]\n\n"


async def broken_events() -> AsyncIterator[bytes]:
    yield event({"choices": [{"delta": {"content": "lite"}, "finish_reason": None}]})
    raise httpx.ReadError("gone")


async def slow_events() -> AsyncIterator[bytes]:
    yield event({"choices": [{"delta": {"content": "lite"}, "finish_reason": None}]})
    await asyncio.sleep(60)


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


@dataclass
class Served:
    """A recorder between an engine that a function plays and a collector that keeps all."""

    spec: ModelServerSpec
    engine: Callable[[httpx.Request], Any]
    recorded: list[Interaction] = field(default_factory=list)

    def run(self, use: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        return asyncio.run(self._run(use))

    def post(self, body: Any, **options: Any) -> httpx.Response:
        return self.run(lambda client: client.post(PATH, json=body, **options))

    async def _run(self, use: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        app = create_app(
            self.spec,
            engine=client_of(self.engine),
            collector=client_of(self._collect),
        )
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://recorder"
            ) as client,
        ):
            return await use(client)

    def _collect(self, request: httpx.Request) -> httpx.Response:
        self.recorded += [Interaction.from_json(line) for line in request.content.splitlines()]
        return httpx.Response(200)


def client_of(handler: Callable[[httpx.Request], Any]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://engine")


@pytest.fixture
def recorded_spec(spec: ModelServerSpec) -> ModelServerSpec:
    return replace(spec, collector_url="http://collector")


def test_an_answer_is_passed_on_and_recorded(recorded_spec: ModelServerSpec) -> None:
    served = Served(recorded_spec, answer)
    body = {**ASK, "user": "u1", "metadata": {"session_id": "s1"}}
    response = served.post(body, headers={"x-request-id": "r1"})
    assert response.json()["choices"][0]["message"]["content"] == "literature"
    assert response.headers["x-request-id"] == "r1"
    assert response.headers["x-llm-assets-variant"] == "champion"
    assert response.headers["x-llm-assets-model-version"] == "helpdesk-v0001"
    [record] = served.recorded
    assert record.latency_seconds is not None
    assert replace(record, time=TIME, latency_seconds=0.0) == Interaction(
        request_id="r1",
        application="helpdesk",
        time=TIME,
        model_version="helpdesk-v0001",
        variant="champion",
        prompt="Who wrote Faust?",
        response="literature",
        messages=ASK["messages"],
        session_id="s1",
        user_id="u1",
        finish_reason="stop",
        latency_seconds=0.0,
        num_prompt_tokens=12,
        num_response_tokens=2,
    )


TIME = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_gateway_names_the_variant(recorded_spec: ModelServerSpec) -> None:
    served = Served(recorded_spec, answer)
    response = served.post(ASK, headers={"x-llm-assets-variant": "challenger"})
    assert response.headers["x-llm-assets-variant"] == "challenger"
    assert served.recorded[0].variant == "challenger"


def test_a_request_without_an_id_gets_one(recorded_spec: ModelServerSpec) -> None:
    served = Served(recorded_spec, answer)
    first, second = served.post(ASK), served.post(ASK, headers={"x-request-id": "x" * 300})
    identities = [response.headers["x-request-id"] for response in (first, second)]
    assert len(set(identities)) == 2
    assert [record.request_id for record in served.recorded] == identities


@pytest.mark.parametrize("has_usage", [False, True])
def test_a_stream_passes_through_and_is_recorded_whole(
    recorded_spec: ModelServerSpec, has_usage: bool
) -> None:
    served = Served(recorded_spec, stream)
    response = served.post({**ASK, "stream": True, "stream_options": {"include_usage": has_usage}})
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if "{" in line]
    assert [c["choices"][0]["delta"].get("content") for c in chunks[:2]] == PARTS
    # Clients read choices[0] of every chunk, and the usage chunk has none.
    assert [c for c in chunks if not c["choices"]] == (chunks[-1:] if has_usage else [])
    assert response.text.endswith("data: [DONE]\n\n")
    [record] = served.recorded
    assert (record.response, record.finish_reason) == ("literature", "stop")
    assert (record.num_prompt_tokens, record.num_response_tokens) == (12, 2)


TOKENS = [{"token": part, "logprob": -0.5} for part in PARTS]


def sure_answer(request: httpx.Request) -> httpx.Response:
    """Answer as llama.cpp does: with probabilities, that of the end too, if it is asked."""
    if not json.loads(request.content).get("logprobs"):
        return stream(request) if b'"stream":true' in request.content else answer(request)
    if b'"stream":true' in request.content:
        return httpx.Response(200, content=sure_events())
    completion = answer(request).json()
    completion["choices"][0]["logprobs"] = {"content": [*TOKENS, {"token": "", "logprob": -3.0}]}
    return httpx.Response(200, json=completion)


async def sure_events() -> AsyncIterator[bytes]:
    for token in TOKENS:
        choice = {"delta": {"content": token["token"]}, "finish_reason": None}
        yield event({"choices": [{**choice, "logprobs": {"content": [token]}}]})
    yield event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    yield event({"choices": [], "usage": USAGE})
    yield b"data: [DONE]\n\n"


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_confidence_is_recorded_if_wanted_and_the_client_sees_nothing_of_it(
    recorded_spec: ModelServerSpec, is_stream: bool
) -> None:
    serving = recorded_spec.serving.model_copy(update={"record_confidence": True})
    without = Served(recorded_spec, sure_answer)
    sure = Served(replace(recorded_spec, serving=serving), sure_answer)
    plain, seen = (served.post({**ASK, "stream": is_stream}) for served in (without, sure))
    assert "logprob" not in seen.text
    assert [json.loads(line) for line in objects_in(seen)] == [
        json.loads(line) for line in objects_in(plain)
    ]
    assert without.recorded[0].confidence is None
    [record] = sure.recorded
    assert record.confidence == pytest.approx(math.exp(-0.5))
    assert record.response == "literature"


def objects_in(response: httpx.Response) -> list[str]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines()]
    return [line for line in lines if line.startswith("{")]


@pytest.mark.parametrize("logprob", [None, "x", 0.7])
def test_probabilities_that_are_none_do_not_fail_an_answer(
    recorded_spec: ModelServerSpec, logprob: Any
) -> None:
    def odd_answer(request: httpx.Request) -> httpx.Response:
        completion = answer(request).json()
        completion["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": logprob}]}
        return httpx.Response(200, json=completion)

    served = Served(recorded_spec, odd_answer)
    assert served.post(ASK).status_code == 200
    assert served.recorded[0].confidence is None


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({**ASK, "messages": []}, 400, "messages"),
        ({**ASK, "model": "other"}, 404, "no application 'other' here"),
        (
            {**ASK, "messages": [{"role": "user", "content": "x" * 2001}]},
            400,
            "messages: 2001 characters",
        ),
    ],
)
def test_a_refused_request_says_why_and_is_recorded(
    recorded_spec: ModelServerSpec, body: dict[str, Any], status: int, message: str
) -> None:
    served = Served(recorded_spec, answer)
    response = served.post(body)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, "invalid_request_error")
    assert message in error["message"]
    assert response.headers["x-llm-assets-model-version"] == "helpdesk-v0001"
    [record] = served.recorded
    assert (record.status, record.request_id) == (status, response.headers["x-request-id"])
    assert len(record.prompt) <= 2000


def test_too_many_tokens_name_the_context(recorded_spec: ModelServerSpec) -> None:
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512}
    served = Served(recorded_spec, lambda _: httpx.Response(400, json={"error": error}))
    response = served.post(ASK)
    expected = "900 tokens, the context of application 'helpdesk' holds 512"
    assert (response.status_code, served.recorded[0].status) == (400, 400)
    assert expected in response.json()["error"]["message"]


def test_an_engine_that_is_down_is_a_503(recorded_spec: ModelServerSpec) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    served = Served(recorded_spec, refuse)
    assert served.post(ASK).status_code == 503
    assert served.recorded[0].finish_reason == "engine_unavailable"
    assert served.run(lambda client: client.get("/readyz")).status_code == 503
    assert served.run(lambda client: client.get("/healthz")).status_code == 200


def test_an_answer_that_takes_too_long_is_a_504(recorded_spec: ModelServerSpec) -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    served = Served(with_timeout(recorded_spec), hang)
    response = served.post(ASK)
    assert response.status_code == 504
    assert "within 0.05 s (serving.timeout_seconds)" in response.json()["error"]["message"]
    assert served.recorded[0].finish_reason == "timeout"


def test_a_stream_that_takes_too_long_ends_with_an_error(recorded_spec: ModelServerSpec) -> None:
    served = Served(
        with_timeout(recorded_spec), lambda _: httpx.Response(200, content=slow_events())
    )
    response = served.post({**ASK, "stream": True})
    assert '"type":"timeout"' in response.text
    [record] = served.recorded
    assert (record.response, record.finish_reason, record.status) == ("lite", "timeout", 200)


def test_a_stream_that_breaks_ends_with_an_error(recorded_spec: ModelServerSpec) -> None:
    served = Served(recorded_spec, lambda _: httpx.Response(200, content=broken_events()))
    response = served.post({**ASK, "stream": True})
    assert '"type":"service_unavailable"' in response.text
    [record] = served.recorded
    assert (record.response, record.finish_reason) == ("lite", "engine_failed")


def test_a_replayed_time_is_kept_only_where_clients_are_trusted(
    recorded_spec: ModelServerSpec,
) -> None:
    body = {**ASK, "metadata": {"timestamp": "2026-05-01T10:00:00+02:00"}}
    trusting = recorded_spec.serving.model_copy(update={"trust_client_time": True})
    served = Served(replace(recorded_spec, serving=trusting), answer)
    served.post(body)
    assert served.recorded[0].time == datetime(2026, 5, 1, 8, tzinfo=UTC)
    doubting = Served(recorded_spec, answer)
    doubting.post(body)
    assert doubting.recorded[0].time.year > 2025
    assert doubting.recorded[0].time != datetime(2026, 5, 1, 8, tzinfo=UTC)


def with_timeout(spec: ModelServerSpec) -> ModelServerSpec:
    return replace(spec, serving=spec.serving.model_copy(update={"timeout_seconds": 0.05}))


def test_a_wrong_replayed_time_is_refused(recorded_spec: ModelServerSpec) -> None:
    trusting = recorded_spec.serving.model_copy(update={"trust_client_time": True})
    served = Served(replace(recorded_spec, serving=trusting), answer)
    response = served.post({**ASK, "metadata": {"timestamp": "yesterday"}})
    assert response.status_code == 400
    assert "metadata.timestamp" in response.json()["error"]["message"]


def test_a_stranger_is_neither_answered_nor_recorded(
    recorded_spec: ModelServerSpec, tmp_path: Path
) -> None:
    served = Served(replace(recorded_spec, token_home=tmp_path), answer)
    tokens, now = Tokens(tmp_path), datetime.now(UTC)
    of_helpdesk, of_bank = (tokens.create(name, now=now) for name in ("helpdesk", "bank"))
    statuses = {
        token: served.post(ASK, headers={"authorization": f"Bearer {token}"}).status_code
        for token in ("sk-unused", "la_wrong", of_bank, of_helpdesk)
    }
    assert list(statuses.values()) == [401, 401, 403, 200]
    refused = served.post(ASK)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "llm-assets token create" in refused.json()["error"]["message"]
    assert len(served.recorded) == 1


def test_where_no_tokens_are_asked_for_the_header_does_not_matter(
    recorded_spec: ModelServerSpec,
) -> None:
    served = Served(recorded_spec, answer)
    assert served.post(ASK, headers={"authorization": "Bearer la_wrong"}).status_code == 200
