from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.serving.adapter import convert_adapter
from llm_assets.serving.engine import start_engine
from llm_assets.serving.spec import ModelServerSpec
from tests.serving.adapters import saved_adapter, write_adapter
from tests.serving.answers import PROMPTS, greedy_steps, largest_difference

Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
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
    with pytest.raises(UserError, match=rf"adapter_config\.json: {message}"):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({f"{Q_PROJ}.lora_magnitude_vector": np.ones(64)}, "type must be one of F32, F16, BF16"),
        ({f"{Q_PROJ}.lora_A.bias": np.ones(4, np.float32)}, "lora_A.bias: not a LoRA matrix"),
        (
            {f"{Q_PROJ}.lora_magnitude_vector": np.ones(64, np.float32)},
            "q_proj: must have lora_A, lora_B, got lora_A, lora_B, lora_magnitude_vector",
        ),
        (
            {f"{Q_PROJ}.lora_A.weight".replace("q_proj", "k_proj"): np.ones((4, 64), np.float32)},
            "k_proj: must have lora_A, lora_B, got lora_A",
        ),
    ],
)
def test_what_is_no_lora_is_refused_by_the_name_of_its_tensor(
    bare_base_model: BaseModelFile, tmp_path: Path, weights: dict[str, np.ndarray], message: str
) -> None:
    write_adapter(tmp_path, layers=[0], modules=["q_proj"], weights=weights)
    with pytest.raises(UserError, match=rf"adapter_model\.safetensors: .*{message}"):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")


def test_an_adapter_of_another_base_model_is_refused(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    write_adapter(tmp_path, layers=[0], modules=["q_proj"], hidden=96)
    with pytest.raises(UserError, match=r"q_proj\.lora_A\.weight: shape must be \(4, 64\)"):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")


def test_an_adapter_of_a_layer_that_does_not_exist_is_refused(
    bare_base_model: BaseModelFile, tmp_path: Path
) -> None:
    write_adapter(tmp_path, layers=[7], modules=["q_proj"])
    with pytest.raises(UserError, match=r"layers\.7\.self_attn\.q_proj: no matrix of that name"):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(
    bare_base_model: BaseModelFile, tmp_path: Path, missing: str
) -> None:
    write_adapter(tmp_path, layers=[0], modules=["q_proj"])
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=rf"{missing}: no such file"):
        convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")


@pytest.mark.parametrize(("use_rslora", "alpha"), [(False, 16.0), (True, 32.0)])
def test_the_engine_divides_by_the_rank_what_rslora_divides_by_its_root(
    bare_base_model: BaseModelFile, tmp_path: Path, use_rslora: bool, alpha: float
) -> None:
    change = {"lora_alpha": 16, "use_rslora": use_rslora}
    write_adapter(tmp_path, layers=[0], modules=["q_proj"], change=change)
    adapter = convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")
    field = gguf.GGUFReader(adapter).get_field("adapter.lora.alpha")
    assert field is not None
    assert field.contents() == alpha


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
    """The proof that query and key rows are ordered as the engine wants them."""
    import torch

    with saved_adapter(transformers_model, tmp_path, use_rslora=use_rslora) as model:
        adapter = convert_adapter(bare_base_model.path, tmp_path, tmp_path / "adapter.gguf")
        engine = start_engine(replace(spec, adapter=adapter))
        with httpx.Client(base_url=engine.url, timeout=60) as client, torch.no_grad():
            for prompt in PROMPTS:
                tokens, steps = greedy_steps(client, prompt)
                logits = model(torch.tensor([tokens])).logits[0]
                with model.disable_adapter():
                    base_logits = model(torch.tensor([tokens])).logits[0]
                assert largest_difference(logits, steps) < 0.05
                assert largest_difference(base_logits, steps) > 0.5
