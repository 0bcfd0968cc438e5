"""Loading a base model to train on, and taking it apart into what is trained and what is not."""

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig


def device_of(local_rank: int) -> torch.device:
    """Return where a process computes: its own GPU where there are any.

    Raises:
        UserError: there are more processes than GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    num_gpus = torch.cuda.device_count()
    if local_rank >= num_gpus:
        raise UserError(
            f"training.compute.num_processes must be at most the {num_gpus} GPUs of this machine"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def load_base(folder: Path, config: TrainingConfig, *, device: torch.device) -> Any:
    """Load a base model that `prepare_hf` has made, with all its weights frozen.

    Only safetensors are read: a pickle could run anything.

    Raises:
        UserError: it is not of the llama architecture, the only one that is trained here, or it is
            to be loaded in 4 bits where there is no GPU.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    settings: dict[str, Any] = {}
    if device.type == "cuda":
        # Straight onto the GPU: each process would else hold all weights in the machine's memory.
        settings["device_map"] = {"": device}
    if config.load_in_4bit:
        settings["quantization_config"] = _four_bits(device)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if config.compute.bf16 else torch.float32,
        attn_implementation="sdpa",
        use_safetensors=True,
        **settings,
    )
    if model.config.model_type != "llama":
        raise UserError(
            f"{folder}: only the llama architecture can be trained, got {model.config.model_type!r}"
        )
    model.config.use_cache = False
    return model.requires_grad_(False).eval()


def _four_bits(device: torch.device) -> Any:
    if device.type != "cuda":
        raise UserError("training.load_in_4bit needs a GPU, and there is none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("training.load_in_4bit needs bitsandbytes: pip install 'llm-assets[gpu]'")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",  # Dettmers et al. 2023, QLoRA, with its double quantization
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_storage=torch.uint8,
    )


def num_frozen_layers(model: Any, config: TrainingConfig) -> int:
    """Return how many of the lower layers stay as they are.

    Raises:
        UserError: more layers are to be trained than there are.
    """
    num_layers = model.config.num_hidden_layers
    if config.num_top_layers is None:
        return 0
    if config.num_top_layers > num_layers:
        raise UserError(
            f"training.num_top_layers must be at most the model's {num_layers} layers, "
            f"got {config.num_top_layers}"
        )
    return num_layers - config.num_top_layers


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a seed inside the block, and as before behind it."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
