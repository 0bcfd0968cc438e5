"""Trigger policies tried on the past of an application: `llm-assets drift replay`.

The simulation is in `llm_assets.drift.replay`; here its past is read from disk, and what came of
it is told.
"""

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llm_assets.curation.store import DatasetStore
from llm_assets.curation.votes import promising
from llm_assets.deployment.registry import Entry, Transition
from llm_assets.drift.baseline import Baseline, BaselineStore
from llm_assets.drift.embedding.embeddings import key_of
from llm_assets.drift.replay.as_of import Asked, outcomes_as_of
from llm_assets.drift.replay.policy import Policy
from llm_assets.drift.replay.rescoring import Rescorer
from llm_assets.drift.replay.simulation import Event, Past, Replay, simulate
from llm_assets.drift.triggers.brakes import Cycle
from llm_assets.drift.triggers.run_length import expected_false_starts_per_year
from llm_assets.errors import UserError
from llm_assets.feedback.tables import INTERACTION_SCHEMA
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest
from llm_assets.storage import Partition


@dataclass(frozen=True, kw_only=True)
class Replays:
    """What several policies would have done in the same days, the application's own first.

    `registered` are the versions that cycles really made then, with their days.
    """

    application: str
    first: date
    last: date
    replays: Sequence[Replay]
    registered: Sequence[tuple[date, str]]


def replay(
    installation: Installation,
    application: str,
    *,
    first: date,
    last: date,
    policies: Sequence[Path],
) -> Replays:
    """Try an application's policy, and others beside it, on the days from first to last.

    Raises:
        UserError: there was no traffic on these days, or a policy's file is wrong.
    """
    config = installation.application(application)
    own = Policy(name=application, drift=config.drift, triggers=config.triggers)
    tried = [own, *(own.changed_by(path) for path in policies)]
    traffic = _traffic(installation, application, first, last)
    # A day without traffic is decided on as well.
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    entry = installation.registry.entry(application)
    with _progress(len(traffic) + len(tried) * len(days)) as on_day:
        past = _gather(installation, own, entry, days, traffic, on_day=on_day)
        rescorer = _rescorer(installation, own, entry)
        replays = [simulate(past, policy, rescore=rescorer, on_day=on_day) for policy in tried]
    registered = [
        (step.time.date(), step.model_version)
        for step in _made_by_cycles(entry)
        if first <= step.time.date() <= last
    ]
    return Replays(
        application=application, first=first, last=last, replays=replays, registered=registered
    )


def _traffic(installation: Installation, application: str, first: date, last: date) -> list[date]:
    """Return the days with traffic until the last one."""
    if last < first:
        raise UserError(f"--from must not be after --to, got {first} and {last}")
    known = installation.table("interaction_logs").dates(application)
    if not any(first <= day <= last for day in known):
        has = f"it has some from {known[0]} to {known[-1]}" if known else "it has none at all"
        raise UserError(f"application {application!r}: no traffic from {first} to {last}; {has}")
    return [day for day in known if day <= last]


def _gather(
    installation: Installation,
    own: Policy,
    entry: Entry,
    days: Sequence[date],
    traffic: Sequence[date],
    *,
    on_day: Callable[[], object],
) -> Past:
    """Read what happened on the days and before them; the `own` policy is that of the scores."""
    name, first, last = own.name, days[0], days[-1]
    start = datetime.combine(first, time.min, UTC)
    table = installation.table("drift_scores")
    scores = {}
    for day in table.dates(name):
        rows = table.read(Partition(application=name, date=day)) if day <= last else None
        if rows is not None:
            scores[day] = rows.to_dicts()
    given = installation.feedback(name, last=last).filter(~pl.col("is_over_cap"))
    asked: dict[date, Asked] = {}
    for day in traffic:
        asked[day] = Asked.of_day(_interactions(installation, name, day), given)
        on_day()
    served = [
        step
        for step in entry.history
        if step.action in ("promote", "roll_back") and step.time < start
    ]
    base = entry.versions[0] if entry.versions else None
    champion = served[-1].model_version if served else base
    return Past(
        application=name,
        days=days,
        recorded_with=own.drift,
        scores=scores,
        outcomes=outcomes_as_of(days, asked, given),
        feedback_times=sorted(promising(given)["time"]),
        cycles=_cycles(installation, own, entry, before=start),
        promoted_at=served[-1].time if champion != base else None,
        champion=champion,
        later_versions=frozenset(
            step.model_version
            for step in entry.history
            if step.time >= start and step.model_version != base
        ),
    )


def _cycles(
    installation: Installation, own: Policy, entry: Entry, *, before: datetime
) -> list[Cycle]:
    """Return the cycles that had made a version; those that made none left nothing here."""
    cycles = []
    for step in _made_by_cycles(entry):
        if step.time >= before:
            break
        hours = own.triggers.expected_gpu_hours
        with contextlib.suppress(UserError):  # an old version's folder may have been removed
            manifest = ModelManifest.read(installation.model(step.model_version))
            hours = manifest.metrics.get("seconds", hours * 3600) / 3600
        cycles.append(Cycle(started_at=step.time - timedelta(hours=hours), hours=hours))
    return cycles


def _made_by_cycles(entry: Entry) -> list[Transition]:
    """Return the registrations of versions, without that of the base model."""
    return [step for step in entry.history if step.action == "register" and step.run_id is not None]


def _interactions(installation: Installation, application: str, day: date) -> pl.DataFrame:
    partition = Partition(application=application, date=day)
    rows = installation.table("interaction_logs").read(partition)
    # An older version did not write every column yet.
    return pl.concat(
        [pl.DataFrame(schema=INTERACTION_SCHEMA), *([] if rows is None else [rows])], how="diagonal"
    )


def _rescorer(installation: Installation, own: Policy, entry: Entry) -> Rescorer:
    name, embedder = own.name, installation.embedder(own.name).name
    cache, store = installation.embeddings, BaselineStore(installation.lance)
    trained = DatasetStore(installation.lance).model_versions(name)

    def vectors(prompts: Sequence[str]) -> np.ndarray | None:
        keys = [key_of(embedder, prompt) for prompt in prompts]
        known = cache.read(list(dict.fromkeys(keys)))
        return np.stack([known[key] for key in keys]) if known.keys() >= set(keys) else None

    def stored(version: str) -> Baseline | None:
        baseline = store.read(version) if version in store.model_versions(name) else None
        return baseline if baseline is not None and baseline.embedder == embedder else None

    return Rescorer(
        days=installation.table("interaction_logs").dates(name),
        interactions=lambda day: _interactions(installation, name, day),
        vectors=vectors,
        stored=stored,
        of_first_days=frozenset(entry.versions) - frozenset(trained),
        seed=lambda day: Partition(application=name, date=day).seed,
        embedder=embedder,
        recorded_with=own.drift,
    )


@contextlib.contextmanager
def _progress(num_days: int) -> Iterator[Callable[[], object]]:
    """Show on a terminal how many of the days are through, and how long the rest may take."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying days", total=num_days)
        yield lambda: progress.advance(task)


def to_json(replays: Replays) -> dict[str, Any]:
    """Return what the policies would have done as plain values."""
    return {
        "application": replays.application,
        "first": replays.first.isoformat(),
        "last": replays.last.isoformat(),
        "registered": [
            {"date": day.isoformat(), "model_version": version}
            for day, version in replays.registered
        ],
        "policies": [
            {
                "name": replay.policy.name,
                "expected_false_starts_per_year": expected_false_starts_per_year(
                    replay.policy.drift
                ),
                "num_starts": len(replay.starts),
                "hours": replay.hours,
                "cost": replay.cost,
                **{name: getattr(replay, name) for name in _COUNTS},
                "events": [
                    {**asdict(event), "day": event.day.isoformat(), "is_start": event.is_start}
                    for event in replay.events
                ],
            }
            for replay in replays.replays
        ],
    }


_COUNTS = (
    "num_days",
    "num_defined",
    "num_drifted",
    "num_rescored",
    "num_not_rescored",
    "num_as_recorded",
)


def describe(replays: Replays) -> str:
    """Return the policies side by side, then each one's starts, and what was held back."""
    made = ", ".join(f"{version} on {day}" for day, version in replays.registered)
    names = [replay.policy.name for replay in replays.replays]
    width = max(len("policy"), *map(len, names))
    lines = [
        f"{replays.application}, {replays.first} to {replays.last}",
        f"registered in truth: {made or 'nothing'}",
        "",
        f"{'policy':<{width}}  starts  held days  GPU hours    cost  drifted days  "
        "false starts a year",
    ]
    for name, replay in zip(names, replays.replays, strict=True):
        drifted = f"{replay.num_drifted} of {replay.num_defined}"
        false_starts = expected_false_starts_per_year(replay.policy.drift)
        lines.append(
            f"{name:<{width}}  {len(replay.starts):>6}  "
            f"{len(replay.events) - len(replay.starts):>9}  {replay.hours:>9.3g}  "
            f"{replay.cost:>6.4g}  {drifted:>12}  {false_starts:>19.2g}"
        )
    for replay in replays.replays:
        lines += ["", replay.policy.name, *(f"  {line}" for line in _story(replay))]
    return "\n".join(lines)


def _story(replay: Replay) -> Iterator[str]:
    """Tell of the starts, and once of each time that something is held back day after day."""
    if not replay.events:
        yield "nothing would have started a cycle"
    for (is_start, *_), together in itertools.groupby(replay.events, key=_spell):
        if is_start:
            for event in together:
                yield f"{event.day} a cycle starts by {event.cause}: {event.reason}"
        else:
            yield _told(list(together))
    for num, what in (
        (replay.num_rescored, "scored anew"),
        (replay.num_not_rescored, "as scored then: their vectors, or the baseline, are not kept"),
        (replay.num_as_recorded, "as judged then: their rates were not recorded yet"),
    ):
        if num:
            yield f"{num} {'day counts' if num == 1 else 'days count'} {what}"


def _told(held: Sequence[Event]) -> str:
    days = f"{held[0].day}" if len(held) == 1 else f"{held[0].day} to {held[-1].day}"
    return f"{days} {held[-1].cause} is held back: {held[-1].reason}"


def _spell(event: Event) -> tuple[bool, str, str]:
    """Return what days have in common on which the same brake holds the same cause."""
    words = (event.brake or "").split()
    brake = " ".join(word for word in words if not any(map(str.isdigit, word)))
    return event.is_start, event.cause, brake
