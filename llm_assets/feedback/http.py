"""The collector over HTTP: what its routes share, and the routes for our own records.

What a request holds is never repeated, neither in an answer nor in a log file: messages name keys
and rules only, and of an unexpected error only its type and place are logged.
"""

import asyncio
import errno
import logging
import math
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llm_assets.errors import UserError
from llm_assets.feedback import unassigned
from llm_assets.feedback.body import TooLargeError, UnknownEncodingError, body_pieces
from llm_assets.feedback.collector import Accepted, BusyError, Collector
from llm_assets.feedback.config import FeedbackConfig
from llm_assets.feedback.log import Record
from llm_assets.feedback.rate_limit import Bucket
from llm_assets.records import Feedback, Interaction
from llm_assets.tokens import Token, TokenCheck, TokenError

# What the bodies of all requests may take together, from their first byte to their answer.
MAX_HELD_BYTES = 128 * 2**20
_SMALL_BODY_BYTES = 64 * 2**10

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_token: ContextVar[Token | None] = ContextVar("token", default=None)

# Takes the request, its body as it was before compression, and the application of its token, which
# is None where every application may be named.
Handler = Callable[[Request, bytes, str | None], Awaitable[Response]]


class ForbiddenError(Exception):
    """A token that speaks for another application; HTTP answers 403."""


class Intake:
    """What every route of the collector shares: tokens, limits, and errors as statuses.

    `tokens` is None where nobody is asked for one. Who comes with a token may send as many records
    a second as its application's section allows. `on_rejected` is called with the status of every
    request that was not accepted.
    """

    def __init__(
        self,
        collector: Collector,
        *,
        tokens: TokenCheck | None,
        applications: Mapping[str, FeedbackConfig],
        on_rejected: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if unassigned.APPLICATION in applications:
            raise UserError(f"application {unassigned.APPLICATION!r}: the name is taken by us")
        self.collector = collector
        self.applications = applications
        self._tokens = tokens
        self._on_rejected = on_rejected
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._num_held_bytes = 0

    def route(self, path: str, handler: Handler) -> Route:
        """Return a route for POST that calls the handler for what may pass.

        The handler may raise `UserError`, and what `accept` raises.
        """

        async def guarded(request: Request) -> Response:
            try:
                response = await self._answer(request, handler)
            except Exception as error:  # noqa: BLE001 - its message may hold what nobody may log
                response = _refusal(error)
            if response.status_code >= 400:
                self._on_rejected(response.status_code)
            return response

        return Route(path, guarded, methods=["POST"])

    async def accept(self, records: Sequence[Record]) -> Accepted:
        """Wait until records are on disk, if the request may send them.

        Raises:
            UserError: an application is not known, or a record could not be cleaned.
            ForbiddenError: an application is not that of the token.
            BusyError: too much was sent, or waits for the disk.
            OSError: the disk refused.
        """
        token = _token.get()
        for application in {record.application for record in records}:
            if token is not None and application != token.application:
                raise ForbiddenError("application: is not the token's")
            if application != unassigned.APPLICATION:
                self.require_application(application)
        if token is not None:
            self._limit_rate(token).take(len(records), now=self._clock())
        return await self.collector.submit(records)

    def require_application(self, application: object) -> str:
        """Return the name of an application if it is known.

        Raises:
            UserError: it is not; the message names those that are.
        """
        if not isinstance(application, str) or application not in self.applications:
            known = ", ".join(sorted(self.applications))
            raise UserError(f"application: must be one of {known} (they are read at start)")
        return application

    async def _answer(self, request: Request, handler: Handler) -> Response:
        token = None
        if self._tokens is not None:
            token = self._tokens.check(request.headers.get("authorization"))
        _token.set(token)
        if token is not None:
            self.require_application(token.application)
            self._limit_rate(token)
        body, num_held = bytearray(), 0
        try:
            async for piece in body_pieces(request):
                if self._num_held_bytes + len(piece) > MAX_HELD_BYTES:
                    raise BusyError("too many requests are being read", retry_after_seconds=1)
                num_held += len(piece)
                self._num_held_bytes += len(piece)
                body += piece
            return await handler(request, bytes(body), token.application if token else None)
        finally:
            self._num_held_bytes -= num_held

    def _limit_rate(self, token: Token) -> Bucket:
        """Return the token's bucket if it has no debt."""
        rate, now = self.applications[token.application].max_records_per_second, self._clock()
        new = Bucket(rate=rate, burst=2 * rate, level=2 * rate, at=now)
        bucket = self._buckets.setdefault(token.sha256, new)
        wait = bucket.wait_seconds(now=now)
        if wait > 0:
            raise BusyError(
                f"more than {rate:g} records a second (feedback.max_records_per_second)",
                retry_after_seconds=math.ceil(wait),
            )
        return bucket


def routes(intake: Intake) -> list[Route]:
    """Return the routes for our own records."""

    async def post_interactions(_: Request, body: bytes, __: str | None) -> Response:
        return _acknowledgement(await intake.accept(await parsed(body, _interactions)))

    async def post_feedback(_: Request, body: bytes, application: str | None) -> Response:
        fields = _object(body)
        has_id = "feedback_id" in fields
        fields.setdefault("feedback_id", f"fb-{uuid.uuid4().hex}")
        fields.setdefault("time", datetime.now(UTC).isoformat())
        fields["application"] = _application(intake, fields, application)
        feedback = Feedback.from_json(orjson.dumps(fields))
        response = _acknowledgement(await intake.accept([feedback]))
        if not has_id:
            response.headers["x-feedback-id"] = feedback.feedback_id
        return response

    return [
        intake.route("/v1/interactions", post_interactions),
        intake.route("/v1/feedback", post_feedback),
    ]


async def parsed(body: bytes, parse: Callable[[bytes], T]) -> T:
    """Return what a body holds; a large one is parsed in a thread, so that nobody waits for it."""
    if len(body) > _SMALL_BODY_BYTES:
        return await asyncio.to_thread(parse, body)
    return parse(body)


def is_disk_full(error: Exception) -> bool:
    """Say whether there was no room for a record."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def error_response(status: int, message: str) -> JSONResponse:
    """Return an error in the shape of the OpenAI API."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "code": status}}, status)


def _application(intake: Intake, fields: Mapping[str, Any], of_token: str | None) -> str:
    """Return whose feedback it is, or that this is not known yet.

    Raises:
        UserError: it names an application that is not known, or not that of its request, or it
            speaks of a session and does not say whose.
        ForbiddenError: it is not the token's.
    """
    named, request_id = fields.get("application"), fields.get("request_id")
    if named is not None:
        intake.require_application(named)
    of_request = None
    if isinstance(request_id, str):
        of_request = intake.collector.application_of(request_id)
    if of_token is not None and {named, of_request} - {None, of_token}:
        raise ForbiddenError("application: is not the token's")
    if named is not None and of_request not in (None, named):
        raise UserError("application: must be that of the request")
    if application := of_token or named or of_request:
        return application
    if len(intake.applications) == 1:
        return next(iter(intake.applications))
    if isinstance(request_id, str):
        return unassigned.APPLICATION
    known = ", ".join(sorted(intake.applications))
    raise UserError(
        f"application: must be given where there is no request_id, by a token or as one of {known}"
    )


def _interactions(body: bytes) -> list[Interaction]:
    records = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            try:
                records.append(Interaction.from_json(line))
            except UserError as error:
                raise UserError(f"line {number}: {error}") from None
    return records


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except ValueError:
        raise UserError("body: is not JSON") from None
    if not isinstance(fields, dict):
        raise UserError("body: must be a JSON object")
    return fields


def _acknowledgement(accepted: Accepted) -> Response:
    counts = {"accepted": accepted.num_accepted, "duplicates": accepted.num_duplicates}
    return Response(orjson.dumps(counts), media_type="application/json")


def _refusal(error: Exception) -> Response:
    """Return the answer that tells a client of an error."""
    if isinstance(error, BusyError):
        response = error_response(429, f"{error}; try again later")
        response.headers["retry-after"] = str(error.retry_after_seconds)
        return response
    statuses = {
        UserError: 400,
        ClientDisconnect: 400,  # nobody receives it
        TokenError: 401,
        ForbiddenError: 403,
        TooLargeError: 413,
        UnknownEncodingError: 415,
    }
    if type(error) in statuses:
        response = error_response(statuses[type(error)], str(error))
        if isinstance(error, TokenError):
            response.headers["www-authenticate"] = "Bearer"
        return response
    if is_disk_full(error):
        return error_response(507, "no space left on the collector's disk; send it again later")
    place = traceback.extract_tb(error.__traceback__)[-1]
    _LOG.error("%s in %s:%s", type(error).__name__, place.filename, place.lineno)
    return error_response(500, "the collector failed; its log says where")
