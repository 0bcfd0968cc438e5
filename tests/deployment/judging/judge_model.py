"""A judge model behind a real HTTP server that speaks OpenAI's API."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """An answer of the server; a text of status 200 becomes a chat completion."""

    text: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Asked(NamedTuple):
    """What the server was asked: the data to be judged, the whole request, and its headers."""

    data: dict[str, Any]
    request: dict[str, Any]
    headers: dict[str, str]


def verdict(choice: str) -> Reply:
    """Return the reply that a good model gives."""
    return Reply(json.dumps({"reasoning": "It is better.", "verdict": choice}))


def prefers_capitals(asked: Asked) -> Reply:
    """Prefer the answer whose first letter is large, wherever it stands."""
    return verdict("A" if asked.data["answer_a"][0].isupper() else "B")


class JudgeModel(ThreadingHTTPServer):
    """Answers each question as `reply` says, and keeps what it was asked."""

    daemon_threads = False  # so that closing waits for the requests in flight

    def __init__(self, reply: Callable[[Asked], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.asked: list[Asked] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: JudgeModel  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 10

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions", self.path
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = json.loads(request["messages"][1]["content"])
        asked = Asked(data, request, {name.lower(): value for name, value in self.headers.items()})
        self.server.asked.append(asked)
        text, status, headers = self.server.reply(asked)
        message = {"role": "assistant", "content": text}
        content = json.dumps({"choices": [{"index": 0, "message": message}]})
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # a client that has hung up
            self.wfile.write((content if status == 200 else text).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def judge_model(reply: Callable[[Asked], Reply]) -> Iterator[JudgeModel]:
    """Run a judge model."""
    with JudgeModel(reply) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
