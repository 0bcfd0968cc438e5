"""A loop over the tiny model without DeepSpeed: what is trained is its own engine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_assets.training.config import TrainingConfig
from llm_assets.training.processes import Rank
from llm_assets.training.rows import Row
from tests.training.conftest import SYSTEM_PROMPT

ALONE = Rank(rank=0, local_rank=0, world_size=1, rendezvous="none")

MakeLoop = Callable[..., Any]


def randomized(part: Any, *, std: float = 0.1) -> Any:
    """Give the B matrices of an adapter, which start at zero, something to say."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in part.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)
    return part


@pytest.fixture
def make_loop(tiny_hf: Path, tokenizer: Any, tmp_path: Path) -> MakeLoop:
    """Return a function that makes a loop for rows; its arguments are settings of the training."""

    def make(rows: Sequence[Row], *, max_states_gb: float = 1.0, **settings: Any) -> Any:
        import torch

        from llm_assets.training.engine.base import load_base, num_frozen_layers
        from llm_assets.training.engine.data import Data
        from llm_assets.training.engine.frozen import FrozenInputs, Inputs
        from llm_assets.training.engine.loop import Loop
        from llm_assets.training.engine.objectives import objective_of
        from llm_assets.training.engine.trained import trained_part
        from llm_assets.training.tokens import tokenize

        config = TrainingConfig.of_plain({"r": 4, "num_top_layers": 2, **settings})
        device = torch.device("cpu")
        examples = tokenize(rows, tokenizer, system_prompt=SYSTEM_PROMPT, config=config)
        data = Data(train=examples, replay=[], validation=[])
        model = load_base(tiny_hf, config, device=device)
        sequences = [sequence for example in examples for sequence in example.sequences]
        num_frozen = num_frozen_layers(model, config)
        inputs = Inputs(sequences, device=device)
        if num_frozen:
            inputs = FrozenInputs(
                sequences,
                model,
                num_layers=num_frozen,
                folder=tmp_path,
                max_bytes=max_states_gb * 1e9,
                rank=ALONE,
                batch_size=3,
                device=device,
            )
        loop = Loop(
            engine=trained_part(model, config),
            examples=data.numbered(inputs),
            objective=objective_of(config),
            config=config,
            rank=ALONE,
            reference=torch.zeros(0),
        )
        if loop.objective.has_reference:
            loop.reference = loop.sequence_logps(range(len(examples)))
        return loop

    return make
