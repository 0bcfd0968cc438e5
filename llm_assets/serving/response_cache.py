"""Answers that were given before, for whoever asks exactly the same again.

In memory only: answers are text of users, and what is erased elsewhere must not come back from
here. A server that starts again knows none.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

# What decides how an answer is sent, or how fast it is made, but not what it says.
_WITHOUT_EFFECT = ("stream", "stream_options", "cache_prompt")


@dataclass(frozen=True, kw_only=True)
class GivenAnswer:
    """A finished answer, without the request that it was given to."""

    text: str
    finish_reason: str
    num_prompt_tokens: int | None = None
    num_response_tokens: int | None = None
    confidence: float | None = None

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return len(self.text.encode()) + 500


@dataclass
class ResponseCache:
    """The answers that were used last: at most `max_entries`, in at most `max_bytes`."""

    max_entries: int
    max_bytes: int = 64 * 2**20
    num_hits: int = field(init=False, default=0)
    num_misses: int = field(init=False, default=0)
    size_bytes: int = field(init=False, default=0)
    _answers: OrderedDict[bytes, GivenAnswer] = field(init=False, default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes) -> GivenAnswer | None:
        """Return the answer that was given before, or None."""
        answer = self._answers.get(key)
        if answer is None:
            self.num_misses += 1
            return None
        self.num_hits += 1
        self._answers.move_to_end(key)
        return answer

    def put(self, key: bytes, answer: GivenAnswer) -> None:
        """Keep an answer; the ones that were not used for longest make room."""
        self._remove(key)
        self._answers[key] = answer
        self.size_bytes += answer.size_bytes
        while len(self) > self.max_entries or self.size_bytes > self.max_bytes:
            self._remove(next(iter(self._answers)))

    def _remove(self, key: bytes) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self.size_bytes -= answer.size_bytes


def cache_key(asked: Mapping[str, Any]) -> bytes | None:
    """Return what equal requests to the engine share, or None where the answer is drawn at random.

    >>> cache_key({"temperature": 0.5}) is None
    True
    >>> cache_key({"temperature": 0, "stream": True}) == cache_key({"temperature": 0.0})
    True
    """
    if asked["temperature"] != 0:
        return None
    decisive = {name: asked[name] for name in asked if name not in _WITHOUT_EFFECT}
    content = orjson.dumps({**decisive, "temperature": 0}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).digest()
