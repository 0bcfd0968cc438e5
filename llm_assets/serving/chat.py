"""The chat request of the OpenAI API: what is accepted, and what of it reaches the engine.

The engine itself is lenient: it ignores what it does not know and obeys fields of its own that
would let a client pick slots or adapters. So only the fields named here pass.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import pydantic

from llm_assets.errors import UserError
from llm_assets.records import EARLIEST, first_problem
from llm_assets.serving.spec import ModelServerSpec

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

# Accepted and without effect here: clients send them as a matter of course.
_WITHOUT_EFFECT = frozenset(
    {"store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "parallel_tool_calls"}
)


class _TextPart(pydantic.BaseModel):
    model_config = _STRICT

    type: Literal["text"]
    text: str


def _joined(content: str | list[_TextPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class Message(pydantic.BaseModel):
    """One message of a conversation; content in parts is joined to one text."""

    model_config = _STRICT

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str | list[_TextPart], pydantic.AfterValidator(_joined)]
    name: str | None = None


class _StreamOptions(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    include_usage: bool = False


class _TextFormat(pydantic.BaseModel):
    model_config = _STRICT

    type: Literal["text"]


class ChatRequest(pydantic.BaseModel):
    """A valid request; anything else is refused with the name of the field.

    `user` and `safety_identifier` both say who asks; `metadata` may hold `session_id` and, for a
    replay of old traffic, `timestamp`.
    """

    model_config = _STRICT

    model: str
    messages: list[Message] = pydantic.Field(min_length=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: float | None = pydantic.Field(default=None, ge=0, le=2)
    top_p: float | None = pydantic.Field(default=None, gt=0, le=1)
    max_tokens: int | None = pydantic.Field(default=None, ge=1)
    max_completion_tokens: int | None = pydantic.Field(default=None, ge=1)
    seed: int | None = pydantic.Field(default=None, ge=0, lt=2**32)
    stop: str | Annotated[list[str], pydantic.Field(max_length=4)] | None = None
    presence_penalty: float | None = pydantic.Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = pydantic.Field(default=None, ge=-2, le=2)
    n: Literal[1] | None = None
    response_format: _TextFormat | None = None
    user: str | None = pydantic.Field(default=None, max_length=200)
    safety_identifier: str | None = pydantic.Field(default=None, max_length=200)
    metadata: dict[str, str] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("metadata", mode="before")
    @classmethod
    def _no_metadata(cls, value: Any) -> Any:
        return {} if value is None else value

    @pydantic.model_validator(mode="before")
    @classmethod
    def _drop_what_has_no_effect(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("the body must be a JSON object")
        return {key: item for key, item in value.items() if key not in _WITHOUT_EFFECT}

    @property
    def user_id(self) -> str | None:
        """Who asks, in either of the two words for it."""
        return self.safety_identifier or self.user

    @property
    def session_id(self) -> str | None:
        """The conversation that the request belongs to, if the client says."""
        return self.metadata.get("session_id")

    @property
    def prompt(self) -> str:
        """The last message of the user, or an empty text where there is none."""
        texts = [message.content for message in self.messages if message.role == "user"]
        return str(texts[-1]) if texts else ""

    @property
    def conversation(self) -> list[dict[str, str]]:
        """All messages as the client sent them, as plain dictionaries."""
        return [{"role": m.role, "content": str(m.content)} for m in self.messages]

    @property
    def num_characters(self) -> int:
        """The length of all messages together."""
        return sum(len(message.content) for message in self.messages)

    @property
    def has_usage_in_stream(self) -> bool:
        """Whether the client asked for a last chunk with token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def client_time(self) -> datetime | None:
        """Return the time that a replay gives in `metadata.timestamp`, or None.

        Raises:
            UserError: it is not ISO 8601 with an offset from UTC, or before any record may be.
        """
        text = self.metadata.get("timestamp")
        if text is None:
            return None
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            time = None
        if time is None or time.tzinfo is None:
            raise UserError(
                f"metadata.timestamp: must be ISO 8601 with an offset from UTC, got {text[:60]!r}"
            )
        if time < EARLIEST:
            raise UserError(f"metadata.timestamp: must not be before {EARLIEST:%Y-%m-%d}")
        return time


def parse_chat_request(body: bytes) -> ChatRequest:
    """Return the request in the body.

    Raises:
        UserError: it is not valid; the message is one line that names the field.
    """
    try:
        return ChatRequest.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise UserError(first_problem(error)) from None


def check_limits(request: ChatRequest, spec: ModelServerSpec) -> None:
    """Refuse what the application does not allow.

    Raises:
        UserError: the message is one line that names field, value, and limit.
    """
    limit = spec.serving.max_prompt_characters
    if request.num_characters > limit:
        raise UserError(
            f"messages: {request.num_characters} characters, the limit of application "
            f"{spec.application!r} is {limit} (serving.max_prompt_characters)"
        )
    if not request.prompt.strip():
        raise UserError("messages: there must be a message of the user that is not empty")


def engine_request(
    request: ChatRequest, spec: ModelServerSpec, *, use_prefix_cache: bool
) -> Mapping[str, Any]:
    """Return what the engine is asked: the application's system prompt and limits applied.

    The engine compares a prompt with the last one of the slot that takes it; with
    `use_prefix_cache` it does not work through their common beginning again.
    """
    messages = request.conversation
    if spec.system_prompt and messages[0]["role"] not in ("system", "developer"):
        messages = [{"role": "system", "content": spec.system_prompt}, *messages]
    asked = request.max_completion_tokens or request.max_tokens or spec.serving.max_tokens
    body: dict[str, Any] = {
        "model": spec.model_version,
        "messages": [
            {**m, "role": "system" if m["role"] == "developer" else m["role"]} for m in messages
        ],
        "max_tokens": min(asked, spec.serving.max_tokens),
        "temperature": 0.0 if request.temperature is None else request.temperature,
        "stream": bool(request.stream),
        "cache_prompt": use_prefix_cache,
    }
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    if spec.serving.record_confidence:
        # Without likeliest tokens to tell, llama.cpp tells no probabilities at all.
        body |= {"logprobs": True, "top_logprobs": 1}
    for key in ("top_p", "seed", "stop", "presence_penalty", "frequency_penalty"):
        value = getattr(request, key)
        if value is not None:
            body[key] = value
    return body
