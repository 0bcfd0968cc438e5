from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llm_assets.deployment.registry import Registry
from llm_assets.deployment.rollout import start_rollout
from llm_assets.deployment.steps import Step
from llm_assets.errors import UserError

OLD, NEW = "helpdesk-v0001", "helpdesk-v0002"
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Verdict:
    passed: bool | None


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path)
    for version in (OLD, NEW):
        registry.register("helpdesk", version, time=NOW, reason="", run_id=None)
    registry.promote("helpdesk", OLD, time=NOW, reason="first", run_id=None)
    return registry


def start(registry: Registry, verdict: Verdict | None, version: str = NEW) -> None:
    start_rollout(
        "helpdesk",
        version,
        verdict=verdict,
        registry=registry,
        steps=(Step(stage="smoke"),),
        time=NOW,
        reason="gate passed",
        run_id="run1",
    )


def test_a_passed_candidate_is_put_on_trial_and_the_champion_stays(registry: Registry) -> None:
    start(registry, Verdict(True))
    entry = registry.entry("helpdesk")
    assert entry.champion == OLD
    assert entry.rollout is not None
    assert (entry.rollout.challenger, entry.rollout.step) == (NEW, Step(stage="smoke"))
    last = entry.history[-1]
    assert (last.action, last.reason, last.run_id) == ("start", "gate passed", "run1")


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (Verdict(False), "the gate refused it"),
        (Verdict(None), "there is no verdict"),
        (None, "there is no verdict"),
    ],
)
def test_a_candidate_that_the_gate_did_not_pass_is_not_touched(
    registry: Registry, verdict: Verdict | None, message: str
) -> None:
    before = registry.entry("helpdesk")
    with pytest.raises(UserError, match=f"{NEW}: .*{message}"):
        start(registry, verdict)
    assert registry.entry("helpdesk") == before


def test_an_unregistered_candidate_is_refused(registry: Registry) -> None:
    with pytest.raises(UserError, match="helpdesk-v0009: not registered"):
        start(registry, Verdict(True), version="helpdesk-v0009")
