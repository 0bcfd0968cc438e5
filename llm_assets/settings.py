"""Where this installation keeps its data and which addresses it listens on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llm_assets.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that come from the environment, all of them with the prefix `LLM_ASSETS_`.

    `port` of `host` is the public endpoint. The Dagster UI is on `ui_port` of `ui_host`, which is
    another setting because nobody has to log in there.
    """

    home: Path
    applications: Path
    host: str = "127.0.0.1"
    port: int = 8080
    ui_host: str = "127.0.0.1"
    ui_port: int = 3000

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Raises:
            UserError: a port is not a number from 1 to 65535; the message names the variable.
        """
        environment = os.environ if environment is None else environment
        return cls(
            home=Path(environment.get("LLM_ASSETS_HOME", ".llm_assets")).absolute(),
            applications=Path(
                environment.get("LLM_ASSETS_APPLICATIONS", "applications")
            ).absolute(),
            host=environment.get("LLM_ASSETS_HOST", "127.0.0.1"),
            port=_port(environment, "LLM_ASSETS_PORT", 8080),
            ui_host=environment.get("LLM_ASSETS_UI_HOST", "127.0.0.1"),
            ui_port=_port(environment, "LLM_ASSETS_UI_PORT", 3000),
        )

    @property
    def endpoint_url(self) -> str:
        """The address that clients are given."""
        return f"http://{self.host}:{self.port}"

    @property
    def ui_url(self) -> str:
        """The address of the Dagster UI."""
        return f"http://{self.ui_host}:{self.ui_port}"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own home, inside ours."""
        return self.home / "dagster"


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise UserError(f"{name}: must be a port from 1 to 65535, got {text!r}")
    return int(text)
