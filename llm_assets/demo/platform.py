"""The running platform as the demonstration sees it: over HTTP and through Dagster's instance."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dagster as dg
import httpx
from dagster_graphql import DagsterGraphQLClient

from llm_assets.errors import UserError
from llm_assets.sensors.jobs import improvement_cycle
from llm_assets.serving.process import Child
from llm_assets.settings import Settings

_POLL_SECONDS = 0.5


@contextmanager
def running_platform(settings: Settings) -> Iterator[Child]:
    """Run `llm-assets up` for as long as the block runs."""
    command = [sys.executable, "-m", "llm_assets.cli", "up"]
    child = Child("up", command, settings.home / "run" / "logs" / "up.log")
    child.start(time.monotonic())
    try:
        yield child
    finally:
        child.stop(grace_seconds=40)


def wait_for(
    condition: Callable[[], Any],
    *,
    timeout_seconds: float,
    what: str,
    child: Child,
    show: Callable[[], None] = lambda: None,
) -> Any:
    """Poll until a condition is true and return its value.

    Raises:
        UserError: it took too long, or the platform died; the message says what was awaited.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        if not child.is_running:
            raise UserError(f"the platform stopped while waiting for {what}: {child.last_words()}")
        show()
        time.sleep(_POLL_SECONDS)
    raise UserError(
        f"waited {timeout_seconds:.0f} s for {what}; the logs are in {child.log.parent}"
    )


def is_ready(settings: Settings) -> bool:
    """Whether the endpoint and the Dagster UI answer."""
    with suppress(httpx.HTTPError):
        endpoint = httpx.get(f"{settings.endpoint_url}/readyz", timeout=2)
        ui = httpx.get(f"{settings.ui_url}/server_info", timeout=2)
        return endpoint.is_success and ui.is_success
    return False


def served_version(settings: Settings, application: str) -> str | None:
    """Return the model version that the endpoint says it serves."""
    with suppress(httpx.HTTPError):
        models = httpx.get(f"{settings.endpoint_url}/v1/models", timeout=2).json()["data"]
        return {model["id"]: model["model_version"] for model in models}.get(application)
    return None


def cycle_run(instance: dg.DagsterInstance, model_version: str) -> dg.DagsterRun | None:
    """Return the run of the cycle that makes a model version, or None before it exists."""
    tags = {"dagster/partition": model_version}
    runs = instance.get_runs(dg.RunsFilter(job_name=improvement_cycle.name, tags=tags), limit=1)
    return runs[0] if runs else None


def launch_cycle(settings: Settings, model_version: str, ops: Mapping[str, Any]) -> str:
    """Start a cycle through the UI's own interface, as a person would, and return the run's id."""
    client = DagsterGraphQLClient(settings.ui_host, port_number=settings.ui_port)
    return client.submit_job_execution(
        improvement_cycle.name,
        run_config={"ops": dict(ops)},
        tags={"dagster/partition": model_version, "llm_assets/cause": "manual"},
    )


def step_seconds(instance: dg.DagsterInstance, run_id: str) -> dict[str, float]:
    """Return how long each step of a run took, the running ones so far."""
    seconds: dict[str, float] = {}
    for stats in instance.get_run_step_stats(run_id):
        if stats.start_time is not None:
            end = time.time() if stats.end_time is None else stats.end_time
            seconds[stats.step_key] = end - stats.start_time
    return seconds
