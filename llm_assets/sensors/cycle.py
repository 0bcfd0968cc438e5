"""From scores to a cycle.

Belongs here: the sensors that open a cycle. Whether a cycle starts is decided in
`llm_assets.drift.triggers`, from what `llm_assets.sensors.history` gathers; a sensor only asks.
"""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from llm_assets.applications import Application
from llm_assets.assets.partitions import model_versions
from llm_assets.cycle_requests import mark_served, open_requests
from llm_assets.drift.triggers.brakes import Cycle
from llm_assets.drift.triggers.decision import Cause, Decision, decide
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.manifest import next_version
from llm_assets.sensors.history import gather_history, unserved
from llm_assets.sensors.jobs import (
    APPLICATION_TAG,
    CAUSE_TAG,
    REASON_TAG,
    improvement_cycle,
)

_MANY_RUNS = 1000


def decide_for(
    application: Application, *, installation: Installation, instance: dg.DagsterInstance
) -> Decision:
    """Return whether a cycle of an application starts now, and why or why not.

    What is wrong with one application is its reason, so that it does not stop the others.
    """
    if application.serving is None:
        return _no_cycle("is served elsewhere and only watched")
    cycles = cycles_of(application.name, instance)
    try:
        # A candidate is held against the champion, and a rollout may change who that is.
        if rollout := installation.registry.entry(application.name).rollout:
            return _no_cycle(str(rollout))
        history = gather_history(application, installation, cycles=cycles)
    except UserError as error:
        return _no_cycle(f"cannot be decided: {error}")
    return decide(
        history, drift=application.drift, triggers=application.triggers, now=datetime.now(UTC)
    )


def cycles_of(application: str, instance: dg.DagsterInstance) -> list[Cycle]:
    """Return the newest cycles of an application, however they ended."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=improvement_cycle.name, tags={APPLICATION_TAG: application}),
        limit=_MANY_RUNS,
    )
    return [
        Cycle(
            started_at=record.create_timestamp,
            hours=_hours(record) if record.dagster_run.is_finished else None,
            run_key=record.dagster_run.tags.get(RUN_KEY_TAG),
        )
        for record in records
    ]


def _hours(record: dg.RunRecord) -> float:
    """Return how long a run took that is over; one that ended in the queue took no time."""
    if record.start_time is None or record.end_time is None:
        return 0.0
    return (record.end_time - record.start_time) / 3600


def _no_cycle(reason: str) -> Decision:
    return Decision(should_start=False, cause=None, run_key=None, reason=reason)


def _cycle_sensor(
    cause: Cause, description: str, *, interval_seconds: int = 10
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{cause}_sensor",
        job=improvement_cycle,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def open_cycles(
        context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
    ) -> dg.SensorResult | dg.SkipReason:
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        assert model_versions.name is not None
        existing = context.instance.get_dynamic_partitions(model_versions.name)
        for name, application in installation.applications().items():
            if cause is Cause.MANUAL:
                _close_served_requests(name, installation, context.instance)
            decision = decide_for(application, installation=installation, instance=context.instance)
            reasons.append(f"{name}: {decision.reason}")
            if decision.should_start and decision.cause is cause:
                known = [*existing, *installation.registry.entry(name).versions]
                requests.append(
                    dg.RunRequest(
                        run_key=decision.run_key,
                        partition_key=next_version(name, known),
                        tags={
                            APPLICATION_TAG: name,
                            CAUSE_TAG: str(cause),
                            REASON_TAG: decision.reason,
                        },
                    )
                )
        if not requests:
            return dg.SkipReason("; ".join(reasons))
        versions = [str(request.partition_key) for request in requests]
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[model_versions.build_add_request(versions)],
        )

    return open_cycles


def _close_served_requests(
    application: str, installation: Installation, instance: dg.DagsterInstance
) -> None:
    """Close the requests that a cycle was started for; only then is its run there to be seen."""
    requests = open_requests(installation.home, application)
    if requests:
        still_open = unserved(requests, cycles_of(application, instance))
        served = [request for request in requests if request not in still_open]
        mark_served(installation.home, served, now=datetime.now(UTC))


manual_sensor = _cycle_sensor(Cause.MANUAL, "Opens the cycle that a person asked for.")
change_sensor = _cycle_sensor(
    Cause.CHANGE,
    "Opens a cycle when the base model, the system prompt, or the evaluation changed.",
    interval_seconds=60,
)
quality_sensor = _cycle_sensor(
    Cause.QUALITY, "Opens a cycle when users are less content.", interval_seconds=60
)
drift_sensor = _cycle_sensor(Cause.DRIFT, "Opens a cycle when users ask for something new.")
volume_sensor = _cycle_sensor(Cause.VOLUME, "Opens a cycle when enough new feedback came in.")


SENSORS = [
    manual_sensor,
    change_sensor,
    quality_sensor,
    drift_sensor,
    volume_sensor,
]
