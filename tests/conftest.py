"""Fixtures that several stages share."""

import signal
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

# Started in the background of a shell, pytest would inherit that Ctrl-C is ignored; Dagster copies
# that to SIGTERM after a run, and the processes under test would then ignore being stopped.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFile:
    """Return a tiny random model with a real tokenizer, the same one in every test."""
    path: Path = tmp_path_factory.mktemp("base_model") / "tiny.F16.gguf"
    return BaseModelFile(write_tiny_gguf(path))
