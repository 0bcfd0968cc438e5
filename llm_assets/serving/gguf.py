"""The files that the engine loads: a requantized base model, and a LoRA adapter as GGUF.

Only the `gguf` package is needed, neither torch nor a compiler.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.serving.config import Quantization

if TYPE_CHECKING:
    import gguf

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_ARCHITECTURE = "llama"
_FILE_TYPES: dict[str, int] = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q5_0": 8}
_TENSOR_KEY = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)\.weight")


def prepare_base(base: BaseModelFile, cache: Path, *, quantization: Quantization) -> Path:
    """Return the base model in the format that serves, made once for each file and format.

    It lies in the cache at `<first 12 digits of the base model's hash>/<format>.gguf`.

    Raises:
        UserError: the file is no GGUF model.
    """
    path = cache / base.sha256[:12] / f"{quantization}.gguf"
    if not path.is_file():
        with _written_aside(path) as temporary:
            _requantize(base.path, temporary, quantization)
    return path


def convert_adapter(base_gguf: Path, adapter_dir: Path, out: Path) -> Path:
    """Write a PEFT LoRA adapter as the GGUF adapter of a base model; returns `out`.

    GGUF files of the Llama architecture interleave the rows of the query and key projections, so
    the B matrices of those two are permuted the same way; without it the adapter would load and
    answer wrongly.

    Raises:
        UserError: the adapter has a feature that the engine cannot represent, or does not fit the
            base model; the message names the file and the feature or tensor.
    """
    import gguf
    from safetensors.numpy import load_file

    config_file = adapter_dir / ADAPTER_CONFIG
    weights_file = adapter_dir / ADAPTER_WEIGHTS
    for file in (config_file, weights_file):
        if not file.is_file():
            raise UserError(f"{file}: no such file")
    config = json.loads(config_file.read_text())
    _refuse_unsupported(config_file, config)
    base = _BaseLayout(base_gguf)
    scale = np.sqrt(config["r"]) if config.get("use_rslora") else 1.0  # the engine divides by r
    with _written_aside(out) as temporary:
        writer = gguf.GGUFWriter(temporary, _ARCHITECTURE)
        writer.add_string(gguf.Keys.General.TYPE, "adapter")
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"] * scale))
        for key, value in sorted(load_file(weights_file).items()):
            match = _TENSOR_KEY.fullmatch(key)
            if match is None:
                raise UserError(f"{weights_file}: {key}: not a LoRA matrix")
            name, matrix = base.adapter_tensor(weights_file, match[1], match[2], value)
            writer.add_tensor(name, matrix)
        _finish(writer)
    return out


class _BaseLayout:
    """Names and shapes of a base model's tensors, and how its heads are laid out."""

    def __init__(self, path: Path) -> None:
        import gguf

        reader = _read(path)
        heads = _number(reader, "attention.head_count")
        key_heads = _number(reader, "attention.head_count_kv", default=heads)
        self.path = path
        self._interleaved = {"q_proj": heads, "k_proj": key_heads}
        self._names = gguf.get_tensor_name_map(
            gguf.MODEL_ARCH.LLAMA, _number(reader, "block_count")
        )
        # GGUF gives a matrix's shape as (columns, rows).
        self._shapes = {t.name: tuple(int(size) for size in t.shape) for t in reader.tensors}

    def adapter_tensor(
        self, file: Path, module: str, letter: str, value: np.ndarray
    ) -> tuple[str, np.ndarray]:
        """Return the GGUF name of an A or B matrix, and the matrix as the engine wants it."""
        name = self._names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if name is None or len(self._shapes.get(name, ())) != 2:
            raise UserError(f"{file}: {module}: no matrix of that name in {self.path}")
        columns, rows = self._shapes[name]
        rank = value.shape[0] if letter == "A" else value.shape[1]
        expected = (rank, columns) if letter == "A" else (rows, rank)
        if value.shape != expected:
            raise UserError(
                f"{file}: {module}: shape of lora_{letter} must be {expected} for {self.path}, "
                f"got {value.shape}"
            )
        heads = self._interleaved.get(module.rpartition(".")[2])
        matrix = _interleave(value, heads) if heads and letter == "B" else value
        return f"{name}.lora_{letter.lower()}", matrix.astype(np.float32)


def _number(reader: "gguf.GGUFReader", name: str, *, default: int = 0) -> int:
    field = reader.get_field(f"{_ARCHITECTURE}.{name}")
    return default if field is None else int(field.contents())


def _interleave(matrix: np.ndarray, heads: int) -> np.ndarray:
    halves = matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, *matrix.shape[1:])
    return halves.swapaxes(1, 2).reshape(matrix.shape)


def _refuse_unsupported(file: Path, config: dict[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise UserError(f"{file}: peft_type must be LORA, got {config.get('peft_type')!r}")
    if config.get("bias", "none") != "none":
        raise UserError(f"{file}: bias must be 'none', got {config['bias']!r}")
    for key in ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias"):
        if config.get(key):
            raise UserError(f"{file}: {key} cannot be served, got {config[key]!r}")


def _requantize(source: Path, target: Path, quantization: Quantization) -> None:
    import gguf
    from gguf.quants import dequantize, quantize

    kind = gguf.GGMLQuantizationType[quantization]
    reader = _read(source)
    writer = gguf.GGUFWriter(target, _ARCHITECTURE)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = _FILE_TYPES[quantization] if name == "general.file_type" else field.contents()
        is_array = field.types[0] is gguf.GGUFValueType.ARRAY
        writer.add_key_value(name, value, field.types[0], field.types[-1] if is_array else None)
    for tensor in reader.tensors:
        if tensor.tensor_type is kind:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=kind)
            continue
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if values.ndim < 2:  # norms stay exact
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
    _finish(writer)


def _read(path: Path) -> "gguf.GGUFReader":
    import gguf

    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path}: not a GGUF file: {error}") from None
    architecture = reader.fields["general.architecture"].contents()
    if architecture != _ARCHITECTURE:
        raise UserError(f"{path}: architecture must be {_ARCHITECTURE!r}, got {architecture!r}")
    return reader


def _finish(writer: "gguf.GGUFWriter") -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def _written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` once the block has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
