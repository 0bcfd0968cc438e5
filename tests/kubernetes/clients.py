"""What tests say to the cluster through the Python client, and how they wait for it."""

import time
from collections.abc import Callable
from typing import Any

import kubernetes

IMAGE = "trainer:1"
# The client's own type hints say of nothing that it cannot be None.
Core = Any


def a_pod(script: str = "", *, name: str = "job-abc", **spec: Any) -> dict[str, Any]:
    """Return a pod that runs a shell script; `container` and `spec` add to it."""
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    containers = [container | spec.pop("container", {})]
    metadata = {"name": name, "labels": {"app": "training"}}
    return {
        "metadata": metadata,
        "spec": {"restartPolicy": "Never", "containers": containers, **spec},
    }


def create_pod(core: Core, script: str = "", **fields: Any) -> str:
    """Create a pod that runs a shell script and return its name."""
    return core.create_namespaced_pod("default", a_pod(script, **fields)).metadata.name


def create_secret(core: Core, name: str, key: str, value: str) -> None:
    """Create a secret with one key."""
    secret = {"metadata": {"name": name}, "stringData": {key: value}}
    core.create_namespaced_secret("default", secret)


def wait_until(condition: Callable[[], Any], *, seconds: float = 10) -> Any:
    """Return what a condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.03)
    return value


def wait_for_phase(core: Core, name: str, phase: str) -> Any:
    """Return a pod when it is in a phase."""

    def pod() -> Any:
        found = core.read_namespaced_pod(name, "default")
        return found if found.status.phase == phase else None

    return wait_until(pod)


def wait_until_gone(core: Core, name: str) -> None:
    """Return when there is no pod of this name any more."""
    selector = f"metadata.name={name}"
    wait_until(lambda: not core.list_namespaced_pod("default", field_selector=selector).items)


def state_of(pod: Any) -> Any:
    """Return the state of a pod's first container."""
    return pod.status.container_statuses[0].state


def ending_of(pod: Any) -> tuple[int, str]:
    """Return the exit code of a pod's first container, and the reason."""
    terminated = state_of(pod).terminated
    return terminated.exit_code, terminated.reason


def log_of(core: Core, name: str, **options: Any) -> str:
    """Return a pod's log; the client's own decoding has been broken since its version 36."""
    response = core.read_namespaced_pod_log(name, "default", _preload_content=False, **options)
    return response.data.decode()


def refusal_of(request: Callable[[], Any]) -> kubernetes.client.ApiException:
    """Return the error with which a request is refused."""
    try:
        request()
    except kubernetes.client.ApiException as error:
        return error
    raise AssertionError("the request was not refused")
