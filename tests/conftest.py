"""Fixtures that several stages share."""

from pathlib import Path

import hypothesis
import pytest

from llm_assets.base_model import BaseModelFile
from tests.tiny_model import write_tiny_gguf

# How long an example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFile:
    """Return a tiny random model with a real tokenizer, the same one in every test."""
    path: Path = tmp_path_factory.mktemp("base_model") / "tiny.F16.gguf"
    return BaseModelFile(write_tiny_gguf(path))
