"""The pod in which one node trains, and the parts that the pods of several nodes share with it.

They pass the Pod Security Standard `restricted`: no root, no capabilities and no way to gain them,
a root file system that cannot be written, and no token for the cluster's API. What a training
makes goes to the volume; caches and temporary files go to `/tmp`, which ends with the pod.
"""

from collections.abc import Mapping, Sequence

from llm_assets.training.kubernetes.config import KubernetesConfig, Toleration
from llm_assets.training.kubernetes.workload import Manifest, Workload

CONTAINER = "trainer"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

# The one place besides the volume that can be written; caches look for it as the home.
_TEMPORARY = "/tmp"


def pod(
    config: KubernetesConfig,
    workload: Workload,
    *,
    command: Sequence[str],
    variables: Mapping[str, str],
    num_processes: int,
) -> Manifest:
    """Return the manifest of a pod that runs a command with variables in its environment."""
    main = {
        **container(config, name=CONTAINER, num_processes=num_processes),
        "command": list(command),
        "env": environment(config, variables),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(config, workload),
        "spec": {
            **pod_spec(config, main),
            "activeDeadlineSeconds": config.active_deadline_seconds,
        },
    }


def metadata(config: KubernetesConfig, workload: Workload) -> Manifest:
    """Return what a workload is called, where it is, and in which queue it waits."""
    queue = {} if config.queue_name is None else {QUEUE_LABEL: config.queue_name}
    return {
        "name": workload.name,
        "namespace": config.namespace,
        "labels": {**workload.labels, **queue},
    }


def pod_spec(config: KubernetesConfig, main: Manifest) -> Manifest:
    """Return the spec of a pod around its one container."""
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": config.termination_grace_period_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": config.run_as_user,
            "runAsGroup": config.run_as_user,
            "fsGroup": config.run_as_user,
            # Without it the kubelet walks through all files of the volume before every start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [main],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": config.volume.claim_name}},
            {"name": "tmp", "emptyDir": {}},
            {
                "name": "shm",
                "emptyDir": {"medium": "Memory", "sizeLimit": config.shared_memory_size},
            },
        ],
    }
    optional: Manifest = {
        "serviceAccountName": config.service_account_name,
        "priorityClassName": config.priority_class_name,
        "nodeSelector": dict(config.node_selector),
        "tolerations": [_toleration(toleration) for toleration in config.tolerations],
        "imagePullSecrets": [{"name": name} for name in config.image_pull_secrets],
    }
    return spec | {field: value for field, value in optional.items() if value}


def container(config: KubernetesConfig, *, name: str, num_processes: int) -> Manifest:
    """Return a container of the image, without a command."""
    return {
        "name": name,
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "resources": resources(config, num_processes=num_processes),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": config.volume.mount_path},
            {"name": "tmp", "mountPath": _TEMPORARY},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


def resources(config: KubernetesConfig, *, num_processes: int) -> Manifest:
    """Return what one node requests and is limited to: where there are GPUs, one a process."""
    name = config.gpu_resource_name
    gpus = {} if name is None else {name: str(num_processes)}
    return {
        "requests": config.resources.requests.model_dump(exclude_none=True) | gpus,
        "limits": config.resources.limits.model_dump(exclude_none=True) | gpus,
    }


def environment(config: KubernetesConfig, variables: Mapping[str, str]) -> list[Manifest]:
    """Return the environment of a container; what comes from secrets is a reference."""
    plain = {"HOME": _TEMPORARY, **config.env, **variables}
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": secret.model_dump()}}
            for name, secret in config.secret_env.items()
        ),
    ]


def _toleration(toleration: Toleration) -> Manifest:
    fields = toleration.model_dump(exclude_none=True)
    if "toleration_seconds" in fields:
        fields["tolerationSeconds"] = fields.pop("toleration_seconds")
    return fields
