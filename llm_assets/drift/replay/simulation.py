"""When a policy would have started cycles, had it been in force: past days, decided on once more.

Each day is decided on at its end with what was known then. A cycle that starts is open for as long
as cycles take, is then promoted, and is what later days are compared with. What users asked and
said stays what it was: a better model would have changed it, and no replay can know how. People's
requests and changes of the application start nothing here.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, Protocol

from llm_assets.drift.config import OF_ANSWERS, DriftConfig
from llm_assets.drift.replay.policy import Policy
from llm_assets.drift.replay.rejudging import needs_other_scores, rejudged, window_of
from llm_assets.drift.triggers.brakes import Cycle
from llm_assets.drift.triggers.causes import Window, window_days
from llm_assets.drift.triggers.decision import Cause, History, budget, decide
from llm_assets.drift.triggers.outcomes import DayOutcomes

_NOON = time(12, tzinfo=UTC)

# The name of a version means its own baseline; a day the newest prompts until its end, which is
# what a version is made for whose cycle starts then.
Origin = str | date


class Rescore(Protocol):
    """Scores a day against another reference than it was scored against then."""

    def __call__(
        self, day: date, origin: Origin, config: DriftConfig
    ) -> Sequence[Mapping[str, Any]] | None:
        """Return rows of `drift_scores`; None where what they would be made of is not kept."""
        ...


@dataclass(frozen=True, kw_only=True)
class Past:
    """What happened to an application; each mapping holds the days before the first one too.

    `scores` are the rows of `drift_scores`, made with the config `recorded_with`, and `outcomes`
    what was known at the end of a day of all days until it. `feedback_times` are those of usable
    feedback, in order. The rest is how things stood before the first day: the cycles, when the
    champion was promoted, and which version it was, None if that is not known. Scores of
    `later_versions` are against baselines that only later cycles made.
    """

    application: str
    days: Sequence[date]
    recorded_with: DriftConfig
    scores: Mapping[date, Sequence[Mapping[str, Any]]]
    outcomes: Mapping[date, Sequence[DayOutcomes]] = field(default_factory=dict)
    feedback_times: Sequence[datetime] = ()
    cycles: Sequence[Cycle] = ()
    promoted_at: datetime | None = None
    champion: str | None = None
    later_versions: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Event:
    """A day on which there was a cause: a cycle starts, or a brake holds it back."""

    day: date
    cause: Cause
    reason: str
    brake: str | None = None
    hours: float | None = None

    @property
    def is_start(self) -> bool:
        """Whether a cycle starts; `hours` is then what it is expected to take."""
        return self.brake is None


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a policy would have done.

    Of all days, `num_defined` had a score and `num_drifted` drifted. `num_rescored` were scored
    anew. `num_not_rescored` should have been and count as they were scored then, because what is
    needed is not kept, and so do `num_as_recorded`, which were scored before exceedance rates were
    recorded.
    """

    policy: Policy
    events: Sequence[Event]
    num_days: int
    num_defined: int
    num_drifted: int
    num_rescored: int
    num_not_rescored: int
    num_as_recorded: int

    @property
    def starts(self) -> list[Event]:
        """The days on which a cycle starts."""
        return [event for event in self.events if event.is_start]

    @property
    def hours(self) -> float:
        """The GPU hours that all cycles are expected to take."""
        return sum(event.hours or 0.0 for event in self.starts)

    @property
    def cost(self) -> float:
        """What these hours cost; 0 where an hour has no price."""
        return self.hours * self.policy.triggers.gpu_hour_cost


def simulate(
    past: Past,
    policy: Policy,
    *,
    rescore: Rescore,
    on_day: Callable[[], object] = lambda: None,
) -> Replay:
    """Decide on every day as the policy would, and live with what it decided."""
    state = _State(past, policy, rescore)
    events: list[Event] = []
    # Days before the first one can still be among the last windows.
    before = [day for day in sorted(past.scores) if not past.days or day < past.days[0]]
    for day in window_days(before, config=policy.drift):
        state.judge(day)
    state.counts.clear()
    for day in past.days:
        event = state.decide_on(day)
        if event is not None:
            events.append(event)
        on_day()
    counted = {name: state.counts.get(name, 0) for name in _COUNTS}
    return Replay(policy=policy, events=events, num_days=len(past.days), **counted)


_COUNTS = ("num_defined", "num_drifted", "num_rescored", "num_not_rescored", "num_as_recorded")


class _Candidate(NamedTuple):
    """What an open cycle makes, when it is ready, and after how many hours."""

    ready_at: datetime
    hours: float
    made_for: date


class _State:
    """Where a simulated installation stands: its cycles, its champion, and what it has seen."""

    def __init__(self, past: Past, policy: Policy, rescore: Rescore) -> None:
        self.past, self.policy, self.rescore = past, policy, rescore
        self.windows: dict[date, Window] = {}
        self.cycles = list(past.cycles)
        self.promoted_at = past.promoted_at
        self.origin: Origin | None = past.champion
        self.candidate: _Candidate | None = None
        self.counts: dict[str, int] = {}

    def decide_on(self, day: date) -> Event | None:
        """Let a day pass, and decide at its end."""
        now = datetime.combine(day, time.max, UTC)
        self._promote(until=datetime.combine(day, _NOON))
        self.judge(day)
        self._promote(until=now)
        history = History(
            application=self.past.application,
            windows=[
                self.windows[d] for d in window_days([*self.windows], config=self.policy.drift)
            ],
            num_new_feedback=self._num_new_feedback(now),
            days=self.past.outcomes.get(day, ()),
            cycles=self.cycles,
            promoted_at=self.promoted_at,
        )
        triggers = self.policy.triggers
        decision = decide(history, drift=self.policy.drift, triggers=triggers, now=now)
        if decision.cause is None:
            return None
        if not decision.should_start:
            return Event(
                day=day, cause=decision.cause, reason=decision.reason, brake=decision.brake
            )
        hours = budget(history, triggers=triggers, now=now).expected_hours
        self.cycles.append(Cycle(started_at=now, hours=None, run_key=decision.run_key))
        self.candidate = _Candidate(now + timedelta(hours=hours), hours, made_for=day)
        return Event(day=day, cause=decision.cause, reason=decision.reason, hours=hours)

    def judge(self, day: date) -> None:
        """Add the window of a day, if it has scores, and count what was made of it."""
        recorded = self.past.scores.get(day)
        if recorded is None:
            return
        config = self.policy.drift
        rows: Sequence[Mapping[str, Any]] | None = None
        if self._needs_rescoring(recorded):
            if self.origin is not None:
                rows = self.rescore(day, self.origin, config)
            self._count("num_not_rescored" if rows is None else "num_rescored")
        if rows is not None:
            # Another baseline does not change what is said of answers.
            recorded = [*rows, *(row for row in recorded if row["detector"] in OF_ANSWERS)]
        judged = rejudged(recorded, config=config)
        window = self.windows[day] = window_of(day, judged, config=config)
        self._count("num_as_recorded", judged.is_as_recorded)
        self._count("num_defined", window.is_drifted is not None)
        self._count("num_drifted", bool(window.is_drifted))

    def _needs_rescoring(self, recorded: Sequence[Mapping[str, Any]]) -> bool:
        config = self.policy.drift
        if needs_other_scores(config, self.past.recorded_with):
            return True
        # The weeks before are what they are, whichever version serves.
        if config.reference == "same_weekday":
            return False
        is_of_later = any(row.get("model_version") in self.past.later_versions for row in recorded)
        return isinstance(self.origin, date) or is_of_later

    def _promote(self, *, until: datetime) -> None:
        """End the open cycle if its time has come; its version is then the champion."""
        if self.candidate is None or self.candidate.ready_at > until:
            return
        self.promoted_at, hours, self.origin = self.candidate
        self.cycles[-1] = replace(self.cycles[-1], hours=hours)
        self.candidate = None

    def _num_new_feedback(self, now: datetime) -> int:
        times = self.past.feedback_times
        since = max((cycle.started_at for cycle in self.cycles), default=None)
        first = 0 if since is None else bisect.bisect_right(times, since)
        return bisect.bisect_right(times, now) - first

    def _count(self, name: str, is_counted: bool = True) -> None:
        self.counts[name] = self.counts.get(name, 0) + is_counted
