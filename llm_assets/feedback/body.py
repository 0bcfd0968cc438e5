"""The body of a request, read and inflated piece by piece within limits."""

import zlib
from collections.abc import AsyncIterator, Iterator

from starlette.requests import Request

from llm_assets.errors import UserError

MAX_BODY_BYTES = 4 * 2**20
MAX_INFLATED_BYTES = 32 * 2**20
_PIECE_BYTES = 256 * 2**10


class TooLargeError(Exception):
    """A body over a limit; HTTP answers 413."""


class UnknownEncodingError(Exception):
    """A body that is compressed in a way that is not read here; HTTP answers 415."""


async def body_pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces, inflated if it is gzip; a gzip bomb is stopped on the way.

    Raises:
        TooLargeError: it is larger than 4 MiB as sent, or than 32 MiB inflated.
        UnknownEncodingError: its content-encoding is neither gzip nor identity.
        UserError: it is not the gzip that it is said to be.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnknownEncodingError("content-encoding: must be gzip or identity")
    inflater = _Inflater() if encoding == "gzip" else None
    num_sent = num_inflated = 0
    async for chunk in request.stream():
        num_sent += len(chunk)
        if num_sent > MAX_BODY_BYTES:
            raise TooLargeError(f"body: must not exceed {MAX_BODY_BYTES} bytes")
        for piece in (chunk,) if inflater is None else inflater.feed(chunk):
            num_inflated += len(piece)
            if num_inflated > MAX_INFLATED_BYTES:
                raise TooLargeError(f"body: must not exceed {MAX_INFLATED_BYTES} bytes inflated")
            yield piece
    if inflater is not None:
        yield inflater.end()


class _Inflater:
    """Gzip by pieces of a bounded size; several members may follow each other."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        try:
            while chunk:
                if self._member.eof:
                    self._member = zlib.decompressobj(wbits=31)
                yield self._member.decompress(chunk, _PIECE_BYTES)
                chunk = self._member.unconsumed_tail or self._member.unused_data
        except zlib.error:
            raise UserError("body: is not gzip, as its content-encoding says") from None

    def end(self) -> bytes:
        rest = self._member.flush()
        if not self._member.eof:
            raise UserError("body: its gzip is cut off")
        return rest
