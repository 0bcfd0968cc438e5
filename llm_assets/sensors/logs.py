"""From new log lines to scores: which days are worked through, and when.

Belongs here: the sensors before a cycle. Which days are due is decided in
`llm_assets.feedback.arrivals`.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import dagster as dg
import polars as pl
import pydantic

from llm_assets.applications import Application
from llm_assets.assets.partitions import applications, model_versions, partition_key
from llm_assets.drift.baseline import BaselineStore, reference_dates
from llm_assets.feedback.arrivals import days_to_process, look, read_cursor, write_cursor
from llm_assets.installation import Installation
from llm_assets.records import EARLIEST
from llm_assets.sensors.jobs import APPLICATION_TAG, daily_logs, first_baseline, rescore_drift
from llm_assets.sensors.memory import Memory
from llm_assets.sensors.published import log_sizes, published_at, read_days
from llm_assets.storage import Partition

_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dg.sensor(
    job=daily_logs,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Works through the days whose log has grown, once the burst is over.",
)
def new_logs_sensor(
    context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run an application over the days that are due."""
    logs = {"interactions": installation.interaction_log, "feedback": installation.feedback_log}
    known = installation.applications()
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    sizes = {
        f"{kind}|{name}|{day.isoformat()}": size_bytes
        for kind, log in logs.items()
        for name in known
        for day, size_bytes in log_sizes(log.root, name).items()
        # Days still to come wait until they are there: Dagster has no partition for them yet.
        if EARLIEST.date() <= day <= tomorrow
    }
    memory = Memory(installation.home / "run" / "sensors" / "new_logs")
    due, cursor = look(read_cursor(memory.read(context.cursor)), sizes)
    requests = []
    for name, application in known.items():
        # Days before the first request have nothing to work through.
        first_request = min(_days(sizes, "interactions", name), default=date.min)
        for days in days_to_process(
            _days(due, "interactions", name),
            _days(due, "feedback", name),
            late_feedback_days=application.curation.late_feedback_days,
        ):
            first = max(days.first, min(first_request, days.last))
            requests.append(_range_request(name, first, days.last))
    context.update_cursor(memory.write(write_cursor(cursor), last_cursor=context.cursor))
    if not requests:
        num_growing = sum(seen.size != seen.processed for seen in cursor.values())
        return dg.SkipReason(f"no day is due; {len(sizes)} known, {num_growing} still growing")
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[
            applications.build_add_request(_missing(context, applications, list(known)))
        ],
    )


@dg.sensor(
    jobs=[first_baseline, rescore_drift],
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Gives the first version of an application its baseline.",
)
def first_baseline_sensor(
    context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the baseline of a champion without one, once its reference days are over."""
    now = datetime.now(UTC)
    requests, versions, reasons = [], [], []
    seen: dict[str, _Seen] = {}
    seen_before = _SEEN.validate_json(context.cursor or "{}")
    for name, application in installation.applications().items():
        champion = installation.registry.champion(name)
        if champion is None:
            reasons.append(f"{name}: no champion")
            continue
        if champion in BaselineStore(installation.lance).model_versions(name):
            reasons.append(f"{name}: {champion} has a baseline")
            before = seen_before.get(name)
            # Days are looked at once for every champion, and again when they were written again.
            since = before.until if before is not None and before.champion == champion else 0
            seen[name] = _Seen(champion, int(now.timestamp() * 1e9) - _SETTLING_NANOSECONDS)
            unscored = _days_without_baseline(installation, application, since=since)
            if unscored:
                key = f"rescore:{champion}:{unscored[-1]}"
                request = _range_request(name, unscored[0], unscored[-1], rescore_drift.name, key)
                requests.append(request)
            continue
        days = published_at(installation.table("interaction_logs"), name)
        reference = reference_dates(days, config=application.drift)
        needed = application.drift.reference_days
        if len(reference) < needed or reference[-1] >= now.date():
            reasons.append(f"{name}: {len(reference)} of {needed} reference days are over")
        else:
            versions.append(champion)
            requests.append(
                dg.RunRequest(
                    run_key=f"baseline:{champion}",
                    job_name=first_baseline.name,
                    partition_key=champion,
                    tags={APPLICATION_TAG: name},
                )
            )
    context.update_cursor(_SEEN.dump_json(seen).decode())
    if not requests:
        return dg.SkipReason("; ".join(reasons))
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[
            model_versions.build_add_request(_missing(context, model_versions, versions))
        ],
    )


SENSORS = [new_logs_sensor, first_baseline_sensor]


class _Seen(NamedTuple):
    """Until when, in nanoseconds, the scores of an application were looked at for a champion."""

    champion: str
    until: int


_SEEN = pydantic.TypeAdapter(dict[str, _Seen])
# A file has the time at which its writing began; on a busy disk it appears much later.
_SETTLING_NANOSECONDS = 60 * 10**9


def _days_without_baseline(
    installation: Installation, application: Application, *, since: int
) -> list[date]:
    """Return the days scored after a time that had prompts and no baseline to compare them with.

    A day without a season to be held against has no baseline either, and never will.
    """
    if application.drift.reference != "baseline":
        return []
    table = installation.table("drift_scores")
    times = published_at(table, application.name)
    newer = [day for day, time in times.items() if time > since]
    rows = read_days(table, application.name, newer, schema=_COUNTS)
    found = rows.group_by("day").agg(pl.col("n", "num_baseline").max())
    lacking = found.filter((pl.col("n") > 0) & (pl.col("num_baseline") == 0))
    return lacking["day"].sort().to_list()


_COUNTS = pl.Schema({"n": pl.Int64, "num_baseline": pl.Int64})


def _range_request(
    application: str,
    first: date,
    last: date,
    job_name: str = daily_logs.name,
    run_key: str | None = None,
) -> dg.RunRequest:
    ends = [partition_key(Partition(application=application, date=day)) for day in (first, last)]
    return dg.RunRequest(
        run_key=run_key,
        job_name=job_name,
        tags={
            _FIRST: str(ends[0]),
            _LAST: str(ends[1]),
            APPLICATION_TAG: application,
            # The cursor has moved on: a day that failed is not due again until it grows.
            "dagster/max_retries": "3",
        },
    )


def _days(keys: list[str] | dict[str, int], kind: str, application: str) -> list[date]:
    parts = [key.split("|") for key in keys]
    return [date.fromisoformat(p[2]) for p in parts if p[0] == kind and p[1] == application]


def _missing(
    context: dg.SensorEvaluationContext, definition: dg.DynamicPartitionsDefinition, keys: list[str]
) -> list[str]:
    assert definition.name is not None
    existing = set(context.instance.get_dynamic_partitions(definition.name))
    return [key for key in keys if key not in existing]
