"""Servers that the gateway and the recorders talk to in tests."""

import asyncio
import contextlib
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from llm_assets.records import Interaction


class _FakeServer:
    port = 0

    def routes(self) -> list[Route]:
        raise NotImplementedError

    @contextlib.contextmanager
    def running(self, port: int = 0, *, after_seconds: float = 0.0) -> Iterator[Self]:
        """Serve in a thread; before `after_seconds` connections are refused."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        self.port = listener.getsockname()[1]
        if not after_seconds:
            listener.listen()
        config = uvicorn.Config(Starlette(routes=self.routes()), log_level="warning")
        server = uvicorn.Server(config)

        def run() -> None:
            time.sleep(after_seconds)
            server.run(sockets=[listener])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join()


class FakeApi(_FakeServer):
    """The API process: it keeps the interactions, and tells what else it was sent."""

    def __init__(self) -> None:
        self.interactions: list[Interaction] = []
        self.authorizations: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def waits_for(
        self, count: int, *, prompt: str | None = None, seconds: float = 10
    ) -> list[Interaction]:
        """Return the interactions, those with a prompt if it is given, once there are that many."""
        deadline = time.monotonic() + seconds
        while True:
            found = [i for i in self.interactions if prompt in (None, i.prompt)]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def routes(self) -> list[Route]:
        return [
            Route("/v1/interactions", self._collect, methods=["POST"]),
            Route("/{path:path}", self._other, methods=["GET", "POST"]),
        ]

    async def _collect(self, request: Request) -> Response:
        self.authorizations.add(request.headers.get("authorization"))
        lines = (await request.body()).splitlines()
        self.interactions += [Interaction.from_json(line) for line in lines]
        return JSONResponse({"accepted": len(lines)})

    async def _other(self, request: Request) -> Response:
        size = len(await request.body())
        if variant := request.headers.get("x-llm-assets-variant"):
            headers = {"x-llm-assets-variant": "fallback"}
            return JSONResponse({"name": "api", "variant": variant, "size": size}, 200, headers)
        return JSONResponse({"path": request.url.path, "size": size}, 404)


# How a model server fails: not at all, with a 500, because it is busy, by closing the connection
# before the answer or in its midst, by never answering, or by saying of itself that it is not well.
Failure = Literal["", "error", "shed", "reset", "break", "hang", "unwell"]


class FakeModel(_FakeServer):
    """A model server that answers with its name and with what it was told, unless it fails."""

    STREAM_SECONDS: ClassVar[float] = 0.4

    def __init__(self, name: str) -> None:
        self.name = name
        self.failure: Failure = ""
        self.seen: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def failing(self, failure: Failure, *, seconds: float = math.inf) -> Iterator[Self]:
        """Fail like this, for as long as the context lasts or some seconds only."""
        self.failure = failure
        timer = threading.Timer(min(seconds, 60), self._recover)
        timer.start()
        try:
            yield self
        finally:
            timer.cancel()
            timer.join()
            self._recover()

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self._health),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]

    def _recover(self) -> None:
        self.failure = ""

    async def _health(self, _: Request) -> Response:
        return JSONResponse({}, 503 if self.failure == "unwell" else 200)

    async def _chat(self, request: Request) -> Response:
        body = await request.body()
        request_id = request.headers["x-request-id"]
        seen = {"name": self.name, "request_id": request_id, "size": len(body)}
        for name in ("variant", "trial", "user"):
            seen[name] = request.headers.get(f"x-llm-assets-{name}")
        self.seen.append(seen)
        while self.failure == "hang":
            await asyncio.sleep(0.01)
        if self.failure == "error":
            return JSONResponse({"error": "of the model"}, 500)
        if self.failure == "shed":
            return JSONResponse({"error": "busy"}, 503, {"x-envoy-ratelimited": "true"})
        if self.failure == "reset":
            _close(request)
        headers = {"x-request-id": request_id}
        if b'"stream"' in body:
            return StreamingResponse(self._stream(request), headers=headers)
        return JSONResponse(seen, headers=headers)

    async def _stream(self, request: Request) -> AsyncIterator[bytes]:
        for number in range(4):
            yield b"data: %d\n\n" % number
            await asyncio.sleep(self.STREAM_SECONDS / 4)
            if self.failure == "break":
                _close(request)


def _close(request: Request) -> None:
    receive: Any = request.receive
    receive.__self__.transport.abort()
