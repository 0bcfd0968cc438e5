"""The training loop: DeepSpeed's engine over the planned batches, with the loss on the answers."""

import functools
import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.deepspeed_config import deepspeed_config, learning_rate_factor
from llm_assets.training.lora import States, Upper
from llm_assets.training.packing import pack
from llm_assets.training.progress import Reporter, StepReport
from llm_assets.training.rows import TokenRow

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Examples:
    """Tokenized rows beside what the frozen layers make of them, in the same order."""

    rows: Sequence[TokenRow]
    states: States


def start_engine(upper: Upper, config: TrainingConfig, *, num_steps: int) -> Any:
    """Return DeepSpeed's engine for the trainable weights, in one process without a network."""
    import deepspeed
    import torch

    # One process needs no kernel for shared memory, and building it would need a compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    distributed: Any = torch.distributed
    if not distributed.is_initialized():
        store = distributed.HashStore()
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend="gloo")
    schedule = functools.partial(
        torch.optim.lr_scheduler.LambdaLR,
        lr_lambda=functools.partial(
            learning_rate_factor, num_steps=num_steps, warmup_ratio=config.warmup_ratio
        ),
    )
    initialize: Any = deepspeed.initialize  # its annotations leave out what it documents
    engine, *_ = initialize(
        model=upper.model,
        model_parameters=[weight for weight in upper.model.parameters() if weight.requires_grad],
        config=deepspeed_config(config),
        lr_scheduler=schedule,
    )
    return engine


def gathered(upper: Upper) -> AbstractContextManager[None]:
    """Make the trained weights whole while they are read; ZeRO stage 3 keeps them in pieces."""
    import deepspeed

    return deepspeed.zero.GatheredParameters(
        [weight for weight in upper.model.parameters() if weight.requires_grad]
    )


def train(
    engine: Any,
    head: "torch.nn.Module",
    examples: Examples,
    *,
    steps: Sequence[Sequence[Sequence[int]]],
    reporter: Reporter,
) -> list[float]:
    """Take the planned steps and return the loss of each: the mean over its micro-batches.

    Raises:
        UserError: a loss is not a number, because the learning rate is too high.
    """
    engine.train()
    losses: list[float] = []
    num_tokens = 0
    start = time.monotonic()
    for number, micro_batches in enumerate(steps, start=1):
        learning_rate = engine.get_lr()[0]
        total = 0.0
        for batch in micro_batches:
            loss = _loss(engine, head, examples, batch)
            engine.backward(loss)
            engine.step()
            total += loss.item()
            num_tokens += sum(len(examples.rows[row]) for row in batch)
        losses.append(total / len(micro_batches))
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"the loss of step {number} is {losses[-1]}: lower training.learning_rate"
            )
        seconds = time.monotonic() - start
        reporter.step(
            StepReport(
                step=number,
                max_steps=len(steps),
                loss=losses[-1],
                learning_rate=learning_rate,
                tokens_per_second=num_tokens / seconds,
                seconds_left=seconds / number * (len(steps) - number),
            )
        )
    return losses


def mean_loss(
    engine: Any, head: "torch.nn.Module", examples: Examples, *, batch_size: int
) -> float:
    """Return the mean loss over all answer tokens; nan without rows."""
    import torch

    engine.eval()
    total, num_tokens = 0.0, 0
    for start in range(0, len(examples.rows), batch_size):
        batch = range(start, min(start + batch_size, len(examples.rows)))
        with torch.no_grad():
            loss = _loss(engine, head, examples, batch)
        num_answer_tokens = sum(num_answer(examples.rows[row]) for row in batch)
        total += loss.item() * num_answer_tokens
        num_tokens += num_answer_tokens
    return total / num_tokens if num_tokens else math.nan


def num_answer(row: TokenRow) -> int:
    """Return how many tokens of a row are learnt."""
    return len(row) - row.num_prompt


def _loss(
    engine: Any, head: "torch.nn.Module", examples: Examples, batch: Sequence[int]
) -> "torch.Tensor":
    """Return the mean cross entropy over the answer tokens of a batch."""
    import torch

    states = examples.states
    packed = pack(states.prefix, [states.rests[row] for row in batch])
    # The model ends in its norm: what it returns as logits are the states below the output matrix.
    hidden = engine(
        inputs_embeds=packed.values, attention_mask=packed.mask, position_ids=packed.position_ids
    ).logits
    sequences, places, targets = [], [], []
    for number, (sequence, begin) in zip(batch, packed.places, strict=True):
        row = examples.rows[number]
        first = begin + row.num_prompt - len(states.prefix)
        sequences += [sequence] * num_answer(row)
        places += range(first - 1, first - 1 + num_answer(row))  # each predicts the token after it
        targets += row.ids[row.num_prompt :]
    logits = head(hidden[torch.tensor(sequences), torch.tensor(places)])
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets))
