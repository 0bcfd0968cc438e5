"""From scores to a cycle, and from a registered model to its users.

Belongs here: the sensors that open a cycle and that deploy. Whether a cycle starts is decided in
`llm_assets.drift.triggers`; a sensor only gathers the history and asks.
"""

from datetime import UTC, date, datetime

import dagster as dg
import polars as pl

from llm_assets.applications import Application
from llm_assets.assets.deployment import registered_model
from llm_assets.assets.partitions import applications, model_versions
from llm_assets.curation.votes import promising
from llm_assets.drift.triggers import Cause, Decision, History, Window, decide
from llm_assets.installation import Installation
from llm_assets.manifest import application_of, next_version
from llm_assets.sensors.jobs import (
    APPLICATION_TAG,
    CAUSE_TAG,
    REASON_TAG,
    deploy_newest,
    improvement_cycle,
)
from llm_assets.storage import Partition

_MANY_RUNS = 1000


def decide_for(
    application: Application, *, installation: Installation, instance: dg.DagsterInstance
) -> Decision:
    """Return whether a cycle of an application starts now, and why or why not."""
    history = _history(application, installation, instance)
    return decide(
        history, drift=application.drift, triggers=application.triggers, now=datetime.now(UTC)
    )


def _cycle_sensor(cause: Cause, description: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{cause}_sensor",
        job=improvement_cycle,
        minimum_interval_seconds=10,
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
            if application.serving is None:
                reasons.append(f"{name}: is served elsewhere and only watched")
                continue
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


drift_sensor = _cycle_sensor(Cause.DRIFT, "Opens a cycle when users ask for something new.")
volume_sensor = _cycle_sensor(Cause.VOLUME, "Opens a cycle when enough new feedback came in.")


@dg.asset_sensor(
    asset_key=registered_model.key,
    job=deploy_newest,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Deploys a model version as soon as it is registered.",
)
def deploy_sensor(
    context: dg.SensorEvaluationContext, asset_event: dg.EventLogEntry
) -> dg.SensorResult:
    """Ask for a deployment of the version that was registered."""
    materialization = asset_event.asset_materialization
    assert materialization is not None
    assert materialization.partition is not None
    version = materialization.partition
    name = application_of(version)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"deploy:{version}:{asset_event.run_id}",
                partition_key=name,
                tags={APPLICATION_TAG: name},
                run_config=dg.RunConfig(
                    ops={"deployed_endpoint": {"config": {"model_version": version}}}
                ),
            )
        ],
        dynamic_partitions_requests=[applications.build_add_request([name])],
    )


registration_sensor = dg.AutomationConditionSensorDefinition(
    "registration_sensor",
    target=dg.AssetSelection.assets(registered_model),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers a version whose gate passed outside a cycle, e.g. evaluated again.",
)

SENSORS = [drift_sensor, volume_sensor, deploy_sensor, registration_sensor]


def _history(
    application: Application, installation: Installation, instance: dg.DagsterInstance
) -> History:
    name = application.name
    runs = instance.get_run_records(
        dg.RunsFilter(job_name=improvement_cycle.name, tags={APPLICATION_TAG: name}),
        limit=_MANY_RUNS,
    )
    last_cycle_at = max((run.create_timestamp for run in runs), default=None)
    return History(
        application=name,
        windows=_windows(application, installation),
        num_new_feedback=_count_usable(installation, name, since=last_cycle_at),
        last_cycle_at=last_cycle_at,
        has_open_cycle=any(not run.dagster_run.is_finished for run in runs),
        promoted_at=_promoted_at(installation, name),
    )


def _windows(application: Application, installation: Installation) -> list[Window]:
    table = installation.table("drift_scores")
    windows: list[Window] = []
    # Undefined days do not count as windows, so look further back than the windows needed.
    for day in reversed(table.dates(application.name)[-4 * application.drift.windows :]):
        scores = table.read(Partition(application=application.name, date=day))
        if scores is not None:
            windows.append(Window.from_scores(day, scores.to_dicts()))
    return windows[::-1]


def _count_usable(installation: Installation, application: str, *, since: datetime | None) -> int:
    first = date.min if since is None else since.date()
    usable = promising(installation.feedback(application, first=first))
    return usable.height if since is None else usable.filter(pl.col("time") > since).height


def _promoted_at(installation: Installation, application: str) -> datetime | None:
    """Return when the champion was promoted; None for the one that was there from the start."""
    entry = installation.registry.entry(application)
    if not entry.versions or entry.champion == entry.versions[0]:
        return None
    promotions = [step.time for step in entry.history if step.model_version == entry.champion]
    return promotions[-1]
