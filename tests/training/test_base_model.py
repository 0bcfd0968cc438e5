from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.training.base_model import prepare_hf


def test_a_prepared_model_has_the_weights_of_the_file(
    tiny_base_model: BaseModelFile, tiny_hf: Path
):
    from safetensors.numpy import load_file

    weights = load_file(tiny_hf / "model.safetensors")
    tensors = {t.name: t.data for t in gguf.GGUFReader(tiny_base_model.path).tensors}
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.layers.3.mlp.down_proj.weight": "blk.3.ffn_down.weight",
        "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
    }
    for name, source in names.items():
        np.testing.assert_array_equal(weights[name], tensors[source].astype(np.float32))


def test_a_prepared_model_is_used_again(
    tiny_base_model: BaseModelFile, tiny_hf: Path, model_cache: Path
):
    before = (tiny_hf / "model.safetensors").stat()
    assert prepare_hf(tiny_base_model, model_cache) == tiny_hf
    assert (tiny_hf / "model.safetensors").stat() == before
    assert tiny_hf == model_cache / tiny_base_model.sha256[:12] / "hf"
    assert [path.name for path in tiny_hf.parent.iterdir()] == ["hf"]


def test_the_prepared_tokenizer_has_the_chat_template(tokenizer: Any):
    assert "<|im_start|>" in tokenizer.chat_template


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"something else")
    base = BaseModelFile(path)
    with pytest.raises(UserError, match=r"model\.gguf is not a GGUF file"):
        prepare_hf(base, tmp_path / "cache")
    assert list((tmp_path / "cache" / base.sha256[:12]).iterdir()) == []
