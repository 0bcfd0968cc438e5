from typing import Any

import pydantic
import pytest

from llm_assets.deployment.config import DeploymentConfig
from llm_assets.records import first_problem


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"timeout_seconds": 5}, "timeout_seconds: unknown key"),
        (
            {"strategy": "red"},
            "strategy: Input should be 'gradual' or 'blue_green', got 'red'",
        ),
        (
            {"smoke": {"prompts": []}},
            "smoke.prompts: List should have at least 1 item after validation, not 0, got []",
        ),
        (
            {"shadow": {"share": 0}},
            "shadow.share: Input should be greater than 0, got 0",
        ),
        (
            {"shadow": {"margin": 0.5}},
            "shadow.margin: Input should be less than 0.5, got 0.5",
        ),
        (
            {"shadow": {"judge": {"kind": "model"}}},
            "shadow.judge: kind 'model' needs base_url and model, got {'kind': 'model'}",
        ),
        (
            {"canary": {"shares": [0.2, 0.1]}},
            "canary.shares: must be growing shares between 0 and 1, got [0.2, 0.1]",
        ),
        (
            {"canary": {"shares": [0.1, 0.1]}},
            "canary.shares: must be growing shares between 0 and 1, got [0.1, 0.1]",
        ),
        (
            {"canary": {"shares": [1.0]}},
            "canary.shares: must be growing shares between 0 and 1, got [1.0]",
        ),
        (
            {"canary": {"shares": [0.6]}},
            "ab.share must not be less than the last of canary.shares (0.6), got 0.5",
        ),
        ({"ab": {"share": 1}}, "ab.share: Input should be less than 1, got 1"),
        (
            {"ab": {"metric": "revenue"}},
            "ab.metric: Input should be 'correction_rate', 'satisfaction' or 'conversion', "
            "got 'revenue'",
        ),
        (
            {"blue_green": {"baseline_minutes": 0}},
            "blue_green.baseline_minutes: Input should be greater than 0, got 0",
        ),
        (
            {"guardrails": {"max_latency_ratio": 1}},
            "guardrails.max_latency_ratio: Input should be greater than 1, got 1",
        ),
        (
            {"guardrails": {"max_restarts": -1}},
            "guardrails.max_restarts: Input should be greater than or equal to 0, got -1",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_rule(section: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError) as error:
        DeploymentConfig.of_plain(section)
    assert first_problem(error.value).startswith(message)


def test_null_leaves_a_step_or_a_guardrail_out() -> None:
    config = DeploymentConfig.of_plain(
        {"smoke": None, "ab": None, "guardrails": {"error_margin": None}}
    )
    assert (config.smoke, config.ab, config.guardrails.error_margin) == (None, None, None)
    assert config.shadow is not None


def test_without_a_test_the_canary_may_take_any_share() -> None:
    config = DeploymentConfig.of_plain({"canary": {"shares": [0.6, 0.9]}, "ab": None})
    assert config.canary is not None
    assert config.canary.shares == [0.6, 0.9]
