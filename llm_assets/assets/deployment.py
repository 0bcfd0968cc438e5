"""Which model version answers the users.

Belongs here: the assets of the group `deployment`. Three locks keep a candidate that the gate did
not pass away from users: the blocking check on `eval_report`, the automation condition of
`registered_model`, and `deploy`, which judges the report once more itself.
"""

import time
from datetime import UTC, datetime

import dagster as dg
import httpx

from llm_assets.assets.evaluation import eval_report
from llm_assets.assets.partitions import applications, model_versions
from llm_assets.deployment.rollout import deploy
from llm_assets.errors import UserError
from llm_assets.evaluation.gate import gate
from llm_assets.evaluation.report import EvalReport
from llm_assets.installation import Installation
from llm_assets.manifest import application_of


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
    """The model version that answers an application's users: one materialization a transition."""
    name = context.partition_key
    application = installation.application(name)
    version = config.model_version or installation.registry.entry(name).versions[-1]
    url = installation.settings.endpoint_url
    if _served_version(url, name) is None:
        raise UserError(f"{url} does not answer for {name!r}; start it with `llm-assets up`")
    report = EvalReport.read(installation.report(version))
    deployment = deploy(
        name,
        version,
        verdict=gate(report, config=application.evaluation),
        registry=installation.registry,
        probe=lambda: _served_version(url, name),
        clock=lambda: datetime.now(UTC),
        sleep=time.sleep,
        timeout_seconds=application.deployment.timeout_seconds,
        reason=f"gate passed: {report.difference:+.3f} over {report.champion.model_version}",
        run_id=context.run.run_id,
    )
    return dg.MaterializeResult(
        metadata={
            "model_version": version,
            "previous": deployment.previous or "none",
            "seconds_to_serve": deployment.seconds,
            "accuracy": report.candidate.accuracy,
            "url": dg.MetadataValue.url(f"{url}/v1"),
        },
        data_version=dg.DataVersion(version),
    )


def _served_version(endpoint_url: str, application: str) -> str | None:
    """Return which version the endpoint answers with, or None where it does not answer."""
    try:
        models = httpx.get(f"{endpoint_url}/v1/models", timeout=5).raise_for_status().json()
    except httpx.HTTPError:
        return None
    served = {model["id"]: model["model_version"] for model in models["data"]}
    return served.get(application)
