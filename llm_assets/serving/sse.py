"""Reading a streamed answer while it passes by: server-sent events, and what they add up to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from llm_assets.records import confidence_of
from llm_assets.serving.engine_client import json_object


@dataclass
class Answer:
    """What is known of an answer so far; the counts stay None until the engine tells them.

    `has_text` says whether there is anything to read in it, which white space is not.
    """

    parts: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    num_prompt_tokens: int | None = None
    num_response_tokens: int | None = None
    logprobs: list[Any] = field(default_factory=list)
    has_text: bool = False

    @property
    def confidence(self) -> float | None:
        """How sure the model was, or None where the engine did not tell (see `confidence_of`)."""
        return confidence_of(self.logprobs)

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(self.parts)

    def add(self, chunk: dict[str, Any]) -> None:
        """Take in a streamed chunk or a whole completion: both have `choices` and `usage`."""
        for choice in chunk.get("choices", []):
            part = choice.get("delta") or choice.get("message") or {}
            text = part.get("content") or ""
            self.parts.append(text)
            self.has_text = self.has_text or bool(text.strip())
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self.logprobs += (choice.get("logprobs") or {}).get("content") or []
        usage = chunk.get("usage")
        if usage:
            self.num_prompt_tokens = usage["prompt_tokens"]
            self.num_response_tokens = usage["completion_tokens"]


@dataclass
class EventSplitter:
    r"""Cuts a byte stream into whole server-sent events, however the bytes are chopped.

    >>> splitter = EventSplitter()
    >>> list(splitter.feed(b"data: {\"a\"")), list(splitter.feed(b": 1}\n\ndata: [DONE]\n\n"))
    ([], [b'data: {"a": 1}\n\n', b'data: [DONE]\n\n'])
    """

    _rest: bytes = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the events that are complete now, each with its blank line."""
        *events, self._rest = (self._rest + chunk).split(b"\n\n")
        for event in events:
            yield event + b"\n\n"


def event_data(event: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an event, or None for `[DONE]`, comments, and pings.

    Raises:
        EngineError: it should be one, and is none.
    """
    if not event.startswith(b"data: {"):
        return None
    return json_object(event.removeprefix(b"data: "))


def without_logprobs(content: bytes, chunk: dict[str, Any]) -> bytes:
    """Return a completion or an event of a stream, whose object is `chunk`, without probabilities.

    We ask for them, clients do not. What holds none stays as it is, byte for byte.
    """
    choices = chunk.get("choices", [])
    if not any("logprobs" in choice for choice in choices):
        return content
    kept = [{key: choice[key] for key in choice if key != "logprobs"} for choice in choices]
    stripped = orjson.dumps({**chunk, "choices": kept})
    return b"data: " + stripped + b"\n\n" if content.startswith(b"data: ") else stripped
