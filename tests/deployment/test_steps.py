from typing import Any

import pytest

from llm_assets.deployment.config import DeploymentConfig
from llm_assets.deployment.steps import Step, steps_of

NOTHING: dict[str, Any] = {"smoke": None, "shadow": None, "canary": None, "ab": None}


@pytest.mark.parametrize(
    ("section", "steps"),
    [
        ({}, ["smoke", "shadow 1", "canary 0.01", "canary 0.05", "canary 0.25", "ab 0.5"]),
        ({"canary": {"shares": []}}, ["smoke", "shadow 1", "ab 0.5"]),
        ({"shadow": {"share": 0.3}, "canary": None, "ab": None}, ["smoke", "shadow 0.3"]),
        ({"strategy": "blue_green"}, ["smoke", "shadow 1", "blue_green 1"]),
        ({**NOTHING, "strategy": "blue_green"}, ["blue_green 1"]),
        (NOTHING, []),
    ],
)
def test_the_steps_are_those_that_are_not_left_out(
    section: dict[str, Any], steps: list[str]
) -> None:
    assert [str(step) for step in steps_of(DeploymentConfig.of_plain(section))] == steps


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (Step(stage="canary", share=0.05), 0.05),
        (Step(stage="ab", share=0.4), 0.4),
        # A copy is compared with its original, and all users with those before.
        (Step(stage="shadow", mirrored=0.1), 0.5),
        (Step(stage="blue_green", share=1.0), 0.5),
    ],
)
def test_a_step_knows_which_part_of_what_is_compared_is_the_challengers(
    step: Step, share: float
) -> None:
    assert step.compared_share == share
