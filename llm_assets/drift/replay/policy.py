"""A policy: how drift is judged and what starts a cycle; and files that change some of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import pydantic

from llm_assets.config import Config, read_mapping
from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers.decision import TriggerConfig
from llm_assets.errors import UserError
from llm_assets.records import first_problem


class _PolicyFile(Config):
    """What a policy's file may hold: as much of the two sections as it changes."""

    drift: dict[str, Any] = pydantic.Field(default_factory=dict)
    triggers: dict[str, Any] = pydantic.Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The two sections of an application that decide when a cycle starts, under a name."""

    name: str
    drift: DriftConfig
    triggers: TriggerConfig

    def changed_by(self, path: Path) -> Self:
        """Return this policy with what a YAML file says otherwise; it is named by the file.

        Raises:
            UserError: the file cannot be read, or a key is unknown or breaks its rule.
        """
        content = read_mapping(path)
        try:
            changes = _PolicyFile.of_plain(content)
        except pydantic.ValidationError as error:
            raise UserError(f"{path}: {first_problem(error)}") from None
        return type(self)(
            name=path.stem,
            drift=_changed(self.drift, changes.drift, place=f"{path}: drift"),
            triggers=_changed(self.triggers, changes.triggers, place=f"{path}: triggers"),
        )


_Section = TypeVar("_Section", bound=Config)


def _changed(section: _Section, changes: dict[str, Any], *, place: str) -> _Section:
    try:
        return type(section).of_plain({**section.model_dump(mode="json"), **changes})
    except pydantic.ValidationError as error:
        # A rule of the section as a whole names its keys itself.
        joint = "." if error.errors()[0]["loc"] else ": "
        raise UserError(f"{place}{joint}{first_problem(error)}") from None
