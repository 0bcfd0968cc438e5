"""Every way in which a pod or a TrainJob can be, as the API tells it."""

from typing import Any

import pytest

from llm_assets.training.kubernetes.state import Stage, State, pod_state, train_job_state

Json = dict[str, Any]

DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}


def a_pod(
    state: Json | None = None, *, is_deleted: bool = False, uid: str = "u1", **status: Any
) -> Json:
    """Return a pod whose container is in a state; without one it has no container status."""
    containers = [] if state is None else [{"name": "trainer", "state": state}]
    deleted = {"deletionTimestamp": "2026-11-27T12:00:00Z"} if is_deleted else {}
    return {
        "metadata": {"name": "train", "uid": uid, **deleted},
        "status": {"containerStatuses": containers, **status},
    }


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error") -> Json:
    return {"terminated": {"exitCode": code, "reason": reason}}


def unscheduled(reason: str, message: str) -> Json:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {"phase": "Pending", "conditions": [condition]}


RUNNING = {"running": {"startedAt": "2026-11-27T12:00:00Z"}}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (a_pod(phase="Pending"), State(Stage.PENDING)),
        (
            a_pod(**unscheduled("Unschedulable", "0/3 nodes are available:\n3 Insufficient cpu.")),
            State(Stage.PENDING, "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."),
        ),
        (
            a_pod(**unscheduled("SchedulingGated", "waiting for kueue")),
            State(Stage.QUEUED, "SchedulingGated: waiting for kueue"),
        ),
        (
            a_pod(waiting("ContainerCreating"), phase="Pending"),
            State(Stage.PENDING, "ContainerCreating"),
        ),
        (
            a_pod(waiting("ImagePullBackOff", "Back-off pulling"), phase="Pending"),
            State(Stage.NOT_STARTED, "ImagePullBackOff: Back-off pulling"),
        ),
        (
            a_pod(waiting("CreateContainerConfigError", 'secret "x" not found'), phase="Pending"),
            State(Stage.NOT_STARTED, 'CreateContainerConfigError: secret "x" not found'),
        ),
        (a_pod(RUNNING, phase="Running"), State(Stage.RUNNING)),
        (
            a_pod(RUNNING, phase="Running", is_deleted=True),
            State(Stage.STOPPING, "the pod was told to stop"),
        ),
        (a_pod(ended(0, "Completed"), phase="Succeeded"), State(Stage.SUCCEEDED, exit_code=0)),
        (a_pod(ended(1), phase="Failed"), State(Stage.FAILED, "Error", 1)),
        (
            a_pod(ended(137, "OOMKilled"), phase="Failed"),
            State(Stage.OUT_OF_MEMORY, "OOMKilled", 137),
        ),
        (
            a_pod(ended(143), phase="Failed", reason="DeadlineExceeded", message="too long"),
            State(Stage.TOO_LONG, "DeadlineExceeded: too long"),
        ),
        (
            a_pod(ended(137), phase="Failed", reason="Evicted", message="low on memory"),
            State(Stage.LOST, "Evicted: low on memory"),
        ),
        (
            a_pod(phase="Failed", reason="NodeShutdown", message="Node is shutting down"),
            State(Stage.LOST, "NodeShutdown: Node is shutting down"),
        ),
        (
            a_pod(ended(143), phase="Failed", conditions=[DISRUPTED]),
            State(
                Stage.LOST,
                "PreemptionByScheduler: default-scheduler: preempting to accommodate a higher "
                "priority pod",
            ),
        ),
        (
            a_pod(ended(143), phase="Failed", is_deleted=True),
            State(Stage.LOST, "the pod was deleted"),
        ),
        (a_pod(uid="u2", phase="Running"), State(Stage.LOST, "the pod was deleted")),
        (None, State(Stage.LOST, "the pod was deleted")),
    ],
)
def test_a_pod_is_what_its_status_says(pod: Json | None, expected: State) -> None:
    assert pod_state(pod, uid="u1") == expected


def test_a_pod_that_finished_while_it_was_taken_away_has_succeeded() -> None:
    pod = a_pod(ended(0, "Completed"), is_deleted=True, conditions=[DISRUPTED])
    assert pod_state(pod, uid="u1").stage is Stage.SUCCEEDED


def test_a_pod_that_is_to_be_disrupted_still_runs() -> None:
    pod = a_pod(RUNNING, phase="Running", conditions=[DISRUPTED])
    assert pod_state(pod, uid="u1").stage is Stage.RUNNING


def test_a_container_that_was_killed_for_its_memory_is_no_disruption() -> None:
    pod = a_pod(ended(137, "OOMKilled"), phase="Failed", conditions=[DISRUPTED])
    assert pod_state(pod, uid="u1").stage is Stage.OUT_OF_MEMORY


@pytest.mark.parametrize("stage", list(Stage))
def test_a_stage_is_an_end_or_goes_on(stage: Stage) -> None:
    going_on = {Stage.QUEUED, Stage.PENDING, Stage.RUNNING, Stage.STOPPING}
    assert State(stage).is_end == (stage not in going_on)


def a_train_job(condition: str = "", reason: str = "", message: str = "") -> Json:
    conditions = [{"type": condition, "status": "True", "reason": reason, "message": message}]
    return {
        "metadata": {"uid": "u1"},
        "status": {"conditions": conditions if condition else []},
    }


def train_state(
    train_job: Json | None,
    *,
    launcher: Json | None = None,
    nodes: list[Json] | None = None,
    jobs: list[Json] | None = None,
) -> State:
    launchers = [] if launcher is None else [launcher]
    return train_job_state(
        train_job, uid="u1", launchers=launchers, pods=[*(nodes or []), *launchers], jobs=jobs or []
    )


def test_a_train_job_is_complete_suspended_or_gone() -> None:
    assert train_state(a_train_job("Complete")).stage is Stage.SUCCEEDED
    queued = train_state(a_train_job("Suspended", "Suspended", "TrainJob is suspended"))
    assert queued == State(Stage.QUEUED, "Suspended: TrainJob is suspended")
    assert train_state(None).stage is Stage.LOST
    another = {**a_train_job("Complete"), "metadata": {"uid": "u2"}}
    assert train_state(another).stage is Stage.LOST


def test_a_train_job_waits_for_its_nodes_then_its_launcher_says_how_it_is() -> None:
    assert train_state(a_train_job()).stage is Stage.PENDING
    node = a_pod(**unscheduled("Unschedulable", "no GPUs"))
    assert train_state(a_train_job(), nodes=[node]).reason == "Unschedulable: no GPUs"
    up = a_pod(RUNNING, phase="Running")
    assert train_state(a_train_job(), nodes=[up]).stage is Stage.PENDING
    assert train_state(a_train_job(), nodes=[up], launcher=up).stage is Stage.RUNNING
    over = a_pod(ended(0, "Completed"), phase="Succeeded")
    assert train_state(a_train_job(), nodes=[up], launcher=over).stage is Stage.RUNNING


def test_a_node_that_can_never_start_is_told_at_once() -> None:
    node = a_pod(waiting("ErrImagePull", "not found"), phase="Pending")
    assert train_state(a_train_job(), nodes=[node]).stage is Stage.NOT_STARTED


@pytest.mark.parametrize(
    ("reason", "nodes", "launcher", "jobs", "expected"),
    [
        (
            "FailedJobs",
            [],
            a_pod(ended(1), phase="Failed"),
            [],
            State(Stage.FAILED, "Error", 1),
        ),
        (
            "FailedJobs",
            [a_pod(ended(137), phase="Failed", reason="Evicted", message="low")],
            a_pod(ended(1), phase="Failed"),
            [],
            State(Stage.LOST, "Evicted: low"),
        ),
        (
            "FailedJobs",
            [a_pod(ended(137, "OOMKilled"), phase="Failed")],
            a_pod(ended(137), phase="Failed"),
            [],
            State(Stage.OUT_OF_MEMORY, "OOMKilled", 137),
        ),
        (
            "FailedJobs",
            [],
            None,
            [a_train_job("Failed", "PodFailurePolicy", "Pod a has condition DisruptionTarget")],
            State(Stage.LOST, "PodFailurePolicy: Pod a has condition DisruptionTarget"),
        ),
        ("FailedJobs", [], None, [], State(Stage.LOST, "FailedJobs: a job failed")),
        ("DeadlineExceeded", [], None, [], State(Stage.TOO_LONG, "DeadlineExceeded: a job failed")),
        ("JobsBuildFailed", [], None, [], State(Stage.FAILED, "JobsBuildFailed: a job failed")),
    ],
)
def test_a_train_job_failed_for_the_reason_that_its_pods_and_jobs_tell(
    reason: str, nodes: list[Json], launcher: Json | None, jobs: list[Json], expected: State
) -> None:
    failed = a_train_job("Failed", reason, "a job failed")
    assert train_state(failed, nodes=nodes, launcher=launcher, jobs=jobs) == expected


def test_a_state_is_told_in_one_line() -> None:
    assert str(State(Stage.FAILED, "Error", 3)) == "failed with exit code 3: Error"
    assert str(State(Stage.RUNNING)) == "running"
