"""The manifest of a model version: what it was made of, so that it can be made again."""

import hashlib
import importlib.metadata
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class ModelManifest:
    """Everything that went into a model version.

    The base model alone is a version too: its `adapter_sha256` and all that speaks of training
    are None. `adapter_sha256` is of the trained weights, be they an adapter or not.
    `system_prompt_sha256` and `evaluation_sha256` are None in manifests from before they were kept.
    `metrics` holds numbers for people (losses, seconds, tokens, energy, cost); only replays read
    the seconds. `energy_source` says what the energy was measured or estimated by.
    """

    model_version: str
    application: str
    base_model_sha256: str
    created_at: datetime
    code_version: str
    system_prompt_sha256: str | None = None
    evaluation_sha256: str | None = None
    run_id: str | None = None
    dataset_version: str | None = None
    dataset_sha256: str | None = None
    training: dict[str, Any] | None = None
    seed: int | None = None
    adapter_sha256: str | None = None
    energy_source: str | None = None
    library_versions: dict[str, str] = pydantic.Field(default_factory=dict)
    metrics: dict[str, float] = pydantic.Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of the model version that lies in a folder.

        Raises:
            UserError: there is none, or it is damaged; the message names the file.
        """
        path = folder / MANIFEST
        return read_json(path, cls, missing="no such model version")

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain values."""
        return pydantic.TypeAdapter(type(self)).dump_python(self, mode="json")

    def write(self, folder: Path) -> None:
        """Write the manifest into the folder of its model version, atomically."""
        write_json(folder / MANIFEST, self)


def code_version() -> str:
    """Return the package's version and the hash of its source, e.g. '0.1.0+3f2a91c07d5e'."""
    folder = Path(__file__).parent
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return f"{importlib.metadata.version('llm-assets')}+{content.hexdigest()[:12]}"


def version_name(application: str, number: int) -> str:
    """Return the name of a model version.

    >>> version_name("helpdesk", 7)
    'helpdesk-v0007'
    """
    return f"{application}-v{number:04d}"


def application_of(model_version: str) -> str:
    """Return the application of a model version.

    >>> application_of("help-desk-v0007")
    'help-desk'

    Raises:
        UserError: the name is not of that form.
    """
    return _parse(model_version)[0]


def next_version(application: str, existing: Iterable[str]) -> str:
    """Return the name after the highest existing version of an application.

    >>> next_version("helpdesk", ["helpdesk-v0001", "other-v0009"])
    'helpdesk-v0002'
    """
    parsed = [_parse(name) for name in existing]
    numbers = [number for name, number in parsed if name == application]
    return version_name(application, max(numbers, default=0) + 1)


def _parse(model_version: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+)-v(\d{4,})", model_version)
    if match is None:
        raise UserError(f"model version must look like 'helpdesk-v0001', got {model_version!r}")
    return match[1], int(match[2])
