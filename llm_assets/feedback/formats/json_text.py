"""JSON as other programs write it: a line of a file, or a column that holds JSON as a text."""

import json
from typing import Any

import orjson

from llm_assets.errors import UserError


def json_of(text: str | bytes) -> Any:
    r"""Return what a JSON text holds, read liberally.

    Half of a surrogate pair, which a program leaves that cuts a text in the middle of an emoji,
    becomes "?": no file could hold it. NaN and infinity, which Python writes, become null.

    Raises:
        UserError: it is not JSON; the message quotes nothing of it.

    >>> json_of('{"text": "cut \\ud83d", "score": NaN}')
    {'text': 'cut ?', 'score': None}
    """
    try:
        return orjson.loads(text)
    except ValueError as error:
        problem = str(error)
    try:
        value = json.loads(text, parse_constant=lambda _: None)
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        raise UserError(f"is not JSON: {problem}") from None


def storable(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object of unknown origin as `json_of` would have given it.

    Raises:
        UserError: it holds what is no JSON.
    """
    try:
        orjson.dumps(fields)
    except orjson.JSONEncodeError:
        try:
            return json_of(json.dumps(fields))
        except (TypeError, ValueError, RecursionError):
            raise UserError("holds what JSON cannot carry") from None
    return fields


def unpacked(value: Any) -> Any:
    """Return what a text of JSON holds where the value is one, otherwise the value.

    Many exports keep a column of JSON as a text. A text that only looks like JSON stays a text.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json_of(value)
        except UserError:
            return value
    return value
