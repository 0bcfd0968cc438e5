import shlex
from typing import Any

from llm_assets.training.kubernetes.train_job import train_job
from llm_assets.training.kubernetes.workload import Manifest
from tests.training.kubernetes.manifests import (
    COMMAND,
    a_config,
    a_workload,
    check_valid,
    variables,
)

PIPES = {"DAGSTER_PIPES_CONTEXT": "abc", "DAGSTER_PIPES_MESSAGES": "def"}


def a_train_job(**keys: Any) -> Manifest:
    made = train_job(
        a_config(**keys),
        a_workload(),
        command=COMMAND,
        variables=PIPES,
        num_nodes=3,
        num_processes=4,
    )
    check_valid(made)
    return made


def test_it_asks_for_nodes_processes_and_gpus() -> None:
    trainer = a_train_job()["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (3, 4)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "4"
    assert trainer["image"] == "registry.example/llm-assets:1"


def test_mpirun_starts_the_worker_with_every_variable() -> None:
    secret = {"HF_TOKEN": {"name": "hub", "key": "token"}}
    trainer = a_train_job(env={"NCCL_DEBUG": "INFO"}, secret_env=secret)["spec"]["trainer"]
    assert trainer["args"][-len(COMMAND) :] == COMMAND
    exported = [
        name
        for option, name in zip(trainer["args"], trainer["args"][1:], strict=False)
        if option == "-x"
    ]
    assert exported == ["PATH", *(variable["name"] for variable in trainer["env"])]
    assert {"HOME", "NCCL_DEBUG", "HF_TOKEN", "MASTER_ADDR", *PIPES} <= set(exported)


def test_threads_are_not_bound_to_one_core() -> None:
    assert shlex.join(a_train_job()["spec"]["trainer"]["args"]).startswith("--bind-to none ")


def test_rank_0_is_on_the_launcher_which_has_a_name_in_the_headless_service() -> None:
    made = a_train_job()
    name = made["metadata"]["name"]
    env = variables(made["spec"]["trainer"]["env"])
    assert env["MASTER_ADDR"] == f"{name}-launcher-0-0.{name}"
    assert env["MASTER_PORT"].isdecimal()


def test_the_launcher_waits_until_the_nodes_can_find_it() -> None:
    shell, option, script, _ = a_train_job()["spec"]["trainer"]["command"]
    assert (shell, option) == ("sh", "-c")
    assert 'getent hosts "$MASTER_ADDR"' in script
    assert 'exec mpirun "$@"' in script


def test_it_names_the_runtime_the_queue_and_its_deadline() -> None:
    made = a_train_job(
        queue_name="training",
        training_runtime={"kind": "ClusterTrainingRuntime", "name": "ours"},
        active_deadline_seconds=600,
    )
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    assert made["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "ClusterTrainingRuntime",
        "name": "ours",
    }
    assert made["spec"]["activeDeadlineSeconds"] == 600
