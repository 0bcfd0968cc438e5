"""Pods and their faults, seen through the Python client."""

import threading
import time
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from tests.kubernetes.clients import (
    IMAGE,
    Core,
    a_pod,
    create_pod,
    create_secret,
    ending_of,
    log_of,
    refusal_of,
    state_of,
    wait_for_phase,
    wait_until,
    wait_until_gone,
)
from tests.kubernetes.emulator import Cluster, emulator


def test_a_pod_that_succeeds_has_completed(core: Core) -> None:
    name = create_pod(core, "echo $FROM_IMAGE; echo $HOSTNAME >&2")
    assert ending_of(wait_for_phase(core, name, "Succeeded")) == (0, "Completed")
    assert log_of(core, name) == "yes\njob-abc\n"


def test_a_pod_that_fails_tells_its_exit_code(core: Core) -> None:
    pod = wait_for_phase(core, create_pod(core, "exit 3"), "Failed")
    assert ending_of(pod) == (3, "Error")


def test_a_command_that_does_not_exist_fails_to_start(core: Core) -> None:
    name = create_pod(core, container={"command": ["no-such-program"]})
    assert ending_of(wait_for_phase(core, name, "Failed")) == (128, "StartError")


def test_a_log_is_followed_with_times(core: Core) -> None:
    name = create_pod(core, "echo one; sleep 0.3; echo two")
    wait_for_phase(core, name, "Running")
    log = core.read_namespaced_pod_log(
        name, "default", follow=True, timestamps=True, _preload_content=False
    )
    came = [(time.monotonic(), *chunk.split()) for chunk in log.stream()]
    assert [text for _, _, text in came] == [b"one", b"two"]
    assert {len(stamp) for _, stamp, _ in came} == {len("2024-03-22T02:17:29.185548486Z")}
    assert came[1][0] - came[0][0] > 0.1


def test_a_log_is_cut_to_its_tail(core: Core) -> None:
    name = create_pod(core, "seq 9")
    wait_for_phase(core, name, "Succeeded")
    assert log_of(core, name, tail_lines=2) == "8\n9\n"


@pytest.mark.parametrize(
    ("selector", "num_found"), [("app=training", 2), ("app in (a,b)", 0), ("!app", 0), ("app", 2)]
)
def test_pods_are_found_by_labels(core: Core, selector: str, num_found: int) -> None:
    for name in ("one", "two"):
        create_pod(core, name=name)
    pods = core.list_namespaced_pod("default", label_selector=selector).items
    assert len(pods) == num_found


def test_pods_are_found_by_fields(core: Core) -> None:
    for name in ("one", "two"):
        create_pod(core, name=name)
    pods = core.list_namespaced_pod("default", field_selector="metadata.name=one").items
    assert [pod.metadata.name for pod in pods] == ["one"]


def test_variables_come_from_secrets_config_maps_and_the_pod(core: Core) -> None:
    create_secret(core, "hidden", "key", "of a secret")
    shown = {"metadata": {"name": "shown"}, "data": {"key": "of a map"}}
    core.create_namespaced_config_map("default", shown)
    env = [
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "key"}}},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "shown", "key": "key"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ALL", "value": "$(SECRET), $(MAP), $(NAME), $(OTHER), $$(NAME)"},
    ]
    container = {"command": ["echo"], "args": ["$(ALL)"], "env": env}
    name = create_pod(core, container=container)
    wait_for_phase(core, name, "Succeeded")
    assert log_of(core, name) == "of a secret, of a map, job-abc, $(OTHER), $(NAME)\n"


def test_a_pod_waits_for_the_secret_that_it_needs(core: Core) -> None:
    reference = {"secretKeyRef": {"name": "late", "key": "key"}}
    name = create_pod(core, container={"env": [{"name": "KEY", "valueFrom": reference}]})
    wait_until_waiting(core, name, "CreateContainerConfigError")
    create_secret(core, "late", "key", "value")
    wait_for_phase(core, name, "Succeeded")


def test_an_image_that_does_not_exist_is_not_pulled(core: Core) -> None:
    name = create_pod(core, container={"image": "trainer:2"})
    wait_until_waiting(core, name, "ErrImagePull")
    wait_until_waiting(core, name, "ImagePullBackOff")
    assert "trying and failing to pull image" in str(refusal_of(lambda: log_of(core, name)))


def test_all_processes_of_a_pod_end_with_it(core: Core, cluster: Cluster, tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    loop = f"while true; do date +%N > {beat}; sleep 0.02; done"
    name = create_pod(core, f"setsid sh -c '{loop}' & wait")
    wait_until(lambda: beat.exists() and beat.read_text())
    cluster.lose_node(name)
    assert not cluster.pods()
    last = beat.read_text()
    time.sleep(0.1)
    assert beat.read_text() == last


def test_a_pod_out_of_memory_is_killed(core: Core, cluster: Cluster) -> None:
    name = create_running_pod(core)
    cluster.run_out_of_memory(name)
    assert ending_of(wait_for_phase(core, name, "Failed")) == (137, "OOMKilled")


def test_a_pod_that_is_evicted_stays_failed(core: Core, cluster: Cluster) -> None:
    name = create_running_pod(core)
    cluster.evict(name)
    pod = wait_for_phase(core, name, "Failed")
    assert pod.status.reason == "Evicted"
    assert "DisruptionTarget" in [condition.type for condition in pod.status.conditions]
    assert ending_of(pod) == (137, "Error")


@pytest.mark.parametrize("fault", ["delete", "preempt"])
def test_a_pod_that_has_to_go_may_clean_up(
    core: Core, cluster: Cluster, fault: str, tmp_path: Path
) -> None:
    name = create_running_pod(core, f"trap 'touch {tmp_path}/cleaned; exit' TERM")
    getattr(cluster, fault)(name)
    wait_until_gone(core, name)
    assert (tmp_path / "cleaned").exists()


def test_a_pod_that_does_not_stop_is_killed_after_its_grace(core: Core) -> None:
    name = create_running_pod(core, "trap '' TERM")
    core.delete_namespaced_pod(name, "default", grace_period_seconds=1)
    assert core.read_namespaced_pod(name, "default").metadata.deletion_timestamp
    wait_until_gone(core, name)


def test_a_pod_that_is_replaced_has_another_name_and_the_same_labels(
    core: Core, cluster: Cluster
) -> None:
    name = create_running_pod(core)
    replacement = cluster.replace(name)
    wait_until_gone(core, name)
    pod = wait_for_phase(core, replacement, "Running")
    assert replacement != name
    assert pod.metadata.labels == {"app": "training"}


def test_a_pod_waits_for_room(core: Core, cluster: Cluster) -> None:
    with cluster.full():
        pod = wait_for_phase(core, create_pod(core), "Pending")
        assert pod.status.conditions[0].reason == "Unschedulable"
        assert pod.status.container_statuses is None
    wait_for_phase(core, pod.metadata.name, "Succeeded")


def test_a_pod_may_not_run_longer_than_its_deadline(core: Core) -> None:
    name = create_pod(core, "sleep 60", activeDeadlineSeconds=1)
    assert wait_for_phase(core, name, "Failed").status.reason == "DeadlineExceeded"


def test_requests_are_refused_for_a_while(core: Core, cluster: Cluster) -> None:
    cluster.refuse(2)
    for _ in range(2):
        assert refusal_of(lambda: core.list_namespaced_pod("default")).status == 503
    assert core.list_namespaced_pod("default").items == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restartPolicy": "Always"}, "restartPolicy"),
        ({"nodeSelektor": {}}, "nodeSelektor"),
        ({"container": {"ports": [{"containerPort": "http"}]}}, "not of type 'integer'"),
        ({"container": {"volumeMounts": [{"name": "a", "mountPath": "/a"}]}}, "Not found"),
        ({"name": "Upper"}, "RFC 1123"),
    ],
)
def test_what_the_schemas_do_not_allow_is_invalid(
    core: Core, change: dict[str, Any], message: str
) -> None:
    pod = a_pod(**change)
    refusal = refusal_of(lambda: core.create_namespaced_pod("default", pod))
    assert refusal.status == 422
    assert message in str(refusal)


def test_a_name_is_given_once(core: Core) -> None:
    create_pod(core)
    assert refusal_of(lambda: create_pod(core)).status == 409


def test_nothing_is_left_of_a_cluster(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    beat = tmp_path / "beat"
    with emulator(tmp_path / "cluster", images={IMAGE: {}}) as cluster:
        kubernetes.config.load_kube_config(str(cluster.kubeconfig))
        core: Core = kubernetes.client.CoreV1Api()
        name = create_pod(core, f"while true; do date +%N > {beat}; sleep 0.02; done")
        wait_until(beat.exists)
        log = core.read_namespaced_pod_log(name, "default", follow=True, _preload_content=False)
    assert log.data == b""
    assert set(threading.enumerate()) == threads
    last = beat.read_text()
    time.sleep(0.1)
    assert beat.read_text() == last


def create_running_pod(core: Core, script: str = "") -> str:
    """Create a pod that does something first, and wait until it has."""
    name = create_pod(core, f"{script}\necho started; while true; do sleep 0.05; done")
    wait_until(lambda: wait_for_phase(core, name, "Running") and log_of(core, name))
    return name


def wait_until_waiting(core: Core, name: str, reason: str) -> None:
    def is_waiting() -> bool:
        pod = core.read_namespaced_pod(name, "default")
        return bool(pod.status.container_statuses) and state_of(pod).waiting.reason == reason

    wait_until(is_waiting)
