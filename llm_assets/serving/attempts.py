"""The gateway's log of tries: which model version was asked, and what came of it.

A request has as many lines as servers were asked. What a model server refused, or never answered,
is known from here only: nobody else saw it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from llm_assets.manifest import application_of
from llm_assets.serving.envoy.clusters import model_version_of

# In the gateway's folder: what it writes now, and what it wrote before.
ATTEMPTS, OLD_ATTEMPTS = "attempts.ndjson", "attempts.1.ndjson"

_START = b'{"gateway": "started"}'
# Envoy's response flags that speak against a server: not connected, timed out, connection closed,
# reset, nonsense, all retries used.
_FAILURES = frozenset({"UF", "UT", "UC", "UR", "UPE", "URX"})
# A time limit is noticed a little before or after.
_SLACK_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of one server.

    `variant` is what the request was assigned to, also when another arm was asked, or `shadow`;
    `trial` names the step in which two arms were compared (`routing.trial_of`). A first attempt
    (`attempt` is 1) at a model version that is not the variant's means that the gateway has taken
    the variant's server out, because it failed too often. `model_version` is None for the API's
    answer after all others failed. `status` is 0 without an answer. What a server sheds because it
    is busy is no failure, nor is a client that goes away.
    """

    time: datetime
    request_id: str
    application: str
    variant: str
    trial: str | None
    model_version: str | None
    attempt: int
    status: int
    is_failure: bool
    seconds: float

    @property
    def ended_at(self) -> datetime:
        """When it was over."""
        return self.time + timedelta(seconds=self.seconds)


class GatewayStart(NamedTuple):
    """Stands between the tries of two lives of the gateway: the last ones before were cut off."""


def start_line() -> bytes:
    """Return the line by which a start is told."""
    return _START + b"\n"


def read_line(line: bytes) -> Attempt | GatewayStart | None:
    """Return what a line of the log says, or None for a line that is torn."""
    return GatewayStart() if line.strip() == _START else read_attempt(line)


def read_attempt(line: bytes) -> Attempt | None:
    """Return the try that a line tells of, or None for a line that tells of none."""
    try:
        entry = orjson.loads(line)
        model_version = model_version_of(entry["cluster"])
        return Attempt(
            time=datetime.fromisoformat(entry["time"]),
            request_id=entry["request_id"],
            # A copy has no route, but only one model version that it is meant for.
            application=entry["application"] or application_of(model_version or ""),
            variant=entry["variant"],
            trial=entry.get("trial"),
            model_version=model_version,
            attempt=int(entry["attempt"]),
            status=entry["status"],
            is_failure=_is_failure(entry),
            seconds=entry["milliseconds"] / 1000,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _is_failure(entry: dict[str, Any]) -> bool:
    if entry["rate_limited"]:
        return False
    if entry["status"] == 0 and entry["flags"] == "-":
        # Either the time for all tries was over, or the client had enough before it was.
        allowed = int(entry["milliseconds_allowed"] or 0) / 1000
        return entry["milliseconds"] / 1000 >= allowed - _SLACK_SECONDS
    return entry["status"] >= 500 or not _FAILURES.isdisjoint(entry["flags"].split(","))
