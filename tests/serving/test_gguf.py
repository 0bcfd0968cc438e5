import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gguf
import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.serving.engine import start_engine
from llm_assets.serving.gguf import convert_adapter, prepare_base
from llm_assets.serving.spec import ModelServerSpec

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROMPTS = ["Who wrote Faust?", "What is a stack?", "tell me a joke", "How high is Mount Everest?"]


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora cannot be served"),
        ({"bias": "all"}, "bias must be 'none', got 'all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save cannot be served"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern cannot be served"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern cannot be served"),
        ({"peft_type": "IA3"}, "peft_type must be LORA, got 'IA3'"),
    ],
)
def test_what_the_engine_cannot_represent_is_refused_by_name(
    bare_base_model: BaseModelFile, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_adapter(tmp_path, layers=[0], modules=["q_proj"], change=change)
    with pytest.raises(UserError, match=message):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()


def test_an_adapter_of_another_base_model_is_refused(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    write_adapter(tmp_path, layers=[0], modules=["q_proj"], hidden=96)
    with pytest.raises(UserError, match=r"q_proj: shape of lora_A must be \(4, 64\)"):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")


def test_an_adapter_of_a_layer_that_does_not_exist_is_refused(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    write_adapter(tmp_path, layers=[7], modules=["q_proj"])
    with pytest.raises(UserError, match=r"layers\.7\.self_attn\.q_proj: no matrix of that name"):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")


# PEFT asks transformers for an attribute by its old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("use_rslora", [False, True])
def test_a_served_adapter_is_as_sure_of_each_token_as_transformers_and_peft(
    transformers_model: Any,
    bare_base_model: BaseModelFile,
    spec: ModelServerSpec,
    tmp_path: Path,
    use_rslora: bool,
) -> None:
    """The proof that query and key rows are permuted as the engine wants them."""
    import peft
    import torch

    config = peft.LoraConfig(
        r=4,
        lora_alpha=16,
        target_modules=PROJECTIONS,
        layers_to_transform=[1, 2, 3],
        use_rslora=use_rslora,
    )
    torch.manual_seed(1)
    model = peft.get_peft_model(transformers_model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    model.save_pretrained(str(tmp_path / "peft"), save_embedding_layers=False)
    adapter = convert_adapter(bare_base_model.path, tmp_path / "peft", tmp_path / "adapter.gguf")
    engine = start_engine(replace(spec, adapter=adapter))
    with httpx.Client(base_url=engine.url, timeout=60) as client:
        for prompt in PROMPTS:
            tokens, steps = greedy_steps(client, prompt)
            with torch.no_grad():
                logits = model(torch.tensor([tokens])).logits[0]
                with model.disable_adapter():
                    base_logits = model(torch.tensor([tokens])).logits[0]
            assert largest_difference(logits, steps) < 0.05
            assert largest_difference(base_logits, steps) > 0.5
    model.unload()


def greedy_steps(client: httpx.Client, prompt: str) -> tuple[list[int], list[dict[int, float]]]:
    """Return prompt and answer as tokens, and for each answer token the likeliest ones."""
    tokens = client.post("/tokenize", json={"content": prompt}).json()["tokens"]
    request = {"prompt": tokens, "n_predict": 6, "temperature": 0, "n_probs": 20}
    request |= {"return_tokens": True, "ignore_eos": True}
    answer = client.post("/completion", json=request).json()
    steps = [
        {likely["id"]: likely["logprob"] for likely in step["top_logprobs"]}
        for step in answer["completion_probabilities"]
    ]
    return [*tokens, *answer["tokens"][:-1]], steps


def largest_difference(logits: Any, steps: Sequence[dict[int, float]]) -> float:
    """Return by how much the log probabilities of the engine's likeliest tokens differ."""
    ours = logits.log_softmax(-1)[-len(steps) :]
    differences = [
        abs(float(ours[position, token]) - logprob)
        for position, step in enumerate(steps)
        for token, logprob in step.items()
    ]
    return max(differences)


def write_adapter(
    folder: Path,
    *,
    layers: Sequence[int],
    modules: Sequence[str],
    hidden: int = 64,
    change: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a PEFT adapter of rank 4 for attention projections."""
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", **change}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    weights = {}
    for layer in layers:
        for module in modules:
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = np.zeros((4, hidden), np.float32)
            weights[f"{name}.lora_B.weight"] = np.zeros((hidden, 4), np.float32)
    save_file(weights, folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def bare_base_model(
    tiny_base_model: BaseModelFile, tmp_path_factory: pytest.TempPathFactory
) -> BaseModelFile:
    """Return the tiny model without its vocabulary, which takes seconds to read."""
    path = tmp_path_factory.mktemp("bare") / "model.gguf"
    reader = gguf.GGUFReader(tiny_base_model.path)
    writer = gguf.GGUFWriter(path, "llama")
    for name, field in reader.fields.items():
        if name.startswith(("llama.", "general.f")):
            writer.add_key_value(name, field.contents(), field.types[0])
    writer.add_array("general.languages", ["en", "de"])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return BaseModelFile(path)


@pytest.fixture(scope="module")
def transformers_model(bare_base_model: BaseModelFile) -> Any:
    """Return the tiny model as transformers itself reads it."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    return AutoModelForCausalLM.from_pretrained(
        str(bare_base_model.path.parent),
        gguf_file=bare_base_model.path.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
