"""A model version in one file: the base model with trained weights in it, or with DoRA merged.

The engine can put a plain LoRA adapter beside a base model that others share; these two it cannot.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from llm_assets.errors import UserError
from llm_assets.serving.adapter import ADAPTER_WEIGHTS, Matrices, read_adapter
from llm_assets.serving.gguf import Change, LlamaFile
from llm_assets.serving.tensors import Tensors

TRAINED_WEIGHTS = "trained_weights.safetensors"

_EMBEDDINGS = "token_embd.weight"
_OUTPUT = "lm_head.weight"


def trained_weights(folder: Path, base: LlamaFile) -> Mapping[str, Change]:
    """Return the changes that put the trained tensors of a folder into their base model.

    Raises:
        UserError: the base model has no such tensor, or none of that shape; the message names the
            file and the tensor.
    """
    tensors = Tensors(folder / TRAINED_WEIGHTS)
    is_tied = base.find(_OUTPUT) is None
    changes: dict[str, Change] = {}
    for tensor, shape in tensors.shapes.items():
        if is_tied and tensor == _OUTPUT:
            continue
        name = base.find(tensor)
        if name is None:
            raise UserError(f"{tensors.path}: {tensor}: no tensor of that name in {base.path}")
        if shape != base.shapes[name]:
            raise UserError(
                f"{tensors.path}: {tensor}: shape must be {base.shapes[name]} for {base.path}, "
                f"got {shape}"
            )
        changes[name] = _replaced(tensors, tensor, base, name)
    if is_tied and _OUTPUT in tensors.shapes:
        changes[_EMBEDDINGS] = _tied(tensors, changes.get(_EMBEDDINGS), base)
    return changes


def merged_dora(folder: Path, base: LlamaFile) -> Mapping[str, Change]:
    """Return the changes that merge the DoRA adapter of a folder into its base model.

    Each row of a matrix W becomes its magnitude times the direction of W + scaling·B·A
    (https://arxiv.org/abs/2402.09353, equation 5). Rows are merged one by one, so the order in
    which the file has them does not matter.

    Raises:
        UserError: as `read_adapter`.
    """
    adapter = read_adapter(folder, base)
    return {
        name: _redirected(folder / ADAPTER_WEIGHTS, name, matrices, adapter.scaling)
        for name, matrices in adapter.matrices.items()
    }


def _replaced(tensors: Tensors, tensor: str, base: LlamaFile, name: str) -> Change:
    return lambda _: base.in_file_order(name, tensors.read(tensor))


def _tied(tensors: Tensors, embeddings: Change | None, base: LlamaFile) -> Change:
    """Return the change of embeddings that are the output matrix too, so both must be equal."""

    def change(values: np.ndarray) -> np.ndarray:
        values = values if embeddings is None else embeddings(values)
        if not np.array_equal(values, tensors.read(_OUTPUT)):
            raise UserError(
                f"{tensors.path}: {_OUTPUT}: must equal the embeddings, which are the output "
                f"matrix too in {base.path}"
            )
        return values

    return change


def _redirected(file: Path, name: str, matrices: Matrices, scaling: float) -> Change:
    def change(values: np.ndarray) -> np.ndarray:
        magnitude = matrices.magnitude
        assert magnitude is not None, "read_adapter gives DoRA its magnitudes"
        merged = values + np.float32(scaling) * (matrices.b @ matrices.a)
        norms = np.linalg.norm(merged, axis=1)
        if not norms.all():
            raise UserError(f"{file}: {name}: a merged row is all zeros and has no direction")
        return (magnitude / norms)[:, None] * merged

    return change
