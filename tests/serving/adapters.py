"""Adapters of the tiny model: one that PEFT made, and files that are easy to get wrong."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors.numpy import save_file

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@contextmanager
def saved_adapter(model: Any, folder: Path, **config: Any) -> Iterator[Any]:
    """Give a model with an adapter of random weights, which lies in the folder too."""
    import peft
    import torch

    lora = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules=PROJECTIONS, layers_to_transform=[1, 2, 3], **config
    )
    torch.manual_seed(1)
    adapted = peft.get_peft_model(model, lora)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
            elif "lora_magnitude_vector" in name:
                parameter.mul_(0.5 + torch.rand_like(parameter))
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    try:
        yield adapted
    finally:
        adapted.unload()


def write_adapter(
    folder: Path,
    *,
    layers: Sequence[int],
    modules: Sequence[str],
    hidden: int = 64,
    change: Mapping[str, Any] = MappingProxyType({}),
    weights: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:
    """Write a PEFT adapter of rank 4 for attention projections, and more weights beside."""
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", **change}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = dict(weights)
    for layer in layers:
        for module in modules:
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{name}.lora_A.weight"] = np.zeros((4, hidden), np.float32)
            tensors[f"{name}.lora_B.weight"] = np.zeros((hidden, 4), np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
