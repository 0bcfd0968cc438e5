"""The base model that the engine loads: a GGUF file of the Llama architecture, requantized.

Only the `gguf` package is needed, neither torch nor a compiler.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.serving.config import Quantization

if TYPE_CHECKING:
    import gguf

Change = Callable[[np.ndarray], np.ndarray]

_ARCHITECTURE = "llama"
_FILE_TYPES: dict[str, int] = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q5_0": 8}
_UNCHANGED: Mapping[str, Change] = MappingProxyType({})


def prepare_base(base: BaseModelFile, cache: Path, *, quantization: Quantization) -> Path:
    """Return the base model in the format that serves, made once for each file and format.

    It lies in the cache at `<first 12 digits of the base model's hash>/<format>.gguf`.

    Raises:
        UserError: the file is no GGUF model, or cannot be kept in that format.
    """
    path = cache / base.sha256[:12] / f"{quantization}.gguf"
    if not path.is_file():
        requantize(LlamaFile(base.path), path, quantization)
    return path


class LlamaFile:
    """A GGUF file of the Llama architecture, asked for tensors by their Hugging Face names.

    Attributes:
        path: where it lies.
        reader: its content.
        shapes: of each tensor by its GGUF name; a matrix's is (rows, columns).

    Raises:
        UserError: it is no GGUF file, or of another architecture.
    """

    def __init__(self, path: Path) -> None:
        import gguf

        self.path = path
        self.reader = _read(path)
        # GGUF gives a matrix's shape as (columns, rows).
        self.shapes = {t.name: tuple(map(int, reversed(t.shape))) for t in self.reader.tensors}
        heads = self._number("attention.head_count")
        key_heads = self._number("attention.head_count_kv", default=heads)
        self._interleaved = {"attn_q": heads, "attn_k": key_heads}
        self._names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, self._number("block_count"))

    def find(self, tensor: str) -> str | None:
        """Return the GGUF name of a tensor, e.g. of `model.norm.weight`; None if it has none."""
        name = self._names.get_name(tensor, try_suffixes=(".weight", ".bias"))
        return name if name in self.shapes else None

    def in_file_order(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return the rows of a tensor, or what shall change them, as the file orders them.

        Such files interleave the rows of the query and key projections of each head; without it
        the model would load and answer wrongly.
        """
        heads = self._interleaved.get(name.split(".")[-2])
        if heads is None:
            return values
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        return halves.swapaxes(1, 2).reshape(values.shape)

    def _number(self, name: str, *, default: int = 0) -> int:
        field = self.reader.get_field(f"{_ARCHITECTURE}.{name}")
        return default if field is None else int(field.contents())


def requantize(
    model: LlamaFile,
    target: Path,
    quantization: Quantization,
    *,
    changes: Mapping[str, Change] = _UNCHANGED,
) -> None:
    """Write a model in another format, atomically, and some of its tensors changed.

    A change, by the tensor's GGUF name, gets float32 values in the file's order and returns those
    to write. The model's own values are read in full precision, whatever is written.

    Raises:
        UserError: a matrix cannot be kept in that format, or a change cannot be made.
    """
    import gguf
    from gguf.quants import QuantError, dequantize, quantize

    kind = gguf.GGMLQuantizationType[quantization]
    with written_gguf(target) as writer:
        for name, field in model.reader.fields.items():
            if name.startswith("GGUF.") or name == "general.architecture":
                continue
            value = _FILE_TYPES[quantization] if name == "general.file_type" else field.contents()
            is_array = field.types[0] is gguf.GGUFValueType.ARRAY
            writer.add_key_value(name, value, field.types[0], field.types[-1] if is_array else None)
        for tensor in model.reader.tensors:
            change = changes.get(tensor.name)
            if tensor.tensor_type is kind and change is None:
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=kind)
                continue
            values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            if change is not None:
                values = change(values)
            if values.ndim < 2:  # norms stay exact
                writer.add_tensor(tensor.name, values)
                continue
            try:
                writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
            except QuantError:
                raise UserError(
                    f"{model.path}: {tensor.name}: rows of {values.shape[-1]} values cannot be "
                    f"kept as {quantization}"
                ) from None


@contextmanager
def written_gguf(path: Path) -> Iterator["gguf.GGUFWriter"]:
    """Give a writer whose file appears at `path` once the block has ended well."""
    import gguf

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(descriptor)
    temporary = Path(name)
    try:
        writer = gguf.GGUFWriter(temporary, _ARCHITECTURE)
        yield writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
