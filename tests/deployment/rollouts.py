"""Rollouts and evidence for tests: what a test does not speak of has a value already."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from llm_assets.deployment.config import DeploymentConfig
from llm_assets.deployment.evidence import ArmEvidence, Evidence, Rate
from llm_assets.deployment.registry import Rollout
from llm_assets.deployment.steps import Stage, Step, steps_of

START = datetime(2026, 5, 1, tzinfo=UTC)
CHALLENGER = "helpdesk-v0002"
VERSIONS = [f"helpdesk-v{number:04d}" for number in range(1, 5)]
STEPS = (Step(stage="canary", share=0.1), Step(stage="ab", share=0.5))


def a_rollout(stage: Stage = "canary", *, config: DeploymentConfig | None = None) -> Rollout:
    """Return a rollout in the first of its steps of a stage."""
    steps = steps_of(config or DeploymentConfig())
    return Rollout(
        rollout_id=f"{CHALLENGER}@20260501T000000.000000",
        challenger=CHALLENGER,
        steps=steps,
        started_at=START,
        since=START,
        position=[step.stage for step in steps].index(stage),
    )


def an_arm(n: int, *, num_failed: int = 0, num_better: int | None = None) -> ArmEvidence:
    """Return an arm of n users with a request each, in half of which the metric is 1."""
    better = n // 2 if num_better is None else num_better
    return ArmEvidence(
        failures=Rate(num_failed, n),
        refusals=Rate(0, n),
        negative=Rate(0, n),
        metric=Rate(better, n),
        num_users=n,
        seconds=[1.0] * n,
        first_token_seconds=[0.1] * n,
    )


def some_evidence(n: int, *, champion: int | None = None, **fields: Any) -> Evidence:
    """Return evidence in which both arms are as good."""
    arms = Evidence(champion=an_arm(n if champion is None else champion), challenger=an_arm(n))
    return replace(arms, **fields)
