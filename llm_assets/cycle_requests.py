"""People's requests for an improvement cycle, from the command line to the sensor that serves them.

    cycle_requests/<application>/<request id>.json

A request stays open until a cycle was started for it. The only text in it is the operator's own.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json
from llm_assets.storage import locked

_MAX_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class CycleRequest:
    """One request; `served_at` is when a cycle was started for it, None while it is open."""

    request_id: str
    application: str
    because: str
    requested_at: datetime
    served_at: datetime | None = None


def request_cycle(home: Path, application: str, because: str, *, now: datetime) -> str:
    """Ask for a cycle of an application and return the id of the request.

    Asking again makes another request, and the next cycle that is started for one serves both.

    Raises:
        UserError: the reason is blank or too long.
    """
    reason = " ".join(because.split())
    if not 0 < len(reason) <= _MAX_CHARACTERS:
        raise UserError(
            f"because must have 1 to {_MAX_CHARACTERS} characters, got {len(reason)} "
            f"(application {application!r})"
        )
    folder = _folder(home, application)
    with locked(folder / ".lock", alone=True):
        request_id = f"{now:%Y%m%dT%H%M%S.%f}"
        while (folder / f"{request_id}.json").exists():
            request_id += "-again"
        request = CycleRequest(
            request_id=request_id, application=application, because=reason, requested_at=now
        )
        write_json(folder / f"{request_id}.json", request)
    return request_id


def open_requests(home: Path, application: str) -> list[CycleRequest]:
    """Return the requests that no cycle was started for yet, oldest first."""
    requests = [read_json(path, CycleRequest) for path in _folder(home, application).glob("*.json")]
    still_open = (request for request in requests if request.served_at is None)
    return sorted(still_open, key=lambda request: (request.requested_at, request.request_id))


def mark_served(home: Path, requests: Iterable[CycleRequest], *, now: datetime) -> None:
    """Close requests for good, because a cycle was started for them."""
    for request in requests:
        path = _folder(home, request.application) / f"{request.request_id}.json"
        write_json(path, replace(request, served_at=now))


def _folder(home: Path, application: str) -> Path:
    return home / "cycle_requests" / application
