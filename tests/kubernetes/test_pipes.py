"""Dagster Pipes over the emulator: the real client, a small program in a pod."""

import textwrap
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_k8s import PipesK8sClient

from tests.kubernetes.clients import IMAGE, Core, create_secret
from tests.kubernetes.emulator import Cluster

# The client asks Dagster's context by names that are going to change.

PROGRAM = textwrap.dedent("""
    import os, sys
    from dagster_pipes import open_dagster_pipes
    with open_dagster_pipes() as pipes:
        print("a line of its own", flush=True)
        pipes.report_asset_materialization(metadata={"token": os.environ["TOKEN"]})
        sys.exit(pipes.get_extra("exit_code"))
""")


def materialize(
    cluster: Cluster, core: Core, folder: Path, **extras: Any
) -> dg.ExecuteInProcessResult:
    """Materialize an asset by the program, in a pod with a secret."""
    create_secret(core, "token", "key", "hidden")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    reference = {"secretKeyRef": {"name": "token", "key": "key"}}
    container = {"name": "main", "env": [{"name": "TOKEN", "valueFrom": reference}]}

    @dg.asset
    def model(context: dg.AssetExecutionContext, k8s: PipesK8sClient) -> Any:
        return k8s.run(
            context=context,
            image=IMAGE,
            command=["python", str(program)],
            extras=extras,
            base_pod_spec={"containers": [container]},
        ).get_results()

    client = PipesK8sClient(kubeconfig_file=str(cluster.kubeconfig), poll_interval=0.1)
    return dg.materialize([model], resources={"k8s": client}, raise_on_error=False)


def test_messages_come_through_the_log(cluster: Cluster, core: Core, tmp_path: Path) -> None:
    result = materialize(cluster, core, tmp_path, exit_code=0)
    (materialization,) = result.asset_materializations_for_node("model")
    assert materialization.metadata["token"].value == "hidden"


def test_a_pod_that_fails_fails_the_step(cluster: Cluster, core: Core, tmp_path: Path) -> None:
    result = materialize(cluster, core, tmp_path, exit_code=3)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "some containers exited with errors" in str(failure.step_failure_data.error)
