from typing import Any

from llm_assets.training.kubernetes.pod import pod
from llm_assets.training.kubernetes.workload import Manifest
from tests.training.kubernetes.manifests import (
    COMMAND,
    a_config,
    a_workload,
    check_secure,
    check_valid,
    variables,
)


def a_pod(num_processes: int = 1, **keys: Any) -> Manifest:
    made = pod(
        a_config(**keys),
        a_workload(),
        command=COMMAND,
        variables={"DAGSTER_PIPES_CONTEXT": "abc"},
        num_processes=num_processes,
    )
    check_valid(made)
    return made


def test_it_runs_the_worker_without_rights() -> None:
    spec = a_pod()["spec"]
    check_secure(spec)
    (container,) = spec["containers"]
    assert container["command"] == COMMAND
    assert variables(container["env"]) == {"HOME": "/tmp", "DAGSTER_PIPES_CONTEXT": "abc"}


def test_it_sees_the_volume_at_the_path_that_dagster_sees() -> None:
    spec = a_pod(volume={"claim_name": "jobs", "mount_path": "/mnt/jobs"})["spec"]
    assert {"name": "work", "persistentVolumeClaim": {"claimName": "jobs"}} in spec["volumes"]
    assert {"name": "work", "mountPath": "/mnt/jobs"} in spec["containers"][0]["volumeMounts"]


def test_every_process_has_a_gpu_where_there_are_gpus() -> None:
    resources = a_pod(num_processes=4)["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"memory": "8Gi", "nvidia.com/gpu": "4"}
    assert resources["requests"] == {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "4"}
    without = a_pod(num_processes=4, gpu_resource_name=None)["spec"]["containers"][0]["resources"]
    assert without["limits"] == {"memory": "8Gi"}


def test_shared_memory_is_as_large_as_wanted() -> None:
    spec = a_pod(shared_memory_size="4Gi")["spec"]
    shared = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}
    assert shared in spec["volumes"]


def test_a_secret_is_a_reference() -> None:
    env = a_pod(secret_env={"HF_TOKEN": {"name": "hub", "key": "token"}})["spec"]["containers"][0][
        "env"
    ]
    reference = {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert env[-1] == {"name": "HF_TOKEN", "valueFrom": reference}


def test_it_goes_where_and_when_it_is_told() -> None:
    made = a_pod(
        node_selector={"gpu": "h100"},
        tolerations=[
            {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 60}
        ],
        priority_class_name="batch",
        queue_name="training",
        service_account_name="trainer",
        image_pull_secrets=["registry"],
        active_deadline_seconds=600,
        termination_grace_period_seconds=90,
        run_as_user=2000,
    )
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    expected = {
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [
            {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
        ],
        "priorityClassName": "batch",
        "serviceAccountName": "trainer",
        "imagePullSecrets": [{"name": "registry"}],
        "activeDeadlineSeconds": 600,
        "terminationGracePeriodSeconds": 90,
    }
    assert expected.items() <= made["spec"].items()
    assert made["spec"]["securityContext"]["fsGroup"] == 2000


def test_what_is_not_wanted_is_not_there() -> None:
    made = a_pod()
    assert not {"nodeSelector", "tolerations", "serviceAccountName"} & made["spec"].keys()
    assert "kueue.x-k8s.io/queue-name" not in made["metadata"]["labels"]
