"""What was known of each day's requests at the end of each day, before later verdicts came in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import NamedTuple

import polars as pl

from llm_assets.drift.quality import quality_scores
from llm_assets.drift.triggers.outcomes import DayOutcomes, Outcomes


class Asked(NamedTuple):
    """A day's requests: how many, how many were answered, and those that feedback speaks of."""

    num_requests: int
    num_answers: int
    judged: pl.DataFrame

    @classmethod
    def of_day(cls, interactions: pl.DataFrame, feedback: pl.DataFrame) -> "Asked":
        """Count the interactions of a day; `feedback` is joined, of whatever days."""
        return cls(
            num_requests=interactions.height,
            num_answers=interactions.filter(pl.col("status") < 400).height,
            judged=interactions.join(feedback, on="request_id", how="semi"),
        )


def outcomes_as_of(
    days: Sequence[date], asked: Mapping[date, Asked], feedback: pl.DataFrame
) -> dict[date, list[DayOutcomes]]:
    """Return for each of the days the outcomes of it and all days before it, as known at its end.

    `feedback` is joined and holds what counts. What was said after a day, of whatever request, is
    not known on it. What a clock that runs ahead dates before its request is known with it.
    """
    growing = {day: _growing(day, of_day, feedback) for day, of_day in asked.items()}
    known: dict[date, list[DayOutcomes]] = {}
    for today in days:
        known[today] = [
            DayOutcomes(day=day, outcomes=max(o for o in outcomes if o[0] <= today)[1])
            for day, outcomes in sorted(growing.items())
            if day <= today
        ]
    return known


def _growing(day: date, asked: Asked, feedback: pl.DataFrame) -> list[tuple[date, Outcomes]]:
    """Return the day's outcomes with the days since which they were known, the first one itself."""
    nothing = Outcomes(num_requests=asked.num_requests, num_answers=asked.num_answers)
    about = feedback.join(asked.judged.select("request_id"), on="request_id", how="semi")
    given = pl.max_horizontal(pl.col("time").dt.date(), pl.lit(day))
    outcomes = {day: nothing}
    for known_on in sorted(about.select(given).to_series().unique()):
        scores = quality_scores(asked.judged, about.filter(given <= known_on))
        outcomes[known_on] = replace(
            Outcomes.from_scores(scores.to_dicts()),
            num_requests=asked.num_requests,
            num_answers=asked.num_answers,
        )
    return list(outcomes.items())
