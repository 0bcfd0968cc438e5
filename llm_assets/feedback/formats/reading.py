"""What a format makes of one object, and the careful access to fields that all formats share."""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pydantic

from llm_assets.errors import UserError
from llm_assets.feedback.log import Record
from llm_assets.records import EARLIEST, Interaction, described, first_problem_of_data

# Undated examples stand on this day: training files tell no time, and a record needs one that is
# the same whenever the file is read.
UNDATED = EARLIEST

_ID_LENGTH = 200
# Larger numbers are times in milliseconds, microseconds, and nanoseconds.
_EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


class Reading(NamedTuple):
    """What one object of a log held.

    `problems` are the parts that break a rule, a line of text each; `num_passed_over` counts the
    parts that are well formed and no business of ours, such as the span of a database query.
    """

    records: list[Record]
    problems: list[str]
    num_passed_over: int = 0


class Parts:
    """Gathers what an object held: a part that breaks a rule becomes a problem, others are kept.

    >>> parts = Parts()
    >>> with parts.part("scores.0"):
    ...     raise UserError("name: is missing")
    >>> parts.reading()
    Reading(records=[], problems=['scores.0: name: is missing'], num_passed_over=0)
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.problems: list[str] = []
        self.num_passed_over = 0

    @contextmanager
    def part(self, place: str) -> Iterator[None]:
        """Turn what a part raises into a problem at that place."""
        try:
            yield
        except UserError as error:
            self.problems.append(f"{place}: {error}")
        except pydantic.ValidationError as error:
            self.problems.append(f"{place}: {first_problem_of_data(error)}")

    def add(self, reading: Reading) -> None:
        """Take over what a part held."""
        self.records += reading.records
        self.problems += reading.problems
        self.num_passed_over += reading.num_passed_over

    def reading(self) -> Reading:
        """Return all that was gathered."""
        return Reading(self.records, self.problems, self.num_passed_over)


def member(fields: dict[str, Any], key: str, kind: type) -> Any:
    """Return a field.

    Raises:
        UserError: it is missing or of another type; the message names the key.
    """
    value = fields.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{key}: must be of type {kind.__name__}, got {type(value).__name__}")
    return value


def optional(fields: dict[str, Any], key: str, kind: type) -> Any:
    """Return a field, or None where it is missing or of another type."""
    value = fields.get(key)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def objects(fields: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a field that holds a list of objects.

    Raises:
        UserError: it does not.
    """
    values = member(fields, key, list)
    if not all(isinstance(value, dict) for value in values):
        raise UserError(f"{key}: must hold objects only")
    return values


def identifier(value: Any) -> str | None:
    """Return what may stand as an id: a number or a text that is not empty, at most 200 long."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 1 <= len(value) <= _ID_LENGTH else None


def first_identifier(fields: dict[str, Any], *keys: str) -> str | None:
    """Return the first of the fields that may stand as an id."""
    return next((found for key in keys if (found := identifier(fields.get(key)))), None)


def required_identifier(fields: dict[str, Any], *keys: str) -> str:
    """Return the first of the fields that may stand as an id.

    Raises:
        UserError: there is none; the message names the first key.
    """
    found = first_identifier(fields, *keys)
    if found is None:
        shown = described(fields.get(keys[0]))
        raise UserError(f"{keys[0]}: must be an id of 1 to {_ID_LENGTH} characters, got {shown}")
    return found


def distinct_identifiers(*values: Any, other_than: str) -> list[str]:
    """Return the values that may stand as an id, each once: the aliases of a record."""
    found = (identifier(value) for value in values)
    return list(dict.fromkeys(value for value in found if value and value != other_than))


def derived_id(base: str, suffix: str) -> str:
    """Return the id of something that an object holds beside what its own id names."""
    made = f"{base}-{suffix}"
    return made if len(made) <= _ID_LENGTH else f"{digest(base)}-{suffix}"


def digest(*parts: Any) -> str:
    """Return 16 hex digits that depend on the content alone: the id of what has none."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False).encode(errors="replace")
    return hashlib.sha256(canonical).hexdigest()[:16]


def count_of(value: Any) -> int | None:
    """Return a number of tokens or the like; None where it is none, negative, or absurd."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 2**53 else None


def number_of(value: Any) -> float | None:
    """Return a finite number; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def seconds_between(start: datetime, end: Any) -> float | None:
    """Return how long something took; None where its end is no time or before the start."""
    try:
        seconds = (time_of(end, "end") - start).total_seconds()
    except UserError:
        return None
    return seconds if seconds >= 0 else None


def text_of(content: Any) -> str:
    """Return the text of a message's content: itself, or its text parts, joined by newlines.

    A part is `{"type": "text", "text": …}` (OpenAI) or `{"type": "text", "content": …}` (GenAI
    conventions); images, audio, and tool calls are passed over.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    found: list[str] = []
    for part in content:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS:
            value = part.get("text", part.get("content"))
            if isinstance(value, str):
                found.append(value)
    return "\n".join(found)


_TEXT_PARTS = ("text", "input_text", "output_text")


def chat_messages(values: Any) -> list[dict[str, str]]:
    """Return a conversation as role and text; what is no message is passed over."""
    if not isinstance(values, list):
        return []
    return [
        {"role": value["role"], "content": text_of(value.get("content", value.get("parts")))}
        for value in values
        if isinstance(value, dict) and isinstance(value.get("role"), str)
    ]


def last_prompt(messages: list[dict[str, str]]) -> str:
    """Return the last user message.

    Raises:
        UserError: there is none with text.
    """
    for message in reversed(messages):
        if message["role"] == "user" and message["content"]:
            return message["content"]
    raise UserError("messages: must hold a user message with text")


def interaction_of(
    *,
    request_id: str,
    application: str,
    time: datetime,
    messages: list[dict[str, str]],
    response: str | None,
    model: Any = None,
    **more: Any,
) -> Interaction:
    """Return an interaction that another system served.

    Raises:
        UserError: no message of the user has text.
        pydantic.ValidationError: a field breaks its rule.
    """
    return Interaction(
        request_id=request_id,
        application=application,
        time=time,
        model_version=model if isinstance(model, str) and model else "unknown",
        variant="external",
        prompt=last_prompt(messages),
        response=response or "",
        messages=messages,
        **more,
    )


def session_of(*places: Any) -> str | None:
    """Return the id of a conversation from what applications attach to their calls."""
    return next(
        (
            found
            for place in places
            if isinstance(place, dict) and (found := first_identifier(place, *_SESSION_KEYS))
        ),
        None,
    )


_SESSION_KEYS = ("session_id", "thread_id", "conversation_id", "chat_id", "sessionId")


def time_of(value: Any, key: str) -> datetime:
    """Return a time that is given in ISO 8601 or as seconds, ms, µs, or ns since 1970, as UTC.

    A text of digits counts as the number. ISO without an offset is taken as UTC.

    Raises:
        UserError: it is neither, or before `EARLIEST`.
    """
    try:
        time = _parsed_time(value)
    except (ValueError, OverflowError, OSError):
        time = None
    if time is None or time < EARLIEST:
        raise UserError(f"{key}: must be a time (ISO 8601 or since 1970), got {described(value)}")
    return time


def _parsed_time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            time = datetime.fromisoformat(value.strip())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    unit = next((unit for least, unit in _EPOCH_UNITS if value >= least), 1)
    return datetime.fromtimestamp(value / unit, UTC)
