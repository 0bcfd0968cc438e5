"""Fixtures of the serving stage: a small model to serve, and somebody to collect the records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.gateway import Gateway
from llm_assets.serving.spec import ModelServerSpec
from tests.serving.fakes import FakeApi, FakeModel
from tests.serving.gateways import client_of, running_gateway, running_models


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


@pytest.fixture(scope="module")
def backends() -> Iterator[list[FakeModel]]:
    """Return two model servers that say who they are."""
    with running_models("one", "two") as models:
        yield models


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Return a real gateway, which a module's tests share."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    """Return a client of the gateway."""
    with client_of(gateway) as client:
        yield client
