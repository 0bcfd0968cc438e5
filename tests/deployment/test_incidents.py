from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llm_assets.deployment.decision import Decision
from llm_assets.deployment.incidents import (
    Incident,
    golden_request_ids,
    incidents_of,
    open_incident,
    withdraw_incident,
)
from llm_assets.errors import UserError
from tests.deployment.rollouts import CHALLENGER, START, a_rollout


def opened(home: Path, failures: list[str], *, days: int = 0, rollout_id: str = "a") -> Incident:
    return open_incident(
        home,
        "helpdesk",
        replace(a_rollout(), rollout_id=rollout_id),
        decision=Decision(move="reject", reason="errors breached"),
        failures=failures,
        now=START + timedelta(days=days),
    )


def test_an_incident_says_which_version_went_back_when_and_why(tmp_path: Path) -> None:
    incident = opened(tmp_path, ["r1", "r2"])
    assert incidents_of(tmp_path, "helpdesk") == [incident]
    assert (incident.model_version, incident.step) == (CHALLENGER, "canary 0.01")
    assert (incident.reason, incident.opened_at) == ("errors breached", START)
    assert incidents_of(tmp_path, "bank") == []


def test_incidents_are_in_the_order_of_time(tmp_path: Path) -> None:
    late = opened(tmp_path, [], days=1, rollout_id="a")
    early = opened(tmp_path, [], rollout_id="b")
    assert incidents_of(tmp_path, "helpdesk") == [early, late]


def test_a_bounded_number_of_failures_become_golden_and_all_are_counted(tmp_path: Path) -> None:
    incident = opened(tmp_path, [f"r{number}" for number in range(80)])
    assert incident.num_failures == 80
    assert incident.golden_request_ids == tuple(f"r{number}" for number in range(50))
    opened(tmp_path, ["s1"], rollout_id="b")
    assert golden_request_ids(tmp_path, "helpdesk") == {*incident.golden_request_ids, "s1"}
    assert golden_request_ids(tmp_path, "bank") == frozenset()


def test_an_incident_that_is_written_again_replaces_itself(tmp_path: Path) -> None:
    opened(tmp_path, ["r1"])
    again = opened(tmp_path, ["r1", "r2"])
    assert incidents_of(tmp_path, "helpdesk") == [again]


def test_what_was_written_of_a_roll_back_that_did_not_happen_is_removed(tmp_path: Path) -> None:
    opened(tmp_path, ["r1"])
    for _ in range(2):
        withdraw_incident(tmp_path, "helpdesk", replace(a_rollout(), rollout_id="a"))
    assert golden_request_ids(tmp_path, "helpdesk") == frozenset()


def test_a_damaged_incident_is_named(tmp_path: Path) -> None:
    opened(tmp_path, [])
    (path,) = (tmp_path / "incidents" / "helpdesk").glob("*.json")
    path.write_text("{")
    with pytest.raises(UserError, match=r"a\.json: Invalid JSON"):
        incidents_of(tmp_path, "helpdesk")
