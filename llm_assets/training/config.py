"""What is learnt and how: method, trained weights, and schedule, in the libraries' own names."""

import enum
import math
from typing import Self

import pydantic

from llm_assets.config import Config
from llm_assets.training.compute import ComputeConfig
from llm_assets.training.sweep.config import SweepConfig


class Method(enum.StrEnum):
    """What a row teaches, by the name of its trainer in TRL.

    SFT shows the wanted answer, pretraining a text; DPO and ORPO a better and a worse answer, KTO
    one answer and whether it was liked, which is what thumbs are.
    """

    SFT = "sft"
    PRETRAINING = "pretraining"
    DPO = "dpo"
    KTO = "kto"
    ORPO = "orpo"


class Finetuning(enum.StrEnum):
    """What is trained: an adapter of low rank, or the weights themselves."""

    LORA = "lora"
    FULL = "full"


class TrainingConfig(Config):
    """The `training` section of an application.

    The layers below the top `num_top_layers` stay as they are; None trains every layer. The fewer
    layers are trained, the cheaper an epoch: what the frozen layers make of a row is computed once.
    A step learns from `train_batch_size` rows, whatever they are computed with. `max_steps`
    overrides `num_train_epochs` unless it is -1. `max_length` counts the tokens of a whole row, its
    answer included; texts of pretraining are cut into pieces of it.

    Every `eval_steps` the loss of the validation rows is taken. With `early_stopping_patience`
    the training ends when it has not fallen for so many times, and the best weights are kept.
    A `sweep` tries other values of some of these keys first.
    """

    method: Method = Method.SFT
    finetuning: Finetuning = Finetuning.LORA
    r: int = pydantic.Field(default=16, ge=1, le=512)
    lora_alpha: int = pydantic.Field(default=32, ge=1)
    lora_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    use_rslora: bool = False
    use_dora: bool = False
    load_in_4bit: bool = False
    target_modules: list[str] = pydantic.Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
    )
    num_top_layers: int | None = pydantic.Field(default=10, ge=1)
    learning_rate: float = pydantic.Field(default=2e-3, gt=0, le=1)
    warmup_ratio: float = pydantic.Field(default=0.1, ge=0, le=1)
    weight_decay: float = pydantic.Field(default=0.0, ge=0, le=1)
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0)
    num_train_epochs: float = pydantic.Field(default=5.0, gt=0)
    max_steps: int = pydantic.Field(default=-1, ge=-1)
    train_batch_size: int = pydantic.Field(default=16, ge=1)
    max_length: int = pydantic.Field(default=512, ge=8)
    min_train_rows: int = pydantic.Field(default=50, ge=1)
    texts_file: str | None = None
    replay_file: str | None = None
    replay_rate: float = pydantic.Field(default=0.1, ge=0, lt=1)
    neftune_noise_alpha: float = pydantic.Field(default=0.0, ge=0)
    beta: float = pydantic.Field(default=0.1, gt=0)
    desirable_weight: float = pydantic.Field(default=1.0, gt=0)
    undesirable_weight: float = pydantic.Field(default=1.0, gt=0)
    eval_steps: int = pydantic.Field(default=25, ge=1)
    early_stopping_patience: int | None = pydantic.Field(default=None, ge=1)
    seed: int = pydantic.Field(default=0, ge=0, lt=2**31)
    compute: ComputeConfig = ComputeConfig()
    sweep: SweepConfig | None = None

    def num_steps(self, num_rows: int) -> int:
        """Return how many optimizer steps a training on that many rows takes."""
        if self.max_steps > 0:
            return self.max_steps
        return math.ceil(self.num_train_epochs * num_rows / self.train_batch_size)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.target_modules)) < len(self.target_modules):
            raise ValueError(f"target_modules must be distinct, got {self.target_modules}")
        if self.finetuning is Finetuning.FULL:
            for name in ("use_rslora", "use_dora", "load_in_4bit"):
                if getattr(self, name):
                    raise ValueError(f"{name} is of LoRA, and finetuning is 'full'")
        if self.neftune_noise_alpha and self.num_top_layers is not None:
            raise ValueError("neftune_noise_alpha needs num_top_layers null: it is noise below all")
        if (self.method is Method.PRETRAINING) != (self.texts_file is not None):
            raise ValueError("texts_file and method 'pretraining' need each other")
        if self.train_batch_size % self.compute.world_size:
            raise ValueError(
                f"train_batch_size must be a multiple of the {self.compute.world_size} processes, "
                f"got {self.train_batch_size}"
            )
        if self.sweep is not None:
            self.sweep.require_fits(self)
        return self
