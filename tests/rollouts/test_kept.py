import json
import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from llm_assets.assets.transitions import transition_metadata
from llm_assets.deployment.config import DeploymentConfig
from llm_assets.deployment.decision import decide
from llm_assets.deployment.evidence import Evidence, Rate, SliceEvidence
from llm_assets.deployment.incidents import open_incident
from llm_assets.deployment.plot import plot_intervals
from llm_assets.deployment.registry import Transition
from llm_assets.errors import UserError
from llm_assets.feedback.log import Record
from llm_assets.installation import Installation
from llm_assets.rollouts.gather import Gathering
from llm_assets.rollouts.kept import keep, read_kept
from llm_assets.routing import trial_of
from llm_assets.serving.attempts import Attempt
from tests.deployment.rollouts import START, a_rollout, an_arm, some_evidence
from tests.installations import VERSION
from tests.rollouts.logs import Logs, asked

WORD = "zanzibar"
SLICES = (SliceEvidence(name="first messages", champion=Rate(1, 2), challenger=Rate(0, 0)),)


def kept(home: Path, evidence: Evidence) -> dict[str, Any]:
    rollout = a_rollout("ab")
    decision = decide(rollout, evidence, config=DeploymentConfig(), now=START)
    name = keep(
        home,
        "helpdesk",
        rollout,
        decision=decision,
        evidence=evidence,
        slices=SLICES,
        failures=[f"r{number}" for number in range(150)],
        now=START + timedelta(hours=1),
    )
    assert name == f"{rollout.rollout_id}-{rollout.position}-{decision.move}"
    return read_kept(home, "helpdesk", name)


def test_what_decided_is_found_again_under_its_name(tmp_path: Path) -> None:
    evidence = replace(some_evidence(1000), challenger=an_arm(1000, num_better=700))
    found = kept(tmp_path, evidence)
    assert (found["step"], found["move"]) == ("ab 0.5", "promote")
    assert (found["since"], found["until"]) == (
        "2026-05-01T00:00:00+00:00",
        "2026-05-01T01:00:00+00:00",
    )
    assert found["effect"]["value"] == pytest.approx(0.2)
    assert found["effect"]["low"] > 0
    assert found["challenger"]["failures"] == {"mean": 0.0, "total": 0, "n": 1000}
    assert (found["champion"]["p95_seconds"], found["champion"]["num_answers"]) == (1.0, 1000)
    assert [finding["name"] for finding in found["findings"]][:2] == ["errors", "refusals"]
    assert found["slices"][0]["challenger"] == {"mean": None, "total": 0, "n": 0}
    assert (found["num_failures"], len(found["failures"])) == (150, 100)
    assert plot_intervals(found) is not None


def test_what_is_undefined_is_null_and_the_file_is_plain_json(tmp_path: Path) -> None:
    odd = replace(an_arm(60), seconds=[math.nan] * 30)
    found = kept(tmp_path, replace(Evidence(), challenger=odd, num_restarts=9))
    assert found["move"] == "reject"
    assert found["champion"]["p95_seconds"] is None
    (path,) = (tmp_path / "rollouts" / "helpdesk").glob("*.json")
    json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(constant))


def test_what_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"helpdesk/a\.json: no such file"):
        read_kept(tmp_path, "helpdesk", "a")
    path = tmp_path / "rollouts" / "helpdesk" / "a.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(UserError, match=r"helpdesk/a\.json: is not JSON"):
        read_kept(tmp_path, "helpdesk", "a")


def test_no_text_of_users_is_kept_or_told_to_dagster(installation: Installation) -> None:
    said: dict[str, Any] = {
        "prompt": f"what is {WORD}",
        "response": f"{WORD} is far",
        "user_id": WORD,
    }
    logs = Logs(installation.home)
    entries: list[Attempt | Record] = []
    for number in range(60):
        entries += asked(number, "champion", START, **said)
        entries += asked(number, "challenger", START, **{**said, "response": ""})
    rollout = a_rollout("ab")
    trial = trial_of("ab", rollout.rollout_id)
    routed = [replace(e, trial=trial) if isinstance(e, Attempt) else e for e in entries]
    logs.write(*routed)
    gathering = Gathering(
        installation=installation,
        application=installation.application("helpdesk"),
        rollout=rollout,
        champion=VERSION,
        environment={},
    )
    evidence = gathering.evidence(now=START, endpoint=None)
    decision = decide(rollout, evidence, config=DeploymentConfig(), now=START)
    failures = [request.request_id for request in gathering.failures()]
    assert len(failures) == 60
    details = {"decision": decision, "failures": failures, "now": START}
    name = keep(
        installation.home,
        "helpdesk",
        rollout,
        evidence=evidence,
        slices=gathering.slices(),
        **details,
    )
    open_incident(installation.home, "helpdesk", rollout, **details)
    for folder in ("rollouts", "incidents"):
        (path,) = (installation.home / folder / "helpdesk").glob("*.json")
        assert WORD not in path.read_text()
    transition = Transition(
        time=START, model_version=rollout.challenger, action="reject", reason="", evidence=name
    )
    told = transition_metadata(installation, "helpdesk", 0, transition)
    assert WORD not in repr(told)
    assert "arms" in told
