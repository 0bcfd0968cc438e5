"""What makes a cycle wait, whatever its cause: time, and the hours that cycles may take."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

BUDGET_DAYS = 30
# The newest cycles say best how long the next one takes; the median of few passes over a crash.
_NUM_JUDGED = 5


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """One run of a cycle, however it ended: when it was asked for, and by which run key.

    `hours` is how long it ran, None while it is open.
    """

    started_at: datetime
    hours: float | None
    run_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The hours of the last 30 days, and those that the next cycle is expected to take.

    An open cycle counts when it is over. `max_hours` is None where there is no limit.
    """

    used_hours: float
    expected_hours: float
    max_hours: float | None

    @property
    def is_enough(self) -> bool:
        """Whether the next cycle fits into what is left."""
        return self.max_hours is None or self.used_hours + self.expected_hours <= self.max_hours


def budget(
    cycles: Sequence[Cycle], *, max_hours: float | None, expected_hours: float, now: datetime
) -> Budget:
    """Return what the cycles took that started in the last 30 days.

    `expected_hours` is for a first cycle; later ones are expected to take the median of the last
    five that ended.
    """
    first = now - timedelta(days=BUDGET_DAYS)
    ended = [c.hours for c in sorted(cycles, key=lambda c: c.started_at) if c.hours is not None]
    used = [c.hours for c in cycles if c.hours is not None and c.started_at > first]
    return Budget(
        used_hours=sum(used),
        expected_hours=statistics.median(ended[-_NUM_JUDGED:]) if ended else expected_hours,
        max_hours=max_hours,
    )


def open_cycle(cycles: Sequence[Cycle]) -> str | None:
    """Return that a cycle is open, or None."""
    return "a cycle is open" if any(cycle.hours is None for cycle in cycles) else None


def pause(name: str, start: datetime | None, *, hours: float, now: datetime) -> str | None:
    """Return until when a pause that began at `start` lasts, or None where it is over."""
    if start is None or now >= start + timedelta(hours=hours):
        return None
    end = start + timedelta(hours=hours)
    return f"the {name} of {hours:g} hours lasts until {end.isoformat(timespec='minutes')}"


def over_budget(found: Budget) -> str | None:
    """Return that the next cycle does not fit into the budget, or None where it does."""
    if found.is_enough:
        return None
    return (
        f"{found.used_hours:.3g} of {found.max_hours:g} GPU hours were used in {BUDGET_DAYS} days, "
        f"and a cycle takes {found.expected_hours:.3g}"
    )
