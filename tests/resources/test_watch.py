"""What no kubelet of the emulator does: it is dead, or lies."""

from typing import Any

import pytest

from llm_assets.resources import watch
from llm_assets.resources.cluster import Cluster, ClusterError, Json
from llm_assets.resources.pod_log import PodMessages
from llm_assets.resources.watch import Watch
from llm_assets.training.kubernetes.state import Stage, State
from tests.training.kubernetes.manifests import a_config


class Dead(Cluster):
    """A cluster with one pod, which stays for ever as it is; nobody reads its log."""

    def __init__(self, **status: Any) -> None:
        self.pod: Json = {"metadata": {"uid": "u1"}, "status": status}
        self.num_logs = 0

    def find(self, kind: str, name: str) -> Json | None:
        return self.pod

    def log(self, pod: str, *, since_seconds: int | None) -> bytes:
        self.num_logs += 1
        raise ClusterError(502, "dial tcp 10.0.0.7:10250: connect: no route to host")

    def warnings(self, pod: str) -> list[str]:
        return ["FailedScheduling: no", "FailedMount: no claim named work"]


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_DELAY_SECONDS", -0.9)


def end_of(cluster: Dead, **keys: Any) -> tuple[State, list[str]]:
    said: list[str] = []
    config = a_config(
        active_deadline_seconds=1,
        termination_grace_period_seconds=1,
        poll_seconds=0.02,
        **keys,
    )
    state = Watch(
        cluster=cluster,
        config=config,
        messages=PodMessages(),
        kind="Pod",
        name="train",
        uid="u1",
        say=said.append,
    ).until_end()
    return state, said


def test_a_pod_that_nobody_ends_at_its_deadline_is_given_up() -> None:
    state, said = end_of(Dead(phase="Running"))
    assert state.stage is Stage.TOO_LONG
    assert said == ["train: running"]


def test_a_pod_that_never_stops_is_lost_with_its_node() -> None:
    cluster = Dead(phase="Running")
    cluster.pod["metadata"]["deletionTimestamp"] = "2026-11-27T12:00:00Z"
    state, _ = end_of(cluster)
    assert state == State(Stage.LOST, "it does not stop, so its node may be lost")


def test_a_pod_that_waits_for_a_volume_says_what_the_kubelet_warned_of() -> None:
    status = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "X"}}}]}
    state, _ = end_of(Dead(**status), pending_timeout_seconds=0.1)
    assert state.stage is Stage.NOT_STARTED
    assert state.reason == "pending for more than 0 seconds; X; FailedMount: no claim named work"


def test_time_in_a_queue_does_not_count_and_is_told_once() -> None:
    gate = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    cluster = Dead(phase="Pending", conditions=[gate])
    num_looks = 0
    find = cluster.find

    def look(kind: str, name: str) -> Json | None:
        nonlocal num_looks
        num_looks += 1
        return find(kind, name) if num_looks < 20 else None

    cluster.find = look  # pyright: ignore[reportAttributeAccessIssue]
    state, said = end_of(cluster, pending_timeout_seconds=0.1)
    assert state == State(Stage.LOST, "the pod was deleted")
    assert said == ["train: queued: SchedulingGated", "train: lost: the pod was deleted"]


def test_the_log_of_what_has_ended_is_asked_for_more_than_once() -> None:
    ended = {"terminated": {"exitCode": 3, "reason": "Error"}}
    cluster = Dead(phase="Failed", containerStatuses=[{"state": ended}])
    state, _ = end_of(cluster)
    assert state.exit_code == 3
    assert cluster.num_logs == 5
