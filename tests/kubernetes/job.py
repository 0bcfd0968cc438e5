"""A Job: keeps a pod running for every index, replaces those that fail, and tells its end."""

from tests.kubernetes.job_set import INDEX_LABEL, ReplicatedJob
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.objects import JOB, POD, Object, Objects, now

_DEFAULT_BACKOFF_LIMIT = 6
_OWNER_LABEL = "batch.kubernetes.io/controller-uid"


class Job:
    """The controller of one Job; nothing runs before the first `advance`."""

    def __init__(self, replicated: ReplicatedJob, objects: Objects, kubelet: Kubelet) -> None:
        self.replicated = replicated
        self._objects = objects
        self._kubelet = kubelet
        self._job = objects.create(JOB, replicated.manifest)
        self._pods: dict[int, Object] = {}
        self._num_failed = 0
        self.is_complete = False
        self.has_failed = False

    @property
    def is_ready(self) -> bool:
        """Tell whether all pods run or have succeeded."""
        return len(self._pods) == self.replicated.num_pods and all(
            _phase(pod) in ("Running", "Succeeded") for pod in self._pods.values()
        )

    @property
    def counts(self) -> Object:
        """Return the part of a TrainJob's status that is about this Job."""
        return {
            "name": self.replicated.name,
            "ready": int(self.is_ready),
            "succeeded": int(self.is_complete),
            "failed": int(self.has_failed),
            "active": int(not self.is_complete and not self.has_failed),
            "suspended": 0,
        }

    def advance(self) -> None:
        """See how the pods are and do what follows."""
        for index in range(self.replicated.num_pods):
            if self.is_complete or self.has_failed:
                return
            if index not in self._pods:
                self._create_pod(index)
            else:
                self._pods[index] = pod = self._newest(index)
                if _phase(pod) == "Failed":
                    self._replace(index, pod)
        if not self.has_failed and all(_phase(one) == "Succeeded" for one in self._pods.values()):
            self.is_complete = True
            message = "Reached expected number of succeeded pods"
            self._end("Complete", "CompletionsReached", message)

    def delete(self) -> None:
        """Be gone, with the pods."""
        self._stop_pods()
        self._objects.remove(self._job)

    def _create_pod(self, index: int) -> None:
        pod = self.replicated.pod(index)
        reference = {"apiVersion": JOB.api_version, "kind": JOB.name, "controller": True}
        reference |= {"name": self.replicated.job_name, "uid": self._job["metadata"]["uid"]}
        pod["metadata"]["ownerReferences"] = [reference]
        pod["metadata"]["labels"][_OWNER_LABEL] = reference["uid"]
        self._pods[index] = self._kubelet.create(pod)

    def _newest(self, index: int) -> Object:
        """Return the last pod of an index; if it is gone, as it was at last, and failed."""
        labels = {_OWNER_LABEL: self._job["metadata"]["uid"], INDEX_LABEL: str(index)}
        pods = self._objects.list(POD, self.replicated.namespace)
        found = [pod for pod in pods if labels.items() <= pod["metadata"].get("labels", {}).items()]
        if found:
            return found[-1]
        last = self._pods[index]
        status = self._kubelet.last_status(last["metadata"]["uid"])
        phase = status["phase"] if status["phase"] == "Succeeded" else "Failed"
        return {**last, "status": {**status, "phase": phase}}

    def _replace(self, index: int, failed: Object) -> None:
        """Make another pod, unless a rule or the number of failures says that it is over."""
        action, message = _judge(self._job, failed)
        if action == "FailJob":
            self._fail("PodFailurePolicy", message)
            return
        self._num_failed += action == "Count"
        if self._num_failed > self._job["spec"].get("backoffLimit", _DEFAULT_BACKOFF_LIMIT):
            self._fail("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        else:
            self._create_pod(index)

    def _fail(self, reason: str, message: str) -> None:
        self.has_failed = True
        self._end("Failed", reason, message)
        self._stop_pods()

    def _end(self, condition_type: str, reason: str, message: str) -> None:
        condition = {"type": condition_type, "status": "True", "reason": reason}
        condition |= {"message": message, "lastTransitionTime": now()}
        self._objects.change(self._job, lambda job: job["status"].update(conditions=[condition]))

    def _stop_pods(self) -> None:
        for pod in self._pods.values():
            if _phase(pod) not in ("Succeeded", "Failed"):
                self._kubelet.delete(pod)


def _phase(pod: Object) -> str:
    return pod.get("status", {}).get("phase", "Pending")


def _judge(job: Object, pod: Object) -> tuple[str, str]:
    """Return what a Job's policy says of a failed pod: an action, and why the Job fails."""
    policy = job["spec"].get("podFailurePolicy") or {}
    has = {(one["type"], one["status"]) for one in pod["status"].get("conditions") or []}
    for number, rule in enumerate(policy.get("rules") or []):
        for pattern in rule["onPodConditions"]:
            if (pattern["type"], pattern.get("status", "True")) in has:
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                message = f"Pod {name} has condition {pattern['type']} matching "
                return rule["action"], f"{message}{rule['action']} rule at index {number}"
    return "Count", ""
