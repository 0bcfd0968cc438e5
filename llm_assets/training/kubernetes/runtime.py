"""The TrainingRuntime: the pods of which Kubeflow makes a TrainJob.

Kubeflow applies a TrainJob's image and resources to the launcher alone, so a runtime that it ships
would train on nodes of another image without GPUs. Ours holds both, and has to be applied again
when they change:

    python -m llm_assets.training.kubernetes.runtime FILE --num-processes 4 | kubectl apply -f -
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llm_assets.errors import UserError
from llm_assets.training.kubernetes.config import KubernetesConfig, read_kubernetes_config
from llm_assets.training.kubernetes.pod import container, pod_spec
from llm_assets.training.kubernetes.train_job import API_VERSION
from llm_assets.training.kubernetes.workload import Manifest

# What Kubeflow calls the container of every pod that trains, the launcher's too.
NODE = "node"
_SSH_FOLDER = "/home/mpiuser/.ssh"


def training_runtime(config: KubernetesConfig, *, num_processes: int) -> Manifest:
    """Return the manifest of the runtime for trainings with `num_processes` on every node."""
    is_namespaced = config.training_runtime.kind == "TrainingRuntime"
    namespace = {"namespace": config.namespace} if is_namespaced else {}
    node = {
        **container(config, name=NODE, num_processes=num_processes),
        "command": ["/usr/sbin/sshd"],
        "args": ["-De", "-f", "/home/mpiuser/.sshd_config"],
        "readinessProbe": {"tcpSocket": {"port": 2222}, "initialDelaySeconds": 5},
    }
    launcher = container(config, name=NODE, num_processes=num_processes)
    return {
        "apiVersion": API_VERSION,
        "kind": config.training_runtime.kind,
        "metadata": {
            "name": config.training_runtime.name,
            **namespace,
            "labels": {"trainer.kubeflow.org/framework": "deepspeed"},
        },
        "spec": {
            "mlPolicy": {
                "numNodes": 1,
                "mpi": {
                    "numProcPerNode": num_processes,
                    "mpiImplementation": "OpenMPI",
                    "sshAuthMountPath": _SSH_FOLDER,
                    "runLauncherAsNode": True,
                },
            },
            "template": {
                "spec": {
                    "network": {"publishNotReadyAddresses": True},
                    "successPolicy": {"operator": "All", "targetReplicatedJobs": ["launcher"]},
                    "replicatedJobs": [
                        {"name": NODE, "template": {"spec": _job(config, node)}},
                        {
                            "name": "launcher",
                            "dependsOn": [{"name": NODE, "status": "Ready"}],
                            "template": {
                                "metadata": {
                                    "labels": {
                                        "trainer.kubeflow.org/trainjob-ancestor-step": "trainer"
                                    }
                                },
                                "spec": _job(config, launcher),
                            },
                        },
                    ],
                }
            },
        },
    }


def _job(config: KubernetesConfig, main: Manifest) -> Manifest:
    """Return a Job that fails with its first pod: who watches it decides about another try."""
    return {
        "backoffLimit": 0,
        # It leaves in the Job's status that a pod was preempted or evicted, when it is long gone.
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                }
            ]
        },
        "template": {"spec": pod_spec(config, main)},
    }


def check_runtime(found: Mapping[str, Any] | None, expected: Manifest) -> None:
    """Check that the runtime of a cluster has the pods that a training wants.

    Raises:
        UserError: there is none, or its images or resources differ; it says how to apply it.
    """
    name = f"{expected['kind']} {expected['metadata']['name']}"
    num_processes = expected["spec"]["mlPolicy"]["mpi"]["numProcPerNode"]
    apply_it = (
        f"apply it with: python -m llm_assets.training.kubernetes.runtime FILE --num-processes "
        f"{num_processes} | kubectl apply -f -"
    )
    if found is None:
        raise UserError(f"{name} is not in the cluster; {apply_it}")
    wanted = _containers(expected)[0]
    for node in _containers(found):
        for field in ("image", "resources"):
            if _plain(node.get(field)) != _plain(wanted[field]):
                raise UserError(
                    f"{name}: {field} must be {wanted[field]}, got {node.get(field)}; {apply_it}"
                )


def _containers(runtime: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    jobs = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    return [job["template"]["spec"]["template"]["spec"]["containers"][0] for job in jobs]


def _plain(value: Any) -> Any:
    """Return a value with all numbers as text: a quantity may be written as either."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return str(value)


def main() -> None:
    """Print the runtime as YAML."""
    parser = argparse.ArgumentParser(
        prog="python -m llm_assets.training.kubernetes.runtime", description=__doc__
    )
    parser.add_argument("file", type=Path, help="the configuration of Kubernetes")
    parser.add_argument(
        "--num-processes",
        type=int,
        default=1,
        help="training.compute.num_processes of the application (default: 1)",
    )
    arguments = parser.parse_args()
    try:
        config = read_kubernetes_config(arguments.file)
    except UserError as error:
        sys.exit(f"error: {error}")
    runtime = training_runtime(config, num_processes=arguments.num_processes)
    print(yaml.safe_dump(runtime, sort_keys=False), end="")


if __name__ == "__main__":
    main()
