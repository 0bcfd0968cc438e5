from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
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


def _derived(*, world_size: int = 1, **settings: Any) -> dict[str, Any]:
    config = TrainingConfig.of_plain(settings)
    return deepspeed_config(config, world_size=world_size, num_weights=1000)


def test_the_settings_reach_deepspeed_under_its_own_names():
    derived = _derived(
        train_batch_size=16,
        learning_rate=0.25,
        weight_decay=0.125,
        max_grad_norm=0.5,
        compute={
            "zero_stage": 2,
            "offload_optimizer": True,
            "num_processes": 2,
            "per_device_train_batch_size": 3,
        },
        world_size=2,
    )
    assert derived["zero_optimization"]["stage"] == 2
    assert derived["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert derived["zero_optimization"]["reduce_bucket_size"] == 1000
    assert derived["gradient_accumulation_steps"] == 3
    assert derived["gradient_clipping"] == 0.5
    assert derived["optimizer"]["params"]["lr"] == 0.25
    assert derived["optimizer"]["params"]["weight_decay"] == 0.125
    assert "bf16" not in derived


def test_half_precision_keeps_weights_in_full_precision_in_zero():
    derived = _derived(compute={"bf16": True})
    assert derived["bf16"] == {"enabled": True}
    assert derived["zero_optimization"]["stage"] == 1


def test_a_file_replaces_all_but_the_sizes_and_the_optimizer(tmp_path: Path):
    path = tmp_path / "deepspeed.json"
    path.write_text('{"zero_optimization": {"stage": 3}, "train_batch_size": 7}')
    derived = _derived(compute={"deepspeed": str(path)})
    assert derived["zero_optimization"] == {"stage": 3}
    assert "gradient_clipping" not in derived
    assert "train_batch_size" not in derived
    assert derived["train_micro_batch_size_per_gpu"] == 16
    assert derived["optimizer"]["type"] == "AdamW"


def test_another_optimizer_in_the_file_is_refused(tmp_path: Path):
    path = tmp_path / "deepspeed.json"
    path.write_text('{"optimizer": {"type": "Lion"}}')
    with pytest.raises(UserError, match=r"deepspeed\.json: optimizer: .* leave it out"):
        _derived(compute={"deepspeed": str(path)})
