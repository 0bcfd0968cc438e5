"""A configuration to render, and what must hold of every manifest that is rendered."""

from pathlib import Path
from typing import Any

import kubernetes_validate
from kubeflow_trainer_api.models.trainer_v1alpha1_cluster_training_runtime import (
    TrainerV1alpha1ClusterTrainingRuntime,
)
from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import TrainerV1alpha1TrainJob
from kubeflow_trainer_api.models.trainer_v1alpha1_training_runtime import (
    TrainerV1alpha1TrainingRuntime,
)

from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob
from llm_assets.training.kubernetes.config import KubernetesConfig
from llm_assets.training.kubernetes.workload import Manifest, Workload, workload

KUBERNETES = "1.37"
REQUIRED = {
    "image": "registry.example/llm-assets:1",
    "namespace": "llm",
    "volume": {"claim_name": "work", "mount_path": "/work"},
}
COMMAND = ["python", "-m", "llm_assets.training.worker", "--job", "/work/job.json"]
_MODELS: dict[str, Any] = {
    "TrainJob": TrainerV1alpha1TrainJob,
    "TrainingRuntime": TrainerV1alpha1TrainingRuntime,
    "ClusterTrainingRuntime": TrainerV1alpha1ClusterTrainingRuntime,
}


def a_config(**keys: Any) -> KubernetesConfig:
    """Return a configuration; keys replace or add to what is required."""
    return KubernetesConfig.of_plain({**REQUIRED, **keys})


def a_job(**fields: Any) -> TrainingJob:
    """Return a job whose files lie on the volume."""
    defaults: dict[str, Any] = {
        "model_version": "helpdesk-v0002",
        "base_model_dir": Path("/work/base"),
        "rows_file": Path("/work/rows.parquet"),
        "system_prompt": None,
        "config": TrainingConfig(),
        "output_dir": Path("/work/models/helpdesk-v0002"),
        "work_dir": Path("/work/run/helpdesk-v0002"),
    }
    return TrainingJob(**{**defaults, **fields})


def a_workload(run_id: str = "run-1", **fields: Any) -> Workload:
    """Return the workload of a job."""
    return workload(a_job(**fields), run_id=run_id, claim_name="work")


def check_valid(manifest: Manifest) -> None:
    """Check a manifest by the published schemas, strictly: what they do not know is wrong."""
    if manifest["kind"] not in _MODELS:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    known = _MODELS[manifest["kind"]].from_dict(manifest)
    assert known.to_dict() == manifest
    for job in _jobs(manifest):
        kubernetes_validate.validate(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "job"},
                "spec": job["template"]["spec"],
            },
            KUBERNETES,
            strict=True,
        )


def pod_specs(manifest: Manifest) -> list[Manifest]:
    """Return the specs of the pods that a manifest is or describes."""
    if manifest["kind"] == "Pod":
        return [manifest["spec"]]
    return [job["template"]["spec"]["template"]["spec"] for job in _jobs(manifest)]


def check_secure(spec: Manifest) -> None:
    """Check that a pod passes the Pod Security Standard `restricted`, and a bit more."""
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    kinds = {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}}
    assert kinds == {"persistentVolumeClaim", "emptyDir"}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in spec["volumes"]}
    assert mounted["tmp"] == "/tmp"


def variables(env: list[Manifest]) -> dict[str, str]:
    """Return the variables that are given by their values."""
    return {one["name"]: one["value"] for one in env if "value" in one}


def _jobs(manifest: Manifest) -> list[Manifest]:
    if manifest["kind"] == "TrainJob":
        return []
    return manifest["spec"]["template"]["spec"]["replicatedJobs"]
