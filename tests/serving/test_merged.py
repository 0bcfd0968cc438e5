import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.serving.config import Quantization
from llm_assets.serving.engine import start_engine
from llm_assets.serving.gguf import LlamaFile, requantize
from llm_assets.serving.merged import merged_dora, trained_weights
from llm_assets.serving.spec import ModelServerSpec
from tests.serving.adapters import saved_adapter, write_adapter
from tests.serving.answers import PROMPTS, greedy_steps, largest_difference

Q_PROJ = "model.layers.2.self_attn.q_proj.weight"
EMBEDDINGS, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"


@pytest.mark.parametrize("quantization", ["F32", "F16"])
def test_trained_weights_are_as_sure_of_each_token_as_transformers(
    transformers_model: Any,
    tiny_file: LlamaFile,
    spec: ModelServerSpec,
    tmp_path: Path,
    quantization: Quantization,
) -> None:
    trained = trained_model(transformers_model, tmp_path)
    changes = trained_weights(tmp_path, tiny_file)
    requantize(tiny_file, tmp_path / "merged.gguf", quantization, changes=changes)
    assert_served_alike(replace(spec, base_model=tmp_path / "merged.gguf"), trained)
    with pytest.raises(AssertionError):
        assert_served_alike(replace(spec, base_model=tmp_path / "merged.gguf"), transformers_model)


# PEFT asks transformers for an attribute by its old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("use_rslora", [False, True])
def test_merged_dora_is_as_sure_of_each_token_as_transformers_and_peft(
    transformers_model: Any,
    tiny_file: LlamaFile,
    spec: ModelServerSpec,
    tmp_path: Path,
    use_rslora: bool,
) -> None:
    config = {"use_dora": True, "use_rslora": use_rslora}
    with saved_adapter(transformers_model, tmp_path, **config) as model:
        changes = merged_dora(tmp_path, tiny_file)
        requantize(tiny_file, tmp_path / "merged.gguf", "F32", changes=changes)
        merged = replace(spec, base_model=tmp_path / "merged.gguf")
        assert_served_alike(merged, model)
        with model.disable_adapter(), pytest.raises(AssertionError):
            assert_served_alike(merged, model)


def test_trained_weights_are_those_that_transformers_reads(
    transformers_model: Any, bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    trained = trained_model(transformers_model, tmp_path)
    base = LlamaFile(bare_base_model.path)
    changes = trained_weights(tmp_path, base)
    requantize(base, tmp_path / "merged.gguf", "F32", changes=changes)
    read = read_by_transformers(tmp_path / "merged.gguf").state_dict()
    for name, expected in trained.state_dict().items():
        assert expected.equal(read[name]), name


# PEFT asks transformers for an attribute by its old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_merged_dora_is_what_peft_merges(
    transformers_model: Any, bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    # Where an adapter lies, transformers reads its base model instead of what it is told to.
    adapter = tmp_path / "peft"
    with saved_adapter(copy.deepcopy(transformers_model), adapter, use_dora=True) as model:
        expected = model.merge_and_unload().state_dict()
    base = LlamaFile(bare_base_model.path)
    requantize(base, tmp_path / "merged.gguf", "F32", changes=merged_dora(adapter, base))
    read = read_by_transformers(tmp_path / "merged.gguf").state_dict()
    for name, tensor in expected.items():
        assert tensor.sub(read[name]).abs().max() < 1e-6, name


def test_a_changed_base_model_is_requantized_and_its_norms_stay_exact(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    norm = np.linspace(0.9, 1.1, 64, dtype=np.float32)
    save_file(
        {"model.norm.weight": norm, Q_PROJ: matrix()}, tmp_path / "trained_weights.safetensors"
    )
    base = LlamaFile(bare_base_model.path)
    requantize(base, tmp_path / "m.gguf", "Q8_0", changes=trained_weights(tmp_path, base))
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert tensors["output_norm.weight"].data.tolist() == norm.tolist()
    kinds = {t.tensor_type.name for t in tensors.values() if len(t.shape) == 2}
    assert kinds == {"Q8_0"}
    query = gguf.dequantize(tensors["blk.2.attn_q.weight"].data, gguf.GGMLQuantizationType.Q8_0)
    rows = np.arange(64).reshape(4, 2, 8).swapaxes(1, 2).ravel()
    assert np.abs(query - matrix()[rows]).max() < 0.02


def test_an_output_matrix_equal_to_trained_embeddings_is_accepted(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    base = LlamaFile(bare_base_model.path)
    values = np.full(base.shapes["token_embd.weight"], 0.5, np.float32)
    save_file({EMBEDDINGS: values, OUTPUT: values}, tmp_path / "trained_weights.safetensors")
    changes = trained_weights(tmp_path, base)
    assert changes.keys() == {"token_embd.weight"}
    assert (changes["token_embd.weight"](0 * values) == 0.5).all()


@pytest.mark.parametrize("names", [[OUTPUT], [EMBEDDINGS, OUTPUT]])
def test_an_output_matrix_beside_tied_embeddings_must_equal_them(
    bare_base_model: BaseModelFile, tmp_path: Path, names: list[str]
) -> None:
    base = LlamaFile(bare_base_model.path)
    shape = base.shapes["token_embd.weight"]
    weights = {name: np.full(shape, i, np.float32) for i, name in enumerate(names, start=1)}
    save_file(weights, tmp_path / "trained_weights.safetensors")
    with pytest.raises(UserError, match=r"safetensors: lm_head\.weight: must equal the embeddings"):
        requantize(base, tmp_path / "m.gguf", "F16", changes=trained_weights(tmp_path, base))
    assert [path.name for path in tmp_path.iterdir()] == ["trained_weights.safetensors"]


def test_an_output_matrix_of_its_own_is_replaced(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "untied.gguf", "llama")
    writer.add_block_count(0)
    for name in ("token_embd.weight", "output.weight"):
        writer.add_tensor(name, np.zeros((8, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file({OUTPUT: np.ones((8, 32), np.float32)}, tmp_path / "trained_weights.safetensors")
    base = LlamaFile(tmp_path / "untied.gguf")
    requantize(base, tmp_path / "m.gguf", "F32", changes=trained_weights(tmp_path, base))
    sums = {t.name: t.data.sum() for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert sums == {"token_embd.weight": 0, "output.weight": 256}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"model.layers.9.mlp.up_proj.weight": (4, 4)}, "no tensor of that name"),
        ({"model.layers.2.self_attn.q_proj.bias": (64,)}, "no tensor of that name"),
        ({Q_PROJ: (64, 32)}, r"shape must be \(64, 64\) for .*model\.gguf, got \(64, 32\)"),
    ],
)
def test_a_trained_tensor_that_does_not_fit_is_named(
    bare_base_model: BaseModelFile,
    tmp_path: Path,
    weights: Mapping[str, tuple[int, ...]],
    message: str,
) -> None:
    tensors = {name: np.zeros(shape, np.float32) for name, shape in weights.items()}
    save_file(tensors, tmp_path / "trained_weights.safetensors")
    (name,) = weights
    with pytest.raises(UserError, match=rf"trained_weights\.safetensors: {name}: {message}"):
        trained_weights(tmp_path, LlamaFile(bare_base_model.path))


def test_dora_without_a_magnitude_is_named(bare_base_model: BaseModelFile, tmp_path: Path) -> None:
    write_adapter(tmp_path, layers=[0], modules=["q_proj"], change={"use_dora": True})
    with pytest.raises(UserError, match=r"q_proj: must have lora_A, lora_B, lora_magnitude_vector"):
        merged_dora(tmp_path, LlamaFile(bare_base_model.path))


def test_a_magnitude_of_another_base_model_is_named(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
    weights = {key: np.ones(96, np.float32)}
    write_adapter(
        tmp_path, layers=[0], modules=["q_proj"], change={"use_dora": True}, weights=weights
    )
    with pytest.raises(UserError, match=r"lora_magnitude_vector: shape must be \(64,\)"):
        merged_dora(tmp_path, LlamaFile(bare_base_model.path))


def test_a_row_without_a_direction_is_refused(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
    weights = {key: np.ones(64, np.float32)}
    write_adapter(
        tmp_path, layers=[0], modules=["q_proj"], change={"use_dora": True}, weights=weights
    )
    change = merged_dora(tmp_path, LlamaFile(bare_base_model.path))["blk.0.attn_q.weight"]
    with pytest.raises(UserError, match=r"safetensors: blk\.0\.attn_q\.weight: a merged row"):
        change(np.zeros((64, 64), np.float32))


def matrix() -> np.ndarray:
    """Return a square matrix of small numbers."""
    return np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32)


def trained_model(model: Any, folder: Path) -> Any:
    """Return a model with trained weights, of which half are kept in the folder as bfloat16."""
    import torch
    from safetensors.torch import save_file as save

    trained = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(2)
    kept = {}
    with torch.no_grad():
        for number, (name, parameter) in enumerate(trained.named_parameters()):
            if name.startswith(("model.layers.2", "model.layers.3", "model.norm", "model.embed")):
                noise = torch.randn(parameter.shape, generator=generator)
                values = parameter + 0.5 * parameter.std() * noise
                kept[name] = values.bfloat16() if number % 2 else values
                parameter.copy_(kept[name])
    save(kept, folder / "trained_weights.safetensors")
    return trained


def read_by_transformers(path: Path) -> Any:
    """Return a GGUF file as transformers reads it, which has its own way to order rows."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    return AutoModelForCausalLM.from_pretrained(
        str(path.parent),
        gguf_file=path.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )


def assert_served_alike(spec: ModelServerSpec, model: Any) -> None:
    """Check that the engine answers as the model would, and is as sure of each token."""
    import torch

    engine = start_engine(spec)
    with httpx.Client(base_url=engine.url, timeout=60) as client, torch.no_grad():
        for prompt in PROMPTS:
            tokens, steps = greedy_steps(client, prompt)
            logits = model(torch.tensor([tokens])).logits[0]
            answer = torch.tensor([max(step, key=lambda token: step[token]) for step in steps])
            chosen = logits[-len(steps) :].gather(-1, answer[:, None]).squeeze(-1)
            # Two of 49,152 tokens may be so near each other that rounding decides between them.
            assert (logits[-len(steps) :].amax(-1) - chosen).max() < 0.02
            assert largest_difference(logits, steps) < 0.05


@pytest.fixture(scope="module")
def tiny_file(tiny_base_model: BaseModelFile) -> LlamaFile:
    """Return the tiny model, whose vocabulary takes seconds to read."""
    return LlamaFile(tiny_base_model.path)
