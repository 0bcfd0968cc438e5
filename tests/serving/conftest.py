"""Fixtures of the serving stage: a small model to serve, and somebody to collect the records."""

from collections.abc import Iterator
from pathlib import Path

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
