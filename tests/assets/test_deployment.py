"""The three locks: what the gate refused is neither registered nor deployed."""

from datetime import UTC, datetime

import pytest

from llm_assets.assets.deployment import deployed_endpoint, registered_model
from llm_assets.assets.evaluation import eval_report_beats_champion
from llm_assets.deployment.rollout import DeploymentFailedError
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from tests.assets.materialize import Materialize, metadata
from tests.evaluation.reports import a_report
from tests.installations import CANDIDATE, DESKS, VERSION, fake_endpoint

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


def test_a_candidate_that_passed_is_registered_and_deployed(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=True)
    result = materialize(registered_model, partition=CANDIDATE)
    assert metadata(result, "registered_model") == {"accuracy": 1.0, "n": len(TARGETS)}
    registry = installation.registry
    assert registry.entry("helpdesk").versions == (VERSION, CANDIDATE)
    assert registry.champion("helpdesk") == VERSION
    with fake_endpoint(installation):
        result = materialize(deployed_endpoint, partition="helpdesk")
    deployed = metadata(result, "deployed_endpoint")
    assert (deployed["model_version"], deployed["previous"]) == (CANDIDATE, VERSION)
    assert deployed["url"] == f"{installation.settings.endpoint_url}/v1"
    assert registry.champion("helpdesk") == CANDIDATE
    last = registry.history("helpdesk")[-1]
    assert (last.action, last.run_id) == ("promote", result.run_id)
    assert last.reason == f"gate passed: +1.000 over {VERSION}"


def test_a_refused_candidate_is_not_deployed_even_if_a_person_names_it(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=False)
    register(installation)
    before = installation.registry.history("helpdesk")
    named = {"model_version": CANDIDATE}
    with (
        fake_endpoint(installation),
        pytest.raises(UserError, match=f"{CANDIDATE}: the gate refused it"),
    ):
        materialize(deployed_endpoint, partition="helpdesk", config=named)
    assert installation.registry.history("helpdesk") == before


def test_a_candidate_without_report_is_not_deployed(
    installation: Installation, materialize: Materialize
) -> None:
    register(installation)
    with (
        fake_endpoint(installation),
        pytest.raises(UserError, match=f"{CANDIDATE}/eval_report.json: no evaluation report"),
    ):
        materialize(deployed_endpoint, partition="helpdesk")
    assert installation.registry.champion("helpdesk") == VERSION


def test_without_an_endpoint_nothing_is_promoted(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=True)
    register(installation)
    with pytest.raises(UserError, match="does not answer for 'helpdesk'; start it with"):
        materialize(deployed_endpoint, partition="helpdesk")
    assert installation.registry.champion("helpdesk") == VERSION


def test_an_endpoint_that_stays_with_the_old_version_gets_it_back(
    installation: Installation, materialize: Materialize
) -> None:
    write_report(installation, is_better=True)
    register(installation)
    with (
        fake_endpoint(installation, follows=False),
        pytest.raises(DeploymentFailedError, match=f"rolled back to {VERSION}"),
    ):
        materialize(deployed_endpoint, partition="helpdesk")
    assert installation.registry.champion("helpdesk") == VERSION
    assert installation.registry.history("helpdesk")[-1].action == "roll_back"


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
