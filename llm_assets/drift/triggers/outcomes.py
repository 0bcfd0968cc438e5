"""What became of a day's requests, in counts that can be added up over days."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Counts of requests: answered ones, those of them that users corrected or gave a verdict on.

    A verdict is what `quality.quality_scores` takes for one; `num_content` are the good ones.
    """

    num_requests: int = 0
    num_answers: int = 0
    num_corrected: int = 0
    num_verdicts: int = 0
    num_content: int = 0

    @classmethod
    def from_scores(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Read the counts off the rows of `quality_scores` of one day."""
        counts = {row["metric"]: (row["num_events"], row["n"]) for row in rows}
        nothing = (0, 0)
        num_content, num_verdicts = counts.get("satisfaction_rate", nothing)
        num_corrected, num_answers = counts.get("correction_rate", nothing)
        return cls(
            num_requests=counts.get("error_rate", nothing)[1],
            num_answers=num_answers,
            num_corrected=num_corrected,
            num_verdicts=num_verdicts,
            num_content=num_content,
        )

    def __add__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(**{f.name: vars(self)[f.name] + vars(other)[f.name] for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class DayOutcomes:
    """The outcomes of one day's requests, with what was said of them until now."""

    day: date
    outcomes: Outcomes


def pooled(days: Iterable[DayOutcomes]) -> Outcomes:
    """Return the counts of all of the days together."""
    return sum((day.outcomes for day in days), start=Outcomes())


def last_days(days: Iterable[DayOutcomes], *, today: date, num_days: int) -> list[DayOutcomes]:
    """Return what is known of today and the days before it, `num_days` of the calendar in all."""
    first = today - timedelta(days=num_days - 1)
    return [day for day in days if first <= day.day <= today]


def requests_a_day(days: Sequence[DayOutcomes], *, today: date) -> float:
    """Return the mean number of requests from the first of the days until today; 0 of no days.

    A day of the calendar without traffic is a day with 0 requests.
    """
    if not days:
        return 0.0
    num_days = (today - min(day.day for day in days)).days + 1
    return pooled(days).num_requests / num_days
