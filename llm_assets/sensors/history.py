"""What the decision on a cycle is made of, gathered from disk.

It is asked for every few seconds, so what is known of days that are over is counted once (see
`tallies`). Only the cycles come from Dagster, and the sensors bring them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import polars as pl

from llm_assets.applications import Application, made_for
from llm_assets.curation.votes import promising
from llm_assets.cycle_requests import CycleRequest, open_requests
from llm_assets.drift.triggers.brakes import Cycle
from llm_assets.drift.triggers.causes import BASE_MODEL, Change, Request, Window, window_days
from llm_assets.drift.triggers.decision import Cause, History
from llm_assets.drift.triggers.outcomes import DayOutcomes, Outcomes
from llm_assets.feedback.arrivals import days_to_process
from llm_assets.feedback.joining import CLOCK_TOLERANCE
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest
from llm_assets.sensors.published import published_at, read_days
from llm_assets.sensors.tallies import Counts, Tallies
from llm_assets.storage import Partition

_QUALITY = pl.Schema({"metric": pl.String, "num_events": pl.Int64, "n": pl.Int64})


def gather_history(
    application: Application, installation: Installation, *, cycles: Sequence[Cycle]
) -> History:
    """Return all that the decision on a cycle of an application is made of.

    Raises:
        UserError: the base model, or the champion's manifest, is not there or damaged.
    """
    name = application.name
    history = History(application=name, cycles=cycles)
    requests = unserved(open_requests(installation.home, name), cycles)
    return replace(
        history,
        windows=windows(application, installation),
        num_new_feedback=num_usable(application, installation, since=history.last_cycle_at),
        days=outcomes(installation, name),
        promoted_at=promoted_at(installation, name),
        request=Request(request_id=requests[0].request_id, because=requests[0].because)
        if requests
        else None,
        change=_change(application, installation),
    )


def unserved(requests: Sequence[CycleRequest], cycles: Sequence[Cycle]) -> list[CycleRequest]:
    """Return the requests that no cycle was started for: a cycle serves all that came before it."""
    served = {cycle.run_key: cycle.started_at for cycle in cycles if _is_manual(cycle)}
    newest = max(served.values(), default=None)
    return [
        request
        for request in requests
        if f"{request.application}:{Cause.MANUAL}:{request.request_id}" not in served
        and (newest is None or request.requested_at > newest)
    ]


def windows(application: Application, installation: Installation) -> list[Window]:
    """Return what the detectors said of the newest days."""
    table = installation.table("drift_scores")
    days = list(published_at(table, application.name))
    found = []
    for day in window_days(days, config=application.drift):
        scores = table.read(Partition(application=application.name, date=day))
        if scores is not None:
            found.append(Window.from_scores(day, scores.to_dicts()))
    return found


def outcomes(installation: Installation, application: str) -> list[DayOutcomes]:
    """Return the outcomes of every day, oldest first."""
    table = installation.table("quality_scores")

    def count(days: Sequence[date]) -> Mapping[date, Counts]:
        rows: dict[date, list[dict[str, Any]]] = {}
        found = read_days(table, application, days, schema=_QUALITY)
        for row in found.iter_rows(named=True):
            rows.setdefault(row["day"], []).append(row)
        return {
            day: tuple(vars(Outcomes.from_scores(of_day)).values()) for day, of_day in rows.items()
        }

    fingerprints = {day: str(time) for day, time in published_at(table, application).items()}
    counts = tallies_of(installation, application).of("outcomes", fingerprints, count)
    names = Outcomes.__dataclass_fields__
    return [
        DayOutcomes(day=day, outcomes=Outcomes(**dict(zip(names, of_day, strict=True))))
        for day, of_day in counts.items()
        if of_day
    ]


def num_usable(
    application: Application, installation: Installation, *, since: datetime | None
) -> int:
    """Return how much usable feedback was given after a time, or ever."""
    name = application.name
    first = date.min if since is None else since.date()

    def count(days: Sequence[date]) -> Mapping[date, Counts]:
        found: dict[date, Counts] = {}
        for span in days_to_process(list(days), [], late_feedback_days=0):
            usable = promising(installation.feedback(name, span.first, span.last))
            if since is not None:
                usable = usable.filter(pl.col("time") > since)
            of_days = usable.group_by(day=pl.col("time").dt.date()).len()
            found |= {day: (num,) for day, num in of_days.iter_rows()}
        return {day: found.get(day, (0,)) for day in days}

    fingerprints = _feedback_fingerprints(application, installation, first=first)
    if since is not None and first in fingerprints:
        fingerprints[first] += f" after {since.isoformat()}"
    counts = tallies_of(installation, name).of("usable_feedback", fingerprints, count)
    return sum(sum(of_day) for of_day in counts.values())


def tallies_of(installation: Installation, application: str) -> Tallies:
    """Return the counts that are kept of an application."""
    return Tallies(installation.home / "run" / "tallies" / application)


def promoted_at(installation: Installation, application: str) -> datetime | None:
    """Return when the champion was promoted; None for the one that was there from the start."""
    entry = installation.registry.entry(application)
    if not entry.versions or entry.champion == entry.versions[0]:
        return None
    promotions = [step.time for step in entry.history if step.model_version == entry.champion]
    return promotions[-1]


def _feedback_fingerprints(
    application: Application, installation: Installation, *, first: date
) -> dict[date, str]:
    """Return what the usable feedback of each day depends on.

    That is the day's feedback, the interactions that it can join, and two keys of configuration.
    """
    name, late = application.name, application.curation.late_feedback_days
    cap = application.feedback.max_feedback_per_user_and_day
    given = published_at(installation.table("feedback_logs"), name)
    asked = published_at(installation.table("interaction_logs"), name)
    asked_at = {day.toordinal(): time for day, time in asked.items()}
    fingerprints: dict[date, str] = {}
    for day, time in given.items():
        if day >= first:
            number = day.toordinal()
            reach = range(number - late, number + CLOCK_TOLERANCE.days + 1)
            joined = [asked_at[other] for other in reach if other in asked_at]
            fingerprints[day] = f"{time} {max(joined, default=0)} {len(joined)} {late} {cap}"
    return fingerprints


def _change(application: Application, installation: Installation) -> Change | None:
    champion = installation.registry.champion(application.name)
    if champion is None:
        return None
    manifest, wanted = ModelManifest.read(installation.model(champion)), made_for(application)
    base_model = installation.base_model(application.name).path
    return Change.between(
        champion,
        {
            BASE_MODEL: manifest.base_model_sha256,
            "system_prompt": manifest.system_prompt_sha256,
            "evaluation": manifest.evaluation_sha256,
        },
        {
            BASE_MODEL: tallies_of(installation, application.name).sha256_of(base_model),
            "system_prompt": wanted.system_prompt_sha256,
            "evaluation": wanted.evaluation_sha256,
        },
    )


def _is_manual(cycle: Cycle) -> bool:
    return cycle.run_key is not None and f":{Cause.MANUAL}:" in cycle.run_key
