"""How an adapter is trained: LoRA on the upper layers, with the libraries' own names."""

import math
from typing import Self

import pydantic

from llm_assets.config import Config


class TrainingConfig(Config):
    """The `training` section of an application.

    The layers below the top `num_top_layers` stay as they are; None trains an adapter on every
    layer. The fewer layers are trained, the cheaper an epoch: what the frozen layers make of a row
    is computed once. `max_steps` overrides `num_train_epochs` unless it is -1. `max_length` counts
    the tokens of a whole row, its answer included.
    """

    r: int = pydantic.Field(default=16, ge=1, le=512)
    lora_alpha: int = pydantic.Field(default=32, ge=1)
    lora_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    target_modules: list[str] = pydantic.Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
    )
    num_top_layers: int | None = pydantic.Field(default=10, ge=1)
    learning_rate: float = pydantic.Field(default=2e-3, gt=0, le=1)
    warmup_ratio: float = pydantic.Field(default=0.1, ge=0, le=1)
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0)
    num_train_epochs: float = pydantic.Field(default=5.0, gt=0)
    max_steps: int = pydantic.Field(default=-1, ge=-1)
    per_device_train_batch_size: int = pydantic.Field(default=16, ge=1)
    gradient_accumulation_steps: int = pydantic.Field(default=1, ge=1)
    max_length: int = pydantic.Field(default=512, ge=8)
    min_train_rows: int = pydantic.Field(default=50, ge=1)
    zero_stage: int = pydantic.Field(default=0, ge=0, le=3)
    num_threads: int = pydantic.Field(default=2, ge=1)
    seed: int = pydantic.Field(default=0, ge=0, lt=2**31)

    def num_steps(self, num_rows: int) -> int:
        """Return how many optimizer steps a training on that many rows takes."""
        if self.max_steps > 0:
            return self.max_steps
        batch_size = self.per_device_train_batch_size * self.gradient_accumulation_steps
        return math.ceil(self.num_train_epochs * num_rows / batch_size)

    @pydantic.model_validator(mode="after")
    def _target_modules_are_distinct(self) -> Self:
        if len(set(self.target_modules)) < len(self.target_modules):
            raise ValueError(f"target_modules must be distinct, got {self.target_modules}")
        return self
