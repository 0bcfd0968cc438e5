"""A server that answers a chat at once, whatever it is asked: what is in front of it is measured.

    python benchmarks/serving_with_nothing.py --port N

It speaks as the engine does: with probabilities where they are asked for, and streamed in one event
for each token.
"""

import argparse
import asyncio
import json

NUM_TOKENS, NUM_STREAMED_TOKENS = 2, 64
_LOGPROBS = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]}
_USAGE = {"prompt_tokens": 70, "completion_tokens": NUM_TOKENS, "total_tokens": 70 + NUM_TOKENS}


def _completion(*, has_logprobs: bool) -> bytes:
    choice = {"index": 0, "finish_reason": "stop"}
    choice["message"] = {"role": "assistant", "content": "tech support"}
    if has_logprobs:
        choice["logprobs"] = {"content": _LOGPROBS["content"] * NUM_TOKENS}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "nothing"}
    return _response(json.dumps({**body, "choices": [choice], "usage": _USAGE}).encode(), "json")


def _stream(*, has_logprobs: bool) -> bytes:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "nothing",
    }
    choice = {"index": 0, "finish_reason": None, "delta": {"content": " word"}}
    if has_logprobs:
        choice["logprobs"] = _LOGPROBS
    end = {"index": 0, "finish_reason": "stop", "delta": {}}
    usage = {**_USAGE, "completion_tokens": NUM_STREAMED_TOKENS}
    chunks = [{**chunk, "choices": [choice]}] * NUM_STREAMED_TOKENS
    chunks += [{**chunk, "choices": [end]}, {**chunk, "choices": [], "usage": usage}]
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return _response(b"".join(events) + b"data: [DONE]\n\n", "stream")


def _response(body: bytes, kind: str) -> bytes:
    media = {"json": "application/json", "stream": "text/event-stream"}[kind]
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_ANSWERS = {
    (is_streamed, has_logprobs): make(has_logprobs=has_logprobs)
    for is_streamed, make in ((False, _completion), (True, _stream))
    for has_logprobs in (False, True)
}
_HEALTH = _response(b'{"status": "ok"}', "json")


class _Nothing(asyncio.Protocol):
    """One connection; a request may come in any number of pieces."""

    def __init__(self) -> None:
        self.seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while b"\r\n\r\n" in self.seen:
            head, _, rest = self.seen.partition(b"\r\n\r\n")
            length = _content_length(head)
            if len(rest) < length:
                return
            self.seen = rest[length:]
            self.transport.write(_HEALTH if head.startswith(b"GET") else _answer(rest[:length]))


def _content_length(head: bytes) -> int:
    _, name, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if name else 0


def _answer(body: bytes) -> bytes:
    asked = json.loads(body)
    return _ANSWERS[bool(asked.get("stream")), bool(asked.get("logprobs"))]


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Nothing, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
