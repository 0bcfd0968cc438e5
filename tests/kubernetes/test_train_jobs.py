"""TrainJobs: the pods that Kubeflow makes of them, and the conditions that it writes."""

import json
from typing import Any

import kubernetes
import pytest

from tests.kubernetes.clients import (
    IMAGE,
    Core,
    log_of,
    refusal_of,
    wait_for_phase,
    wait_until,
    wait_until_gone,
)
from tests.kubernetes.emulator import Cluster

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
JOB_SET = "jobset.sigs.k8s.io/jobset-name=train"


def a_job(**container: Any) -> dict[str, Any]:
    """Return a runtime's template of a Job with one container."""
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "node", "image": IMAGE, **container}],
    }
    rule = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}
    policy = {"rules": [rule]}
    return {"spec": {"backoffLimit": 0, "podFailurePolicy": policy, "template": {"spec": pod}}}


def a_runtime(**changes: Any) -> dict[str, Any]:
    """Return a runtime for DeepSpeed; `changes` go to its launcher's Job."""
    launcher = a_job()
    launcher["metadata"] = {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}}
    launcher["spec"] |= changes
    node = a_job(command=["/usr/sbin/sshd"], args=["-De"])
    mpi = {"mpiImplementation": "OpenMPI", "runLauncherAsNode": True}
    depends_on = [{"name": "node", "status": "Ready"}]
    job_set = {
        "successPolicy": {"operator": "All", "targetReplicatedJobs": ["launcher"]},
        "replicatedJobs": [
            {"name": "node", "template": node},
            {"name": "launcher", "template": launcher, "dependsOn": depends_on},
        ],
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainingRuntime",
        "metadata": {"name": "deepspeed"},
        "spec": {"mlPolicy": {"numNodes": 1, "mpi": mpi}, "template": {"spec": job_set}},
    }


def a_train_job(script: str = "", **spec: Any) -> dict[str, Any]:
    """Return a TrainJob whose ranks run a shell script on two nodes, two on each."""
    command = ["mpirun", "sh", "-c", script]
    trainer = {"numNodes": 2, "numProcPerNode": 2, "command": command}
    runtime = {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": "deepspeed"}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {"name": "train"},
        "spec": {"runtimeRef": runtime, "trainer": trainer | spec.pop("trainer", {}), **spec},
    }


class Trainer:
    """The part of the Python client for custom objects, for one group and namespace."""

    def __init__(self) -> None:
        self.api: Any = kubernetes.client.CustomObjectsApi()

    def create(self, plural: str, body: dict[str, Any]) -> None:
        self.api.create_namespaced_custom_object(GROUP, VERSION, "default", plural, body)

    def start(self, script: str = "", **spec: Any) -> None:
        self.create("trainjobs", a_train_job(script, **spec))

    def delete(self) -> None:
        self.api.delete_namespaced_custom_object(GROUP, VERSION, "default", "trainjobs", "train")

    def condition(self) -> tuple[str, str]:
        """Return the type and the reason of the newest condition, when there is one."""

        def newest() -> Any:
            found = self.api.get_namespaced_custom_object(
                GROUP, VERSION, "default", "trainjobs", "train"
            )
            return (found.get("status") or {}).get("conditions")

        last = wait_until(newest)[-1]
        assert last["status"] == "True"
        return last["type"], last["reason"]


@pytest.fixture
def trainer(cluster: Cluster) -> Trainer:
    trainer = Trainer()
    trainer.create("trainingruntimes", a_runtime())
    return trainer


def pod_names(cluster: Cluster, job: str) -> list[str]:
    selector = f"{JOB_SET},jobset.sigs.k8s.io/replicatedjob-name={job}"
    return [pod["metadata"]["name"] for pod in cluster.pods(selector)]


def jobs() -> list[Any]:
    batch: Any = kubernetes.client.BatchV1Api()
    return batch.list_namespaced_job("default", label_selector=JOB_SET).items


def launcher_of(cluster: Cluster, core: Core, phase: str = "Running") -> str:
    (name,) = wait_until(lambda: pod_names(cluster, "launcher"))
    wait_for_phase(core, name, phase)
    return name


def test_all_ranks_run_and_the_job_is_complete(
    trainer: Trainer, cluster: Cluster, core: Core
) -> None:
    trainer.start('echo "rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE"')
    assert trainer.condition() == ("Complete", "AllJobsCompleted")
    name = launcher_of(cluster, core, "Succeeded")
    assert name.startswith("train-launcher-0-0-")
    assert sorted(log_of(core, name).splitlines()) == [f"rank {rank} of 4" for rank in range(4)]
    wait_until(lambda: not pod_names(cluster, "node"))


def test_a_rank_that_fails_fails_the_job(trainer: Trainer, cluster: Cluster, core: Core) -> None:
    trainer.start("exit 3")
    assert trainer.condition() == ("Failed", "FailedJobs")
    launcher_of(cluster, core, "Failed")


@pytest.mark.parametrize(("num_nodes", "num_node_pods"), [(1, 1), (2, 1), (3, 2)])
def test_the_launcher_counts_as_a_node_beside_at_least_one(
    trainer: Trainer, cluster: Cluster, core: Core, num_nodes: int, num_node_pods: int
) -> None:
    trainer.start("sleep 60", trainer={"numNodes": num_nodes})
    launcher_of(cluster, core)
    assert len(pod_names(cluster, "node")) == num_node_pods


def test_the_runtimes_number_of_nodes_is_that_of_launchers(cluster: Cluster, core: Core) -> None:
    trainer, runtime = Trainer(), a_runtime()
    runtime["spec"]["mlPolicy"]["numNodes"] = 2
    trainer.create("trainingruntimes", runtime)
    trainer.start("sleep 60")
    wait_until(lambda: len(pod_names(cluster, "launcher")) == 2)


def test_the_launcher_finds_its_own_name(trainer: Trainer, cluster: Cluster, core: Core) -> None:
    command = ["getent", "hosts", "train-launcher-0-0.train"]
    trainer.start(trainer={"command": command})
    assert trainer.condition()[0] == "Complete"


def test_a_job_past_its_deadline_has_failed_without_pods(
    trainer: Trainer, cluster: Cluster
) -> None:
    trainer.start("sleep 60", activeDeadlineSeconds=1)
    assert trainer.condition() == ("Failed", "DeadlineExceeded")
    wait_until(lambda: not cluster.pods())


def test_a_job_that_is_deleted_takes_its_pods_along(
    trainer: Trainer, cluster: Cluster, core: Core
) -> None:
    trainer.start("sleep 60")
    launcher_of(cluster, core)
    trainer.delete()
    wait_until(lambda: not cluster.pods())
    assert jobs() == []


def test_a_job_that_is_suspended_does_not_start(trainer: Trainer, cluster: Cluster) -> None:
    trainer.start(suspend=True)
    assert trainer.condition() == ("Suspended", "Suspended")
    assert cluster.pods() == []


@pytest.mark.parametrize("fault", ["evict", "preempt", "lose_node"])
def test_a_job_remembers_that_its_pod_was_disrupted(
    trainer: Trainer, cluster: Cluster, core: Core, fault: str
) -> None:
    trainer.start("sleep 60")
    getattr(cluster, fault)(launcher_of(cluster, core))
    assert trainer.condition() == ("Failed", "FailedJobs")
    (condition,) = [one for job in jobs() for one in job.status.conditions or []]
    assert (condition.type, condition.reason) == ("Failed", "PodFailurePolicy")
    assert "has condition DisruptionTarget" in condition.message


def test_a_pod_that_is_deleted_is_replaced_within_the_limit(cluster: Cluster, core: Core) -> None:
    trainer = Trainer()
    trainer.create("trainingruntimes", a_runtime(backoffLimit=1))
    trainer.start("sleep 60")
    first = launcher_of(cluster, core)
    cluster.delete(first)
    wait_until_gone(core, first)
    second = launcher_of(cluster, core)
    cluster.delete(second)
    assert trainer.condition() == ("Failed", "FailedJobs")
    assert first != second


def test_a_pod_that_is_replaced_does_not_fail_the_job(
    trainer: Trainer, cluster: Cluster, core: Core
) -> None:
    trainer.start("sleep 1")
    first = launcher_of(cluster, core)
    second = cluster.replace(first)
    assert trainer.condition() == ("Complete", "AllJobsCompleted")
    assert pod_names(cluster, "launcher") == [second]


@pytest.mark.parametrize(
    ("spec", "status", "message"),
    [
        ({"trainer": {"numNodes": "two"}}, 422, "numNodes"),
        ({"trainer": {"numNode": 2}}, 422, 'unknown field "spec.trainer.numNode"'),
        ({"activeDeadlineSeconds": 0}, 422, "activeDeadlineSeconds"),
        ({"trainer": {"env": [{"name": "A", "value": 1}]}}, 422, "valid string"),
        ({"runtimeRef": {"name": "deepspeed"}}, 403, "must be created before"),
    ],
)
def test_what_the_models_do_not_allow_is_invalid(
    trainer: Trainer, spec: dict[str, Any], status: int, message: str
) -> None:
    refusal = refusal_of(lambda: trainer.start(**spec))
    assert refusal.status == status
    assert message in json.loads(str(refusal.body))["message"]


def test_a_runtimes_pods_are_checked_with_it(cluster: Cluster) -> None:
    runtime = a_runtime(template={"spec": {"containers": [{"name": "node"}]}})
    refusal = refusal_of(lambda: Trainer().create("trainingruntimes", runtime))
    assert refusal.status == 422


def test_a_name_is_given_once(trainer: Trainer) -> None:
    trainer.start(suspend=True)
    assert refusal_of(lambda: trainer.start(suspend=True)).status == 409
