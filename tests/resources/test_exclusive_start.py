"""Nothing writes an output beside another; what there is already, is taken over or removed."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from llm_assets.resources.cluster import Cluster as ClusterClient
from llm_assets.resources.cluster import ClusterError
from llm_assets.resources.exclusive_start import start
from llm_assets.training.kubernetes.pod import pod
from llm_assets.training.kubernetes.workload import Workload
from tests.kubernetes.clients import wait_until
from tests.kubernetes.emulator import Cluster
from tests.resources.training_run import IMAGE
from tests.training.kubernetes.manifests import a_config, a_workload


class Starter:
    """Starts pods that run a shell script, and keeps what is said."""

    def __init__(self, client: ClusterClient) -> None:
        self.client = client
        self.said: list[str] = []

    def start(
        self,
        workload: Workload,
        script: str = "sleep 60",
        *,
        is_restart: bool = False,
        timeout_seconds: float = 10,
        **keys: Any,
    ) -> str:
        config = a_config(
            image=IMAGE,
            namespace="default",
            gpu_resource_name=None,
            termination_grace_period_seconds=1,
            **keys,
        )
        manifest = pod(
            config, workload, command=["sh", "-c", script], variables={}, num_processes=1
        )
        return start(
            self.client,
            manifest,
            workload,
            is_restart=is_restart,
            timeout_seconds=timeout_seconds,
            poll_seconds=0.05,
            say=self.said.append,
        )


@pytest.fixture
def starter(cluster: Cluster) -> Starter:
    return Starter(ClusterClient("default", pause_seconds=0.05, say=print))


def phase(cluster: Cluster) -> str:
    (found,) = cluster.pods()
    return found["status"]["phase"]


def test_a_run_that_asks_again_finds_what_it_has_started(
    starter: Starter, cluster: Cluster
) -> None:
    first = starter.start(a_workload("run-1"))
    assert starter.start(a_workload("run-1")) == first
    assert starter.said == []
    assert len(cluster.pods()) == 1


def test_what_has_ended_is_not_taken_over(starter: Starter, cluster: Cluster) -> None:
    first = starter.start(a_workload("run-1"), "exit 3")
    wait_until(lambda: phase(cluster) == "Failed")
    assert starter.start(a_workload("run-1")) != first


def test_another_run_removes_it_and_waits_until_it_is_gone(
    starter: Starter, cluster: Cluster
) -> None:
    first = starter.start(a_workload("run-1"))
    second = starter.start(a_workload("run-2"))
    assert first != second
    assert len(starter.said) == 1
    (left,) = cluster.pods()
    assert left["metadata"]["uid"] == second


def test_a_restart_gives_way_to_another_run(starter: Starter, cluster: Cluster) -> None:
    first = starter.start(a_workload("run-1"))
    with pytest.raises(dg.Failure, match="run run-1 has started to train") as failure:
        starter.start(a_workload("run-2"), is_restart=True)
    assert failure.value.allow_retries is False
    (left,) = cluster.pods()
    assert left["metadata"]["uid"] == first


def test_what_does_not_go_is_told_with_the_command_that_removes_it(
    starter: Starter, cluster: Cluster
) -> None:
    script = "trap '' TERM; while true; do sleep 0.1; done"
    starter.start(a_workload("run-1"), script)
    wait_until(lambda: phase(cluster) == "Running")
    with pytest.raises(dg.Failure, match=r"kubectl delete pod \S+ --namespace default --force"):
        starter.start(a_workload("run-2"), timeout_seconds=0.3)


def test_what_writes_another_output_is_left_alone(starter: Starter, cluster: Cluster) -> None:
    starter.start(a_workload("run-1"))
    starter.start(a_workload("run-2", model_version="helpdesk-v0003", output_dir=Path("/work/3")))
    starter.start(a_workload("run-3", output_dir=Path("/work/another-installation/helpdesk-v0002")))
    assert len(cluster.pods()) == 3
    assert starter.said == []


def test_a_name_that_something_else_has_is_told(starter: Starter) -> None:
    taken = a_workload("run-1")
    starter.start(Workload(name=taken.name, labels={**taken.labels, "llm-assets/output": "x"}))
    with pytest.raises(dg.Failure, match="is taken by a Pod that is not ours"):
        starter.start(a_workload("run-2"), timeout_seconds=0.2)


def test_a_manifest_that_the_cluster_refuses_is_refused_at_once(starter: Starter) -> None:
    workload = a_workload("run-1")
    wrong = Workload(name="Wrong", labels=workload.labels)
    with pytest.raises(ClusterError, match="RFC 1123"):
        starter.start(wrong)
