"""What every configuration class shares: immutable, strictly typed, and unknown keys are errors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pydantic
import yaml

from llm_assets.errors import UserError


class Config(pydantic.BaseModel):
    """Base of the sections of an application's file; each section stands beside its user."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration that plain values say, as they come from a YAML file.

        Strict rules for Python values would ask a list to be a tuple and a word to be a member of
        an enum, which no YAML file can write; those for JSON do not.

        Raises:
            pydantic.ValidationError: a key is unknown, missing, or breaks its rule.
        """
        return cls.model_validate_json(json.dumps(values, default=str))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UserError: it cannot be read, or holds something else; the message names the file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold a mapping")
    return content
