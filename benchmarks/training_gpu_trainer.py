"""A random model in DeepSpeed's engine and our loop, as the worker sets them up."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training_gpu_model import ARCHITECTURES, make_model

from llm_assets.training.config import TrainingConfig
from llm_assets.training.processes import Rank
from llm_assets.training.tokens import Example

_RANK = Rank(rank=0, local_rank=0, world_size=1, rendezvous="")


class Trainer(NamedTuple):
    """The engine and where it computes."""

    engine: Any
    device: Any

    def loop(self, examples: Sequence[Example], config: TrainingConfig) -> Any:
        """Return our loop over examples."""
        import torch

        from llm_assets.training.engine.data import Data
        from llm_assets.training.engine.frozen import Inputs
        from llm_assets.training.engine.loop import Loop
        from llm_assets.training.engine.objectives import objective_of

        sequences = [sequence for example in examples for sequence in example.sequences]
        return Loop(
            engine=self.engine,
            examples=Data(examples, [], []).numbered(Inputs(sequences, device=self.device)),
            objective=objective_of(config),
            config=config,
            rank=_RANK,
            reference=torch.zeros(0),
        )


def made_model(architecture: str, folder: Path) -> Path:
    """Return where a random model lies, which is made on the first call."""
    from llm_assets.training.engine.base import device_of

    model_folder = folder / architecture
    if not (model_folder / "tokenizer.json").exists():  # it is written last
        make_model(ARCHITECTURES[architecture], model_folder, device_of(0))
    return model_folder


def start(
    folder: Path,
    config: TrainingConfig,
    *,
    num_steps: int,
    state: Mapping[str, Any] | None = None,
) -> Trainer:
    """Return a model in an engine, with the weights of a checkpoint's state if there is one."""
    from llm_assets.training.engine import deepspeed_engine
    from llm_assets.training.engine.base import device_of, load_base
    from llm_assets.training.engine.setup import settle_torch
    from llm_assets.training.engine.trained import trained_part

    os.environ.update(_RANK.environment())  # as a launcher does; DeepSpeed asks for it
    settle_torch(config)
    device = device_of(0)
    deepspeed_engine.start_group(_RANK, device)
    part = trained_part(load_base(folder, config, device=device), config)
    if state is not None:
        deepspeed_engine.restore_weights(part, state)
    engine = deepspeed_engine.start_engine(part, config, num_steps=num_steps, world_size=1)
    return Trainer(engine, device)
