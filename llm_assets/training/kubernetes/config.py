"""Where and with what trainings run on Kubernetes: the file that LLM_ASSETS_TRAINER_CONFIG names.

It belongs to the installation, not to an application: what is trained stays in `training` of the
application, and how many nodes and processes it takes in `training.compute`. Names are those of
Kubernetes, in snake case.
"""

from pathlib import Path
from typing import Literal, Self

import pydantic

from llm_assets.config import Config, read_mapping
from llm_assets.errors import UserError
from llm_assets.records import first_problem
from llm_assets.training.kubernetes.fields import (
    AbsolutePath,
    DnsLabel,
    DnsSubdomain,
    ImageName,
    LabelKey,
    LabelValue,
    MemoryQuantity,
    Quantity,
    VariableName,
    amount,
)

# What says to a worker who it is among several, and what the manifests set themselves.
_TAKEN_NAMES = frozenset({"HOME", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})
_TAKEN_PREFIXES = ("DAGSTER_PIPES_", "OMPI_")


class VolumeConfig(Config):
    """The claim that holds jobs, base models, checkpoints and adapters.

    The pod in which Dagster runs has it mounted at the same path, so a job names files by paths
    that are true in both. More than one node needs the access mode ReadWriteMany.
    """

    claim_name: DnsSubdomain
    mount_path: AbsolutePath


class ResourceAmounts(Config):
    """Amounts of what a node has, for one pod."""

    cpu: Quantity | None = None
    memory: MemoryQuantity | None = None


class ResourcesConfig(Config):
    """What a pod is promised and what it may not exceed; GPUs are added, one a process.

    A limit of CPU slows a training down whenever it is reached, so there is none by default.
    """

    requests: ResourceAmounts = ResourceAmounts(cpu="2", memory="8Gi")
    limits: ResourceAmounts = ResourceAmounts(memory="8Gi")

    @pydantic.model_validator(mode="after")
    def _requests_are_within_limits(self) -> Self:
        for name in ("cpu", "memory"):
            request, limit = getattr(self.requests, name), getattr(self.limits, name)
            if request and limit and amount(request) > amount(limit):
                raise ValueError(f"requests.{name} must be at most limits.{name} ({limit})")
        return self


class Toleration(Config):
    """A taint that a pod puts up with, as in Kubernetes."""

    key: LabelKey | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("value must be left out where operator is 'Exists'")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("key is missing; only operator 'Exists' does without")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("toleration_seconds needs effect 'NoExecute'")
        return self


class SecretKeyRef(Config):
    """One value of a secret. The secret lies in the namespace of the pods; nobody here reads it."""

    name: DnsSubdomain
    key: str = pydantic.Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)


class RuntimeConfig(Config):
    """The Kubeflow runtime that trainings on several nodes use; a cluster's is in no namespace."""

    kind: Literal["TrainingRuntime", "ClusterTrainingRuntime"] = "TrainingRuntime"
    name: DnsLabel = "deepspeed-distributed"


class KubernetesConfig(Config):
    """How trainings run on a cluster; docs/kubernetes-training.md has every key.

    `active_deadline_seconds` bounds one pod, `pending_timeout_seconds` the time until it runs; the
    time in a queue of Kueue does not count. `max_restarts` is how often a pod that was preempted,
    evicted or lost with its node is started again; one that failed is not.
    """

    image: ImageName
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: list[DnsSubdomain] = pydantic.Field(default=[])
    namespace: DnsLabel
    service_account_name: DnsSubdomain | None = None
    run_as_user: int = pydantic.Field(default=1000, ge=1, lt=2**31)
    volume: VolumeConfig
    resources: ResourcesConfig = ResourcesConfig()
    gpu_resource_name: LabelKey | None = "nvidia.com/gpu"
    shared_memory_size: MemoryQuantity = "2Gi"
    node_selector: dict[LabelKey, LabelValue] = pydantic.Field(default={})
    tolerations: list[Toleration] = pydantic.Field(default=[])
    priority_class_name: DnsSubdomain | None = None
    queue_name: DnsLabel | None = None
    env: dict[VariableName, str] = pydantic.Field(default={})
    secret_env: dict[VariableName, SecretKeyRef] = pydantic.Field(default={})
    active_deadline_seconds: int = pydantic.Field(default=86_400, ge=1, lt=2**31)
    termination_grace_period_seconds: int = pydantic.Field(default=60, ge=1, le=3600)
    pending_timeout_seconds: float = pydantic.Field(default=1800.0, gt=0)
    max_restarts: int = pydantic.Field(default=5, ge=0)
    poll_seconds: float = pydantic.Field(default=5.0, gt=0, le=60)
    training_runtime: RuntimeConfig = RuntimeConfig()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in sorted({*self.env, *self.secret_env}):
            if name in _TAKEN_NAMES or name.startswith(_TAKEN_PREFIXES):
                raise ValueError(f"env and secret_env must not set {name}: the trainer sets it")
            if name in self.env and name in self.secret_env:
                raise ValueError(f"{name} must be in env or in secret_env, not in both")
        limit = self.resources.limits.memory
        if limit and amount(self.shared_memory_size) > amount(limit):
            raise ValueError(
                f"shared_memory_size must be at most resources.limits.memory ({limit}), which "
                f"counts it, got {self.shared_memory_size!r}"
            )
        return self


def read_kubernetes_config(path: Path) -> KubernetesConfig:
    """Read the file.

    Raises:
        UserError: it cannot be read, or a key is unknown, missing, or breaks its rule.
    """
    try:
        return KubernetesConfig.of_plain(read_mapping(path))
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None
