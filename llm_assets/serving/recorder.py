"""The layer in front of an engine: checks each request, passes the answer on, and records both.

The record leaves in the background (`outbox`), so recording neither slows nor fails an answer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llm_assets.serving.chat import ChatRequest, check_limits, engine_request, parse_chat_request
from llm_assets.serving.connection import while_connected
from llm_assets.serving.engine_client import EngineClient, Incoming, json_object
from llm_assets.serving.exchange import Exchange
from llm_assets.serving.headers import TRIAL, VARIANT, request_id_of
from llm_assets.serving.outbox import Outbox
from llm_assets.serving.places import Places
from llm_assets.serving.refusals import (
    CLIENT_GONE,
    REFUSED,
    RefusedError,
    empty_answer,
    refusal_of,
    refused_by_engine,
)
from llm_assets.serving.reply import Reply, error_body, error_json
from llm_assets.serving.response_cache import ResponseCache, cache_key
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.sse import without_logprobs
from llm_assets.serving.stream import pass_on
from llm_assets.tokens import TokenCheck, TokenError, Tokens

_FLUSH_SECONDS = 5.0


def create_app(
    spec: ModelServerSpec,
    *,
    engine_url: str,
    collector: httpx.AsyncClient,
    on_ready: Callable[[], None] = lambda: None,
    internal_token: str | None = None,
) -> Starlette:
    """Return the application; `on_ready` is called once it is about to take requests.

    Where requests need a token, the `internal_token` is one.
    """
    url = None if spec.collector_url is None else f"{spec.collector_url}/v1/interactions"
    outbox = Outbox(url=url, client=collector)
    engine = EngineClient(engine_url)
    serving = spec.serving
    recorder = Recorder(
        spec=spec,
        engine=engine,
        outbox=outbox,
        places=Places(serving.parallel_requests, serving.max_waiting_requests),
        cache=ResponseCache(serving.response_cache_entries),
        tokens=_token_check(spec, internal_token),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with engine:
            sending = asyncio.create_task(outbox.run())
            on_ready()
            yield
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await outbox.flush(seconds=_FLUSH_SECONDS)
        await collector.aclose()

    routes = [
        Route("/v1/chat/completions", recorder, methods=["POST"]),
        Route("/healthz", recorder.healthz),
        Route("/readyz", recorder.readyz),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _token_check(spec: ModelServerSpec, internal: str | None) -> TokenCheck | None:
    if spec.token_home is None:
        return None
    return TokenCheck(tokens=Tokens(spec.token_home), is_required=True, internal=internal)


@dataclass(frozen=True)
class Recorder:
    """Answers chat requests of one application from one engine."""

    spec: ModelServerSpec
    engine: EngineClient
    outbox: Outbox
    places: Places
    cache: ResponseCache
    tokens: TokenCheck | None = None

    async def healthz(self, _: Request) -> Response:
        """Say that the process lives, how busy it is, and what became of the records."""
        outbox, places, cache = self.outbox, self.places, self.cache
        sent = {"sent": outbox.num_sent, "waiting": len(outbox)}
        sent |= {"dropped": outbox.num_dropped, "refused": outbox.num_refused}
        requests = {"in_flight": places.num_taken, "waiting": places.num_waiting}
        requests |= {"shed": places.num_shed}
        cached = {"hits": cache.num_hits, "misses": cache.num_misses, "entries": len(cache)}
        body = {"interactions": sent, "requests": requests, "response_cache": cached}
        return JSONResponse({"status": "ok", **body})

    async def readyz(self, _: Request) -> Response:
        """Say whether the engine answers."""
        is_ready = await self.engine.is_ready()
        body = {"ready": is_ready, "model_version": self.spec.model_version}
        return JSONResponse(body, 200 if is_ready else 503)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a chat request; every way to end is recorded, unless a stranger asked."""
        request = Request(scope, receive)
        if stranger := self._refuse_stranger(request):
            await stranger(scope, receive, send)
            return
        exchange, reply = self._begin(request), Reply(send)
        try:
            chat = exchange.chat = parse_chat_request(await request.body())
            self._check(chat, exchange)
            body = await while_connected(receive, self._answer(chat, exchange, reply))
        except REFUSED as error:
            refusal = refusal_of(error, self.spec, has_begun=reply.has_begun)
            await self._end(refusal, exchange, reply)
            return
        self._record(exchange, 200)
        # Not before: once all is sent, the client counts as gone.
        if body is None:
            await reply.send_part(b"", is_last=True)
        else:
            await reply.send_object(200, body, exchange.headers(self.spec))

    def _begin(self, request: Request) -> Exchange:
        return Exchange(
            request_id=request_id_of(request.headers),
            variant=request.headers.get(VARIANT) or self.spec.variant,
            time=datetime.now(UTC),
            deadline=asyncio.get_running_loop().time() + self.spec.serving.timeout_seconds,
            is_trial=TRIAL in request.headers,
        )

    def _refuse_stranger(self, request: Request) -> Response | None:
        if self.tokens is None:
            return None
        try:
            token = self.tokens.check(request.headers.get("authorization"))
        except TokenError as error:
            headers = {"www-authenticate": "Bearer"}
            return JSONResponse(error_body(401, str(error)), 401, headers=headers)
        if token is not None and token.application != self.spec.application:
            return JSONResponse(error_body(403, "model: is not the token's application"), 403)
        return None

    def _check(self, chat: ChatRequest, exchange: Exchange) -> None:
        if chat.model != self.spec.application:
            message = f"model: no application {chat.model[:100]!r} here"
            raise RefusedError(404, "unknown_model", message)
        if self.spec.serving.trust_client_time:
            exchange.time = chat.client_time() or exchange.time
        check_limits(chat, self.spec)

    async def _answer(self, chat: ChatRequest, exchange: Exchange, reply: Reply) -> bytes | None:
        """Return the whole answer as JSON, or None where it went out as a stream."""
        serving = self.spec.serving
        may_cache = serving.cache_in_trials or not exchange.is_trial
        asked = engine_request(chat, self.spec, use_prefix_cache=serving.prefix_cache and may_cache)
        is_kept = serving.response_cache_entries and may_cache and not exchange.is_shadow
        key = cache_key(asked) if is_kept else None
        if key is not None and (given := self.cache.get(key)):
            exchange.add_given(given)
            return await self._give_again(chat, exchange, reply)
        async with (
            asyncio.timeout_at(exchange.deadline),
            self.places.take(),
            self.engine.ask(orjson.dumps(asked)) as incoming,
        ):
            body = await self._receive(incoming, chat, exchange, reply)
        if key is not None and (answer := exchange.to_give()):
            self.cache.put(key, answer)
        return body

    async def _give_again(
        self, chat: ChatRequest, exchange: Exchange, reply: Reply
    ) -> bytes | None:
        completion = exchange.completion(self.spec)
        if not chat.stream:
            return completion.to_json()
        await reply.begin_stream(exchange.headers(self.spec))
        await reply.send_part(b"".join(completion.events(has_usage=chat.has_usage_in_stream)))
        return None

    async def _receive(
        self, incoming: Incoming, chat: ChatRequest, exchange: Exchange, reply: Reply
    ) -> bytes | None:
        if incoming.status != 200:
            body = json_object(await incoming.read())
            raise refused_by_engine(incoming.status, body, self.spec)
        if chat.stream:
            await pass_on(incoming.pieces(), exchange, reply, self.spec)
            return None
        body = await incoming.read()
        completion = json_object(body)
        exchange.add_completion(completion)
        if self.spec.serving.refuse_empty_answers and exchange.is_empty:
            raise empty_answer()
        return without_logprobs(body, completion)

    async def _end(self, refusal: RefusedError, exchange: Exchange, reply: Reply) -> None:
        """Say why there is no answer, or no more of it, and record that.

        In a trial the gateway asks the other arm, whose answer is recorded under the same id.
        """
        if not reply.has_begun:
            exchange.forget_answer()
        exchange.answer.finish_reason = refusal.reason
        if reply.has_begun:
            self._record(exchange, 200)
        elif refusal.is_final or not exchange.is_trial:
            self._record(exchange, refusal.status)
        if refusal.status == CLIENT_GONE:
            return
        error = error_json(refusal.status, str(refusal))
        if reply.has_begun:
            await reply.send_part(b"data: " + error + b"\n\n", is_last=True)
        else:
            headers = {**exchange.headers(self.spec), **refusal.headers}
            await reply.send_object(refusal.status, error, headers)

    def _record(self, exchange: Exchange, status: int) -> None:
        if exchange.answer.finish_reason is None:
            exchange.answer.finish_reason = "interrupted"
        self.outbox.put(exchange.interaction(self.spec, status))
