"""Dataclasses as JSON files: written whole, read strictly, and a wrong file is named."""

from pathlib import Path
from typing import Any, TypeVar

import pydantic

from llm_assets.errors import UserError
from llm_assets.records import first_problem
from llm_assets.storage import write_atomically

T = TypeVar("T")


def read_json(path: Path, cls: type[T], *, missing: str = "no such file") -> T:
    """Return the instance of a class that a file holds.

    Raises:
        UserError: the file is missing, and `missing` says what that means; or it is damaged or
            breaks a rule, and the message names the key.
    """
    try:
        return pydantic.TypeAdapter(cls).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: {missing}") from None
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None


def write_json(path: Path, value: Any) -> None:
    """Write an instance as readable JSON, atomically; `read_json` gives it back."""
    content = pydantic.TypeAdapter(type(value)).dump_json(value, indent=2)
    write_atomically(path, content + b"\n")
