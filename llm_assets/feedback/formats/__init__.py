"""The log formats that `llm-assets ingest` reads, one a module.

A format recognises its lines by their content, so a file may mix them. Each is a pure function
from a decoded JSON object to a record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats import native, openai_chat
from llm_assets.feedback.log import Record


@dataclass(frozen=True, kw_only=True)
class Format:
    """A log format: whether an object is of it, and the record that such an object holds."""

    name: str
    recognises: Callable[[dict[str, Any]], bool]
    read: Callable[[dict[str, Any], str], Record]


FORMATS = (
    Format(name="native", recognises=native.recognises, read=native.read),
    Format(name="openai-chat", recognises=openai_chat.recognises, read=openai_chat.read),
)

_NAMES = tuple(candidate.name for candidate in FORMATS)


def require_format(name: str | None) -> None:
    """Check that a format's name is known; None is any.

    Raises:
        UserError: it is not; the message lists those that are.
    """
    if name is not None and name not in _NAMES:
        raise UserError(f"format: must be one of {', '.join(_NAMES)}, got {name!r}")


def read_record(
    fields: dict[str, Any], *, application: str, format_name: str | None = None
) -> Record:
    """Return the record of one line, in the named format or in the first that recognises it.

    Raises:
        UserError: no format recognises the object, or it breaks a rule of its format.
    """
    for candidate in FORMATS:
        if candidate.name == format_name or (format_name is None and candidate.recognises(fields)):
            return candidate.read(fields, application)
    raise UserError(f"is of no known format ({', '.join(_NAMES)})")
