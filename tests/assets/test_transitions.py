from dataclasses import replace

import dagster as dg
import pytest

from llm_assets.assets.transitions import transition_metadata
from llm_assets.deployment.decision import decide
from llm_assets.deployment.evidence import Evidence, Rate, SliceEvidence
from llm_assets.deployment.registry import Transition
from llm_assets.installation import Installation
from llm_assets.rollouts.kept import keep
from tests.deployment.rollouts import START, a_rollout, an_arm, some_evidence
from tests.installations import CANDIDATE, VERSION


@pytest.fixture
def better() -> Evidence:
    return replace(some_evidence(1000), challenger=an_arm(1000, num_better=700))


def kept(installation: Installation, evidence: Evidence) -> Transition:
    """Return the transition of an A/B test, whose evidence is kept."""
    rollout = a_rollout("ab")
    config = installation.application("helpdesk").deployment
    decision = decide(rollout, evidence, config=config, now=START)
    name = keep(
        installation.home,
        "helpdesk",
        rollout,
        decision=decision,
        evidence=evidence,
        slices=(SliceEvidence(name="first messages", champion=Rate(1, 4), challenger=Rate(0, 0)),),
        failures=[],
        now=START,
    )
    return Transition(
        time=START,
        model_version=CANDIDATE,
        action="promote",
        reason=decision.reason,
        evidence=name,
    )


def test_a_transition_shows_its_arms_its_effect_and_a_picture(
    installation: Installation, better: Evidence
) -> None:
    found = transition_metadata(installation, "helpdesk", 1, kept(installation, better))
    assert (found["decided_in"], found["metric"]) == ("ab 0.5", "not corrected")
    assert found["effect_value"] == pytest.approx(0.2)
    assert 0 < found["effect_low"] < found["effect_value"] < found["effect_high"]
    arms = found["arms"].value.splitlines()
    assert arms[:3] == [
        "| | champion | challenger |",
        "|---|---|---|",
        "| requests | 1000 | 1000 |",
    ]
    assert "| metric | 50.0 % | 70.0 % |" in arms
    assert found["slices"].value.splitlines()[-1] == "| first messages | 25.0 % | 4 |  | 0 |"
    assert found["guardrails"].value.startswith("![what was compared")
    assert found["evidence"].value["model_version"] == CANDIDATE
    # Dagster takes all of it.
    dg.AssetMaterialization("deployed_endpoint", metadata=found)


def test_without_evidence_it_shows_who_serves_from_then_on(installation: Installation) -> None:
    history = installation.registry.history("helpdesk")
    for number, champion in ((0, "none"), (1, VERSION)):
        found = transition_metadata(installation, "helpdesk", number, history[number])
        assert (found["champion"], found["step"]) == (champion, "none")
        assert "evidence" not in found


def test_evidence_that_is_gone_is_said_to_be(installation: Installation, better: Evidence) -> None:
    transition = kept(installation, better)
    for path in installation.home.glob("rollouts/helpdesk/*.json"):
        path.unlink()
    found = transition_metadata(installation, "helpdesk", 1, transition)
    assert found["evidence"].endswith(f"{transition.evidence}.json: no such file")


def test_what_was_not_measured_is_empty(installation: Installation) -> None:
    found = transition_metadata(
        installation, "helpdesk", 1, kept(installation, replace(Evidence(), num_restarts=9))
    )
    assert "guardrails" not in found
    assert "effect_value" not in found
    assert "| 95th percentile, s |  |  |" in found["arms"].value
