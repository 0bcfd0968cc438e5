"""What the API server refuses with 422: by the published schemas, and by rules that those lack."""

import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import TrainerV1alpha1TrainJob
from kubeflow_trainer_api.models.trainer_v1alpha1_training_runtime import (
    TrainerV1alpha1TrainingRuntime,
)
from pydantic import ValidationError

from tests.kubernetes.objects import POD, TRAIN_JOB, TRAINING_RUNTIME, ApiError, Kind, Object

_KUBERNETES_VERSION = "1.37"
_MODELS = {
    TRAIN_JOB.name: TrainerV1alpha1TrainJob,
    TRAINING_RUNTIME.name: TrainerV1alpha1TrainingRuntime,
}
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


class _InvalidError(Exception):
    """A field and what is wrong with it."""


def validate(kind: Kind, new: Object) -> None:
    """Raise ApiError 422 with the reason if an object does not hold up."""
    try:
        _check_metadata(kind, new["metadata"])
        content = {field: value for field, value in new.items() if field != "status"}
        if kind.name in _MODELS:
            _check_model(kind, content)
        else:
            _check_schema(content)
        if kind is POD:
            _check_pod_spec(new["spec"])
        for job_spec in _job_specs(kind, new):
            _check_job_spec(job_spec)
    except _InvalidError as error:
        message = f'{kind.name} "{new["metadata"]["name"]}" is invalid: {error}'
        raise ApiError(422, "Invalid", message) from error


def _check_metadata(kind: Kind, metadata: dict[str, Any]) -> None:
    name = metadata["name"]
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        raise _InvalidError(
            f'metadata.name: Invalid value: "{name}": must be an RFC 1123 subdomain'
        )
    if kind is TRAIN_JOB and (len(name) > 63 or not _DNS_LABEL.fullmatch(name)):
        raise _InvalidError("metadata.name must match RFC 1035 DNS label format")
    for key, value in (metadata.get("labels") or {}).items():
        prefix, _, short = key.rpartition("/")
        parts = [short, value] if value else [short]
        if (prefix and not _SUBDOMAIN.fullmatch(prefix)) or not all(map(_is_label_part, parts)):
            raise _InvalidError(f'metadata.labels: Invalid value: "{key}={value}"')


def _is_label_part(text: str) -> bool:
    return len(text) <= 63 and bool(_LABEL_PART.fullmatch(text))


def _check_schema(new: Object) -> None:
    try:
        kubernetes_validate.validate(new, _KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(map(str, error.absolute_path))
        raise _InvalidError(f"{path}: {error.message}") from error


def _check_model(kind: Kind, new: Object) -> None:
    """Check by the model of the custom resource; what the model drops are unknown fields."""
    try:
        known = _MODELS[kind.name].from_dict(new)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise _InvalidError(f"{path}: {first['msg']}") from error
    except (TypeError, AttributeError) as error:
        raise _InvalidError(f"spec: {error}") from error
    assert known
    if unknown := next(_dropped(new, known.to_dict()), None):
        raise _InvalidError(f'unknown field "{unknown}"')
    deadline_seconds = (new.get("spec") or {}).get("activeDeadlineSeconds", 1)
    if deadline_seconds < 1:
        raise _InvalidError("spec.activeDeadlineSeconds: should be greater than or equal to 1")


def _dropped(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Yield the paths that were given and are not kept."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for field, value in given.items():
            inner = f"{path}.{field}" if path else field
            if field not in kept and value is not None:
                yield inner
            else:
                yield from _dropped(value, kept.get(field), inner)
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (value, kept_value) in enumerate(zip(given, kept, strict=True)):
            yield from _dropped(value, kept_value, f"{path}[{index}]")


def _job_specs(kind: Kind, new: Object) -> list[dict[str, Any]]:
    """Return the specs of Jobs that a runtime will make."""
    jobs = new["spec"]["template"]["spec"]["replicatedJobs"] if kind is TRAINING_RUNTIME else []
    return [job["template"]["spec"] for job in jobs]


def _check_job_spec(spec: dict[str, Any]) -> None:
    _check_schema({"apiVersion": "batch/v1", "kind": "Job", "spec": spec})
    _check_pod_spec(spec["template"]["spec"])
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or []:
        if "onPodConditions" not in rule:
            raise _InvalidError("spec.podFailurePolicy: this cluster knows onPodConditions only")


def _check_pod_spec(spec: dict[str, Any]) -> None:
    """Check what no schema says, and refuse what this cluster would not do as a real one does."""
    if spec.get("restartPolicy") != "Never":
        raise _InvalidError("spec.restartPolicy: must be Never: this cluster restarts no container")
    if spec.get("initContainers"):
        raise _InvalidError("spec.initContainers: this cluster runs none")
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    for index, container in enumerate(spec["containers"]):
        path = f"spec.containers[{index}]"
        if container.get("envFrom"):
            raise _InvalidError(f"{path}.envFrom: this cluster reads env only")
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in volumes:
                raise _InvalidError(f'{path}.volumeMounts: Not found: "{mount["name"]}"')
