"""OpenTelemetry's spans and log events in a neutral form, however they came.

Ids are in lower-case hex and empty where there is none; times are nanoseconds since 1970 and 0
where there is none; attributes are plain values by name.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from llm_assets.errors import UserError
from llm_assets.records import EARLIEST

T = TypeVar("T")
U = TypeVar("U")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_NS = int(EARLIEST.timestamp()) * 10**9

# Deeper values than these would exhaust the interpreter's stack; no convention comes near.
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Event:
    """A log record with a name, or an event that a span holds."""

    name: str
    time_ns: int
    attributes: dict[str, Any]
    body: Any = None
    trace_id: str = ""
    span_id: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One timed operation of a trace; its events carry the ids of the span."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: dict[str, Any]
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What one resource, such as a service, sent: spans or log events, and what was unreadable."""

    resource: dict[str, Any]
    spans: list[Span] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add_spans(self, items: Iterable[T], read: Callable[[T], Span]) -> None:
        """Take over spans; one that cannot be read is a problem."""
        self._add(self.spans, "spans", items, read)

    def add_events(self, items: Iterable[T], read: Callable[[T], Event]) -> None:
        """Take over log events; one that cannot be read is a problem."""
        self._add(self.events, "logRecords", items, read)

    def _add(self, found: list[U], place: str, items: Iterable[T], read: Callable[[T], U]) -> None:
        for number, item in enumerate(items):
            try:
                found.append(read(item))
            except UserError as error:
                self.problems.append(f"{place}.{number}: {error}")

    @property
    def service_name(self) -> str | None:
        """What the service calls itself."""
        name = self.resource.get("service.name")
        return name if isinstance(name, str) else None


def time_of_ns(time_ns: int, key: str) -> datetime:
    """Return a time in UTC, to the microsecond.

    Raises:
        UserError: it is before `EARLIEST`, or absurdly late.
    """
    if not _EARLIEST_NS <= time_ns < 2**64:
        rule = f"must be nanoseconds since 1970, not before {EARLIEST:%Y}"
        raise UserError(f"{key}: {rule}, got {time_ns:.3g}")
    return _EPOCH + timedelta(microseconds=time_ns // 1000)
