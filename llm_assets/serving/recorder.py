"""The layer in front of an engine: checks each request, passes the answer on, and records both.

Streams pass through unbuffered and are put together on the way. The record leaves in the
background (`outbox`), so recording neither slows nor fails an answer.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, TypeVar

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llm_assets.errors import UserError
from llm_assets.records import Interaction
from llm_assets.serving.chat import ChatRequest, check_limits, engine_request, parse_chat_request
from llm_assets.serving.outbox import Outbox
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.sse import Answer, EventSplitter, event_data, without_logprobs
from llm_assets.tokens import TokenCheck, TokenError, Tokens

REQUEST_ID = "x-request-id"
VARIANT = "x-llm-assets-variant"
MODEL_VERSION = "x-llm-assets-model-version"

_CLIENT_GONE = 499  # what proxies log for a client that did not wait; nobody receives it
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    503: "service_unavailable",
    504: "timeout",
}
_FLUSH_SECONDS = 5.0

T = TypeVar("T")


def create_app(
    spec: ModelServerSpec,
    *,
    engine: httpx.AsyncClient,
    collector: httpx.AsyncClient,
    on_ready: Callable[[], None] = lambda: None,
) -> Starlette:
    """Return the application; `on_ready` is called once it is about to take requests."""
    url = None if spec.collector_url is None else f"{spec.collector_url}/v1/interactions"
    outbox = Outbox(url=url, client=collector)
    recorder = Recorder(spec=spec, engine=engine, outbox=outbox, tokens=_token_check(spec))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sending = asyncio.create_task(outbox.run())
        on_ready()
        yield
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await outbox.flush(seconds=_FLUSH_SECONDS)
        await engine.aclose()
        await collector.aclose()

    routes = [
        Route("/v1/chat/completions", recorder.chat_completions, methods=["POST"]),
        Route("/healthz", recorder.healthz),
        Route("/readyz", recorder.readyz),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _token_check(spec: ModelServerSpec) -> TokenCheck | None:
    if spec.token_home is None:
        return None
    return TokenCheck(tokens=Tokens(spec.token_home), is_required=True)


@dataclass
class _Exchange:
    """One request on its way to an answer."""

    request_id: str
    variant: str
    time: datetime
    deadline: float
    started: float = field(default_factory=perf_counter)
    chat: ChatRequest | None = None


@dataclass(frozen=True)
class Recorder:
    """Answers for one application from one engine."""

    spec: ModelServerSpec
    engine: httpx.AsyncClient
    outbox: Outbox
    tokens: TokenCheck | None = None

    async def healthz(self, _: Request) -> Response:
        """Say that the process lives, and what became of the records."""
        outbox = self.outbox
        counts = {"sent": outbox.num_sent, "waiting": len(outbox)}
        counts |= {"dropped": outbox.num_dropped, "refused": outbox.num_refused}
        return JSONResponse({"status": "ok", "interactions": counts})

    async def readyz(self, _: Request) -> Response:
        """Say whether the engine answers."""
        try:
            response = await self.engine.get("/health", timeout=2.0)
            is_ready = response.is_success
        except httpx.HTTPError:
            is_ready = False
        body = {"ready": is_ready, "model_version": self.spec.model_version}
        return JSONResponse(body, 200 if is_ready else 503)

    async def chat_completions(self, request: Request) -> Response:
        """Answer a chat request; every way to end is recorded, unless a stranger asked."""
        if refusal := self._refuse_stranger(request):
            return refusal
        exchange = self._begin(request)
        try:
            exchange.chat = parse_chat_request(await request.body())
            if exchange.chat.model != self.spec.application:
                message = f"model: no application {exchange.chat.model[:100]!r} here"
                return self._refuse(exchange, 404, "unknown_model", message)
            if self.spec.serving.trust_client_time:
                exchange.time = exchange.chat.client_time() or exchange.time
            check_limits(exchange.chat, self.spec)
        except UserError as error:
            return self._refuse(exchange, 400, "invalid_request", str(error))
        except ClientDisconnect:
            return self._refuse(exchange, _CLIENT_GONE, "client_disconnected", "")
        try:
            work = self._ask(exchange, exchange.chat)
            return await _while_connected(request.receive, work)
        except ClientDisconnect:
            return self._refuse(exchange, _CLIENT_GONE, "client_disconnected", "")
        except TimeoutError:
            limit = f"{self.spec.serving.timeout_seconds:g} s (serving.timeout_seconds)"
            return self._refuse(exchange, 504, "timeout", f"no answer within {limit}")
        except httpx.HTTPError as error:
            message = f"the engine does not answer: {type(error).__name__}"
            return self._refuse(exchange, 503, "engine_unavailable", message)

    async def _ask(self, exchange: _Exchange, chat: ChatRequest) -> Response:
        content = engine_request(chat, self.spec)
        outgoing = self.engine.build_request("POST", "/v1/chat/completions", json=content)
        async with asyncio.timeout_at(exchange.deadline):
            incoming = await self.engine.send(outgoing, stream=True)
            if incoming.is_success and chat.stream:
                return _Stream(self, exchange, incoming)
            try:
                body = await incoming.aread()
            finally:
                await incoming.aclose()
        if not incoming.is_success:
            return self._engine_refused(exchange, incoming)
        answer, completion = Answer(), incoming.json()
        answer.add(completion)
        body = without_logprobs(body, completion)
        self.record(exchange, 200, answer)
        return Response(body, media_type="application/json", headers=self.headers(exchange))

    def _engine_refused(self, exchange: _Exchange, incoming: httpx.Response) -> Response:
        error: dict[str, Any] = incoming.json().get("error", {})
        if error.get("type") == "exceed_context_size_error":
            message = (
                f"messages: {error['n_prompt_tokens']} tokens, the context of application "
                f"{self.spec.application!r} holds {error['n_ctx']} (serving.context_tokens)"
            )
            return self._refuse(exchange, 400, "invalid_request", message)
        status = 400 if incoming.is_client_error else 503
        reason = "invalid_request" if status == 400 else "engine_failed"
        return self._refuse(exchange, status, reason, str(error.get("message", "engine failed")))

    def _begin(self, request: Request) -> _Exchange:
        request_id = request.headers.get(REQUEST_ID, "")
        if not (1 <= len(request_id) <= 200 and request_id.isascii()):
            request_id = str(uuid.uuid4())
        return _Exchange(
            request_id=request_id,
            variant=request.headers.get(VARIANT) or self.spec.variant,
            time=datetime.now(UTC),
            deadline=asyncio.get_running_loop().time() + self.spec.serving.timeout_seconds,
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

    def _refuse(self, exchange: _Exchange, status: int, reason: str, message: str) -> Response:
        self.record(exchange, status, Answer(finish_reason=reason))
        body = error_body(status, message)
        return JSONResponse(body, status, headers=self.headers(exchange))

    def headers(self, exchange: _Exchange) -> dict[str, str]:
        """Return the headers that every answer carries."""
        return {
            REQUEST_ID: exchange.request_id,
            VARIANT: exchange.variant,
            MODEL_VERSION: self.spec.model_version,
        }

    def record(self, exchange: _Exchange, status: int, answer: Answer) -> None:
        """Hand the interaction to the outbox.

        Of a conversation over the limit only the prompt is kept, and of that what is within it.
        """
        chat, limit = exchange.chat, self.spec.serving.max_prompt_characters
        interaction = Interaction(
            request_id=exchange.request_id,
            application=self.spec.application,
            time=exchange.time,
            model_version=self.spec.model_version,
            variant=exchange.variant,
            prompt=chat.prompt[:limit] if chat else "",
            response=answer.text,
            messages=chat.conversation if chat and chat.num_characters <= limit else [],
            session_id=chat.metadata.get("session_id") if chat else None,
            user_id=(chat.safety_identifier or chat.user) if chat else None,
            status=status,
            finish_reason=answer.finish_reason,
            latency_seconds=perf_counter() - exchange.started,
            num_prompt_tokens=answer.num_prompt_tokens,
            num_response_tokens=answer.num_response_tokens,
            confidence=answer.confidence,
        )
        self.outbox.put(interaction)


class _Stream(Response):
    """A streamed answer: each event goes out as it comes in, and the whole is recorded."""

    def __init__(self, recorder: Recorder, exchange: _Exchange, incoming: httpx.Response) -> None:
        super().__init__(media_type="text/event-stream", headers=recorder.headers(exchange))
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        self.recorder, self.exchange, self.incoming = recorder, exchange, incoming

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer, reason = Answer(), None
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            await _while_connected(receive, self._pass_on(send, answer))
        except TimeoutError:  # before OSError, which it is a kind of
            reason = "timeout"
        except httpx.HTTPError:
            reason = "engine_failed"
        except (ClientDisconnect, OSError):
            reason = "client_disconnected"
        finally:
            answer.finish_reason = reason or answer.finish_reason or "interrupted"
            self.recorder.record(self.exchange, 200, answer)
            await self.incoming.aclose()
        if reason in ("timeout", "engine_failed"):
            event = JSONResponse(error_body(504 if reason == "timeout" else 503, reason)).body
            await _send_part(send, b"data: " + bytes(event) + b"\n\n")
        if reason != "client_disconnected":
            await _send_part(send, b"", is_last=True)

    async def _pass_on(self, send: Send, answer: Answer) -> None:
        chat, splitter = self.exchange.chat, EventSplitter()
        has_usage = chat is not None and chat.has_usage_in_stream
        async with asyncio.timeout_at(self.exchange.deadline):
            async for piece in self.incoming.aiter_raw():
                passed = b""
                for event in splitter.feed(piece):
                    data = event_data(event) or {}
                    answer.add(data)
                    # We always ask for the usage; a client that did not must not see its chunk,
                    # which has no choices.
                    if has_usage or "usage" not in data or data.get("choices"):
                        passed += without_logprobs(event, data)
                if passed:
                    await _send_part(send, passed)


async def _send_part(send: Send, body: bytes, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless the client leaves: then stop it, so that the engine's slot is free.

    Raises:
        ClientDisconnect: the client left first.
    """

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.create_task(work), asyncio.create_task(disconnected())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


def error_body(status: int, message: str) -> dict[str, Any]:
    """Return an error in the form of the OpenAI API."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}
