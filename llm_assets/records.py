"""The records that cross stages: interactions and feedback, with their JSON form.

The JSON form is what the collector accepts and what its log holds, one object a line. Reading is
strict: an unknown or missing field, a wrong type, or a time without an offset is a `UserError`
that names the field.
"""

import enum
import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Self

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError


class FeedbackKind(enum.StrEnum):
    """What a user can say explicitly about an answer."""

    THUMB = "thumb"
    RATING = "rating"
    COMMENT = "comment"
    CORRECTION = "correction"


_STRICT = pydantic.ConfigDict(extra="forbid", strict=True)


class _Record:
    """The strict JSON form of a frozen dataclass."""

    __slots__ = ()

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Return the record that one line of JSON holds.

        Raises:
            UserError: the line is no JSON object, or a field is missing, unknown, or breaks its
                rule; the message names it.
        """
        try:
            return _adapter(cls).validate_json(line)
        except pydantic.ValidationError as error:
            raise UserError(first_problem(error)) from None

    def to_json(self) -> bytes:
        """Return the record as one line of JSON; `from_json` gives the record back."""
        return _adapter(type(self)).dump_json(self)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Interaction(_Record):
    """One request and its answer.

    `prompt` is the last user message; `messages` is the whole conversation that the client sent.
    `status` is the HTTP status that the client saw: a failed request is an interaction as well.
    """

    request_id: str = pydantic.Field(min_length=1, max_length=200)
    application: str = pydantic.Field(min_length=1, max_length=100)
    time: datetime
    model_version: str
    variant: str
    prompt: str
    response: str
    messages: list[dict[str, str]] = pydantic.Field(default_factory=list)
    session_id: str | None = None
    user_id: str | None = None
    status: int = 200
    finish_reason: str | None = None
    latency_seconds: float | None = None
    num_prompt_tokens: int | None = None
    num_response_tokens: int | None = None

    def __post_init__(self) -> None:
        _require_offset(self.time)

    @property
    def record_id(self) -> str:
        """What makes the interaction unique."""
        return self.request_id

    @property
    def date(self) -> date:
        """The UTC day that the interaction belongs to: its partition."""
        return self.time.astimezone(UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Feedback(_Record):
    """One explicit signal about an interaction; it may arrive days after it.

    `value` is -1 or 1 for a thumb and 1 to 5 for a rating; `text` is the comment, or for a
    correction the answer that the user wanted.
    """

    feedback_id: str = pydantic.Field(min_length=1, max_length=200)
    request_id: str = pydantic.Field(min_length=1, max_length=200)
    application: str = pydantic.Field(min_length=1, max_length=100)
    time: datetime
    kind: FeedbackKind
    value: float | None = None
    text: str | None = None
    user_id: str | None = None

    def __post_init__(self) -> None:
        _require_offset(self.time)
        if self.kind is FeedbackKind.THUMB and self.value not in (-1, 1):
            raise ValueError(f"value of a thumb must be -1 or 1, got {self.value}")
        if self.kind is FeedbackKind.RATING and not 1 <= (self.value or 0) <= 5:
            raise ValueError(f"value of a rating must lie in 1 to 5, got {self.value}")
        if self.kind in (FeedbackKind.COMMENT, FeedbackKind.CORRECTION) and not self.text:
            raise ValueError(f"text of a {self.kind} must not be empty")

    @property
    def record_id(self) -> str:
        """What makes the feedback unique."""
        return self.feedback_id

    @property
    def date(self) -> date:
        """The UTC day that the feedback was given: its partition."""
        return self.time.astimezone(UTC).date()


def first_problem(error: pydantic.ValidationError) -> str:
    """Return the first problem of a validation as `field.path: rule, got value` in one line."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    messages: Mapping[str, str] = {
        "extra_forbidden": "unknown key",
        "unexpected_keyword_argument": "unknown key",
        "missing": "is missing",
    }
    rule = messages.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    shown = repr(problem["input"])
    value = "" if problem["type"] in messages or len(shown) > 60 else f", got {shown}"
    return f"{place}: {rule}{value}" if place else f"{rule}"


def _require_offset(time: datetime) -> None:
    if time.tzinfo is None:
        raise ValueError(f"time must have an offset from UTC, got {time.isoformat()}")


@functools.cache
def _adapter(cls: type[Any]) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(cls)
