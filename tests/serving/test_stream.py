import asyncio
import json
import math
from typing import Any

import httpx
import pytest
from aiohttp import web

from llm_assets.serving.spec import ModelServerSpec
from tests.serving.recording import (
    ASK,
    DONE,
    PARTS,
    Served,
    answer,
    completion,
    end_event,
    event,
    sent,
    serving,
    text_event,
    usage_event,
)

STREAM = {**ASK, "stream": True}


@pytest.mark.parametrize("has_usage", [False, True])
def test_a_stream_passes_through_and_is_recorded_whole(
    spec: ModelServerSpec, has_usage: bool
) -> None:
    served = Served(spec)
    response = served.post({**STREAM, "stream_options": {"include_usage": has_usage}})
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if "{" in line]
    assert [c["choices"][0]["delta"].get("content") for c in chunks[:3]] == [None, *PARTS]
    # Clients read choices[0] of every chunk, and the usage chunk has none.
    assert [c for c in chunks if not c["choices"]] == (chunks[-1:] if has_usage else [])
    assert response.text.endswith("data: [DONE]\n\n")
    [record] = served.recorded
    assert (record.response, record.finish_reason) == ("literature", "stop")
    assert (record.num_prompt_tokens, record.num_response_tokens) == (12, 2)


def test_the_time_of_the_first_text_is_recorded(spec: ModelServerSpec) -> None:
    async def slow_end(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part, pause in ((text_event(None), 0.1), (text_event("yes"), 0.2), (end_event(), 0)):
            await response.write(part)
            await asyncio.sleep(pause)
        return response

    served = Served(spec, slow_end)
    served.post(STREAM)
    [record] = served.recorded
    assert record.first_token_seconds is not None
    assert record.latency_seconds is not None
    assert 0.1 <= record.first_token_seconds <= record.latency_seconds - 0.15


def test_nothing_is_sent_before_the_first_text(spec: ModelServerSpec) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        return await sent(request, [text_event(None), text_event(" ")], then="hang")

    served = Served(serving(spec, timeout_seconds=0.1), late)
    response = served.post(STREAM)
    assert response.status_code == 504
    assert "no answer within 0.1 s" in response.json()["error"]["message"]


ERROR = event({"error": {"message": "no memory", "type": "server_error"}})


@pytest.mark.parametrize(
    ("events", "then", "status", "reason"),
    [
        ([text_event(None)], "break", 503, "engine_unavailable"),
        ([text_event(None), ERROR], "end", 503, "engine_failed"),
        ([text_event(None), end_event(), usage_event(), DONE], "end", 502, "empty_answer"),
        ([text_event("\n"), end_event(), usage_event(), DONE], "end", 502, "empty_answer"),
        ([], "end", 502, "empty_answer"),
    ],
)
def test_a_stream_that_fails_before_its_first_text_has_the_status_of_its_failure(
    spec: ModelServerSpec, events: list[bytes], then: str, status: int, reason: str
) -> None:
    async def engine(request: web.Request) -> web.StreamResponse:
        return await sent(request, events, then=then)

    served = Served(spec, engine)
    alone = served.post(STREAM)
    in_trial = served.post(STREAM, headers={"x-llm-assets-trial": "ab"})
    assert alone.status_code == in_trial.status_code == status
    [record] = served.recorded  # of the other, the arm that is asked next makes a record
    assert record.request_id == alone.headers["x-request-id"]
    assert (record.status, record.finish_reason) == (status, reason)


@pytest.mark.parametrize(
    ("events", "reason", "is_allowed"),
    [([text_event("\n")], "length", False), ([text_event("\n")], "stop", True)],
)
def test_an_empty_stream_passes_where_it_may(
    spec: ModelServerSpec, events: list[bytes], reason: str, is_allowed: bool
) -> None:
    async def engine(request: web.Request) -> web.StreamResponse:
        return await sent(request, [*events, end_event(reason), DONE])

    served = Served(serving(spec, refuse_empty_answers=not is_allowed), engine)
    assert served.post(STREAM).content == b"".join([*events, end_event(reason), DONE])


@pytest.mark.parametrize(
    ("part", "then", "reason", "kind"),
    [
        (b"", "hang", "timeout", "timeout"),
        (b"", "break", "engine_failed", "service_unavailable"),
        (ERROR, "end", "engine_failed", "service_unavailable"),
        (b"data: {not JSON}\n\n", "end", "engine_failed", "service_unavailable"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"x-llm-assets-trial": "ab"}])
def test_a_stream_that_fails_later_ends_with_an_error_and_is_recorded(
    spec: ModelServerSpec, part: bytes, then: str, reason: str, kind: str, headers: dict[str, str]
) -> None:
    async def engine(request: web.Request) -> web.StreamResponse:
        return await sent(request, [text_event("lite"), part], then=then)

    served = Served(serving(spec, timeout_seconds=0.2), engine)
    response = served.post(STREAM, headers=headers)
    assert response.status_code == 200
    assert f'"type":"{kind}"' in response.text
    [record] = served.recorded
    assert (record.response, record.finish_reason, record.status) == ("lite", reason, 200)


def test_a_stream_that_stops_short_is_recorded_as_interrupted(spec: ModelServerSpec) -> None:
    async def engine(request: web.Request) -> web.StreamResponse:
        return await sent(request, [text_event("lite")])

    served = Served(spec, engine)
    assert served.post(STREAM).status_code == 200
    assert served.recorded[0].finish_reason == "interrupted"


TOKENS = [{"token": part, "logprob": -0.5} for part in PARTS]


async def sure(request: web.Request) -> web.StreamResponse:
    """Answer as llama.cpp does: with probabilities, that of the end too, if it is asked."""
    asked = await request.json()
    if not asked.get("logprobs"):
        return await answer(request)
    if not asked["stream"]:
        logprobs = {"content": [*TOKENS, {"token": "", "logprob": -3.0}]}
        return web.json_response(completion(logprobs=logprobs))
    told: list[dict[str, Any]] = [
        {"delta": {"content": t["token"]}, "finish_reason": None, "logprobs": {"content": [t]}}
        for t in TOKENS
    ]
    events = [event({"choices": [choice]}) for choice in told]
    return await sent(request, [text_event(None), *events, end_event(), usage_event(), DONE])


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_confidence_is_recorded_if_wanted_and_the_client_sees_nothing_of_it(
    spec: ModelServerSpec, is_stream: bool
) -> None:
    without, told = Served(spec, sure), Served(serving(spec, record_confidence=True), sure)
    plain, seen = (served.post({**ASK, "stream": is_stream}) for served in (without, told))
    assert "logprob" not in seen.text
    assert objects_in(seen) == objects_in(plain)
    assert without.recorded[0].confidence is None
    [record] = told.recorded
    assert record.confidence == pytest.approx(math.exp(-0.5))
    assert record.response == "literature"


def objects_in(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.parametrize("logprob", [None, "x", 0.7])
def test_probabilities_that_are_none_do_not_fail_an_answer(
    spec: ModelServerSpec, logprob: Any
) -> None:
    async def odd(_: web.Request) -> web.Response:
        logprobs = {"content": [{"token": "a", "logprob": logprob}]}
        return web.json_response(completion(logprobs=logprobs))

    served = Served(spec, odd)
    assert served.post(ASK).status_code == 200
    assert served.recorded[0].confidence is None
