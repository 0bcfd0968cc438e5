from typing import Any

import pydantic
import pytest

from llm_assets.records import first_problem
from llm_assets.training.config import TrainingConfig


def test_the_defaults_are_valid():
    assert TrainingConfig().r == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "r: Input should be greater than or equal to 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: Input should be greater than 0, got 0.0"),
        ({"zero_stage": 4}, "zero_stage: Input should be less than or equal to 3, got 4"),
        ({"max_steps": "many"}, "max_steps: Input should be a valid integer, got 'many'"),
        ({"lora_alfa": 3}, "lora_alfa: unknown key"),
        ({"target_modules": ["q_proj", "q_proj"]}, "target_modules must be distinct, got"),
    ],
)
def test_a_bad_setting_is_refused_by_its_name(settings: dict[str, Any], message: str):
    with pytest.raises(pydantic.ValidationError) as caught:
        TrainingConfig(**settings)
    assert first_problem(caught.value).startswith(message)


def test_the_epochs_decide_how_many_steps_are_taken_unless_the_steps_are_given():
    config = TrainingConfig(num_train_epochs=2.5, per_device_train_batch_size=16)
    assert config.num_steps(num_rows=100) == 16
    assert TrainingConfig(max_steps=7).num_steps(num_rows=100) == 7
