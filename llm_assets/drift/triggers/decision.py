"""Whether to start an improvement cycle now, and why or why not. A sensor only asks.

The causes say that a cycle would help (`causes`), the brakes that it must wait (`brakes`); a brake
holds back every cause, a person's request too. Where hours and answers have a price, a cause that
traffic alone gives must also be worth its cost (`benefit`). Replaying past days asks the same
question with the history of those days.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import pydantic

from llm_assets.config import Config
from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers import brakes, causes
from llm_assets.drift.triggers.benefit import Worth, worth
from llm_assets.drift.triggers.brakes import Budget, Cycle
from llm_assets.drift.triggers.causes import Change, Finding, Request, Window
from llm_assets.drift.triggers.outcomes import DayOutcomes, last_days, requests_a_day


class TriggerConfig(Config):
    """The `triggers` section of an application.

    Satisfaction of the last `quality_days` is held against the days before; both need
    `min_verdicts`. `max_gpu_hours_per_month` is for any 30 days, None for no limit, and counts the
    hours that cycles ran. `expected_gpu_hours` is what a first cycle takes. The cost of an hour
    and the value of a better answer are in one currency and both 0 where nothing shall be held
    back for its price; `expected_gain` is the part of the affected answers that gets better.
    """

    min_new_feedback: int = pydantic.Field(default=200, ge=1)
    quality_days: int = pydantic.Field(default=7, ge=1, le=366)
    min_verdicts: int = pydantic.Field(default=50, ge=1)
    cooldown_hours: float = pydantic.Field(default=24.0, ge=0.0)
    warm_up_hours: float = pydantic.Field(default=24.0, ge=0.0)
    max_gpu_hours_per_month: float | None = pydantic.Field(default=None, gt=0.0)
    expected_gpu_hours: float = pydantic.Field(default=1.0, gt=0.0)
    gpu_hour_cost: float = pydantic.Field(default=0.0, ge=0.0)
    value_per_better_answer: float = pydantic.Field(default=0.0, ge=0.0)
    expected_gain: float = pydantic.Field(default=0.5, gt=0.0, le=1.0)
    benefit_days: float = pydantic.Field(default=30.0, gt=0.0)

    @pydantic.model_validator(mode="after")
    def _prices_come_in_pairs(self) -> Self:
        if (self.gpu_hour_cost > 0) != (self.value_per_better_answer > 0):
            raise ValueError(
                "gpu_hour_cost and value_per_better_answer must both be 0 or both be more, "
                f"got {self.gpu_hour_cost:g} and {self.value_per_better_answer:g}"
            )
        return self


class Cause(enum.StrEnum):
    """What starts a cycle, the strongest first."""

    MANUAL = "manual"
    CHANGE = "change"
    QUALITY = "quality"
    DRIFT = "drift"
    VOLUME = "volume"


# What a person asked for or changed is not weighed against its price.
_WEIGHED = frozenset({Cause.QUALITY, Cause.DRIFT, Cause.VOLUME})


@dataclass(frozen=True, kw_only=True)
class History:
    """What the decision is made of; the times have an offset.

    `num_new_feedback` counts usable feedback since the last cycle started. `days` are the outcomes
    of the application's days, those before `promoted_at` too, `cycles` its cycles, in any order.
    `promoted_at` is when the champion was promoted, None for one that was there from the start.
    """

    application: str
    windows: Sequence[Window] = ()
    num_new_feedback: int = 0
    days: Sequence[DayOutcomes] = ()
    cycles: Sequence[Cycle] = ()
    promoted_at: datetime | None = None
    request: Request | None = None
    change: Change | None = None

    @property
    def last_cycle_at(self) -> datetime | None:
        """When the newest cycle started, however it ended."""
        return max((cycle.started_at for cycle in self.cycles), default=None)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do, the run key that makes it happen only once, and the reason in numbers.

    A cause that is held back is named, but has no run key; `brake` says what holds it.
    """

    should_start: bool
    cause: Cause | None
    run_key: str | None
    reason: str
    brake: str | None = None


def decide(
    history: History, *, drift: DriftConfig, triggers: TriggerConfig, now: datetime
) -> Decision:
    """Decide whether a cycle starts now.

    The run key is made from the cause alone: the request, what changed, the newest drifted day, or
    the cycle since which verdicts and feedback were counted. Asking again with the same history
    gives the same key, and a key that a cycle has had is no cause any more.
    """
    findings = {
        cause: _unless_started(run_key(history.application, cause, found), found, history.cycles)
        for cause, found in _findings(history, drift, triggers, now).items()
    }
    found = {cause: finding for cause, finding in findings.items() if finding.key is not None}
    if not found:
        reason = "; ".join(finding.reason for finding in findings.values() if finding.reason)
        return Decision(should_start=False, cause=None, run_key=None, reason=reason)
    too_little = {
        cause: held
        for cause, finding in found.items()
        if cause in _WEIGHED
        and (held := _held_by_price(finding, history, triggers, now)) is not None
    }
    # Where the price holds every cause back, the strongest one is told.
    cause = next((cause for cause in found if cause not in too_little), next(iter(found)))
    brake = too_little.get(cause) or _brake(history, triggers, now)
    reason = found[cause].reason
    if brake is not None:
        held_back = f"{reason}, but {brake}"
        return Decision(
            should_start=False, cause=cause, run_key=None, reason=held_back, brake=brake
        )
    key = run_key(history.application, cause, found[cause])
    return Decision(should_start=True, cause=cause, run_key=key, reason=reason)


def run_key(application: str, cause: Cause, finding: Finding) -> str | None:
    """Return what names the cycle that answers a finding; None where there is no cause.

    >>> run_key("helpdesk", Cause.DRIFT, Finding(key="2026-03-19", reason=""))
    'helpdesk:drift:2026-03-19'
    """
    return None if finding.key is None else f"{application}:{cause}:{finding.key}"


def budget(history: History, *, triggers: TriggerConfig, now: datetime) -> Budget:
    """Return what the application's cycles took lately, and what the next one may take."""
    return brakes.budget(
        history.cycles,
        max_hours=triggers.max_gpu_hours_per_month,
        expected_hours=triggers.expected_gpu_hours,
        now=now,
    )


def _findings(
    history: History, drift: DriftConfig, triggers: TriggerConfig, now: datetime
) -> dict[Cause, Finding]:
    since = history.last_cycle_at
    recent = last_days(history.days, today=now.date(), num_days=triggers.quality_days)
    return {
        Cause.MANUAL: causes.manual(history.request),
        Cause.CHANGE: causes.change(history.change),
        Cause.QUALITY: causes.quality(
            history.days,
            since=since,
            champion_since=history.promoted_at,
            now=now,
            num_days=triggers.quality_days,
            min_verdicts=triggers.min_verdicts,
            false_alarm_rate=drift.false_alarm_rate,
        ),
        Cause.DRIFT: causes.drift(history.windows, since=since, config=drift),
        Cause.VOLUME: causes.volume(
            history.num_new_feedback, recent, since=since, needed=triggers.min_new_feedback
        ),
    }


def _unless_started(key: str | None, finding: Finding, cycles: Sequence[Cycle]) -> Finding:
    started = next((c for c in cycles if key is not None and c.run_key == key), None)
    if started is None:
        return finding
    answered = f"{finding.reason}: a cycle was started for it on {started.started_at:%Y-%m-%d}"
    return replace(finding, key=None, reason=answered)


def _brake(history: History, triggers: TriggerConfig, now: datetime) -> str | None:
    return (
        brakes.open_cycle(history.cycles)
        or brakes.pause("cooldown", history.last_cycle_at, hours=triggers.cooldown_hours, now=now)
        or brakes.pause("warm-up", history.promoted_at, hours=triggers.warm_up_hours, now=now)
        or brakes.over_budget(budget(history, triggers=triggers, now=now))
    )


def _held_by_price(
    finding: Finding, history: History, triggers: TriggerConfig, now: datetime
) -> str | None:
    if triggers.gpu_hour_cost == 0:
        return None
    found = expected_worth(finding, history, triggers=triggers, now=now)
    if not found.is_too_little:
        return None
    return f"its expected benefit of {found.benefit:.3g} is under its cost of {found.cost:.3g}"


def expected_worth(
    finding: Finding, history: History, *, triggers: TriggerConfig, now: datetime
) -> Worth:
    """Return what the cycle that answers a finding is expected to bring and to cost."""
    today = now.date()
    recent = last_days(history.days, today=today, num_days=triggers.quality_days)
    return worth(
        finding.affected_share,
        requests_a_day=requests_a_day(recent, today=today) if recent else math.nan,
        benefit_days=triggers.benefit_days,
        expected_gain=triggers.expected_gain,
        value_per_better_answer=triggers.value_per_better_answer,
        expected_hours=budget(history, triggers=triggers, now=now).expected_hours,
        gpu_hour_cost=triggers.gpu_hour_cost,
    )
