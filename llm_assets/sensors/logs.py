"""From new log lines to scores: which days are worked through, and when.

Belongs here: the sensors before a cycle. Which days are due is decided in
`llm_assets.feedback.arrivals`.
"""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from llm_assets.assets.partitions import applications, model_versions, partition_key
from llm_assets.drift.baseline import BaselineStore, reference_dates
from llm_assets.feedback.arrivals import days_to_process, look, read_cursor, write_cursor
from llm_assets.installation import Installation
from llm_assets.records import EARLIEST
from llm_assets.sensors.jobs import APPLICATION_TAG, daily_logs, first_baseline, rescore_drift
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
        f"{kind}|{partition.application}|{partition.date.isoformat()}": log.size_bytes(partition)
        for kind, log in logs.items()
        for partition in log.partitions()
        # Days still to come wait until they are there: Dagster has no partition for them yet.
        if partition.application in known and EARLIEST.date() <= partition.date <= tomorrow
    }
    due, cursor = look(read_cursor(context.cursor), sizes)
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
    context.update_cursor(write_cursor(cursor))
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
    today = datetime.now(UTC).date()
    requests, versions, reasons = [], [], []
    for name, application in installation.applications().items():
        champion = installation.registry.champion(name)
        days = installation.table("interaction_logs").dates(name)
        reference = reference_dates(days, config=application.drift)
        needed = application.drift.reference_days
        if champion is None:
            reasons.append(f"{name}: no champion")
        elif champion in BaselineStore(installation.lance).model_versions(name):
            reasons.append(f"{name}: {champion} has a baseline")
            unscored = _days_without_baseline(installation, name)
            if unscored:
                key = f"rescore:{champion}:{unscored[-1]}"
                request = _range_request(name, unscored[0], unscored[-1], rescore_drift.name, key)
                requests.append(request)
        elif len(reference) < needed or reference[-1] >= today:
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
    if not requests:
        return dg.SkipReason("; ".join(reasons))
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[
            model_versions.build_add_request(_missing(context, model_versions, versions))
        ],
    )


SENSORS = [new_logs_sensor, first_baseline_sensor]


def _days_without_baseline(installation: Installation, application: str) -> list[date]:
    """Return the scored days that had prompts and no baseline to compare them with."""
    table = installation.table("drift_scores")
    days = []
    for day in table.dates(application):
        scores = table.read(Partition(application=application, date=day))
        if scores is not None and scores["n"].max() and not scores["num_baseline"].max():
            days.append(day)
    return days


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
