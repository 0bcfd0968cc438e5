"""What is trained: the upper layers, with an adapter or in full, and the files that come of it.

The frozen layers are taken out, and the upper ones get what those make of a row (see `frozen`). The
output matrix is needed only where an answer is, so it stands apart and is given those places alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from llm_assets.errors import UserError
from llm_assets.storage import write_json_atomically
from llm_assets.training.config import Finetuning, TrainingConfig
from llm_assets.training.engine.base import num_frozen_layers, seeded

ADAPTER_FILE = "adapter_model.safetensors"
WEIGHTS_FILE = "trained_weights.safetensors"

# The logits of so many tokens are in memory at once; a vocabulary of 128,000 makes 2 GB of them.
_TOKENS_AT_ONCE = 4096


class Trained(torch.nn.Module):
    """The trained layers and the output matrix; gives log probabilities of wanted tokens."""

    def __init__(self, model: Any, head: torch.nn.Module, *, noise: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self._noise = noise

    def forward(
        self,
        values: torch.Tensor,
        mask: torch.Tensor | None,
        position_ids: torch.Tensor,
        places: tuple[torch.Tensor, torch.Tensor],
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """Return the log probability of each target at its place, (targets,), in float32.

        `values` are ids, or what the frozen layers made of them; see `packing.Packed`. A place is
        the sequence and the token that predicts the target.
        """
        if values.dtype != torch.long:
            inputs = {"inputs_embeds": values}
        elif self.training and self._noise:
            inputs = {"inputs_embeds": self._noisy(values, position_ids)}
        else:
            inputs = {"input_ids": values}
        # The model ends in its norm: what it calls logits are the states below the output matrix.
        hidden = self.model(**inputs, attention_mask=mask, position_ids=position_ids).logits[places]
        if len(targets) <= _TOKENS_AT_ONCE:
            return self._logps(hidden, targets)
        pieces = zip(hidden.split(_TOKENS_AT_ONCE), targets.split(_TOKENS_AT_ONCE), strict=True)
        return torch.cat(
            [checkpoint(self._logps, *piece, use_reentrant=False) for piece in pieces]  # pyright: ignore[reportArgumentType]
        )

    def _logps(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = self.head(hidden).float()
        return -torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    def _noisy(self, ids: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        """Return embeddings with uniform noise, less of it the longer rows are.

        Jain et al. 2023, NEFTune; the length is that of the longest row.
        """
        embedded = self.model.get_input_embeddings()(ids)
        length = int(position_ids.max()) + 1
        scale = self._noise / (length * embedded.shape[-1]) ** 0.5
        return embedded + torch.empty_like(embedded).uniform_(-scale, scale)


def trained_part(model: Any, config: TrainingConfig) -> Trained:
    """Take the frozen parts out of a model and make the rest trainable, with a fresh adapter.

    The layers keep their numbers, so names fit the whole model.

    Raises:
        UserError: a target module is not a linear module of every trained layer.
    """
    num_frozen = num_frozen_layers(model, config)
    layers = model.get_decoder().layers
    for number, layer in enumerate(_passing(num_frozen)):
        layers[number] = layer
    head = model.get_output_embeddings()
    if num_frozen:
        model.set_input_embeddings(torch.nn.Identity())
    model.set_output_embeddings(torch.nn.Identity())
    if config.finetuning is Finetuning.LORA:
        for layer in layers[num_frozen:]:
            _require_linear(layer, config.target_modules)
        part = _with_adapter(model, config, range(num_frozen, len(layers)))
    else:
        part = model.requires_grad_(True)
        head.requires_grad_(num_frozen == 0)
    if config.compute.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return Trained(part, head, noise=config.neftune_noise_alpha)


def _with_adapter(model: Any, config: TrainingConfig, layers: Sequence[int]) -> Any:
    import peft

    adapter = peft.LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        target_modules=list(config.target_modules),
        layers_to_transform=list(layers),
        layers_pattern="layers",
        bias="none",
        task_type="CAUSAL_LM",
    )
    with seeded(config.seed):
        return peft.PeftModelForCausalLM(model, adapter)


def trainable(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield the weights that are trained, in an order that is always the same."""
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            yield name, weight


def save(part: Trained, folder: Path, config: TrainingConfig) -> Path:
    """Write what was trained as safetensors; return the file of weights.

    An adapter is in PEFT's format, with `adapter_config.json`; weights have the names that they
    have in the whole model.

    Raises:
        UserError: the adapter is what it was at the start, where all its B matrices are zero.
    """
    if config.finetuning is Finetuning.FULL:
        weights = {_name_in_model(name): weight for name, weight in trainable(part)}
        return _save(weights, folder / WEIGHTS_FILE)
    import peft

    weights = peft.get_peft_model_state_dict(part.model, save_embedding_layers=False)
    if not any(weight.any() for name, weight in weights.items() if "lora_B" in name):
        raise UserError("the adapter has not changed in training: raise training.learning_rate")
    adapter = part.model.peft_config["default"].to_dict()
    # A set has no order and a path is true on one machine only; the manifest names the base model.
    adapter |= {"target_modules": sorted(adapter["target_modules"]), "inference_mode": True}
    adapter |= {"base_model_name_or_path": None}
    write_json_atomically(folder / "adapter_config.json", adapter)
    return _save(weights, folder / ADAPTER_FILE)


def _save(weights: Mapping[str, torch.Tensor], path: Path) -> Path:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    copies = {name: weight.detach().cpu().clone().contiguous() for name, weight in weights.items()}
    try:
        save_file(copies, path, metadata={"format": "pt"})
    except SafetensorError as error:  # its only name for a full disk
        raise OSError(f"{path}: {error}") from error
    path.chmod(0o644)  # safetensors makes it readable to nobody else
    return path


def _name_in_model(name: str) -> str:
    return name.removeprefix("model.") if name.startswith("model.") else f"lm_{name}"


def _passing(number: int) -> list[torch.nn.Module]:
    """Return layers that hand on what they get; a layer's keyword arguments are dropped."""
    layers = [torch.nn.Identity() for _ in range(number)]
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, inputs, __: (inputs, {}), with_kwargs=True)
    return list(layers)


def _require_linear(layer: torch.nn.Module, target_modules: Sequence[str]) -> None:
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in layer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    for target in target_modules:
        if target not in names:
            raise UserError(
                f"training.target_modules: {target!r} is none of the model's {sorted(names)}"
            )
