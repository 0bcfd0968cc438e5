"""Rollouts are started by one sensor, and what became of them is told to Dagster by another."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from llm_assets.deployment.registry import Rollout
from llm_assets.installation import Installation
from llm_assets.sensors.deployment import deploy_sensor, rollout_sensor
from tests.deployment.rollouts import START, STEPS
from tests.installations import CANDIDATE, VERSION
from tests.sensors.ticks import added_partitions, requested, skipped


def told(answer: Any) -> list[tuple[str, str]]:
    """Return the action and the version of each materialization."""
    assert isinstance(answer, dg.SensorResult)
    events = list(answer.asset_events or [])
    assert all(isinstance(event, dg.AssetMaterialization) for event in events)
    assert {event.partition for event in events} <= {"helpdesk"}
    return [
        (str(event.metadata["action"].value), str(event.metadata["model_version"].value))
        for event in events
    ]


def register(installation: Installation, version: str) -> None:
    installation.registry.register("helpdesk", version, time=START, reason="", run_id="run1")


def begun(installation: Installation, *, run_id: str | None = None) -> Rollout:
    registry = installation.registry
    register(installation, CANDIDATE)
    registry.begin("helpdesk", CANDIDATE, steps=STEPS, time=START, reason="", run_id=run_id)
    rollout = registry.entry("helpdesk").rollout
    assert rollout is not None
    return rollout


def advanced(installation: Installation, rollout: Rollout) -> Rollout:
    after = rollout.at_next_step(START + timedelta(hours=1))
    assert after is not None
    installation.registry.move(
        "helpdesk", rollout, after, action="advance", time=after.since, reason="enough"
    )
    return after


@pytest.fixture
def look(installation: Installation, instance: dg.DagsterInstance) -> Any:
    """Return a look of a sensor that was started anew, and that knows its stored cursor only."""
    cursors: list[str | None] = [None]

    def once() -> Any:
        context = dg.build_sensor_context(
            instance, cursor=cursors[-1], resources={"installation": installation}
        )
        answer = rollout_sensor(context)
        if isinstance(answer, dg.SensorResult):
            cursors.append(answer.cursor)
        return answer

    return once


def test_each_transition_is_told_exactly_once(installation: Installation, look: Any) -> None:
    first = look()
    assert told(first) == [("promote", VERSION)]
    assert added_partitions(first) == {"application": ["helpdesk"]}
    assert skipped(look()).startswith("no rollout went on")
    rollout = begun(installation)
    assert told(look()) == [("start", CANDIDATE)]
    after = advanced(installation, rollout)
    installation.registry.move(
        "helpdesk", after, None, action="promote", time=START, reason="better"
    )
    assert told(look()) == [("advance", CANDIDATE), ("promote", CANDIDATE)]
    installation.registry.roll_back("helpdesk", time=START, reason="worse after all")
    assert told(look()) == [("roll_back", VERSION)]
    assert skipped(look())


def test_what_a_run_did_it_has_told_itself(installation: Installation, look: Any) -> None:
    look()
    rollout = begun(installation, run_id="run2")
    assert skipped(look())
    advanced(installation, rollout)
    assert told(look()) == [("advance", CANDIDATE)]


def test_a_registration_alone_is_told_by_its_own_asset(
    installation: Installation, look: Any
) -> None:
    look()
    installation.registry.register("helpdesk", CANDIDATE, time=START, reason="", run_id="run1")
    assert skipped(look())
    begun(installation)
    assert told(look()) == [("start", CANDIDATE)]


def test_what_cannot_be_read_now_is_told_later(installation: Installation, look: Any) -> None:
    look()
    rollout = begun(installation)
    path = installation.registry.root / "helpdesk.json"
    content = path.read_text()
    path.write_text("{")
    assert skipped(look())
    path.write_text(content)
    advanced(installation, rollout)
    assert told(look()) == [("start", CANDIDATE), ("advance", CANDIDATE)]


@pytest.mark.parametrize("is_known", [False, True])
def test_the_rollout_of_a_registered_version_starts_once(
    installation: Installation,
    context: dg.SensorEvaluationContext,
    instance: dg.DagsterInstance,
    is_known: bool,
) -> None:
    if is_known:
        instance.add_dynamic_partitions("application", ["helpdesk"])
    assert skipped(deploy_sensor(context)) == "helpdesk: nobody waits"
    register(installation, CANDIDATE)
    answer = deploy_sensor(context)
    request = requested(answer)
    assert request.partition_key == "helpdesk"
    assert request.run_key == f"deploy:{CANDIDATE}"
    config = request.run_config["ops"]["deployed_endpoint"]["config"]
    assert config == {"model_version": CANDIDATE}
    assert added_partitions(answer) == {"application": ["helpdesk"]}
    begun(installation)
    assert skipped(deploy_sensor(context)) == (
        f"helpdesk: the rollout of {CANDIDATE} is in canary 0.1"
    )


def test_a_version_that_was_registered_meanwhile_waits_for_the_end_of_the_rollout(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    rollout = begun(installation)
    register(installation, "helpdesk-v0003")
    assert "the rollout of" in skipped(deploy_sensor(context))
    registry = installation.registry
    assert registry.move("helpdesk", rollout, None, action="reject", time=START, reason="slow")
    assert requested(deploy_sensor(context)).run_key == "deploy:helpdesk-v0003"
