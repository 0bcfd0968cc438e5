"""What has become of a pod or a TrainJob, read from what the API says of it.

Everything here is pure, so that each way in which a cluster can take a training away has a test.
The traps: a pod that was preempted or drained is gone before anybody could read why; a container
that was killed for its memory says so only in a reason beside exit code 137; a pod whose node is
lost says that it runs until somebody deletes it.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


class Stage(enum.StrEnum):
    """How far a training has come; those from `SUCCEEDED` on are ends."""

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_MEMORY = "out of memory"
    TOO_LONG = "too long"
    NOT_STARTED = "not started"
    LOST = "lost"


_ENDS = frozenset(Stage) - {Stage.QUEUED, Stage.PENDING, Stage.RUNNING, Stage.STOPPING}


@dataclass(frozen=True)
class State:
    """A stage and why it is so, in the cluster's own words; the exit code where one ended."""

    stage: Stage
    reason: str = ""
    exit_code: int | None = None

    @property
    def is_end(self) -> bool:
        """Whether nothing more comes of this pod or TrainJob."""
        return self.stage in _ENDS

    @property
    def keyword(self) -> str:
        """The cluster's word for the reason, without the details that change all the time."""
        return self.reason.partition(":")[0]

    def __str__(self) -> str:
        code = "" if self.exit_code is None else f" with exit code {self.exit_code}"
        return f"{self.stage}{code}" + (f": {self.reason}" if self.reason else "")


# Waiting for these helps nobody: an image, a secret or a command is wrong.
_HOPELESS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
# Why a pod may fail that was itself in order, if it says so at all.
_DISRUPTIONS = frozenset(
    {
        "Evicted",
        "NodeAffinity",
        "NodeLost",
        "NodeShutdown",
        "Preempting",
        "Shutdown",
        "Terminated",
        "UnexpectedAdmissionError",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
    }
)


def pod_state(pod: Json | None, *, uid: str) -> State:
    """Return what has become of the pod with `uid`; another may have taken its name.

    None is a pod that is not there: it was deleted, whoever did it.
    """
    if pod is None or pod["metadata"]["uid"] != uid:
        return State(Stage.LOST, "the pod was deleted")
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    ended = (containers[0].get("state") or {}).get("terminated") if containers else None
    if ended and ended["exitCode"] == 0:
        return State(Stage.SUCCEEDED, exit_code=0)
    if ended and ended.get("reason") == "OOMKilled":
        return State(Stage.OUT_OF_MEMORY, "OOMKilled", exit_code=ended["exitCode"])
    if status.get("reason") == "DeadlineExceeded":
        return State(Stage.TOO_LONG, _words(status))
    if disruption := _disruption(pod, is_over=bool(ended) or status.get("phase") == "Failed"):
        return State(Stage.LOST, disruption)
    if ended:
        return State(Stage.FAILED, _words(ended), exit_code=ended["exitCode"])
    if status.get("phase") == "Failed":
        return State(Stage.FAILED, _words(status))
    if "deletionTimestamp" in pod["metadata"]:
        return State(Stage.STOPPING, "the pod was told to stop")
    if status.get("phase") == "Running":
        return State(Stage.RUNNING)
    return _waiting(status, containers)


def train_job_state(
    train_job: Json | None,
    *,
    uid: str,
    launchers: Sequence[Json],
    pods: Sequence[Json],
    jobs: Sequence[Json],
) -> State:
    """Return what has become of a TrainJob: by its conditions, and by its pods why.

    Args:
        train_job: as the API returns it, None if it is gone.
        uid: of the one that is meant; another has taken its name.
        launchers: the pods of the launcher, the newest last; there is one, or none yet.
        pods: all of its pods.
        jobs: the Jobs of its pods, which remember a disruption when its pod is gone.
    """
    if train_job is None or train_job["metadata"]["uid"] != uid:
        return State(Stage.LOST, "the TrainJob was deleted")
    conditions = _conditions(train_job)
    if "Complete" in conditions:
        return State(Stage.SUCCEEDED, exit_code=0)
    states = [_own_state(pod) for pod in pods]
    if "Failed" in conditions:
        return _failed_train_job(conditions["Failed"], launchers, states, jobs)
    if "Suspended" in conditions:
        return State(Stage.QUEUED, _words(conditions["Suspended"]))
    for state in states:
        if state.stage in (Stage.OUT_OF_MEMORY, Stage.NOT_STARTED):
            return state
    if launchers:
        state = _own_state(launchers[-1])
        # What ended is told by the conditions, a moment later.
        return State(Stage.RUNNING) if state.is_end else state
    waiting = [state for state in states if state.stage in (Stage.PENDING, Stage.QUEUED)]
    return waiting[0] if waiting else State(Stage.PENDING, "its nodes are not ready")


def _failed_train_job(
    failed: Json, launchers: Sequence[Json], states: Sequence[State], jobs: Sequence[Json]
) -> State:
    if failed.get("reason") == "DeadlineExceeded":
        return State(Stage.TOO_LONG, _words(failed))
    for stage in (Stage.OUT_OF_MEMORY, Stage.LOST):
        for state in states:
            if state.stage is stage:
                return state
    for job in jobs:
        condition = _conditions(job).get("Failed", {})
        if condition.get("reason") == "PodFailurePolicy":
            return State(Stage.LOST, _words(condition))
    # The launcher's exit code is that of the first process that failed, on whatever node.
    for state in (*map(_own_state, launchers[-1:]), *states):
        if state.stage is Stage.FAILED:
            return state
    # What failed stays to be read, so what is not there was deleted.
    is_by_pods = failed.get("reason") == "FailedJobs"
    return State(Stage.LOST if is_by_pods else Stage.FAILED, _words(failed))


def _own_state(pod: Json) -> State:
    return pod_state(pod, uid=pod["metadata"]["uid"])


def _disruption(pod: Json, *, is_over: bool) -> str:
    """Return why a pod that is over was taken away, empty if it was not or is not over."""
    status = pod.get("status") or {}
    if not is_over:
        return ""
    if status.get("reason") in _DISRUPTIONS:
        return _words(status)
    if target := _conditions(pod).get("DisruptionTarget"):
        return _words(target)
    if "deletionTimestamp" in pod["metadata"]:
        return "the pod was deleted"
    return ""


def _waiting(status: Json, containers: Sequence[Json]) -> State:
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS:
            return State(Stage.NOT_STARTED, _words(waiting))
    scheduled = {one["type"]: one for one in status.get("conditions") or []}.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        is_queued = scheduled.get("reason") == "SchedulingGated"
        return State(Stage.QUEUED if is_queued else Stage.PENDING, _words(scheduled))
    waits = [(one.get("state") or {}).get("waiting") or {} for one in containers]
    return State(Stage.PENDING, _words(waits[0]) if waits else "")


def _conditions(thing: Json) -> dict[str, Json]:
    """Return the conditions that hold, by type."""
    conditions = (thing.get("status") or {}).get("conditions") or []
    return {one["type"]: one for one in conditions if one.get("status") == "True"}


def _words(said: Json) -> str:
    """Return a reason and its message in one line."""
    words = (said.get("reason"), said.get("message"))
    return ": ".join(" ".join(str(word).split()) for word in words if word)
