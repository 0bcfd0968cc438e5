"""The log formats that `llm-assets ingest` reads, one a module.

A format recognises its objects by their content, so a file may mix them. Each is a pure function
from a decoded JSON object to what it held.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pydantic

from llm_assets.errors import UserError
from llm_assets.feedback.formats import (
    data_flywheel,
    langfuse,
    langsmith,
    litellm,
    mlflow,
    native,
    open_webui,
    openai_chat,
    openai_finetuning,
    openinference,
    otlp,
    tensorzero,
    trl,
)
from llm_assets.feedback.formats.json_text import json_of, storable
from llm_assets.feedback.formats.reading import Reading
from llm_assets.records import first_problem_of_data


@dataclass(frozen=True, kw_only=True)
class Format:
    """A log format: whether an object is of it, and what such an object holds."""

    name: str
    recognises: Callable[[dict[str, Any]], bool]
    read: Callable[[dict[str, Any], str], Reading]


# No object is recognised by two of them, so the order tells only which are common.
FORMATS = (
    Format(name="native", recognises=native.recognises, read=native.read),
    Format(name="openai-chat", recognises=openai_chat.recognises, read=openai_chat.read),
    Format(name="otlp", recognises=otlp.recognises, read=otlp.read),
    Format(name="openinference", recognises=openinference.recognises, read=openinference.read),
    Format(name="litellm", recognises=litellm.recognises, read=litellm.read),
    Format(name="langfuse", recognises=langfuse.recognises, read=langfuse.read),
    Format(name="langsmith", recognises=langsmith.recognises, read=langsmith.read),
    Format(name="mlflow", recognises=mlflow.recognises, read=mlflow.read),
    Format(name="tensorzero", recognises=tensorzero.recognises, read=tensorzero.read),
    Format(name="data-flywheel", recognises=data_flywheel.recognises, read=data_flywheel.read),
    Format(name="open-webui", recognises=open_webui.recognises, read=open_webui.read),
    Format(
        name="openai-finetuning",
        recognises=openai_finetuning.recognises,
        read=openai_finetuning.read,
    ),
    Format(name="trl", recognises=trl.recognises, read=trl.read),
)

_NAMES = tuple(candidate.name for candidate in FORMATS)


def require_format(name: str | None) -> None:
    """Check that a format's name is known; None is any.

    Raises:
        UserError: it is not; the message lists those that are.
    """
    if name is not None and name not in _NAMES:
        raise UserError(f"format: must be one of {', '.join(_NAMES)}, got {name!r}")


def read_object(
    fields: dict[str, Any], *, application: str, format_name: str | None = None
) -> Reading:
    """Return what an object holds, in the named format or in the first that recognises it.

    Raises:
        UserError: no format recognises the object, or it breaks a rule of its format as a whole.
    """
    return _read(storable(fields), application, format_name)


def read_line(line: bytes, *, application: str, format_name: str | None = None) -> Reading:
    """Return what one line of JSON holds.

    Raises:
        UserError: it is no JSON object, or as `read_object`.
    """
    fields = json_of(line)
    if not isinstance(fields, dict):
        raise UserError("is not a JSON object")
    return _read(fields, application, format_name)


def _read(fields: dict[str, Any], application: str, format_name: str | None) -> Reading:
    for candidate in FORMATS:
        if candidate.name == format_name or (format_name is None and candidate.recognises(fields)):
            try:
                return candidate.read(fields, application)
            except pydantic.ValidationError as error:
                raise UserError(first_problem_of_data(error)) from None
    raise UserError(f"is of no known format ({', '.join(_NAMES)})")
