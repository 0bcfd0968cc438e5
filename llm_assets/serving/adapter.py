"""A LoRA adapter in PEFT's format, and the GGUF adapter that the engine loads beside its base."""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llm_assets.errors import UserError
from llm_assets.json_file import read_json
from llm_assets.serving.gguf import LlamaFile, written_gguf
from llm_assets.serving.tensors import Tensors

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_A, _B, _MAGNITUDE = "lora_A", "lora_B", "lora_magnitude_vector"
_TENSOR_KEY = re.compile(rf"base_model\.model\.(.+)\.(?:({_A}|{_B})\.weight|({_MAGNITUDE}))")


class Matrices(NamedTuple):
    """What an adapter learnt for one matrix, its rows in the order of the base model's file."""

    a: np.ndarray
    b: np.ndarray
    magnitude: np.ndarray | None


class Adapter(NamedTuple):
    """An adapter's matrices by the GGUF name of what they change; `scaling` goes with b @ a."""

    r: int
    scaling: float
    matrices: dict[str, Matrices]


def has_dora(folder: Path) -> bool:
    """Return whether the adapter in a folder is one of DoRA.

    Raises:
        UserError: there is no adapter, or its configuration is damaged.
    """
    return bool(_read_config(folder).get("use_dora"))


def read_adapter(folder: Path, base: LlamaFile) -> Adapter:
    """Read the PEFT adapter of a base model.

    Raises:
        UserError: the adapter has a feature that the engine cannot represent, or does not fit the
            base model; the message names the file and the feature or tensor.
    """
    config = _read_config(folder)
    _refuse_unsupported(folder / ADAPTER_CONFIG, config)
    r, tensors = config["r"], Tensors(folder / ADAPTER_WEIGHTS)
    matrices = {}
    for module, keys in _by_module(tensors, is_dora=bool(config.get("use_dora"))).items():
        name = base.find(f"{module}.weight")
        if name is None or len(base.shapes[name]) != 2:
            raise UserError(f"{tensors.path}: {module}: no matrix of that name in {base.path}")
        _require_shapes(tensors, keys, base, name, r=r)
        magnitude = tensors.read(keys[_MAGNITUDE]) if _MAGNITUDE in keys else None
        matrices[name] = Matrices(
            a=tensors.read(keys[_A]),
            b=base.in_file_order(name, tensors.read(keys[_B])),
            magnitude=None if magnitude is None else base.in_file_order(name, magnitude),
        )
    divisor = math.sqrt(r) if config.get("use_rslora") else r
    return Adapter(r, config["lora_alpha"] / divisor, matrices)


def convert_adapter(base_gguf: Path, adapter_dir: Path, out: Path) -> Path:
    """Write a PEFT LoRA adapter as the GGUF adapter of a base model; returns `out`.

    Raises:
        UserError: as `read_adapter`.
    """
    import gguf

    adapter = read_adapter(adapter_dir, LlamaFile(base_gguf))
    with written_gguf(out) as writer:
        writer.add_string(gguf.Keys.General.TYPE, "adapter")
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        # The engine divides by r.
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, adapter.scaling * adapter.r)
        for name, matrices in adapter.matrices.items():
            assert matrices.magnitude is None, "the engine has no DoRA; it is merged"
            writer.add_tensor(f"{name}.lora_a", matrices.a)
            writer.add_tensor(f"{name}.lora_b", matrices.b)
    return out


def _read_config(folder: Path) -> dict[str, Any]:
    return read_json(folder / ADAPTER_CONFIG, dict[str, Any])


def _refuse_unsupported(file: Path, config: dict[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise UserError(f"{file}: peft_type must be LORA, got {config.get('peft_type')!r}")
    if config.get("bias", "none") != "none":
        raise UserError(f"{file}: bias must be 'none', got {config['bias']!r}")
    for key in ("modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias"):
        if config.get(key):
            raise UserError(f"{file}: {key} cannot be served, got {config[key]!r}")


def _by_module(tensors: Tensors, *, is_dora: bool) -> dict[str, dict[str, str]]:
    """Return the keys of each module's tensors by the part that they are of its adapter."""
    modules: dict[str, dict[str, str]] = {}
    for key in tensors.shapes:
        match = _TENSOR_KEY.fullmatch(key)
        if match is None:
            raise UserError(f"{tensors.path}: {key}: not a LoRA matrix")
        modules.setdefault(match[1], {})[match[2] or match[3]] = key
    parts = [_A, _B, _MAGNITUDE] if is_dora else [_A, _B]
    for module, keys in modules.items():
        if sorted(keys) != parts:
            raise UserError(
                f"{tensors.path}: {module}: must have {', '.join(parts)}, "
                f"got {', '.join(sorted(keys))}"
            )
    return modules


def _require_shapes(
    tensors: Tensors, keys: dict[str, str], base: LlamaFile, name: str, *, r: int
) -> None:
    rows, columns = base.shapes[name]
    expected = {_A: (r, columns), _B: (rows, r), _MAGNITUDE: (rows,)}
    for part, key in keys.items():
        if tensors.shapes[key] != expected[part]:
            raise UserError(
                f"{tensors.path}: {key}: shape must be {expected[part]} for {base.path}, "
                f"got {tensors.shapes[key]}"
            )
