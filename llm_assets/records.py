"""The records that cross stages: interactions and feedback, with their JSON form.

The JSON form is what the collector accepts and what its log holds, one object a line. Reading is
strict: an unknown or missing field, a wrong type, or a time without an offset is a `UserError`
that names the field.
"""

import enum
import functools
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Self

import pydantic
import pydantic_core
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError


class FeedbackKind(enum.StrEnum):
    """What is said about an answer: by a user, by a judge, or by what the user did next."""

    THUMB = "thumb"
    RATING = "rating"
    COMMENT = "comment"
    CORRECTION = "correction"
    PREFERENCE = "preference"
    SCORE = "score"
    REPHRASE = "rephrase"
    REGENERATE = "regenerate"
    ABANDON = "abandon"
    COPY = "copy"
    EDIT = "edit"
    CORRECTION_PHRASE = "correction_phrase"
    THANKS = "thanks"

    @property
    def is_implicit(self) -> bool:
        """Whether it is concluded from what the user did, not from what they said of it."""
        return self not in _EXPLICIT


_EXPLICIT = frozenset(
    {
        FeedbackKind.THUMB,
        FeedbackKind.RATING,
        FeedbackKind.COMMENT,
        FeedbackKind.CORRECTION,
        FeedbackKind.PREFERENCE,
        FeedbackKind.SCORE,
    }
)
_NEEDS_TEXT = frozenset(
    {
        FeedbackKind.COMMENT,
        FeedbackKind.CORRECTION,
        FeedbackKind.PREFERENCE,
        FeedbackKind.EDIT,
    }
)

# An application's name is a folder's name as well, so it must not lead out of its parent.
APPLICATION_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"

# The first year in which an API answered chats; the tables begin here.
EARLIEST = datetime(2023, 1, 1, tzinfo=UTC)

# The variant of an interaction that another model answered because ours could not.
FALLBACK_VARIANT = "fallback"

# The variant of an answer that no user saw: the challenger's, to a copy of a user's request.
SHADOW_VARIANT = "shadow"

Identifier = Annotated[str, pydantic.Field(min_length=1, max_length=200)]
ApplicationName = Annotated[str, pydantic.Field(pattern=APPLICATION_PATTERN)]
# Tables keep whole numbers in 64 bits.
_Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]


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
            raise UserError(first_problem_of_data(error)) from None

    def to_json(self) -> bytes:
        """Return the record as one line of JSON; `from_json` gives the record back."""
        return _adapter(type(self)).dump_json(self)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Interaction(_Record):
    """One request and its answer.

    `prompt` is the last user message; `messages` is the whole conversation that the client sent.
    `status` is the HTTP status that the client saw: a failed request is an interaction as well.
    `aliases` are other ids under which feedback may speak of it, such as those of its trace and
    span; where several interactions share one, the latest of them is meant. `confidence` is how
    sure the model was of its answer, from 0 to 1 (see `confidence_of`). `first_token_seconds` is
    how long the first text of the answer took, and `is_cached` whether the answer was given before.
    """

    request_id: Identifier
    application: ApplicationName
    time: datetime
    model_version: str
    variant: str
    prompt: str
    response: str
    messages: list[dict[str, str]] = pydantic.Field(default_factory=list)
    session_id: str | None = None
    user_id: str | None = None
    status: _Count = 200
    finish_reason: str | None = None
    latency_seconds: float | None = None
    num_prompt_tokens: _Count | None = None
    num_response_tokens: _Count | None = None
    aliases: list[Identifier] = pydantic.Field(default_factory=list)
    confidence: float | None = pydantic.Field(default=None, ge=0, le=1)
    first_token_seconds: float | None = None
    is_cached: bool = False

    def __post_init__(self) -> None:
        _require_known_time(self.time)

    @property
    def record_id(self) -> str:
        """What makes the interaction unique (see `interaction_id`)."""
        return interaction_id(self.request_id, self.variant)

    @property
    def date(self) -> date:
        """The UTC day that the interaction belongs to: its partition."""
        return self.time.astimezone(UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Feedback(_Record):
    """One signal about an interaction, or about a session; it may arrive days later.

    `request_id` is an interaction's id or one of its aliases; where only `session_id` is given it
    speaks of the session as a whole. `value` is -1 or 1 for a thumb, 1 to 5 for a rating, and any
    number for a score, which `name` says the meaning of. `text` is the comment; for a correction
    or an edit the answer that the user wanted; for a preference the preferred answer, with
    `rejected` as the other one. Of an implicit signal `rule` is the rule that found it, with its
    version, and `confidence` how sure it is, from 0 to 1.
    """

    feedback_id: Identifier
    application: ApplicationName
    time: datetime
    kind: FeedbackKind
    request_id: Identifier | None = None
    session_id: Identifier | None = None
    value: float | None = None
    text: str | None = None
    rejected: str | None = None
    name: str | None = None
    user_id: str | None = None
    confidence: float | None = pydantic.Field(default=None, ge=0, le=1)
    rule: str | None = None

    def __post_init__(self) -> None:
        _require_known_time(self.time)
        if self.request_id is None and self.session_id is None:
            raise ValueError("request_id or session_id must be given")
        if self.kind is FeedbackKind.THUMB and self.value not in (-1, 1):
            raise ValueError(f"value of a thumb must be -1 or 1, got {self.value}")
        if self.kind is FeedbackKind.RATING and not 1 <= (self.value or 0) <= 5:
            raise ValueError(f"value of a rating must lie in 1 to 5, got {self.value}")
        if self.kind is FeedbackKind.SCORE and not (self.name and _is_finite(self.value)):
            raise ValueError("a score must have a name and a finite value")
        if self.kind in _NEEDS_TEXT and not self.text:
            raise ValueError(f"text of a {self.kind} must not be empty")
        if self.kind is FeedbackKind.PREFERENCE and not self.rejected:
            raise ValueError("rejected of a preference must not be empty")

    @property
    def record_id(self) -> str:
        """What makes the feedback unique."""
        return self.feedback_id

    @property
    def date(self) -> date:
        """The UTC day that the feedback was given: its partition."""
        return self.time.astimezone(UTC).date()


def interaction_id(request_id: str, variant: str) -> str:
    """Return what makes an interaction unique: a shadow's answer has its request's id as well.

    >>> interaction_id("r1", "challenger"), interaction_id("r1", SHADOW_VARIANT)
    ('r1', 'r1#shadow')
    """
    return f"{request_id}#shadow" if variant == SHADOW_VARIANT else request_id


def confidence_of(logprobs: Sequence[Any]) -> float | None:
    """Return how sure a model was of an answer, from the log probabilities of its tokens.

    `logprobs` is what OpenAI's API has under `choices[0].logprobs.content`: `token` and `logprob`
    of each. The confidence is the geometric mean of the probabilities, so a long answer is not
    less sure for being long (the length-normalised score of Malinin and Gales, "Uncertainty
    estimation in autoregressive structured prediction", 2021). A last token without text ends the
    answer; some engines tell it, and not in a stream, so it never counts. None for an answer
    without tokens, and for what is no such list.

    >>> pieces = [("tri", math.log(0.9)), ("via", math.log(0.4)), ("", -5.0)]
    >>> round(confidence_of([{"token": text, "logprob": value} for text, value in pieces]), 3)
    0.6
    """
    found = [_token(entry) for entry in logprobs]
    tokens = [token for token in found if token is not None]
    if len(tokens) < len(found):
        return None
    if tokens and not tokens[-1][0]:
        del tokens[-1]
    if not tokens:
        return None
    return min(1.0, math.exp(sum(logprob for _, logprob in tokens) / len(tokens)))


def _token(entry: Any) -> tuple[str, float] | None:
    fields: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
    text, logprob = fields.get("token"), fields.get("logprob")
    if not isinstance(text, str) or isinstance(logprob, bool):
        return None
    # A log probability is never above 0, but for rounding.
    if not isinstance(logprob, float | int) or not logprob <= 1e-3:
        return None
    # A whole number may be too large for a float, and impossible tokens have -3.4e38 or so.
    return text, float(max(logprob, -1e300))


def first_problem(error: pydantic.ValidationError) -> str:
    """Return the first problem of a configuration as `field.path: rule, got value` in one line.

    For what the operator wrote: it shows the value. For what users wrote see
    `first_problem_of_data`.
    """
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    shown = repr(problem["input"])
    value = "" if problem["type"] in _RULES or len(shown) > 60 else f", got {shown}"
    return _one_line(place, _rule(problem), value)


def first_problem_of_data(error: pydantic.ValidationError) -> str:
    """Return the first problem of a record or a request in one line that quotes no text of it.

    Text may be personal data, so of texts only the length is told; numbers, booleans, and null
    are shown. A key that is no plain name is not shown either: a user may have chosen it.
    """
    problem = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(
        str(part) if isinstance(part, int) or _PLAIN_NAME.fullmatch(part) else "<key>"
        for part in problem["loc"]
    )
    # A rule of the record as a whole says itself what it is about.
    is_shown = place and problem["type"] not in _RULES
    value = f", got {described(problem['input'])}" if is_shown else ""
    return _one_line(place, _rule(problem), value)


def described(value: Any) -> str:
    """Return what may be told of a value in an error or a log: never its text.

    >>> described("jane@example.com"), described(7), described([1])
    ('a text of 16 characters', '7', 'a list')
    """
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a number of over 20 digits"
    if isinstance(value, str | bytes):
        return f"a text of {len(value)} characters"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else type(value).__name__


_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]{0,59}", re.ASCII)
_RULES: Mapping[str, str] = {
    "extra_forbidden": "unknown key",
    "unexpected_keyword_argument": "unknown key",
    "missing": "is missing",
}


def _rule(problem: pydantic_core.ErrorDetails) -> str:
    return _RULES.get(problem["type"], problem["msg"].removeprefix("Value error, "))


def _one_line(place: str, rule: str, value: str) -> str:
    return f"{place}: {rule}{value}" if place else rule


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _require_known_time(time: datetime) -> None:
    if time.tzinfo is None:
        raise ValueError(f"time must have an offset from UTC, got {time.isoformat()}")
    if time < EARLIEST:
        raise ValueError(f"time must not be before {EARLIEST:%Y-%m-%d}, got {time.isoformat()}")


@functools.cache
def _adapter(cls: type[Any]) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(cls)
