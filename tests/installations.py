"""Installations for tests: a home, and a small help desk on the tiny model."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import prepare_dagster_home
from llm_assets.installation import Installation
from llm_assets.settings import Settings

DESKS = ("money", "sports", "science")
VERSION, CANDIDATE = "helpdesk-v0001", "helpdesk-v0002"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def helpdesk(base_model: Path, **sections: Any) -> dict[str, Any]:
    """Return a help desk's file for the tiny model; `sections` replace those that it has."""
    return {
        "description": "Routes a question to its desk",
        "system_prompt": f"Name the desk: {', '.join(DESKS)}.",
        "base_model": {"file": str(base_model)},
        "serving": {
            "max_tokens": 4,
            "context_tokens": 256,
            "parallel_requests": 2,
            "threads": 1,
            "max_prompt_characters": 2000,
            "quantization": "F16",
            "trust_client_time": True,
        },
        "drift": {"reference_days": 1, "min_prompts": 10, "windows": 2, "windows_needed": 1},
        "curation": {"holdout_rate": 0.3, "validation_rate": 0.1},
        "training": {
            "r": 4,
            "num_top_layers": 2,
            "max_steps": 3,
            "min_train_rows": 10,
            "compute": {"num_threads": 1},
        },
        "evaluation": {"min_samples": 5, "max_tokens": 4, "num_workers": 2},
        **sections,
    }


def write_application(folder: Path, name: str, content: dict[str, Any]) -> Path:
    """Write an application's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@contextlib.contextmanager
def environment(folder: Path) -> Iterator[Settings]:
    """Let LLM_ASSETS_* describe an installation in a folder, on free ports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_ASSETS_HOME", str(folder / "home"))
        patch.setenv("LLM_ASSETS_APPLICATIONS", str(folder / "applications"))
        patch.setenv("LLM_ASSETS_PORT", str(free_port()))
        patch.setenv("LLM_ASSETS_UI_PORT", str(free_port()))
        patch.delenv("LLM_ASSETS_HOST", raising=False)
        patch.delenv("LLM_ASSETS_UI_HOST", raising=False)
        patch.setenv("DAGSTER_HOME", str(folder / "home" / "dagster"))
        yield Settings.from_environment()


@contextlib.contextmanager
def an_installation(
    folder: Path, base_model: BaseModelFile, **sections: Any
) -> Iterator[Installation]:
    """Return an installation with the help desk on the tiny model, nothing in it yet."""
    write_application(folder / "applications", "helpdesk", helpdesk(base_model.path, **sections))
    with environment(folder) as settings:
        yield Installation(settings)


@contextlib.contextmanager
def a_dagster_instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    """Return Dagster's instance in the installation's home, with its settings of production."""
    prepare_dagster_home(installation.settings)
    with dg.DagsterInstance.get() as instance:
        yield instance
