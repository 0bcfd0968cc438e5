from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llm_assets.deployment.registry import Registry
from llm_assets.deployment.rollout import Deployment, DeploymentFailedError, deploy
from llm_assets.errors import UserError

OLD, NEW = "helpdesk-v0001", "helpdesk-v0002"


@dataclass(frozen=True)
class Verdict:
    passed: bool | None


@dataclass
class World:
    """A registry with a champion, and a clock that only moves while somebody sleeps."""

    registry: Registry
    now: datetime = datetime(2026, 5, 1, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.slept.append(seconds)

    def deploy(
        self, verdict: Verdict | None, probe: Callable[[], str | None], version: str = NEW
    ) -> Deployment:
        return deploy(
            "helpdesk",
            version,
            verdict=verdict,
            registry=self.registry,
            probe=probe,
            clock=lambda: self.now,
            sleep=self.sleep,
            timeout_seconds=10.0,
            reason="gate passed",
            run_id="run1",
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(Registry(tmp_path))
    for version in (OLD, NEW):
        world.registry.register("helpdesk", version, time=world.now, reason="", run_id=None)
    world.registry.promote("helpdesk", OLD, time=world.now, reason="first", run_id=None)
    return world


def test_a_passed_candidate_is_promoted_once_it_serves(world: World) -> None:
    answers = iter([OLD, None, NEW])
    deployment = world.deploy(Verdict(True), lambda: next(answers))
    assert (deployment.previous, deployment.model_version) == (OLD, NEW)
    assert deployment.seconds == pytest.approx(sum(world.slept))
    assert world.registry.champion("helpdesk") == NEW


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (Verdict(False), "the gate refused it"),
        (Verdict(None), "there is no verdict"),
        (None, "there is no verdict"),
    ],
)
def test_a_candidate_that_the_gate_did_not_pass_is_not_touched(
    world: World, verdict: Verdict | None, message: str
) -> None:
    before = world.registry.history("helpdesk")
    with pytest.raises(UserError, match=f"{NEW}: .*{message}"):
        world.deploy(verdict, lambda: NEW)
    assert world.registry.history("helpdesk") == before


@pytest.mark.parametrize(("answered", "shown"), [(OLD, OLD), (None, "nothing")])
def test_a_candidate_that_does_not_serve_in_time_is_rolled_back(
    world: World, answered: str | None, shown: str
) -> None:
    message = f"did not serve within 10 s; the endpoint answers with {shown}; rolled back to {OLD}"
    with pytest.raises(DeploymentFailedError, match=message):
        world.deploy(Verdict(True), lambda: answered)
    assert world.registry.champion("helpdesk") == OLD
    assert world.registry.history("helpdesk")[-1].action == "roll_back"
    assert sum(world.slept) == pytest.approx(10, abs=0.3)


def test_an_unregistered_candidate_is_refused(world: World) -> None:
    with pytest.raises(UserError, match="helpdesk-v0009: not registered"):
        world.deploy(Verdict(True), lambda: NEW, version="helpdesk-v0009")


def test_the_first_version_has_nothing_to_return_to(tmp_path: Path) -> None:
    world = World(Registry(tmp_path))
    world.registry.register("helpdesk", NEW, time=world.now, reason="", run_id=None)
    with pytest.raises(DeploymentFailedError, match=r"answers with nothing$"):
        world.deploy(Verdict(True), lambda: None)
    assert world.registry.champion("helpdesk") == NEW


def test_deploying_the_champion_again_changes_nothing(world: World) -> None:
    before = world.registry.history("helpdesk")
    assert world.deploy(Verdict(True), lambda: OLD, version=OLD).previous == OLD
    assert world.registry.history("helpdesk") == before
