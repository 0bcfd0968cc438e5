"""What DeepSpeed and the optimizer are told, derived from the training section."""

from typing import Any

from llm_assets.training.config import TrainingConfig


def deepspeed_config(config: TrainingConfig) -> dict[str, Any]:
    """Return DeepSpeed's JSON configuration for a training in float32."""
    return {
        "train_micro_batch_size_per_gpu": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": {"stage": config.zero_stage},
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": config.learning_rate,
                "weight_decay": 0.0,
                "torch_adam": True,  # DeepSpeed's own Adam is compiled on first use
            },
        },
        "steps_per_print": 2**31,  # the worker reports its steps itself
    }


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
