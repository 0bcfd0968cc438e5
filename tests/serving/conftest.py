"""Fixtures of the serving stage: a small model to serve, and somebody to collect the records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.spec import ModelServerSpec
from tests.serving.fakes import FakeApi


@pytest.fixture
def spec(tiny_base_model: BaseModelFile, tmp_path: Path) -> ModelServerSpec:
    """Return a spec that serves the tiny base model as it is."""
    return ModelServerSpec(
        application="helpdesk",
        model_version="helpdesk-v0001",
        base_model=tiny_base_model.path,
        ready_file=tmp_path / "ready.json",
        system_prompt="Name the desk.",
        serving=ServingConfig(
            max_tokens=8, threads=1, parallel_requests=2, max_prompt_characters=2000
        ),
    )


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Return a running API process that keeps what it gets."""
    with FakeApi().running() as running:
        yield running


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
