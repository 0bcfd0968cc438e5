from pathlib import Path

import gguf
import numpy as np
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.serving.gguf import prepare_base


def test_a_base_model_is_requantized_once(bare_base_model: BaseModelFile, tmp_path: Path) -> None:
    path = prepare_base(bare_base_model, tmp_path, quantization="Q8_0")
    assert path == tmp_path / bare_base_model.sha256[:12] / "Q8_0.gguf"
    made = path.stat().st_mtime_ns
    assert prepare_base(bare_base_model, tmp_path, quantization="Q8_0").stat().st_mtime_ns == made
    assert list(path.parent.iterdir()) == [path]


def test_requantizing_keeps_values_and_metadata(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    before = gguf.GGUFReader(bare_base_model.path)
    after = gguf.GGUFReader(prepare_base(bare_base_model, tmp_path, quantization="Q8_0"))
    assert before.fields.keys() == after.fields.keys()
    for name, field in before.fields.items():
        if not name.startswith("GGUF.") and name != "general.file_type":
            assert field.contents() == after.fields[name].contents()
    for old, new in zip(before.tensors, after.tensors, strict=True):
        expected, got = (gguf.dequantize(t.data, t.tensor_type) for t in (old, new))
        assert (old.name, expected.shape) == (new.name, got.shape)
        # Q8_0 keeps 8 bits of each block of 32: half a step of the block's largest value.
        assert np.abs(expected - got).max() <= np.abs(expected).max() / 127 * 0.51


def test_a_model_of_the_wanted_format_keeps_its_bytes(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    once = prepare_base(bare_base_model, tmp_path / "once", quantization="Q8_0")
    twice = prepare_base(BaseModelFile(once), tmp_path / "twice", quantization="Q8_0")
    assert once.read_bytes() == twice.read_bytes()


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"broken\.gguf: not a GGUF file"):
        prepare_base(BaseModelFile(path), tmp_path, quantization="Q8_0")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_matrix_that_a_format_cannot_hold_is_named(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "narrow.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.zeros((8, 48), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"narrow\.gguf: token_embd\.weight: rows of 48 .* Q8_0"):
        prepare_base(BaseModelFile(tmp_path / "narrow.gguf"), tmp_path, quantization="Q8_0")
    assert not list(tmp_path.rglob("*.tmp"))
