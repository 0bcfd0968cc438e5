"""A model server for tests that answers each prompt as it is told."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Model:
    """A model server that answers each prompt as it is told."""

    answers: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    seen: list[dict[str, Any]] = field(default_factory=list)
    hangs: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, port: int = 0) -> Iterator[int]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                prompt = body["messages"][-1]["content"]
                model.seen.append({**body, "headers": dict(self.headers), "path": self.path})
                answer = model.answers.get(prompt, "money")
                if answer == "hang":
                    model.hangs.wait()
                content = answer
                if isinstance(answer, str):
                    content = {"choices": [{"message": {"content": answer}}]}
                reply = json.dumps(content).encode()
                self.send_response(model.status)
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield server.server_port
            finally:
                self.hangs.set()
                server.shutdown()
                thread.join()
