"""Whether days of logs are as they should be, and what is wrong with them.

All days of a call are checked together: a suite costs the same for one day as for a month.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import polars as pl

from llm_assets.feedback.tables import FEEDBACK_SCHEMA, INTERACTION_SCHEMA
from llm_assets.feedback.validation import facts
from llm_assets.feedback.validation.config import ValidationConfig
from llm_assets.feedback.validation.rules import (
    COLUMN_RULES,
    Rule,
    day_rules,
    feedback_rules,
    interaction_rules,
)
from llm_assets.feedback.validation.suite import broken
from llm_assets.feedback.validation.volume import Usual, usual_rows

# The days of a table; a frame that is None was never published.
Days = Iterable[tuple[date, pl.DataFrame | None]]

_NUM_SHOWN = 5
# Facts of so many rows are in memory at once, a hundred bytes each and as much again for pandas.
_BATCH_ROWS = 200_000


class Offender(NamedTuple):
    """What breaks a rule: the id of a row or the name of a column, and the value that does."""

    id: str | None
    value: float | str | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a rule on one day; `offenders` are the first few."""

    rule: Rule
    num_rows: int
    num_broken: int
    offenders: Sequence[Offender]

    @property
    def has_passed(self) -> bool:
        """Whether no more rows break the rule than are allowed to."""
        return self.num_broken <= self.rule.allowed_rate * self.num_rows


@dataclass(frozen=True, kw_only=True)
class DayReport:
    """What came of all rules on one day."""

    day: date
    num_rows: int
    usual: Usual
    outcomes: Sequence[Outcome]

    @property
    def violations(self) -> list[Outcome]:
        """The rules that the day breaks."""
        return [outcome for outcome in self.outcomes if not outcome.has_passed]


def validate_interactions(
    days: Days, *, num_rows: Mapping[date, int], config: ValidationConfig, now: datetime
) -> list[DayReport]:
    """Check days of `interaction_logs`; `num_rows` are those of all published days."""
    return _validate(
        days,
        INTERACTION_SCHEMA,
        lambda frame, day: facts.interaction_facts(frame, day=day),
        interaction_rules(config),
        max_age_days=config.max_interaction_age_days,
        num_rows=num_rows,
        config=config,
        now=now,
    )


def validate_feedback(
    days: Days,
    *,
    known: pl.DataFrame,
    num_rows: Mapping[date, int],
    config: ValidationConfig,
    now: datetime,
) -> list[DayReport]:
    """Check days of `feedback_logs`; `known` are the ids of interactions (`joining.known_ids`)."""
    return _validate(
        days,
        FEEDBACK_SCHEMA,
        lambda frame, day: facts.feedback_facts(frame, day=day, known=known),
        feedback_rules(config),
        max_age_days=config.max_feedback_age_days,
        num_rows=num_rows,
        config=config,
        now=now,
    )


def _validate(
    days: Days,
    schema: pl.Schema,
    row_facts: Callable[[pl.DataFrame, date], pl.DataFrame],
    row_rules: Sequence[Rule],
    *,
    max_age_days: float,
    num_rows: Mapping[date, int],
    config: ValidationConfig,
    now: datetime,
) -> list[DayReport]:
    newest = max(num_rows, default=None)
    of_columns, of_rows, of_days = (
        _Facts(COLUMN_RULES),
        _Facts(row_rules),
        _Facts(day_rules(max_age_days)),
    )
    usual: dict[date, tuple[int, Usual]] = {}
    for day, frame in days:
        expected = usual_rows(day, num_rows, tolerance=config.volume_tolerance)
        usual[day] = (0 if frame is None else frame.height, expected)
        of_days.add(
            facts.day_facts(frame, day=day, usual=expected, is_newest=day == newest, now=now)
        )
        if frame is not None:
            of_columns.add(facts.column_facts(frame, schema, day=day))
            of_rows.add(row_facts(frame, day))
    return [
        DayReport(
            day=day,
            num_rows=height,
            usual=expected,
            outcomes=[
                outcome for each in (of_columns, of_rows, of_days) for outcome in each.of(day)
            ],
        )
        for day, (height, expected) in usual.items()
    ]


class _Facts:
    """Gathers facts and checks them against their rules, many days at once."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._waiting: list[pl.DataFrame] = []
        self._outcomes: dict[str, list[Outcome]] = {}

    def add(self, frame: pl.DataFrame) -> None:
        self._waiting.append(frame)
        if sum(waiting.height for waiting in self._waiting) >= _BATCH_ROWS:
            self._check()

    def of(self, day: date) -> list[Outcome]:
        if self._waiting:
            self._check()
        return self._outcomes.get(day.isoformat(), [])

    def _check(self) -> None:
        gathered = pl.concat(self._waiting)
        self._waiting = []
        rows = broken(gathered, self._rules)
        heights = gathered.group_by("date", maintain_order=True).len()
        for rule in self._rules:
            bad = gathered[rows[rule.name]]
            by_day = {str(key[0]): part for key, part in bad.group_by("date", maintain_order=True)}
            for day, height in heights.iter_rows():
                part = by_day.get(day, bad.clear())
                outcome = Outcome(
                    rule=rule,
                    num_rows=height,
                    num_broken=part.height,
                    offenders=list(_offenders(part.head(_NUM_SHOWN), rule)),
                )
                self._outcomes.setdefault(day, []).append(outcome)


def _offenders(rows: pl.DataFrame, rule: Rule) -> Iterator[Offender]:
    for row in rows.iter_rows(named=True):
        yield Offender(id=row["id"], value=_shown(row, rule))


def _shown(row: Mapping[str, Any], rule: Rule) -> float | str | None:
    if rule.is_unique or rule.is_given:
        return None  # the id says it
    if rule.same_as is not None:
        return f"{row[rule.column]} instead of {row[rule.same_as]}"
    value = row[rule.column]
    return f"a text of {len(value)} characters" if isinstance(value, str) else value
