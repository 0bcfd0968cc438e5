"""Trainings on several nodes, as TrainJobs."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_assets.resources.cluster import Cluster as ClusterClient
from llm_assets.training.kubernetes.config import read_kubernetes_config
from llm_assets.training.kubernetes.runtime import training_runtime
from tests.kubernetes.clients import wait_until
from tests.kubernetes.emulator import Cluster
from tests.resources.conftest import write_job
from tests.resources.training_run import TrainingRun


@pytest.fixture
def client(cluster: Cluster) -> ClusterClient:
    return ClusterClient("default", pause_seconds=0.05, say=print)


@pytest.fixture
def nodes(run: TrainingRun, client: ClusterClient) -> TrainingRun:
    """Return a run of three nodes with two processes each, whose runtime is in the cluster."""
    write_job(run.folder, num_nodes=3, num_processes=2).write(run.job_file)
    run.configure(env={"LLM_ASSETS_X": "1"})
    client.create(training_runtime(read_kubernetes_config(run.config_file), num_processes=2))
    return run


def launcher_of(cluster: Cluster) -> str:
    (pod,) = cluster.pods("jobset.sigs.k8s.io/replicatedjob-name=launcher")
    return pod["metadata"]["name"]


def variables_of(run: TrainingRun, rank: int) -> dict[str, str]:
    return json.loads((run.job.work_dir / f"rank{rank}.json").read_text())


def num_running(cluster: Cluster) -> int:
    return len([pod for pod in cluster.pods() if pod["status"]["phase"] == "Running"])


def test_every_process_of_every_node_has_what_it_needs(
    nodes: TrainingRun, cluster: Cluster, client: ClusterClient
) -> None:
    nodes.behave("finish")
    outcome = nodes.materialize()
    assert outcome.failure == ""
    assert outcome.steps == [
        "step 1",
        "step 2",
        "step 3",
    ]
    for rank in range(6):
        variables = variables_of(nodes, rank)
        assert variables["OMPI_COMM_WORLD_SIZE"] == "6"
        assert variables["HOME"] == "/tmp"
        assert variables["LLM_ASSETS_X"] == "1"
        assert {"MASTER_ADDR", "MASTER_PORT", "DAGSTER_PIPES_CONTEXT", "PATH"} <= variables.keys()
    wait_until(lambda: num_running(cluster) == 0)
    assert client.select("TrainJob", "") == []


def test_a_training_whose_node_was_evicted_starts_again(
    nodes: TrainingRun, cluster: Cluster, background: ThreadPoolExecutor
) -> None:
    nodes.behave("wait", "finish")
    outcome = background.submit(nodes.materialize)
    nodes.wait_for_step(1)
    node = cluster.pods("jobset.sigs.k8s.io/replicatedjob-name=node")[0]
    cluster.evict(node["metadata"]["name"])
    ended = outcome.result()
    assert ended.failure == ""
    (restart,) = ended.holding("starting it again")
    assert "Evicted" in restart
    assert nodes.num_starts == 2
    wait_until(lambda: num_running(cluster) == 0)


@pytest.mark.parametrize("fault", ["preempt", "delete"])
def test_a_training_whose_launcher_was_taken_away_starts_again(
    nodes: TrainingRun, cluster: Cluster, background: ThreadPoolExecutor, fault: str
) -> None:
    nodes.behave("wait", "finish")
    outcome = background.submit(nodes.materialize)
    nodes.wait_for_step(1)
    getattr(cluster, fault)(launcher_of(cluster))
    ended = outcome.result()
    assert ended.failure == ""
    assert len(ended.holding("starting it again")) == 1
    assert nodes.num_starts == 2


def test_a_launcher_out_of_memory_says_so(
    nodes: TrainingRun, cluster: Cluster, background: ThreadPoolExecutor
) -> None:
    nodes.behave("wait")
    outcome = background.submit(nodes.materialize)
    nodes.wait_for_step(1)
    cluster.run_out_of_memory(launcher_of(cluster))
    failure = outcome.result().failure
    assert "OOMKilled" in failure
    assert nodes.num_starts == 1


def test_a_refusal_comes_through_mpirun(nodes: TrainingRun) -> None:
    nodes.behave("exit 1 error: no rows")
    assert nodes.materialize(max_retries=1).failure == "no rows"
    assert nodes.num_starts == 1


def test_a_failure_comes_through_mpirun_and_may_be_retried(nodes: TrainingRun) -> None:
    nodes.behave("exit 3 failed: a rank died", "finish")
    assert nodes.materialize(max_retries=1).failure == ""
    assert nodes.num_starts == 2


def test_a_runtime_that_is_not_there_or_has_another_image_is_told_at_once(
    nodes: TrainingRun, client: ClusterClient
) -> None:
    nodes.configure(image="llm-assets:newer")
    failure = nodes.materialize().failure
    assert "TrainingRuntime deepspeed-distributed: image must be llm-assets:newer" in failure
    nodes.configure(training_runtime={"name": "none"})
    failure = nodes.materialize().failure
    assert failure.startswith("TrainingRuntime none is not in the cluster; apply it with: python")
