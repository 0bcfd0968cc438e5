"""A training in a cluster that does to its pods what clusters do."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.kubernetes.clients import wait_until
from tests.kubernetes.emulator import Cluster
from tests.resources.training_run import Outcome, TrainingRun

Start = Callable[[], Future[Outcome]]


@pytest.fixture
def start(run: TrainingRun, background: ThreadPoolExecutor) -> Start:
    """Return a function that starts a run in the background."""
    return lambda: background.submit(run.materialize)


def pod_name(cluster: Cluster) -> str:
    (pod,) = cluster.pods()
    return pod["metadata"]["name"]


def test_a_training_reports_through_the_log_of_its_pod_and_leaves_none(
    run: TrainingRun, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    run.behave("finish")
    outcome = run.materialize()
    assert outcome.failure == ""
    assert outcome.steps == ["step 1", "step 2", "step 3"]
    assert not outcome.holding("unexpected")
    assert "step 2 begins" in capfd.readouterr().out.splitlines()
    wait_until(lambda: not cluster.pods())


def test_what_a_worker_says_is_heard_while_it_runs(
    run: TrainingRun, start: Start, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    run.behave("wait", "finish")
    outcome = start()
    heard = ""

    def has_heard() -> bool:
        nonlocal heard
        heard += capfd.readouterr().out
        return "step 1 begins" in heard

    wait_until(has_heard)
    assert not outcome.done()
    cluster.delete(pod_name(cluster))
    assert outcome.result().failure == ""


@pytest.mark.parametrize("fault", ["preempt", "evict", "lose_node", "delete"])
def test_a_pod_that_was_taken_away_goes_on_in_another(
    run: TrainingRun, start: Start, cluster: Cluster, fault: str
) -> None:
    run.behave("wait", "finish")
    outcome = start()
    run.wait_for_step(1)
    getattr(cluster, fault)(pod_name(cluster))
    ended = outcome.result()
    assert ended.failure == ""
    # The last words of a pod that is gone may be lost with it; no step is trained twice.
    assert ended.steps[-2:] == ["step 2", "step 3"]
    (restart,) = ended.holding("starting it again")
    assert "is lost: " in restart
    assert "1 of 5" in restart
    assert run.num_starts == 2
    wait_until(lambda: not cluster.pods())


def test_a_pod_that_was_made_in_place_of_ours_is_removed_before_another_starts(
    run: TrainingRun, start: Start, cluster: Cluster
) -> None:
    run.behave("wait", "finish")
    outcome = start()
    run.wait_for_step(1)
    replacement = cluster.replace(pod_name(cluster))
    ended = outcome.result()
    assert ended.failure == ""
    (deleting,) = ended.holding(f"Pod {replacement} of run ")
    starts = [n for n, message in enumerate(ended.messages) if message.endswith(": running")]
    assert ended.messages.index(deleting) < starts[-1]
    wait_until(lambda: not cluster.pods())


def test_a_pod_that_is_always_taken_away_is_given_up(
    run: TrainingRun, start: Start, cluster: Cluster
) -> None:
    run.configure(max_restarts=1)
    run.behave("wait")
    outcome = start()
    for step in (1, 2):
        run.wait_for_step(step)
        cluster.evict(pod_name(cluster))
    failure = outcome.result().failure
    assert "taken away more than max_restarts (1) times" in failure
    assert "Evicted: The node was low on resource: memory." in failure
    wait_until(lambda: not cluster.pods())


def test_a_pod_out_of_memory_says_so_and_what_to_lower(
    run: TrainingRun, start: Start, cluster: Cluster
) -> None:
    run.behave("wait")
    outcome = start()
    run.wait_for_step(1)
    cluster.run_out_of_memory(pod_name(cluster))
    failure = outcome.result().failure
    assert "OOMKilled" in failure
    assert "training.compute.per_device_train_batch_size (16)" in failure
    assert "resources.limits.memory (8Gi)" in failure
    assert run.num_starts == 1


def test_a_refusal_is_told_as_the_worker_says_it_and_not_retried(run: TrainingRun) -> None:
    run.behave("exit 1 error: rows.parquet: 24 train rows, at least 50 are needed")
    failure = run.materialize().failure
    assert failure == "rows.parquet: 24 train rows, at least 50 are needed"


def test_a_failure_is_retried_where_a_policy_says_so(run: TrainingRun) -> None:
    run.behave("exit 3 failed: rank 0 was ended by SIGKILL", "exit 1 Traceback", "finish")
    outcome = run.materialize(max_retries=2)
    assert outcome.failure == ""
    assert run.num_starts == 3


def test_a_pod_that_finds_no_node_is_given_up_with_the_scheduler_s_reason(
    run: TrainingRun, cluster: Cluster
) -> None:
    run.configure(pending_timeout_seconds=0.3)
    with cluster.full():
        failure = run.materialize().failure
        assert "did not start: pending for more than" in failure
        assert "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu." in failure
        wait_until(lambda: not cluster.pods())


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"image": "llm-assets:typo"}, "ErrImagePull"),
        ({"secret_env": {"TOKEN": {"name": "none", "key": "key"}}}, 'secret "none" not found'),
    ],
)
def test_what_can_never_start_fails_at_once(
    run: TrainingRun, cluster: Cluster, keys: dict[str, Any], reason: str
) -> None:
    run.configure(**keys)
    started = time.monotonic()
    failure = run.materialize().failure
    assert time.monotonic() - started < 10
    assert reason in failure
    wait_until(lambda: not cluster.pods())


def test_a_pod_may_not_run_longer_than_its_deadline(run: TrainingRun, cluster: Cluster) -> None:
    run.configure(active_deadline_seconds=1)
    run.behave("wait")
    failure = run.materialize().failure
    assert "did not finish in active_deadline_seconds (1)" in failure
    wait_until(lambda: not cluster.pods())


def test_an_api_server_that_refuses_for_a_while_does_not_disturb_a_training(
    run: TrainingRun, start: Start, cluster: Cluster
) -> None:
    cluster.refuse(5)
    run.behave("wait", "finish")
    outcome = start()
    run.wait_for_step(1)
    cluster.refuse(10)
    cluster.preempt(pod_name(cluster))
    ended = outcome.result()
    assert ended.failure == ""
    assert ended.holding("the cluster's API does not answer, asking again")


def test_a_cluster_that_refuses_a_pod_says_why(run: TrainingRun) -> None:
    run.configure(namespace="other")
    failure = run.materialize().failure
    assert failure.startswith("Kubernetes, asked about train-tiny-v0002-")
    assert 'namespaces "other" not found' in failure


def test_files_that_pods_would_not_see_are_refused(run: TrainingRun) -> None:
    run.configure(volume={"claim_name": "work", "mount_path": "/work"})
    failure = run.materialize(max_retries=1).failure
    assert failure.startswith("the job file must lie below volume.mount_path (/work)")


def a_process(run: TrainingRun) -> subprocess.Popen[bytes]:
    """Return a run of Dagster in a process of its own."""
    command = [sys.executable, "-m", "tests.resources.training_run", str(run.folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_step_that_is_interrupted_deletes_its_pod(run: TrainingRun, cluster: Cluster) -> None:
    run.behave("wait")
    with a_process(run) as process:
        run.wait_for_step(1)
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    wait_until(lambda: not cluster.pods())


def test_the_pod_of_a_run_that_was_killed_is_removed_before_the_next_trains(
    run: TrainingRun, cluster: Cluster
) -> None:
    run.behave("wait", "finish")
    with a_process(run) as process:
        run.wait_for_step(1)
        process.kill()
    (orphan,) = cluster.pods()
    assert orphan["status"]["phase"] == "Running"
    outcome = run.materialize()
    assert outcome.failure == ""
    name, run_id = orphan["metadata"]["name"], orphan["metadata"]["labels"]["dagster/run-id"]
    assert outcome.holding(f"Pod {name} of run {run_id} is still there: deleting it first")
    assert outcome.steps == [
        "step 2",
        "step 3",
    ]


def test_a_run_whose_version_another_has_started_to_train_gives_way(
    run: TrainingRun, start: Start, cluster: Cluster
) -> None:
    run.behave("wait", "wait", "finish")
    first = start()
    run.wait_for_step(1)
    second = start()
    failure = first.result().failure
    assert "has started to train the same model version" in failure
    run.wait_for_step(2)
    cluster.evict(pod_name(cluster))
    assert second.result().failure == ""
    assert run.num_starts == 3
