"""From a registered model to its users, and what becomes of it told to Dagster.

Belongs here: the sensors around a rollout. What a rollout does is decided beside the gateway, in
`llm_assets.rollouts`.
"""

import json

import dagster as dg

from llm_assets.assets.deployment import deployed_endpoint, registered_model
from llm_assets.assets.partitions import applications
from llm_assets.assets.transitions import transition_metadata
from llm_assets.deployment.registry import Transition
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.sensors.jobs import APPLICATION_TAG, deploy_newest


@dg.sensor(
    job=deploy_newest,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the rollout of a registered model version once no other one runs.",
)
def deploy_sensor(
    context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the rollout of each application's newest version that was never tried."""
    requests, reasons, names = [], [], []
    for name in installation.applications():
        try:
            entry = installation.registry.entry(name)
        except UserError as error:
            reasons.append(str(error))
            continue
        version = entry.untried
        if version is None or entry.rollout is not None:
            reasons.append(f"{name}: {entry.rollout or 'nobody waits'}")
            continue
        names.append(name)
        requests.append(
            dg.RunRequest(
                run_key=f"deploy:{version}",
                partition_key=name,
                tags={APPLICATION_TAG: name},
                run_config=dg.RunConfig(
                    ops={"deployed_endpoint": {"config": {"model_version": version}}}
                ),
            )
        )
    if not requests:
        return dg.SkipReason("; ".join(reasons))
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[applications.build_add_request(names)],
    )


@dg.sensor(
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells every transition of a rollout as a materialization of deployed_endpoint.",
)
def rollout_sensor(
    context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
) -> dg.SensorResult | dg.SkipReason:
    """Tell what the loop beside the gateway decided; what a run did, the run itself has told."""
    told: dict[str, int] = json.loads(context.cursor or "{}")
    events: list[dg.AssetMaterialization] = []
    names = sorted(installation.applications())
    for name in names:
        try:
            history = installation.registry.history(name)
        except UserError as error:
            context.log.warning(str(error))  # the others' are told all the same
            continue
        for number in range(told.get(name, 0), len(history)):
            transition = history[number]
            if transition.action != "register" and not _was_told_by_its_run(transition):
                events.append(
                    dg.AssetMaterialization(
                        asset_key=deployed_endpoint.key,
                        partition=name,
                        metadata=transition_metadata(installation, name, number, transition),
                    )
                )
        told[name] = len(history)
    if not events:
        return dg.SkipReason(f"no rollout went on; {sum(told.values())} transitions known")
    return dg.SensorResult(
        asset_events=events,
        cursor=json.dumps(told),
        dynamic_partitions_requests=[applications.build_add_request(names)],
    )


def _was_told_by_its_run(transition: Transition) -> bool:
    return transition.run_id is not None and transition.action in ("start", "promote")


registration_sensor = dg.AutomationConditionSensorDefinition(
    "registration_sensor",
    target=dg.AssetSelection.assets(registered_model),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers a version whose gate passed outside a cycle, e.g. evaluated again.",
)


SENSORS = [deploy_sensor, rollout_sensor, registration_sensor]
