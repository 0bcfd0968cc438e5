"""Which model version answers the users.

Belongs here: the assets of the group `deployment`. Three locks keep a candidate that the gate did
not pass away from users: the blocking check on `eval_report`, the automation condition of
`registered_model`, and `start`, which judges the report once more itself.
"""

from datetime import UTC, datetime

import dagster as dg

from llm_assets.assets.evaluation import eval_report
from llm_assets.assets.partitions import applications, model_versions
from llm_assets.assets.transitions import transition_metadata
from llm_assets.errors import UserError
from llm_assets.evaluation.report import EvalReport
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.rollouts.by_hand import start


@dg.asset(
    group_name="deployment",
    partitions_def=model_versions,
    deps=[eval_report],
    automation_condition=dg.AutomationCondition.eager()
    & dg.AutomationCondition.all_deps_blocking_checks_passed(),
    owners=["team:llm-platform"],
)
def registered_model(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """The entry of a model version that passed its gate, ready to be deployed."""
    version = context.partition_key
    application = application_of(version)
    report = EvalReport.read(installation.report(version))
    installation.registry.register(
        application,
        version,
        time=datetime.now(UTC),
        reason=f"accuracy {report.candidate.accuracy:.3f}, n={report.n}",
        run_id=context.run.run_id,
    )
    return dg.MaterializeResult(
        metadata={"accuracy": report.candidate.accuracy, "n": report.n},
        data_version=dg.DataVersion(version),
    )


class DeployConfig(dg.Config):
    """Which version a run deploys: the newest registered one unless a person names another."""

    model_version: str | None = None


@dg.asset(
    group_name="deployment",
    partitions_def=applications,
    deps=[dg.AssetDep(registered_model, partition_mapping=dg.AllPartitionMapping())],
    kinds={"envoy"},
    owners=["team:llm-platform"],
)
def deployed_endpoint(
    context: dg.AssetExecutionContext,
    installation: dg.ResourceParam[Installation],
    config: DeployConfig,
) -> dg.MaterializeResult:
    """Who answers an application's users: one materialization a transition of its rollouts.

    A run starts the rollout of a version; what comes then happens beside the gateway, where it
    takes seconds, and `rollout_sensor` tells it here.
    """
    name = context.partition_key
    version = config.model_version or _newest(installation, name)
    start(installation, version, reason=None, run_id=context.run.run_id)
    # Not the last one: the loop beside the gateway may have gone on already, and tells it itself.
    number, transition = next(
        (number, transition)
        for number, transition in reversed(list(enumerate(installation.registry.history(name))))
        if transition.model_version == version and transition.action in ("start", "promote")
    )
    return dg.MaterializeResult(
        metadata=transition_metadata(installation, name, number, transition),
        data_version=dg.DataVersion(version),
    )


def _newest(installation: Installation, application: str) -> str:
    versions = installation.registry.entry(application).versions
    if not versions:
        raise UserError(f"application {application!r}: has no registered version to deploy")
    return versions[-1]
