"""Answers in the form of the OpenAI API, for texts that come from no engine."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A whole answer; counts that are None are told to nobody."""

    request_id: str
    time: datetime
    model_version: str
    text: str
    finish_reason: str = "stop"
    num_prompt_tokens: int | None = None
    num_response_tokens: int | None = None

    def to_json(self) -> bytes:
        """Return it as one object."""
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return orjson.dumps({**self._head("chat.completion"), "choices": [choice], **self._usage()})

    def events(self, *, has_usage: bool) -> Iterator[bytes]:
        """Yield the events of a stream, with the counts in a last chunk if they are asked for."""
        head = self._head("chat.completion.chunk")
        delta = {"role": "assistant", "content": self.text}
        yield _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        last = {"index": 0, "delta": {}, "finish_reason": self.finish_reason}
        yield _event({**head, "choices": [last]})
        if has_usage and self._usage():
            yield _event({**head, "choices": [], **self._usage()})
        yield b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.request_id}",
            "object": kind,
            "created": int(self.time.timestamp()),
            "model": self.model_version,
        }

    def _usage(self) -> dict[str, Any]:
        if self.num_prompt_tokens is None or self.num_response_tokens is None:
            return {}
        counts = {
            "prompt_tokens": self.num_prompt_tokens,
            "completion_tokens": self.num_response_tokens,
            "total_tokens": self.num_prompt_tokens + self.num_response_tokens,
        }
        return {"usage": counts}


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
