"""Asking an engine over HTTP, one connection a request.

The engine drops the connection after a stream although it promises to keep it alive, so none is
used twice. aiohttp costs a quarter of httpx's time here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import orjson

_JSON = {"content-type": "application/json"}
_CONNECT_SECONDS = 5.0
_HEALTH_SECONDS = 2.0


class EngineError(Exception):
    """The engine cannot be reached, breaks off, or sends what is no answer."""


@dataclass(frozen=True)
class Incoming:
    """An answer of the engine on its way; a client error or failure has another status than 200."""

    status: int
    _response: aiohttp.ClientResponse

    async def read(self) -> bytes:
        """Return the whole body."""
        return await self._response.read()

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes in."""
        return self._response.content.iter_any()


@dataclass
class EngineClient:
    """A client of the engine at `url`, open for as long as it is entered as a context."""

    url: str
    _session: aiohttp.ClientSession = field(init=False, repr=False)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self.url,
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            # The recorder keeps the deadline.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def ask(self, content: bytes) -> AsyncIterator[Incoming]:
        """Send a chat request and give the answer; leaving early frees the engine's slot.

        Raises:
            EngineError: the engine does not answer, or breaks off inside the block.
        """
        try:
            async with self._session.post(
                "/v1/chat/completions", data=content, headers=_JSON
            ) as response:
                yield Incoming(response.status, response)
        except aiohttp.ClientError as error:
            raise EngineError(type(error).__name__) from None

    async def is_ready(self) -> bool:
        """Say whether the model is loaded and answers."""
        timeout = aiohttp.ClientTimeout(total=_HEALTH_SECONDS)
        try:
            async with self._session.get("/health", timeout=timeout) as response:
                return response.ok
        except (aiohttp.ClientError, TimeoutError):
            return False


def json_object(content: bytes) -> dict[str, Any]:
    """Return the object that the engine sent.

    Raises:
        EngineError: it is none.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise EngineError("no JSON object")
    return value
