"""Our own NDJSON: `Interaction` and `Feedback` in JSON; `application` may be left out."""

import json
from typing import Any

from llm_assets.errors import UserError
from llm_assets.records import Feedback, Interaction


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object looks like one of our records."""
    return "request_id" in fields and ("kind" in fields or "prompt" in fields)


def read(fields: dict[str, Any], application: str) -> Interaction | Feedback:
    """Return the record.

    Raises:
        UserError: a field breaks a rule, or the record is of another application.
    """
    if fields.setdefault("application", application) != application:
        raise UserError(f"application: must be {application!r}, got {fields['application']!r}")
    kind = Feedback if "kind" in fields else Interaction
    return kind.from_json(json.dumps(fields))
