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
        ({"compute": {"zero_stage": 4}}, "compute.zero_stage: Input should be less than or equal"),
        ({"method": "ppo"}, "method: Input should be 'sft', 'pretraining', 'dpo', 'kto' or 'orpo'"),
        ({"finetuning": "full", "use_dora": True}, "use_dora is of LoRA, and finetuning is 'full'"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha needs num_top_layers null"),
        ({"method": "pretraining"}, "texts_file and method 'pretraining' need each other"),
        ({"texts_file": "a.ndjson"}, "texts_file and method 'pretraining' need each other"),
        (
            {"compute": {"num_processes": 3}},
            "train_batch_size must be a multiple of the 3 processes, got 16",
        ),
        ({"compute": {"offload_optimizer": True}}, "compute: offload_optimizer needs zero_stage"),
        ({"max_steps": "many"}, "max_steps: Input should be a valid integer, got 'many'"),
        ({"lora_alfa": 3}, "lora_alfa: unknown key"),
        ({"target_modules": ["q_proj", "q_proj"]}, "target_modules must be distinct, got"),
    ],
)
def test_a_bad_setting_is_refused_by_its_name(settings: dict[str, Any], message: str):
    with pytest.raises(pydantic.ValidationError) as caught:
        TrainingConfig.of_plain(settings)
    assert first_problem(caught.value).startswith(message)


def test_the_epochs_decide_how_many_steps_are_taken_unless_the_steps_are_given():
    config = TrainingConfig(num_train_epochs=2.5, train_batch_size=16)
    assert config.num_steps(num_rows=100) == 16
    assert TrainingConfig(max_steps=7).num_steps(num_rows=100) == 7
