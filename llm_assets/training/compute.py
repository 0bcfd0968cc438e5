"""What a training is computed with: processes, memory, precision, and what to do when one dies.

None of it changes what is learnt, but for rounding: a training may go on with other numbers here.
"""

from pathlib import Path
from typing import Any, Self

import pydantic

from llm_assets.config import Config, read_mapping


class ComputeConfig(Config):
    """The `training.compute` section of an application.

    `num_processes` are those of one node; on GPUs each has one. `per_device_train_batch_size` rows
    are computed at once in a process, and gradients are accumulated until a step has its
    `train_batch_size`. `deepspeed` is a file, JSON or YAML, that replaces DeepSpeed's configuration
    whole. `watts` is what a busy core draws, for the estimate of energy where nothing measures it.
    """

    num_nodes: int = pydantic.Field(default=1, ge=1)
    num_processes: int = pydantic.Field(default=1, ge=1, le=64)
    num_threads: int = pydantic.Field(default=2, ge=1)
    per_device_train_batch_size: int = pydantic.Field(default=16, ge=1)
    zero_stage: int = pydantic.Field(default=0, ge=0, le=3)
    offload_optimizer: bool = False
    bf16: bool = False
    gradient_checkpointing: bool = False
    deepspeed: str | None = None
    max_states_gb: float = pydantic.Field(default=4.0, ge=0)
    save_steps: int = pydantic.Field(default=25, ge=1)
    max_restarts: int = pydantic.Field(default=2, ge=0)
    watts: float = pydantic.Field(default=10.0, ge=0)

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self.num_nodes * self.num_processes

    @pydantic.model_validator(mode="after")
    def _states_are_partitioned_in_bf16(self) -> Self:
        if self.offload_optimizer and self.zero_stage == 0:
            raise ValueError("offload_optimizer needs zero_stage 1, 2 or 3")
        return self

    def deepspeed_override(self) -> dict[str, Any] | None:
        """Return the configuration that replaces the derived one, or None.

        Raises:
            UserError: the file cannot be read or holds no mapping.
        """
        return None if self.deepspeed is None else read_mapping(Path(self.deepspeed))
