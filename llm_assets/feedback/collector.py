"""The collector: takes interactions and feedback over HTTP, durable before it says 2xx.

Records that arrive while one commit is being synced to disk wait and share the next one (group
commit), so the cost of a sync is paid once for all of them.
"""

import asyncio
import errno
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from llm_assets.errors import UserError
from llm_assets.feedback.log import Log, LogWriter, Record
from llm_assets.records import Feedback, Interaction

MAX_BODY_BYTES = 4 * 2**20
MAX_WAITING_RECORDS = 20_000


class Collector:
    """Accepts records once: a repeated id is acknowledged and not written again.

    The ids of what the log holds are kept in memory (about 200 bytes each) and read back from the
    log at start, which takes time linear in its size.
    """

    def __init__(self, home: Path, *, on_accepted: Callable[[Record], None] = lambda _: None):
        self._logs = {Interaction: Log.interactions(home), Feedback: Log.feedback(home)}
        self._writers = {kind: LogWriter(log) for kind, log in self._logs.items()}
        self._on_accepted = on_accepted
        self._applications: dict[str, str] = {}  # of each known request id
        self._feedback_ids: set[str] = set()
        self._waiting: list[tuple[Record, asyncio.Future[bool]]] = []
        self._has_waiting = asyncio.Event()
        self._has_arrived = asyncio.Condition()

    def load(self) -> None:
        """Read back the ids that the log holds."""
        for log in self._logs.values():
            for partition in log.partitions():
                for record in log.read(partition)[0]:
                    self._remember(record)

    async def run(self) -> None:
        """Commit what waits, group after group, until cancelled."""
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            group, self._waiting = self._waiting, []
            await self._commit(group)

    async def submit(self, records: Sequence[Record]) -> int:
        """Wait until the records are on disk; return how many of them were new.

        Raises:
            OSError: the disk refused; none of the failed records counts as accepted.
        """
        futures: list[asyncio.Future[bool]] = []
        for record in records:
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._waiting.append((record, future))
            futures.append(future)
        self._has_waiting.set()
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result is True for result in results)

    @property
    def has_room(self) -> bool:
        """Whether more records may wait for the disk."""
        return len(self._waiting) < MAX_WAITING_RECORDS

    async def application_of(self, request_id: str, *, timeout_seconds: float) -> str | None:
        """Return whose request an id is, waiting a moment for one that is still on its way."""
        async with self._has_arrived:
            try:
                await asyncio.wait_for(
                    self._has_arrived.wait_for(lambda: request_id in self._applications),
                    timeout_seconds,
                )
            except TimeoutError:
                return None
        return self._applications[request_id]

    async def _commit(self, group: Sequence[tuple[Record, asyncio.Future[bool]]]) -> None:
        new: dict[tuple[type, str], Record] = {}
        for record, _ in group:
            if not self._is_known(record):
                new.setdefault((type(record), record.record_id), record)
        failures: dict[type, OSError] = {}
        for kind, writer in self._writers.items():
            records = [record for record in new.values() if type(record) is kind]
            try:
                await asyncio.to_thread(writer.append, records)
            except OSError as error:
                failures[kind] = error
                continue
            for record in records:
                self._remember(record)
                self._on_accepted(record)
        for record, future in group:
            if future.cancelled():
                continue
            if type(record) in failures and not self._is_known(record):
                future.set_exception(failures[type(record)])
            else:
                future.set_result(new.get((type(record), record.record_id)) is record)
        async with self._has_arrived:
            self._has_arrived.notify_all()

    def _remember(self, record: Record) -> None:
        if isinstance(record, Interaction):
            self._applications[record.request_id] = record.application
        else:
            self._feedback_ids.add(record.feedback_id)

    def _is_known(self, record: Record) -> bool:
        if isinstance(record, Interaction):
            return record.request_id in self._applications
        return record.feedback_id in self._feedback_ids


def routes(collector: Collector, *, unknown_request_wait_seconds: float = 2.0) -> list[Route]:
    """Return the collector's HTTP interface."""

    async def post_interactions(request: Request) -> JSONResponse:
        body = await _body(request)
        records: list[Record] = []
        for number, line in enumerate(body.splitlines(), start=1):
            if line.strip():
                try:
                    records.append(Interaction.from_json(line))
                except UserError as error:
                    raise UserError(f"line {number}: {error}") from None
        return await _acknowledge(collector, records)

    async def post_feedback(request: Request) -> JSONResponse:
        fields = _object(await _body(request))
        request_id = fields.get("request_id")
        if not isinstance(request_id, str):
            raise UserError("request_id: is missing")
        application = await collector.application_of(
            request_id, timeout_seconds=unknown_request_wait_seconds
        )
        if application is None:
            return error_response(404, f"request_id: no request is known as {request_id!r}")
        fields = {
            "feedback_id": f"fb-{uuid.uuid4().hex}",
            "time": datetime.now(UTC).isoformat(),
            **fields,
            "application": application,
        }
        feedback = Feedback.from_json(json.dumps(fields))
        response = await _acknowledge(collector, [feedback])
        response.headers["x-feedback-id"] = feedback.feedback_id
        return response

    return [
        Route("/v1/interactions", _guarded(post_interactions), methods=["POST"]),
        Route("/v1/feedback", _guarded(post_feedback), methods=["POST"]),
    ]


def error_response(status: int, message: str) -> JSONResponse:
    """Return an error in the shape of the OpenAI API."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "code": status}}, status)


async def _acknowledge(collector: Collector, records: Sequence[Record]) -> JSONResponse:
    if not collector.has_room:
        response = error_response(429, "too many records wait for the disk; try again later")
        response.headers["retry-after"] = "1"
        return response
    try:
        num_new = await collector.submit(records)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return error_response(507, "no space left on the collector's disk; nothing was accepted")
    return JSONResponse({"accepted": num_new, "duplicates": len(records) - num_new})


def _guarded(handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def guarded(request: Request) -> JSONResponse:
        try:
            return await handler(request)
        except UserError as error:
            return error_response(400, str(error))

    return guarded


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise UserError(f"body: must not exceed {MAX_BODY_BYTES} bytes")
    return bytes(content)


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        raise UserError("body: is not JSON") from None
    if not isinstance(fields, dict):
        raise UserError("body: must be a JSON object")
    return fields
