"""What the controller says is served: `run/status.json`, for everyone who only wants to know."""

from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.routing import Split

_CONFIG = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Challenger:
    """The challenger beside a champion: its part of the users and of the copies, if it is ready.

    `trial` and `salt` name the step and the rollout that the gateway follows now.
    """

    model_version: str
    port: int | None
    ready: bool
    share: float
    mirrored: float
    trial: str
    salt: str
    num_restarts: int
    error: str | None = None

    def follows(self, split: Split | None) -> bool:
        """Say whether the gateway follows a split: this step of this rollout."""
        return split is not None and (self.salt, self.trial) == (split.salt, split.trial)


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Endpoint:
    """One application as it is served now; `error` says why it is not."""

    model_version: str | None
    variant: str
    port: int | None
    ready: bool
    error: str | None
    challenger: Challenger | None = None


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class ServingStatus:
    """The applications that a controller looks after; none where no controller ever ran."""

    applications: dict[str, Endpoint] = pydantic.Field(default_factory=dict)
    gateway: dict[str, Any] = pydantic.Field(default_factory=dict)
    controller_pid: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether the controller that wrote this still runs."""
        return self.controller_pid is not None and Path(f"/proc/{self.controller_pid}").exists()

    def challenger_of(self, application: str) -> Challenger | None:
        """Return what the controller says of a challenger's server; a dead one says nothing."""
        endpoint = self.applications.get(application) if self.is_live else None
        return endpoint.challenger if endpoint else None

    @classmethod
    def read(cls, home: Path) -> Self:
        """Read the status of an installation."""
        try:
            content = (home / "run" / "status.json").read_bytes()
        except FileNotFoundError:
            return cls()
        return pydantic.TypeAdapter(cls).validate_json(content)
