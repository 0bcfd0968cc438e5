import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.training.config import TrainingConfig
from llm_assets.training.deepspeed_config import deepspeed_config, learning_rate_factor


@given(st.integers(1, 300), st.floats(0, 1))
def test_the_learning_rate_rises_once_then_falls_and_is_never_zero(num_steps: int, ratio: float):
    factors = [
        learning_rate_factor(step, num_steps=num_steps, warmup_ratio=ratio)
        for step in range(num_steps)
    ]
    peak = factors.index(max(factors))
    assert max(factors) == pytest.approx(1)
    assert min(factors) > 0
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_the_settings_reach_deepspeed_under_its_own_names():
    config = TrainingConfig(
        zero_stage=2,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=5,
        learning_rate=0.25,
        max_grad_norm=0.5,
    )
    derived = deepspeed_config(config)
    assert derived["zero_optimization"] == {"stage": 2}
    assert derived["train_micro_batch_size_per_gpu"] == 3
    assert derived["gradient_accumulation_steps"] == 5
    assert derived["gradient_clipping"] == 0.5
    assert derived["optimizer"]["params"]["lr"] == 0.25
