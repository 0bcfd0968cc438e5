"""Servers that the gateway and the recorders talk to in tests."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar, Self

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
        return JSONResponse({"path": request.url.path, "size": size}, 404)


class FakeModel(_FakeServer):
    """A model server that answers with its name and with what it was told."""

    STREAM_SECONDS: ClassVar[float] = 0.4

    def __init__(self, name: str) -> None:
        self.name = name

    def routes(self) -> list[Route]:
        return [Route("/v1/chat/completions", self._chat, methods=["POST"])]

    async def _chat(self, request: Request) -> Response:
        body = await request.body()
        request_id = request.headers["x-request-id"]
        headers = {"x-request-id": request_id}
        if b'"stream"' in body:
            return StreamingResponse(self._stream(), headers=headers)
        seen = {"name": self.name, "request_id": request_id, "size": len(body)}
        seen["variant"] = request.headers["x-llm-assets-variant"]
        return JSONResponse(seen, headers=headers)

    async def _stream(self) -> AsyncIterator[bytes]:
        for number in range(4):
            yield b"data: %d\n\n" % number
            await asyncio.sleep(self.STREAM_SECONDS / 4)
