"""A pod on its machine: it starts its containers, ends, and suffers the faults of a cluster."""

import queue
import threading
import time
from collections.abc import Callable

from tests.kubernetes.container import Container
from tests.kubernetes.environment import ConfigError
from tests.kubernetes.machine import Machine
from tests.kubernetes.objects import Object, now
from tests.kubernetes.pod_status import Lot, phase, status

_TICK_SECONDS = 0.03
_BACK_OFF_SECONDS = 0.2  # between ErrImagePull and ImagePullBackOff; on a node ten seconds
_GRACE_SECONDS = 30.0


class Pod:
    """A thread that runs a pod and is asked by others; it alone touches the containers."""

    def __init__(self, pod: Object, machine: Machine) -> None:
        self._pod = pod
        self._machine = machine
        uid = pod["metadata"]["uid"]
        self.containers = [
            Container(spec, f"{uid}/{spec['name']}") for spec in pod["spec"]["containers"]
        ]
        self.status: Object = {}
        self._lot = Lot()
        self._started_at = 0.0
        self._kill_at: float | None = None
        self._is_deleted = False
        self._is_gone = False
        self._requests = queue.SimpleQueue[tuple[Callable[[], None], threading.Event]]()
        self._publish()
        self._thread = threading.Thread(target=self._run, name=pod["metadata"]["name"])
        self._thread.start()

    def delete(self, grace_seconds: float | None) -> None:
        """Ask the pod to stop, kill it after the time of grace, then it is gone."""
        self._ask(lambda: self._delete(grace_seconds))

    def preempt(self) -> None:
        """Give way to a pod of higher priority: deleted by the scheduler, with a condition."""
        self._ask(self._preempt)

    def evict(self) -> None:
        """Be killed by the kubelet because the node ran short of memory; the pod stays, failed."""
        self._ask(self._evict)

    def run_out_of_memory(self) -> None:
        """Have the first container killed by the kernel."""
        self._ask(lambda: self.containers[0].kill(is_out_of_memory=True))

    def lose_node(self) -> None:
        """Be gone at once, with the node that it was on."""
        self._ask(self._lose_node)

    def end(self) -> None:
        """Be gone, and return when nothing of it is left."""
        self._ask(self._vanish)
        self._thread.join()

    def _ask(self, request: Callable[[], None]) -> None:
        """Return when the request was done and its effect can be seen."""
        done = threading.Event()
        self._requests.put((request, done))
        while not done.wait(_TICK_SECONDS) and self._thread.is_alive():
            pass

    def _run(self) -> None:
        while not self._is_gone:
            is_over = self._phase in ("Succeeded", "Failed") and not self._is_deleted
            try:
                request, done = self._requests.get(timeout=None if is_over else _TICK_SECONDS)
            except queue.Empty:
                self._advance()
            else:
                request()
                self._advance()
                done.set()

    @property
    def _phase(self) -> str:
        return phase(self._lot, self.containers)

    @property
    def _is_running(self) -> bool:
        return any(container.is_running for container in self.containers)

    def _advance(self) -> None:
        if not self._lot.start_time and not self._machine.is_full:
            self._started_at, self._lot.start_time = time.monotonic(), now()
        if self._lot.start_time:
            self._advance_containers()
            self._check_times()
        if self._is_deleted and not self._is_running:
            self._vanish()
        self._publish()

    def _advance_containers(self) -> None:
        is_ending = self._is_deleted or self._lot.failure
        for container in self.containers:
            container.poll()
            if container.is_waiting and not is_ending:
                self._start(container)

    def _start(self, container: Container) -> None:
        image = container.spec["image"]
        if image in self._machine.images:
            try:
                self._machine.start(container, self._pod)
            except ConfigError as error:  # tried again until what it refers to exists
                container.wait("CreateContainerConfigError", str(error))
        elif container.waits_for == "ContainerCreating":
            container.wait("ErrImagePull", f'failed to pull image "{image}": not found')
        elif time.monotonic() > self._started_at + _BACK_OFF_SECONDS:
            container.wait("ImagePullBackOff", f'Back-off pulling image "{image}"')

    def _check_times(self) -> None:
        deadline_seconds = self._pod["spec"].get("activeDeadlineSeconds")
        is_late = deadline_seconds and time.monotonic() > self._started_at + deadline_seconds
        if is_late and not self._lot.failure and self._phase in ("Pending", "Running"):
            message = "Pod was active on the node longer than the specified deadline"
            self._lot.failure = {"reason": "DeadlineExceeded", "message": message}
            self._stop(None)
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self._kill()

    def _stop(self, grace_seconds: float | None) -> None:
        if grace_seconds is None:
            own = self._pod["spec"].get("terminationGracePeriodSeconds")
            grace_seconds = _GRACE_SECONDS if own is None else float(own)
        self._kill_at = time.monotonic() + grace_seconds
        for container in self.containers:
            container.ask_to_stop()

    def _kill(self) -> None:
        for container in self.containers:
            container.kill()

    def _delete(self, grace_seconds: float | None) -> None:
        if grace_seconds == 0:
            self._vanish()
            return
        self._is_deleted = True
        self._stop(grace_seconds)
        self._machine.objects.change(
            self._pod, lambda pod: pod["metadata"].setdefault("deletionTimestamp", now())
        )

    def _preempt(self) -> None:
        self._lot.disruption = "PreemptionByScheduler"
        self._delete(None)

    def _evict(self) -> None:
        self._lot.disruption = "TerminationByKubelet"
        message = "The node was low on resource: memory."
        self._lot.failure = {"reason": "Evicted", "message": message}
        self._kill()

    def _lose_node(self) -> None:
        self._lot.disruption = "DeletionByPodGC"
        self._vanish()

    def _vanish(self) -> None:
        self._publish()
        self._machine.objects.remove(self._pod)
        self._kill()
        self._is_gone = True

    def _publish(self) -> None:
        """Write the status if it is another than before."""
        new = status(self._lot, self.containers)
        if new != self.status:
            self.status = new
            self._machine.objects.change(self._pod, lambda pod: pod.update(status=new))
