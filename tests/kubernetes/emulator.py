"""A Kubernetes cluster for tests: the API on a port of its own, pods as processes of this machine.

    with emulator(folder, images={"trainer:1": {}}) as cluster:
        kubernetes.config.load_kube_config(str(cluster.kubeconfig))

Real are the HTTP API as far as the Python client and Dagster use it, strict validation by the
published schemas, the life of a pod and its exit codes, logs that are followed, and the faults that
befall pods in a cluster. Not real are images, mounts, networks between pods, and the scheduler.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from tests.kubernetes.api import ApiServer
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.machine import Machine
from tests.kubernetes.objects import NAMESPACE, POD, Object, Objects, random_suffix
from tests.kubernetes.operations import Operations
from tests.kubernetes.pod import Pod
from tests.kubernetes.programs import write_programs
from tests.kubernetes.train_jobs import TrainJobs


class Cluster:
    """A running cluster: where its clients find it, and the faults that it can suffer.

    What lies in `programs` is what a container's command means, before anything that is installed.
    """

    def __init__(self, folder: Path, images: Mapping[str, Mapping[str, str]], namespace: str):
        self.namespace = namespace
        self.kubeconfig = folder / "kubeconfig.yaml"
        self._objects = Objects()
        self.programs = folder / "programs"
        write_programs(self.programs)
        self._machine = Machine(self._objects, images, folder, self.programs)
        self._kubelet = Kubelet(self._machine)
        self._train_jobs = TrainJobs(self._objects, self._kubelet, folder)
        self._operations = Operations(self._objects, self._kubelet)
        self._operations.create(NAMESPACE, "", {"metadata": {"name": namespace}})
        self._server = ApiServer(self._operations)

    def pods(self, label_selector: str = "") -> list[Object]:
        """Return the pods of the cluster's namespace, the oldest first."""
        query = {"labelSelector": label_selector}
        return self._operations.list(POD, self.namespace, query)["items"]

    def evict(self, name: str) -> None:
        """Have the kubelet kill a pod because the node is short of memory."""
        self._pod(name).evict()

    def preempt(self, name: str) -> None:
        """Have the scheduler delete a pod for the sake of another."""
        self._pod(name).preempt()

    def delete(self, name: str) -> None:
        """Delete a pod, as a person would: SIGTERM, its time of grace, gone."""
        self._pod(name).delete(None)

    def run_out_of_memory(self, name: str) -> None:
        """Have the kernel kill a pod's first container."""
        self._pod(name).run_out_of_memory()

    def lose_node(self, name: str) -> None:
        """Let a pod be gone at once, with the node that it was on."""
        self._pod(name).lose_node()

    def replace(self, name: str) -> str:
        """Delete a pod and make another like it, as a Job's controller; return its name."""
        old = self._objects.get(POD, self.namespace, name)
        metadata = {
            field: old["metadata"][field]
            for field in ("labels", "annotations", "ownerReferences")
            if field in old["metadata"]
        }
        metadata["name"] = f"{name.rpartition('-')[0] or name}-{random_suffix()}"
        new = {"metadata": metadata, "spec": old["spec"]}
        self._operations.create(POD, self.namespace, new)
        self._pod(name).delete(None)
        return metadata["name"]

    def refuse(self, num_requests: int) -> None:
        """Answer the next requests with 503."""
        self._server.refuse(num_requests)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Let new pods stay unscheduled; they are scheduled at the end."""
        self._machine.is_full = True
        try:
            yield
        finally:
            self._machine.is_full = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Answer requests; at the end no process, thread or connection is left."""
        self.kubeconfig.write_text(yaml.safe_dump(self._client_config()))
        thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        thread.start()
        self._train_jobs.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._train_jobs.stop()
            self._kubelet.stop()
            self._server.server_close()

    def _pod(self, name: str) -> Pod:
        return self._kubelet.pod(self.namespace, name)

    def _client_config(self) -> Object:
        context = {"cluster": "emulator", "user": "test", "namespace": self.namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "emulator", "cluster": {"server": self._server.url}}],
            "users": [{"name": "test", "user": {"token": "test"}}],
            "contexts": [{"name": "emulator", "context": context}],
            "current-context": "emulator",
        }


@contextlib.contextmanager
def emulator(
    folder: Path, *, images: Mapping[str, Mapping[str, str]], namespace: str = "default"
) -> Iterator[Cluster]:
    """Run a cluster with one namespace; `images` are names and the environment that each brings."""
    cluster = Cluster(folder, images, namespace)
    with cluster.running():
        yield cluster
