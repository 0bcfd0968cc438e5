"""What the cluster holds: objects by kind, namespace and name, kept as an API server keeps them."""

import copy
import secrets
import string
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

Object = dict[str, Any]

# The letters of a name that the API server makes up: no vowels, so that it spells no word.
_SUFFIX_LETTERS = "".join(set(string.ascii_lowercase + "2456789") - set("aeiou"))


class ApiError(Exception):
    """A refusal in the API server's words: a status code, its reason, and a message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Kind(NamedTuple):
    """What a resource is called in an address and in an object."""

    api_version: str
    plural: str
    name: str
    is_namespaced: bool = True

    @property
    def resource(self) -> str:
        """Return the resource's name in messages, such as `trainjobs.trainer.kubeflow.org`."""
        group, _, _ = self.api_version.rpartition("/")
        return f"{self.plural}.{group}" if group else self.plural


NAMESPACE = Kind("v1", "namespaces", "Namespace", is_namespaced=False)
POD = Kind("v1", "pods", "Pod")
SECRET = Kind("v1", "secrets", "Secret")
CONFIG_MAP = Kind("v1", "configmaps", "ConfigMap")
JOB = Kind("batch/v1", "jobs", "Job")
EVENT = Kind("v1", "events", "Event")
TRAIN_JOB = Kind("trainer.kubeflow.org/v1alpha1", "trainjobs", "TrainJob")
TRAINING_RUNTIME = Kind("trainer.kubeflow.org/v1alpha1", "trainingruntimes", "TrainingRuntime")
KINDS = (NAMESPACE, POD, SECRET, CONFIG_MAP, EVENT, JOB, TRAIN_JOB, TRAINING_RUNTIME)


def now() -> str:
    """Return the time as Kubernetes writes it, whole seconds in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def random_suffix() -> str:
    """Return five letters, as behind the name of a pod that a controller made."""
    return "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))


class Objects:
    """All objects; what is handed in and out is copied, so nobody changes one unseen."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._lock = threading.Condition()
        self._version = 0

    def create(self, kind: Kind, new: Object) -> Object:
        """Keep a new object that has passed validation; 409 if its name is taken."""
        new = copy.deepcopy(new)
        metadata = new["metadata"]
        with self._lock:
            if kind.is_namespaced:
                self._find(NAMESPACE, "", metadata["namespace"])
            key = _key(new)
            if key in self._objects:
                message = f'{kind.resource} "{metadata["name"]}" already exists'
                raise ApiError(409, "AlreadyExists", message)
            metadata.update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
            self._objects[key] = new
            return self._changed(new)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object; 404 if there is none."""
        with self._lock:
            return copy.deepcopy(self._find(kind, namespace, name))

    def list(self, kind: Kind, namespace: str = "") -> list[Object]:
        """Return all objects of a kind, the oldest first, of one namespace or of all."""
        with self._lock:
            return [
                copy.deepcopy(found)
                for (name, its_namespace, _), found in self._objects.items()
                if name == kind.name and namespace in ("", its_namespace)
            ]

    def change(self, old: Object, change: Callable[[Object], None]) -> None:
        """Change an object in place; nothing happens if it is gone, or another has its name."""
        with self._lock:
            if self._is_here(old):
                change(self._objects[_key(old)])
                self._changed(self._objects[_key(old)])

    def remove(self, old: Object) -> None:
        """Forget an object; nothing happens if it is gone, or another has its name."""
        with self._lock:
            if self._is_here(old):
                self._changed(self._objects.pop(_key(old)))

    def wait_for_change(self, timeout_seconds: float) -> None:
        """Return when an object came, changed or went, or when the time is up."""
        with self._lock:
            self._lock.wait(timeout_seconds)

    @property
    def version(self) -> str:
        """Return the version of the whole, which grows with every change."""
        return str(self._version)

    def _find(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self._objects.get((kind.name, namespace, name))
        if found is None:
            raise ApiError(404, "NotFound", f'{kind.resource} "{name}" not found')
        return found

    def _is_here(self, old: Object) -> bool:
        found = self._objects.get(_key(old))
        return found is not None and found["metadata"]["uid"] == old["metadata"]["uid"]

    def _changed(self, changed: Object) -> Object:
        self._version += 1
        changed["metadata"]["resourceVersion"] = self.version
        self._lock.notify_all()
        return copy.deepcopy(changed)


def _key(of: Object) -> tuple[str, str, str]:
    return of["kind"], of["metadata"].get("namespace", ""), of["metadata"]["name"]
