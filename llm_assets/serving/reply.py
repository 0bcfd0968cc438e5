"""What goes to the client: an object at once, or the parts of a stream as they come."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Send

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    503: "service_unavailable",
    504: "timeout",
}


class Reply:
    """The answer to one request; once it has begun, its status can no longer change."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def send_object(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer with a JSON object that is already written."""
        length = {"content-type": "application/json", "content-length": str(len(body))}
        await self._begin(status, {**length, **headers})
        await self.send_part(body, is_last=True)

    async def begin_stream(self, headers: Mapping[str, str]) -> None:
        """Send the head of a stream of events."""
        kind = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        await self._begin(200, {**kind, **headers})

    async def send_part(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.has_begun = True
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})


def error_body(status: int, message: str) -> dict[str, Any]:
    """Return an error in the form of the OpenAI API."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def error_json(status: int, message: str) -> bytes:
    """Return it as JSON."""
    return orjson.dumps(error_body(status, message))
