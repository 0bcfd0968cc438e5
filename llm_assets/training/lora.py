"""The model of a training: frozen lower layers, an adapter on the upper ones, and its files.

The lower layers never change, so what they make of a row is computed once (`frozen_states`); then
they are taken out and the upper layers train on those states, in any number of epochs. The matrix
of tokens is taken out too: nothing is embedded any more, and the output needs it only where an
answer is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llm_assets.errors import UserError
from llm_assets.storage import write_json_atomically
from llm_assets.training.config import TrainingConfig
from llm_assets.training.packing import common_prefix, pack
from llm_assets.training.rows import TokenRow

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER_FILE = "adapter_model.safetensors"


class States(NamedTuple):
    """What the frozen layers make of rows: tensors of tokens by hidden size.

    The rows begin with the same tokens, whose states are `prefix`; `rests` holds the others'.
    """

    prefix: "torch.Tensor"
    rests: "list[torch.Tensor]"


class Upper(NamedTuple):
    """What is trained: the upper layers with their adapter, and the frozen output matrix."""

    model: "PeftModel"
    head: "torch.nn.Module"


def load_base(folder: Path) -> "PreTrainedModel":
    """Load a base model that `prepare_hf` has made, in float32.

    Raises:
        UserError: it is not of the llama architecture, the only one that is trained here.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    if model.config.model_type != "llama":
        raise UserError(
            f"{folder}: only the llama architecture can be trained, got {model.config.model_type!r}"
        )
    model.config.use_cache = False
    return model.requires_grad_(False).eval()


def num_frozen_layers(model: "PreTrainedModel", config: TrainingConfig) -> int:
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


def frozen_states(
    model: "PreTrainedModel", rows: Sequence[TokenRow], *, num_layers: int, batch_size: int
) -> States:
    """Run every row through the lowest layers, once.

    The states take four bytes times the hidden size for every token of the rows, all in memory.
    """
    import torch

    decoder = model.get_decoder()
    layers, norm = decoder.layers, decoder.norm
    assert isinstance(layers, torch.nn.ModuleList)
    decoder.layers = torch.nn.ModuleList(
        [*layers[:num_layers], *_passing(len(layers) - num_layers)]
    )
    decoder.norm = torch.nn.Identity()
    num_prefix = common_prefix(rows)
    prefix_ids = torch.tensor(rows[0].ids[:num_prefix], dtype=torch.long)
    prefix, rests = torch.empty(0), []
    try:
        for start in range(0, len(rows), batch_size):
            ids = [torch.tensor(row.ids[num_prefix:]) for row in rows[start : start + batch_size]]
            packed = pack(prefix_ids, ids)
            with torch.no_grad():
                hidden = decoder(
                    input_ids=packed.values,
                    attention_mask=packed.mask,
                    position_ids=packed.position_ids,
                ).last_hidden_state
            prefix = hidden[0, :num_prefix].clone()
            rests += [
                hidden[sequence, begin : begin + len(rest)].clone()
                for rest, (sequence, begin) in zip(ids, packed.places, strict=True)
            ]
    finally:
        decoder.layers, decoder.norm = layers, norm
    return States(prefix, rests)


def add_adapter(model: "PreTrainedModel", config: TrainingConfig) -> Upper:
    """Take the frozen parts out of a model and put a fresh adapter on the rest.

    The layers keep their numbers, so the adapter's names fit the whole model.

    Raises:
        UserError: a target module is not a linear module of every trained layer.
    """
    import peft
    import torch

    num_frozen = num_frozen_layers(model, config)
    layers = model.get_decoder().layers
    assert isinstance(layers, torch.nn.ModuleList)
    for layer in layers[num_frozen:]:
        _require_linear(layer, config.target_modules)
    for number, layer in enumerate(_passing(num_frozen)):
        layers[number] = layer
    head = model.get_output_embeddings()
    assert isinstance(head, torch.nn.Module)
    model.set_input_embeddings(torch.nn.Identity())
    model.set_output_embeddings(torch.nn.Identity())
    torch.manual_seed(config.seed)
    adapter = peft.LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.target_modules),
        layers_to_transform=list(range(num_frozen, len(layers))),
        layers_pattern="layers",
        bias="none",
        task_type="CAUSAL_LM",
    )
    return Upper(peft.PeftModelForCausalLM(model, adapter), head)


def save_adapter(model: "PeftModel", folder: Path) -> None:
    """Write the adapter in PEFT's format: safetensors and `adapter_config.json`.

    Raises:
        UserError: the adapter is what it was at the start, where all its B matrices are zero.
    """
    import peft
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = {
        name: weight.detach().clone().contiguous()
        for name, weight in peft.get_peft_model_state_dict(
            model, save_embedding_layers=False
        ).items()
    }
    if not any(weight.any() for name, weight in weights.items() if "lora_B" in name):
        raise UserError("the adapter has not changed in training: raise training.learning_rate")
    try:
        save_file(weights, folder / ADAPTER_FILE, metadata={"format": "pt"})
    except SafetensorError as error:  # its only name for a full disk
        raise OSError(f"{folder / ADAPTER_FILE}: {error}") from error
    (folder / ADAPTER_FILE).chmod(0o644)  # safetensors makes it readable to nobody else
    adapter = model.peft_config["default"].to_dict()
    # A set has no order and a path is true on one machine only; the manifest names the base model.
    adapter |= {"target_modules": sorted(adapter["target_modules"]), "inference_mode": True}
    adapter |= {"base_model_name_or_path": None}
    write_json_atomically(folder / "adapter_config.json", adapter)


def _passing(number: int) -> "list[torch.nn.Module]":
    """Return layers that hand on what they get; a layer's keyword arguments are dropped."""
    import torch

    layers = [torch.nn.Identity() for _ in range(number)]
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, inputs, __: (inputs, {}), with_kwargs=True)
    return list(layers)


def _require_linear(layer: "torch.nn.Module", target_modules: Sequence[str]) -> None:
    import torch

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
