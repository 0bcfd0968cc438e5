"""What a model server process is told: which model, for which application, at which port."""

from pathlib import Path
from typing import Self

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.json_file import read_json, write_json
from llm_assets.serving.config import ServingConfig
from llm_assets.storage import write_json_atomically


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class ModelServerSpec:
    """One model version to serve; `adapter` is None for the base model alone.

    With port 0 the process picks a free one. Once it answers requests it writes `Ready` to
    `ready_file`. Interactions go to `collector_url`, or nowhere if that is None. `variant` is used
    for requests that do not come through the gateway, which names the variant in a header. Unless
    `token_home` is None a request needs a token of the application, from that home.
    """

    application: str
    model_version: str
    base_model: Path
    ready_file: Path
    serving: ServingConfig
    adapter: Path | None = None
    system_prompt: str = ""
    variant: str = "champion"
    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=0, ge=0, le=65535)
    collector_url: str | None = None
    token_home: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a spec.

        Raises:
            UserError: the file is missing or breaks a rule; the message names file and key.
        """
        return read_json(path, cls)

    def write(self, path: Path) -> None:
        """Write the spec, atomically."""
        write_json(path, self)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A model server's word that it answers requests, and where."""

    model_version: str
    port: int
    pid: int

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what the model server wrote, or None before it did."""
        try:
            return pydantic.TypeAdapter(cls).validate_json(path.read_bytes())
        except FileNotFoundError:
            return None

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json_atomically(path, vars(self))
