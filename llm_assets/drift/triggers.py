"""Whether to start an improvement cycle now, and why or why not. A sensor only asks.

The causes say that a cycle would help, the brakes that it must wait; a brake holds back every
cause, a person's request too.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pydantic

from llm_assets.config import Config
from llm_assets.drift.config import DriftConfig


class TriggerConfig(Config):
    """The `triggers` section of an application."""

    min_new_feedback: int = pydantic.Field(default=200, ge=1)
    cooldown_hours: float = pydantic.Field(default=24.0, ge=0.0)
    warm_up_hours: float = pydantic.Field(default=24.0, ge=0.0)


class Cause(enum.StrEnum):
    """What starts a cycle, the strongest first."""

    MANUAL = "manual"
    DRIFT = "drift"
    VOLUME = "volume"


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the detectors said of one day; `is_drifted` is None where no score was defined."""

    day: date
    is_drifted: bool | None
    summary: str

    @classmethod
    def from_scores(cls, day: date, rows: Iterable[Mapping[str, Any]]) -> "Window":
        """Sum up the rows of `drift_scores` of one day."""
        rows = list(rows)
        defined = [row for row in rows if not math.isnan(row["score"])]
        if not defined:
            reasons = dict.fromkeys(row["reason"] for row in rows)
            return cls(day=day, is_drifted=None, summary="; ".join(reasons) or "no scores")
        drifted = [row for row in defined if row["is_drifted"]]
        return cls(
            day=day,
            is_drifted=bool(drifted),
            summary=", ".join(_describe(row) for row in drifted or defined),
        )


@dataclass(frozen=True, kw_only=True)
class History:
    """What the decision is made of; the times have an offset.

    `num_new_feedback` counts usable feedback since the last cycle started. `last_cycle_at` is
    when the newest cycle started, however it ended; `promoted_at` is when the champion was
    promoted, None for one that was there from the start. `manual_request` identifies a person's
    request that has not been served yet.
    """

    application: str
    windows: Sequence[Window]
    num_new_feedback: int
    last_cycle_at: datetime | None = None
    has_open_cycle: bool = False
    promoted_at: datetime | None = None
    manual_request: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do, the run key that makes it happen only once, and the reason in numbers.

    A cause that is held back is named, but has no run key.
    """

    should_start: bool
    cause: Cause | None
    run_key: str | None
    reason: str


def decide(
    history: History, *, drift: DriftConfig, triggers: TriggerConfig, now: datetime
) -> Decision:
    """Decide whether a cycle starts now.

    The run key is made from the cause alone: the newest drifted day, the cycle since which the
    feedback was counted, or the request. Asking again with the same history gives the same key.
    """
    causes = {
        Cause.MANUAL: _manual(history),
        Cause.DRIFT: _drift(history, drift),
        Cause.VOLUME: _volume(history, triggers),
    }
    cause = next((cause for cause, finding in causes.items() if finding.key is not None), None)
    if cause is None:
        reason = "; ".join(finding.reason for finding in causes.values() if finding.reason)
        return Decision(should_start=False, cause=None, run_key=None, reason=reason)
    reason = causes[cause].reason
    brake = _brake(history, triggers, now)
    if brake is not None:
        held = f"{reason}, but {brake}"
        return Decision(should_start=False, cause=cause, run_key=None, reason=held)
    run_key = f"{history.application}:{cause}:{causes[cause].key}"
    return Decision(should_start=True, cause=cause, run_key=run_key, reason=reason)


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """Why a cause is there or not; `key` is None where it is not."""

    key: str | None
    reason: str


def _manual(history: History) -> _Finding:
    if history.manual_request is None:
        return _Finding(key=None, reason="")
    return _Finding(key=history.manual_request, reason=f"requested: {history.manual_request}")


def _drift(history: History, config: DriftConfig) -> _Finding:
    since = history.last_cycle_at
    # A cycle answers all drift seen until its day; only later days can ask for another.
    new = [window for window in history.windows if since is None or window.day > since.date()]
    defined = sorted(
        (window for window in new if window.is_drifted is not None), key=lambda w: w.day
    )
    recent = defined[-config.windows :]
    drifted = [window for window in recent if window.is_drifted]
    if not recent:
        when = "yet" if since is None else "since the last cycle"
        return _Finding(key=None, reason=f"no window with defined drift scores {when}")
    counts = f"{len(drifted)} of the last {len(recent)} windows drifted"
    if len(drifted) >= config.windows_needed:
        newest = drifted[-1]
        reason = f"{counts}, the newest on {newest.day}: {newest.summary}"
        return _Finding(key=newest.day.isoformat(), reason=reason)
    reason = f"{counts}, {config.windows_needed} needed; {recent[-1].day}: {recent[-1].summary}"
    return _Finding(key=None, reason=reason)


def _volume(history: History, config: TriggerConfig) -> _Finding:
    num, needed = history.num_new_feedback, config.min_new_feedback
    if num < needed:
        return _Finding(key=None, reason=f"{num} new feedback of {needed} needed")
    since = history.last_cycle_at
    key = "first" if since is None else f"since-{since.isoformat(timespec='seconds')}"
    return _Finding(key=key, reason=f"{num} new feedback, {needed} needed")


def _brake(history: History, config: TriggerConfig, now: datetime) -> str | None:
    if history.has_open_cycle:
        return "a cycle is open"
    for name, start, hours in (
        ("cooldown", history.last_cycle_at, config.cooldown_hours),
        ("warm-up", history.promoted_at, config.warm_up_hours),
    ):
        if start is not None and now < start + timedelta(hours=hours):
            end = start + timedelta(hours=hours)
            return f"the {name} of {hours:g} hours lasts until {end.isoformat(timespec='minutes')}"
    return None


def _describe(row: Mapping[str, Any]) -> str:
    side = "over" if row["is_drifted"] else "under"
    return (
        f"{row['detector']} {row['score']:.3g} is {side} the threshold {row['threshold']:.3g}, "
        f"n={row['n']}"
    )
