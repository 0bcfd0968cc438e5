from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from llm_assets.errors import UserError
from llm_assets.serving.tensors import Tensors


@pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_floats_of_any_width_are_read_as_float32(tmp_path: Path, kind: type) -> None:
    values = np.array([[1.5, -2.0], [0.25, 3.0]], kind)
    save_file({"model.norm.weight": values}, tmp_path / "weights.safetensors")
    tensors = Tensors(tmp_path / "weights.safetensors")
    assert tensors.shapes == {"model.norm.weight": (2, 2)}
    read = tensors.read("model.norm.weight")
    assert read.dtype == np.float32
    assert read.tolist() == [[1.5, -2.0], [0.25, 3.0]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused_with_its_tensor(tmp_path: Path, value: float) -> None:
    save_file({"model.norm.weight": np.array([1, value], np.float32)}, tmp_path / "w.safetensors")
    tensors = Tensors(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w\.safetensors: model\.norm\.weight: .* finite"):
        tensors.read("model.norm.weight")


def test_integers_are_refused_with_their_tensor(tmp_path: Path) -> None:
    save_file({"model.norm.weight": np.ones(3, np.int8)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w\.safetensors: model\.norm\.weight: .*, got I8"):
        Tensors(tmp_path / "w.safetensors")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"w\.safetensors: not a safetensors file"):
        Tensors(tmp_path / "w.safetensors")
