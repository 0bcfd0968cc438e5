"""A recorder in tests: between an engine that a function plays and a collector that keeps all."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from aiohttp import web

from llm_assets.records import Interaction
from llm_assets.serving.recorder import create_app
from llm_assets.serving.spec import ModelServerSpec

ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "Who wrote Faust?"}]}
PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 12, "completion_tokens": 2}
PARTS = ["lite", "rature"]
DONE = b"data: [DONE]\n\n"

Engine = Callable[[web.Request], Awaitable[web.StreamResponse]]


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def text_event(text: str | None) -> bytes:
    return event({"choices": [{"delta": {"content": text}, "finish_reason": None}]})


def end_event(reason: str = "stop") -> bytes:
    return event({"choices": [{"delta": {}, "finish_reason": reason}]})


def usage_event() -> bytes:
    return event({"choices": [], "usage": USAGE})


def completion(text: str = "literature", reason: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason, **more}
    return {"choices": [choice], "usage": USAGE}


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer as a whole or as a stream, whichever is asked."""
    if (await request.json()).get("stream"):
        return await stream(request)
    return web.json_response(completion())


async def stream(request: web.Request) -> web.StreamResponse:
    return await sent(
        request, [text_event(None), *map(text_event, PARTS), end_event(), usage_event(), DONE]
    )


async def sent(
    request: web.Request, events: Iterable[bytes], *, then: str = "end"
) -> web.StreamResponse:
    """Stream the events, then end, `break` the connection, or `hang`."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for part in events:
        await response.write(part)
        await asyncio.sleep(0.005)  # so that each arrives alone
    if then == "hang":
        await asyncio.sleep(60)
    if then == "break":
        assert request.transport is not None
        request.transport.abort()
    return response


@asynccontextmanager
async def playing(engine: Engine) -> AsyncIterator[str]:
    """Give the URL at which a function answers as an engine."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", engine)
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Served:
    """A recorder that can be asked; `asked` is what the engine was asked."""

    spec: ModelServerSpec
    engine: Engine = answer
    recorded: list[Interaction] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def run(self, use: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        return asyncio.run(self._run(use))

    def post(self, body: Any, **options: Any) -> httpx.Response:
        return self.run(lambda client: client.post(PATH, json=body, **options))

    def post_each(self, *bodies: Any, **options: Any) -> list[httpx.Response]:
        async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
            return [await client.post(PATH, json=body, **options) for body in bodies]

        return self.run(use)

    async def _run(self, use: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        collector = httpx.AsyncClient(transport=httpx.MockTransport(self._collect))
        async with playing(self._listen) as url:
            spec = replace(self.spec, collector_url="http://collector")
            app = create_app(spec, engine_url=url, collector=collector)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app), base_url="http://recorder"
                ) as client,
            ):
                return await use(client)

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            self.asked.append(await request.json())
        return await self.engine(request)

    def _collect(self, request: httpx.Request) -> httpx.Response:
        self.recorded += [Interaction.from_json(line) for line in request.content.splitlines()]
        return httpx.Response(200)


def serving(spec: ModelServerSpec, **changes: Any) -> ModelServerSpec:
    """Return the spec with other settings of `serving`."""
    return replace(spec, serving=spec.serving.model_copy(update=changes))
