"""The kubelet: runs the pods that were created, and finds them again by name."""

import threading

from tests.kubernetes.container import Container
from tests.kubernetes.logs import ContainerLog
from tests.kubernetes.machine import Machine
from tests.kubernetes.objects import POD, ApiError, Object
from tests.kubernetes.pod import Pod


class Kubelet:
    """All pods of a cluster."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pods: dict[str, Pod] = {}
        self._lock = threading.Lock()

    def create(self, new: Object) -> Object:
        """Keep a pod that has passed validation and run it."""
        with self._lock:
            created = self._machine.objects.create(POD, new)
            self._pods[created["metadata"]["uid"]] = Pod(created, self._machine)
        return created

    def pod(self, namespace: str, name: str) -> Pod:
        """Return a pod that is here; 404 if it is not."""
        return self._known(self._machine.objects.get(POD, namespace, name)["metadata"]["uid"])

    def delete(self, pod: Object) -> None:
        """Ask a pod to stop, also one that is gone; return before it has stopped."""
        self._known(pod["metadata"]["uid"]).delete(None)

    def last_status(self, pod_uid: str) -> Object:
        """Return the status of a pod as it was at last, also when it is gone."""
        return self._known(pod_uid).status

    def log(self, namespace: str, name: str, container_name: str) -> ContainerLog:
        """Return the log of a container; 400 as long as it has not started."""
        containers = {one.name: one for one in self.pod(namespace, name).containers}
        if not container_name and len(containers) > 1:
            choices = " ".join(containers)
            message = f"a container name must be specified for pod {name}, choose one of: "
            raise ApiError(400, "BadRequest", f"{message}[{choices}]")
        container_name = container_name or next(iter(containers))
        if container_name not in containers:
            message = f"container {container_name} is not valid for pod {name}"
            raise ApiError(400, "BadRequest", message)
        return _log_of(containers[container_name], name)

    def stop(self) -> None:
        """End all pods."""
        for pod in self._pods.values():
            pod.end()

    def _known(self, uid: str) -> Pod:
        with self._lock:  # a pod that is just being created can be found already
            return self._pods[uid]


def _log_of(container: Container, pod_name: str) -> ContainerLog:
    if container.is_waiting:
        reason = container.waits_for
        if reason in ("ErrImagePull", "ImagePullBackOff"):
            reason = "trying and failing to pull image"
        message = f'container "{container.name}" in pod "{pod_name}" is waiting to start: {reason}'
        raise ApiError(400, "BadRequest", message)
    return container.log
