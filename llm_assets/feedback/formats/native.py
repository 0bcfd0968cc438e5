"""Our own NDJSON: `Interaction` and `Feedback` in JSON; `application` may be left out."""

import re
from typing import Any

import orjson

from llm_assets.errors import UserError
from llm_assets.feedback.formats.reading import Reading
from llm_assets.records import APPLICATION_PATTERN, Feedback, Interaction, described


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object looks like one of our records."""
    is_feedback = "kind" in fields and ("request_id" in fields or "session_id" in fields)
    return is_feedback or ("request_id" in fields and "prompt" in fields)


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the record.

    Raises:
        UserError: a field breaks a rule, or the record is of another application.
    """
    given = fields.get("application", application)
    if given != application:
        raise UserError(f"application: must be {application!r}, got {_shown(given)}")
    kind = Feedback if "kind" in fields else Interaction
    try:
        line = orjson.dumps({**fields, "application": application})
    except orjson.JSONEncodeError:
        raise UserError("is nested deeper than any record") from None
    return Reading([kind.from_json(line)], [])


def _shown(application: Any) -> str:
    """Show what may be a name of an application; another text may be anything."""
    is_name = isinstance(application, str) and re.fullmatch(APPLICATION_PATTERN, application)
    return repr(application) if is_name else described(application)
