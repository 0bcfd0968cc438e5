"""What DeepSpeed and the optimizer are told, derived from the training section."""

from typing import Any

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.plan import num_micro_batches

_MAX_BUCKET = 500_000_000


def deepspeed_config(
    config: TrainingConfig, *, world_size: int, num_weights: int
) -> dict[str, Any]:
    """Return DeepSpeed's JSON configuration, or the file that overrides it.

    What an override cannot change is the size of a step's batch: how it is accumulated follows
    from the number of processes, so DeepSpeed is always told that.

    `num_weights` are trained.

    Raises:
        UserError: the file that overrides it cannot be read, or has an optimizer of its own.
    """
    compute = config.compute
    own = -(-config.train_batch_size // world_size)
    pieces = num_micro_batches(
        config.train_batch_size,
        world_size=world_size,
        micro_batch_size=compute.per_device_train_batch_size,
    )
    sizes = {
        "train_micro_batch_size_per_gpu": -(-own // pieces),
        "gradient_accumulation_steps": pieces,
    }
    optimizer = {
        "type": "AdamW",
        "params": {
            "lr": config.learning_rate,
            "weight_decay": config.weight_decay,
            # DeepSpeed's own Adam is compiled on first use, and its state is not plain tensors.
            "torch_adam": True,
        },
    }
    override = compute.deepspeed_override()
    if override is not None:
        if override.pop("optimizer", optimizer) != optimizer:
            raise UserError(
                f"{compute.deepspeed}: optimizer: checkpoints hold the moments of PyTorch's AdamW, "
                "which the training section sets up: leave it out"
            )
        override.pop("train_batch_size", None)
        return {"steps_per_print": 2**31, **override, **sizes, "optimizer": optimizer}
    return {
        **sizes,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": _zero(config, num_weights),
        **({"bf16": {"enabled": True}} if compute.bf16 else {}),
        "zero_force_ds_cpu_optimizer": False,
        "optimizer": optimizer,
        "steps_per_print": 2**31,  # the worker reports its steps itself
        # Its own would wait for the GPU at both ends of every micro-batch.
        "timers": {"throughput": {"enabled": False}},
    }


def _zero(config: TrainingConfig, num_weights: int) -> dict[str, Any]:
    compute = config.compute
    zero: dict[str, Any] = {
        # Without ZeRO, DeepSpeed keeps no weights in full precision that a checkpoint could hold.
        "stage": max(1, compute.zero_stage) if compute.bf16 else compute.zero_stage,
        # Its own choice is a buffer of 2 GB, however few weights there are.
        "reduce_bucket_size": min(num_weights, _MAX_BUCKET),
        "allgather_bucket_size": min(num_weights, _MAX_BUCKET),
    }
    if compute.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": False}
    return zero


def learning_rate_factor(step: int, *, num_steps: int, warmup_ratio: float) -> float:
    """Return the share of the learning rate that a step is taken with, counted from 0.

    It rises linearly over the first `warmup_ratio` of the steps and then falls linearly; the rate
    would be 0 just after the last step, so every step learns something.

    >>> [round(learning_rate_factor(s, num_steps=4, warmup_ratio=0.5), 2) for s in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    num_warmup = round(warmup_ratio * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    return max(0, num_steps - step) / max(1, num_steps - num_warmup)
