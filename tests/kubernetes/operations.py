"""The API server's verbs: what is filled in, validated, selected and answered."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kubernetes.job_set import replicated_jobs
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.logs import ContainerLog
from tests.kubernetes.objects import (
    EVENT,
    JOB,
    POD,
    SECRET,
    TRAIN_JOB,
    ApiError,
    Kind,
    Object,
    Objects,
    random_suffix,
)
from tests.kubernetes.selection import has_fields, has_labels
from tests.kubernetes.train_jobs import runtime_of
from tests.kubernetes.validation import validate


class Operations:
    """What can be done with objects from outside."""

    def __init__(self, objects: Objects, kubelet: Kubelet) -> None:
        self._objects = objects
        self._kubelet = kubelet

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object in a namespace; a pod starts to run."""
        if kind in (JOB, EVENT):
            message = f"{kind.plural} are only made by this cluster itself"
            raise ApiError(405, "MethodNotAllowed", message)
        new = _completed(kind, namespace, body)
        validate(kind, new)
        if kind is TRAIN_JOB:
            self._admit(new)
        return self._kubelet.create(new) if kind is POD else self._objects.create(kind, new)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object."""
        return self._objects.get(kind, namespace, name)

    def list(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> Object:
        """Return the objects of a kind that the query's selectors mean."""
        if query.get("watch") in ("1", "true", "True"):
            raise ApiError(405, "MethodNotAllowed", "this cluster cannot be watched: list instead")
        items = [
            item
            for item in self._objects.list(kind, namespace)
            if has_labels(item, query.get("labelSelector", ""))
            and has_fields(item, query.get("fieldSelector", ""))
        ]
        metadata = {"resourceVersion": self._objects.version}
        return {
            "apiVersion": kind.api_version,
            "kind": f"{kind.name}List",
            "metadata": metadata,
            "items": items,
        }

    def delete(self, kind: Kind, namespace: str, name: str, options: Mapping[str, Any]) -> Object:
        """Delete an object; a pod that runs is asked to stop and is gone when it has."""
        found = self._objects.get(kind, namespace, name)
        if kind is POD:
            grace_seconds = options.get("gracePeriodSeconds")
            pod = self._kubelet.pod(namespace, name)
            pod.delete(None if grace_seconds is None else float(grace_seconds))
            return found
        self._objects.remove(found)
        details = {"name": name, "uid": found["metadata"]["uid"]}
        return {"apiVersion": "v1", "kind": "Status", "status": "Success", "details": details}

    def _admit(self, train_job: Object) -> None:
        """Refuse a TrainJob whose runtime is not there, or whose pods would be invalid."""
        try:
            runtime = runtime_of(train_job, self._objects)
        except ApiError as error:
            message = (
                'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: '
                f"spec.runtimeRef: Invalid value: {error}: specified trainingRuntime must be "
                "created before the TrainJob is created"
            )
            raise ApiError(403, "Forbidden", message) from error
        for replicated in replicated_jobs(train_job, runtime, Path()):
            validate(JOB, replicated.manifest)
            validate(POD, replicated.pod(0))

    def log(self, namespace: str, name: str, container: str) -> ContainerLog:
        """Return the log of a pod's container."""
        return self._kubelet.log(namespace, name, container)


def _completed(kind: Kind, namespace: str, body: Object) -> Object:
    """Return a new object with what the API server fills in."""
    given = (body.get("apiVersion") or kind.api_version, body.get("kind") or kind.name)
    if given != (kind.api_version, kind.name):
        message = f"{given[1]} in version {given[0]} cannot be handled as a {kind.name}"
        raise ApiError(400, "BadRequest", message)
    metadata = dict(body.get("metadata") or {})
    if kind.is_namespaced and metadata.setdefault("namespace", namespace) != namespace:
        message = "the namespace of the provided object does not match the namespace sent"
        raise ApiError(400, "BadRequest", f"{message} on the request")
    if "name" not in metadata:
        metadata["name"] = f"{metadata.get('generateName', '')}{random_suffix()}"
    new = {**body, "apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
    if kind is SECRET:
        texts = new.pop("stringData", None) or {}
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        new["data"] = {**(new.get("data") or {}), **encoded}
    return new
