"""The three locks: what the gate refused is neither registered nor deployed."""

from datetime import UTC, datetime

import pytest

from llm_assets.assets.deployment import deployed_endpoint, registered_model
from llm_assets.assets.evaluation import eval_report_beats_champion
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from tests.assets.materialize import Materialize, metadata
from tests.evaluation.reports import a_report
from tests.installations import CANDIDATE, DESKS, VERSION, helpdesk, write_application

TARGETS = [desk for desk in DESKS for _ in range(10)]
ALL, NONE = [True] * len(TARGETS), [False] * len(TARGETS)


def write_report(installation: Installation, *, is_better: bool) -> None:
    report = a_report(TARGETS, ALL if is_better else NONE, NONE)
    report.write(installation.report(CANDIDATE))


def register(installation: Installation) -> None:
    time = datetime.now(UTC)
    installation.registry.register("helpdesk", CANDIDATE, time=time, reason="", run_id=None)


@pytest.mark.parametrize("is_better", [True, False])
def test_the_check_says_what_the_gate_says(
    installation: Installation, materialize: Materialize, is_better: bool
) -> None:
    write_report(installation, is_better=is_better)
    result = materialize(eval_report_beats_champion, partition=CANDIDATE, is_safe=True)
    (check,) = result.get_asset_check_evaluations()
    assert check.passed == is_better
    assert "must lie above" in str(check.metadata["reasons"].value)


def test_a_candidate_that_passed_is_registered_and_put_on_trial(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=True)
    result = materialize(registered_model, partition=CANDIDATE)
    assert metadata(result, "registered_model") == {"accuracy": 1.0, "n": len(TARGETS)}
    registry = installation.registry
    assert registry.entry("helpdesk").versions == (VERSION, CANDIDATE)
    result = materialize(deployed_endpoint, partition="helpdesk")
    started = metadata(result, "deployed_endpoint")
    assert (started["action"], started["model_version"]) == ("start", CANDIDATE)
    assert (started["champion"], started["step"]) == (VERSION, "smoke")
    assert started["url"] == f"{installation.settings.endpoint_url}/v1"
    # Nobody waits for the rollout: who serves changes beside the gateway.
    entry = registry.entry("helpdesk")
    assert entry.champion == VERSION
    assert entry.rollout is not None
    assert entry.rollout.challenger == CANDIDATE
    last = entry.history[-1]
    assert (last.action, last.run_id) == ("start", result.run_id)
    assert last.reason == started["reason"] == f"gate passed: +1.000 over {VERSION}"


def test_without_steps_a_candidate_is_promoted_at_once(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=True)
    register(installation)
    steps = dict.fromkeys(["smoke", "shadow", "canary", "ab"])
    content = helpdesk(installation.base_model("helpdesk").path, deployment=steps)
    write_application(installation.settings.applications, "helpdesk", content)
    result = materialize(deployed_endpoint, partition="helpdesk")
    promoted = metadata(result, "deployed_endpoint")
    assert (promoted["action"], promoted["champion"]) == ("promote", CANDIDATE)
    assert installation.registry.champion("helpdesk") == CANDIDATE


def test_a_run_that_is_repeated_tells_the_start_again_and_not_what_came_since(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=True)
    register(installation)
    materialize(deployed_endpoint, partition="helpdesk")
    rollout = installation.registry.entry("helpdesk").rollout
    assert rollout is not None
    now = datetime.now(UTC)
    installation.registry.move(
        "helpdesk", rollout, rollout.at_next_step(now), action="advance", time=now, reason=""
    )
    again = metadata(materialize(deployed_endpoint, partition="helpdesk"), "deployed_endpoint")
    assert (again["action"], again["transition"]) == ("start", 3)
    actions = [transition.action for transition in installation.registry.history("helpdesk")]
    assert actions.count("start") == 1


def test_a_refused_candidate_is_not_deployed_even_if_a_person_names_it(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=False)
    register(installation)
    before = installation.registry.entry("helpdesk")
    named = {"model_version": CANDIDATE}
    with pytest.raises(UserError, match=f"{CANDIDATE}: the gate refused it"):
        materialize(deployed_endpoint, partition="helpdesk", config=named)
    assert installation.registry.entry("helpdesk") == before


def test_a_candidate_without_report_is_not_deployed(
    installation: Installation, materialize: Materialize
) -> None:
    register(installation)
    with pytest.raises(UserError, match=f"{CANDIDATE}/eval_report.json: no evaluation report"):
        materialize(deployed_endpoint, partition="helpdesk")
    assert installation.registry.entry("helpdesk").rollout is None


def test_where_nothing_is_registered_there_is_nothing_to_deploy(
    installation: Installation, materialize: Materialize
) -> None:
    (installation.registry.root / "helpdesk.json").unlink()
    with pytest.raises(UserError, match="'helpdesk': has no registered version to deploy"):
        materialize(deployed_endpoint, partition="helpdesk")


def test_registering_twice_changes_nothing(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=True)
    first, second = (
        materialize(registered_model, partition=CANDIDATE, is_safe=True) for _ in range(2)
    )
    assert first.success
    assert second.success
    assert [step.action for step in installation.registry.history("helpdesk")] == [
        "register",
        "promote",
        "register",
    ]
