import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from llm_assets.records import Interaction
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.tokens import Tokens
from tests.serving.recording import ASK, Served, completion, serving

TIME = datetime(2026, 1, 1, tzinfo=UTC)
TRIAL = {"x-llm-assets-trial": "canary"}


def test_an_answer_is_passed_on_and_recorded(spec: ModelServerSpec) -> None:
    served = Served(spec)
    body = {**ASK, "user": "u1", "metadata": {"session_id": "s1"}}
    response = served.post(body, headers={"x-request-id": "r1"})
    assert response.json() == completion()
    assert response.headers["content-type"] == "application/json"
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


def test_the_engine_tells_when_the_first_token_of_a_whole_answer_was_there(
    spec: ModelServerSpec,
) -> None:
    async def timed(_: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.json_response({**completion(), "timings": {"predicted_ms": 20.0}})

    served = Served(spec, timed)
    served.post(ASK)
    [record] = served.recorded
    assert record.latency_seconds is not None
    assert record.first_token_seconds == pytest.approx(record.latency_seconds - 0.02, abs=0.01)


def test_the_gateway_names_the_variant(spec: ModelServerSpec) -> None:
    served = Served(spec)
    response = served.post(ASK, headers={"x-llm-assets-variant": "challenger"})
    assert response.headers["x-llm-assets-variant"] == "challenger"
    assert served.recorded[0].variant == "challenger"


def test_a_request_without_an_id_gets_one(spec: ModelServerSpec) -> None:
    served = Served(spec)
    first, second = served.post(ASK), served.post(ASK, headers={"x-request-id": "x" * 300})
    identities = [response.headers["x-request-id"] for response in (first, second)]
    assert len(set(identities)) == 2
    assert [record.request_id for record in served.recorded] == identities


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
@pytest.mark.parametrize("headers", [{}, TRIAL])
def test_a_refused_request_says_why_and_is_recorded(
    spec: ModelServerSpec,
    body: dict[str, Any],
    status: int,
    message: str,
    headers: dict[str, str],
) -> None:
    served = Served(spec)
    response = served.post(body, headers=headers)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, "invalid_request_error")
    assert message in error["message"]
    assert response.headers["x-llm-assets-model-version"] == "helpdesk-v0001"
    [record] = served.recorded
    assert (record.status, record.request_id) == (status, response.headers["x-request-id"])
    assert len(record.prompt) <= 2000


def test_too_many_tokens_name_the_context(spec: ModelServerSpec) -> None:
    async def refuse(_: web.Request) -> web.Response:
        error = {"type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512}
        return web.json_response({"error": error}, status=400)

    served = Served(spec, refuse)
    response = served.post(ASK)
    expected = "900 tokens, the context of application 'helpdesk' holds 512"
    assert (response.status_code, served.recorded[0].status) == (400, 400)
    assert expected in response.json()["error"]["message"]


async def drop(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def fail(_: web.Request) -> web.Response:
    return web.json_response({"error": {"message": "no memory"}}, status=500)


async def babble(_: web.Request) -> web.Response:
    return web.Response(text="<html>", content_type="text/html")


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


async def say_nothing(_: web.Request) -> web.Response:
    return web.json_response(completion(" \n"))


@pytest.mark.parametrize(
    ("engine", "status", "reason", "message"),
    [
        (drop, 503, "engine_unavailable", "the engine does not answer"),
        (fail, 503, "engine_failed", "no memory"),
        (babble, 503, "engine_unavailable", "no JSON object"),
        (hang, 504, "timeout", r"within 0.05 s (serving.timeout_seconds)"),
        (say_nothing, 502, "empty_answer", "the model gave an empty answer"),
    ],
)
def test_a_failure_is_recorded_unless_the_other_arm_of_a_trial_is_asked_next(
    spec: ModelServerSpec, engine: Any, status: int, reason: str, message: str
) -> None:
    served = Served(serving(spec, timeout_seconds=0.05 if engine is hang else 5.0), engine)
    alone, in_trial = served.post(ASK), served.post(ASK, headers=TRIAL)
    for response in (alone, in_trial):
        assert response.status_code == status
        assert message in response.json()["error"]["message"]
    [record] = served.recorded
    assert record.request_id == alone.headers["x-request-id"]
    assert (record.status, record.finish_reason) == (status, reason)


def test_an_engine_that_is_away_is_not_ready(spec: ModelServerSpec) -> None:
    served = Served(spec, drop)
    assert served.run(lambda client: client.get("/readyz")).status_code == 503
    assert served.run(lambda client: client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("text", "reason", "options"),
    [("", "length", {}), ("", "stop", {"stop": ["\n"]}), ("?", "stop", {})],
)
def test_an_answer_is_no_failure_where_a_limit_of_the_client_left_no_text(
    spec: ModelServerSpec, text: str, reason: str, options: dict[str, Any]
) -> None:
    async def engine(_: web.Request) -> web.Response:
        return web.json_response(completion(text, reason))

    assert Served(spec, engine).post({**ASK, **options}).status_code == 200


def test_empty_answers_may_be_allowed(spec: ModelServerSpec) -> None:
    served = Served(serving(spec, refuse_empty_answers=False), say_nothing)
    assert served.post(ASK).status_code == 200
    assert served.recorded[0].first_token_seconds is None


def test_a_replayed_time_is_kept_only_where_clients_are_trusted(spec: ModelServerSpec) -> None:
    body = {**ASK, "metadata": {"timestamp": "2026-05-01T10:00:00+02:00"}}
    served = Served(serving(spec, trust_client_time=True))
    served.post(body)
    assert served.recorded[0].time == datetime(2026, 5, 1, 8, tzinfo=UTC)
    doubting = Served(spec)
    doubting.post(body)
    assert doubting.recorded[0].time.year > 2025
    assert doubting.recorded[0].time != datetime(2026, 5, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("time", ["yesterday", "1999-01-01T00:00:00Z"])
def test_a_wrong_replayed_time_is_refused(spec: ModelServerSpec, time: str) -> None:
    served = Served(serving(spec, trust_client_time=True))
    response = served.post({**ASK, "metadata": {"timestamp": time}})
    assert response.status_code == 400
    assert "metadata.timestamp" in response.json()["error"]["message"]


def test_a_stranger_is_neither_answered_nor_recorded(spec: ModelServerSpec, tmp_path: Path) -> None:
    served = Served(replace(spec, token_home=tmp_path))
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


def test_where_no_tokens_are_asked_for_the_header_does_not_matter(spec: ModelServerSpec) -> None:
    assert Served(spec).post(ASK, headers={"authorization": "Bearer la_wrong"}).status_code == 200


def test_health_tells_how_busy_the_server_is(spec: ModelServerSpec) -> None:
    async def ask_then_look(client: httpx.AsyncClient) -> dict[str, Any]:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=ASK))
        await asyncio.sleep(0.1)
        health = (await client.get("/healthz")).json()
        await asking
        return health

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.json_response(completion())

    health = Served(spec, slow).run(ask_then_look)
    assert health["status"] == "ok"
    assert health["requests"] == {"in_flight": 1, "waiting": 0, "shed": 0}
    assert health["response_cache"] == {"hits": 0, "misses": 0, "entries": 0}
    assert health["interactions"] == {"sent": 0, "waiting": 0, "dropped": 0, "refused": 0}
