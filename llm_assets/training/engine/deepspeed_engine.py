"""DeepSpeed's engine around the trained part, and its state as plain tensors by name.

DeepSpeed's own checkpoints are pickles, in pieces that only the same number of processes can read.
Here a state is whole tensors, whatever ZeRO stage they were gathered from, so it is kept as
safetensors and another number of processes can go on from it.
"""

import functools
import importlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from llm_assets.training.config import TrainingConfig
from llm_assets.training.deepspeed_config import deepspeed_config, learning_rate_factor
from llm_assets.training.engine.trained import Trained, trainable
from llm_assets.training.processes import Rank

_MOMENTS = ("exp_avg", "exp_avg_sq")


def start_group(rank: Rank, device: torch.device) -> None:
    """Let the processes find each other."""
    import deepspeed

    distributed: Any = torch.distributed
    if not distributed.is_initialized():
        place: dict[str, Any] = {"init_method": rank.rendezvous}
        if rank.world_size == 1:  # needs neither a file nor a network
            place = {"store": distributed.HashStore()}
        if device.type == "cuda":
            place["device_id"] = device  # else it is guessed from the rank, with a warning
        distributed.init_process_group(
            _backend(device), rank=rank.rank, world_size=rank.world_size, **place
        )
    # No kernel of its own: that for processes that share memory would be compiled on first use, and
    # only to ask which can be, it runs compilers.
    ops: Any = deepspeed.ops
    ops.__compatible_ops__ = {}
    deepspeed.init_distributed(dist_backend=_backend(device))


def leave_group() -> None:
    """Part from the other processes; NCCL warns on standard error of one that just ends."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _backend(device: torch.device) -> str:
    return "nccl" if device.type == "cuda" else "gloo"


def agreed(number: int, device: torch.device) -> int:
    """Return the number that the first process has."""
    value = torch.tensor(number, device=device)
    torch.distributed.broadcast(value, src=0)
    return int(value)


def start_engine(part: Trained, config: TrainingConfig, *, num_steps: int, world_size: int) -> Any:
    """Return DeepSpeed's engine for the trainable weights."""
    import deepspeed

    schedule = functools.partial(
        torch.optim.lr_scheduler.LambdaLR,
        lr_lambda=functools.partial(
            learning_rate_factor, num_steps=num_steps, warmup_ratio=config.warmup_ratio
        ),
    )
    weights = [weight for _, weight in trainable(part)]
    initialize: Any = deepspeed.initialize  # its annotations leave out what it documents
    engine, *_ = initialize(
        model=part,
        model_parameters=weights,
        config=deepspeed_config(
            config, world_size=world_size, num_weights=sum(weight.numel() for weight in weights)
        ),
        lr_scheduler=schedule,
    )
    return engine


def gathered(part: Trained) -> AbstractContextManager[None]:
    """Make the trained weights whole while they are read; ZeRO stage 3 keeps them in pieces."""
    import deepspeed

    return deepspeed.zero.GatheredParameters([weight for _, weight in trainable(part)])


def gathered_to_change(part: Trained) -> AbstractContextManager[None]:
    """Make the trained weights whole, and hand on what the first process makes of them."""
    import deepspeed

    weights = [weight for _, weight in trainable(part)]
    return deepspeed.zero.GatheredParameters(weights, modifier_rank=0)


def state_of(engine: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the trained weights in full precision and their moments, by name, one at a time.

    All processes have to ask, since each has a piece.
    """
    utils: Any = importlib.import_module("deepspeed.utils")  # its annotations are wrong
    for name, weight in trainable(engine.module):
        if _is_partitioned(weight):
            yield f"weight/{name}", utils.safe_get_full_fp32_param(weight)
            for moment in _MOMENTS:
                yield f"{moment}/{name}", utils.safe_get_full_optimizer_state(weight, moment)
        else:
            yield f"weight/{name}", weight.detach()
            for moment in _MOMENTS:
                yield f"{moment}/{name}", engine.optimizer.state[weight][moment]


def restore_weights(part: Trained, state: Mapping[str, torch.Tensor]) -> None:
    """Give a part that no engine has yet its weights back."""
    with torch.no_grad():
        for name, weight in trainable(part):
            weight.copy_(state[f"weight/{name}"])


def restore_optimizer(engine: Any, state: Mapping[str, torch.Tensor], *, step: int) -> None:
    """Let an engine that has restored weights go on where a state of so many steps was taken."""
    optimizer = engine.optimizer
    inner = getattr(optimizer, "optimizer", optimizer)
    for weight in _flat_weights(optimizer):
        inner.state[weight] = {
            "step": torch.tensor(float(step)),
            **{moment: torch.zeros_like(weight) for moment in _MOMENTS},
        }
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._lazy_init_hp_params_optimizer_state()
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    for name, weight in trainable(engine.module):
        if _is_partitioned(weight):
            full = state[f"weight/{name}"].to(engine.device)
            safe_set_full_fp32_param(weight, full)
        for moment in _MOMENTS:
            value = state[f"{moment}/{name}"].to(engine.device)
            if _is_partitioned(weight):
                safe_set_full_optimizer_state(weight, value, moment)
            else:
                inner.state[weight][moment].copy_(value)
    engine.global_steps = step
    scheduler = engine.lr_scheduler
    scheduler.last_epoch = step
    for group, base, factor in zip(
        engine.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
    ):
        group["lr"] = base * factor(step)


def replace_weights(engine: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Give an engine whose training is over other weights."""
    with gathered_to_change(engine.module):
        restore_weights(engine.module, state)


def _is_partitioned(weight: torch.nn.Parameter) -> bool:
    return hasattr(weight, "ds_id") or hasattr(weight, "_hp_mapping")


def _flat_weights(optimizer: Any) -> list[torch.Tensor]:
    """Return what the optimizer keeps its moments for: weights, or what ZeRO made of them."""
    for partitions in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):
        if hasattr(optimizer, partitions):
            return getattr(optimizer, partitions)
    return [weight for group in optimizer.param_groups for weight in group["params"]]
