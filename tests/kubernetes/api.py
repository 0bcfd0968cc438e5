"""The API server's HTTP: addresses to operations, objects and logs to answers.

Each answer closes its connection, so that no idle one holds up the end of a test.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tests.kubernetes.logs import ContainerLog, Line
from tests.kubernetes.objects import KINDS, NAMESPACE, POD, ApiError, Kind
from tests.kubernetes.operations import Operations

_ADDRESS = re.compile(
    r"/apis?/(?P<api_version>v1|[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(/(?P<name>[^/]+))?(/(?P<part>log|status))?"
)
_KINDS = {(kind.api_version, kind.plural): kind for kind in KINDS}
_SOCKET_SECONDS = 10


class ApiServer(ThreadingHTTPServer):
    """A server on a free port of the loopback; it can refuse requests for a while."""

    daemon_threads = False  # so that closing waits for the requests in flight

    def __init__(self, operations: Operations) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.operations = operations
        self._num_refused = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def refuse(self, num_requests: int) -> None:
        """Answer the next requests with 503, as an API server that is being upgraded."""
        with self._lock:
            self._num_refused = num_requests

    def check_refusal(self) -> None:
        """Raise the 503 if this request is to be refused."""
        with self._lock:
            if self._num_refused > 0:
                self._num_refused -= 1
                message = "the server is currently unable to handle the request"
                raise ApiError(503, "ServiceUnavailable", message)


class _Target(NamedTuple):
    """What an address means."""

    kind: Kind
    namespace: str
    name: str
    part: str
    query: dict[str, str]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_SECONDS
    server: ApiServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, verb: Any) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or "{}")
        with contextlib.suppress(ConnectionError):  # a client may leave at any time
            try:
                self.server.check_refusal()
                verb(_target(self.path), body)
            except ApiError as error:
                status = {
                    "apiVersion": "v1",
                    "kind": "Status",
                    "status": "Failure",
                    "message": str(error),
                    "reason": error.reason,
                    "code": error.status,
                }
                self._send(error.status, status)

    def _get(self, target: _Target, body: Any) -> None:
        operations, kind, namespace = self.server.operations, target.kind, target.namespace
        if target.part == "log" and kind is POD:
            container = target.query.get("container", "")
            self._send_log(operations.log(namespace, target.name, container), target.query)
        elif target.name:
            self._send(HTTPStatus.OK, operations.get(kind, namespace, target.name))
        else:
            self._send(HTTPStatus.OK, operations.list(kind, namespace, target.query))

    def _post(self, target: _Target, body: Any) -> None:
        created = self.server.operations.create(target.kind, target.namespace, body)
        self._send(HTTPStatus.CREATED, created)

    def _delete(self, target: _Target, body: Any) -> None:
        options = {**body, **target.query}
        kind, namespace, name, *_ = target
        self._send(HTTPStatus.OK, self.server.operations.delete(kind, namespace, name, options))

    def _send(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self._send_headers(status, "application/json", {"content-length": str(len(body))})
        self.wfile.write(body)

    def _send_headers(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        headers = {"content-type": content_type, "connection": "close", **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_log(self, log: ContainerLog, query: dict[str, str]) -> None:
        """Stream lines as they come, or send those that there are."""
        self._send_headers(HTTPStatus.OK, "text/plain", {"transfer-encoding": "chunked"})
        has_times = query.get("timestamps", "").lower() == "true"
        for lines in _wanted(log, query):
            chunk = b"".join(line.stamped if has_times else line.text for line in lines)
            if chunk:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")


def _target(path: str) -> _Target:
    address = urlsplit(path)
    found = _ADDRESS.fullmatch(address.path)
    kind = found and _KINDS.get((found["api_version"], found["plural"]))
    if not found or not kind:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    namespace = "" if kind is NAMESPACE else found["namespace"] or ""
    query = dict(parse_qsl(address.query))
    return _Target(kind, namespace, found["name"] or "", found["part"] or "", query)


def _wanted(log: ContainerLog, query: dict[str, str]) -> Iterator[list[Line]]:
    """Yield lines as they come, of the first what `sinceSeconds` and `tailLines` leave."""
    batches = log.follow() if query.get("follow", "").lower() == "true" else iter([log.lines()])
    first = next(batches, [])
    since_ns = time.time_ns() - int(query.get("sinceSeconds", 10**9)) * 10**9
    first = [line for line in first if line.time_ns >= since_ns]
    tail = int(query.get("tailLines", len(first)))
    yield first[len(first) - min(tail, len(first)) :]
    yield from batches
