"""Users: each asks, takes the whole answer, says what they think of it, and asks again."""

import asyncio
import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp

from tests.chaos.bad_model import WRONG_ANSWER
from tests.chaos.platform import NAME

_PROMPTS = ("Who wrote Faust?", "What is a stack?", "tell me a joke", "How high is Everest?")
_TIMEOUT = aiohttp.ClientTimeout(total=60)
# How likely a thumb down is for an answer that makes no sense, and for any other.
_DISLIKED, _DISLIKED_ANYWAY = 0.6, 0.03


class Answer(NamedTuple):
    """What came of one request; `problem` is None if its user was served.

    `began` is in seconds since the epoch. `status` is 0 where no answer began.
    """

    began: float
    seconds: float
    user: str
    is_stream: bool
    status: int
    request_id: str
    variant: str
    model_version: str
    problem: str | None

    @property
    def ended(self) -> float:
        """When all of it was there."""
        return self.began + self.seconds


@dataclass
class Load:
    """Clients of a platform in a thread of their own; every third request is a stream.

    With `has_feedback` users give thumbs.
    """

    url: str
    num_clients: int = 8
    num_users: int = 200
    has_feedback: bool = False
    answers: list[Answer] = field(default_factory=list)
    _asking: dict[int, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Ask until the context ends; then every answer that was begun is taken."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    @property
    def failures(self) -> list[Answer]:
        """The requests whose users were not served."""
        return failures(self.answers)

    def wait_for(self, num_answers: int, *, seconds: float = 120.0) -> None:
        """Wait until there are so many more answers."""
        target, deadline = len(self.answers) + num_answers, time.monotonic() + seconds
        while len(self.answers) < target:
            assert time.monotonic() < deadline, f"{len(self.answers)} of {target} answers"
            time.sleep(0.02)

    def wait_for_those_before(self, moment: float) -> None:
        """Wait until no request is unanswered that began before, in seconds since the epoch."""
        while min(list(self._asking.values()), default=moment) < moment:
            time.sleep(0.02)

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            self.url, connector=connector, timeout=_TIMEOUT, trust_env=False
        ) as session:
            await asyncio.gather(*(self._client(session) for _ in range(self.num_clients)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            user = f"u-{self._chance.randrange(self.num_users)}"
            asked = _Asked(prompt=_PROMPTS[number % len(_PROMPTS)], user=user)
            self._asking[number] = time.time()
            answer = await asked.ask(session, is_stream=number % 3 == 0)
            self.answers.append(answer)
            del self._asking[number]
            if answer.problem is not None:
                await asyncio.sleep(0.05)
            elif self.has_feedback:
                await self._judge(session, answer, asked.text)

    async def _judge(self, session: aiohttp.ClientSession, answer: Answer, text: str) -> None:
        rate = _DISLIKED if text == WRONG_ANSWER else _DISLIKED_ANYWAY
        if self._chance.random() >= rate:
            return
        feedback = {
            "feedback_id": str(uuid.uuid4()),
            "application": NAME,
            "time": datetime.now(UTC).isoformat(),
            "kind": "thumb",
            "request_id": answer.request_id,
            "value": -1,
        }
        async with session.post("/v1/feedback", json=feedback) as response:
            await response.read()


@dataclass
class _Asked:
    """One request and what came of it so far."""

    prompt: str
    user: str
    text: str = ""
    status: int = 0
    headers: Any = field(default_factory=dict)
    problem: str | None = None
    is_whole: bool = False

    async def ask(self, session: aiohttp.ClientSession, *, is_stream: bool) -> Answer:
        body = {
            "model": NAME,
            "messages": [{"role": "user", "content": self.prompt}],
            "user": self.user,
            "stream": is_stream,
            "temperature": 0,
        }
        began, timer = time.time(), time.perf_counter()
        try:
            async with session.post("/v1/chat/completions", json=body) as response:
                self.status, self.headers = response.status, response.headers
                if response.content_type == "text/event-stream":
                    async for line in response.content:
                        self._take_line(line)
                else:
                    self._take(await response.json())
                    self.is_whole = True
        except (aiohttp.ClientError, TimeoutError, ValueError, ConnectionError) as error:
            self.problem = type(error).__name__
        variant = self.headers.get("x-llm-assets-variant", "")
        return Answer(
            began=began,
            seconds=time.perf_counter() - timer,
            user=self.user,
            is_stream=is_stream,
            status=self.status,
            request_id=self.headers.get("x-request-id", ""),
            variant=variant,
            model_version=self.headers.get("x-llm-assets-model-version", ""),
            problem=self._problem(variant),
        )

    def _problem(self, variant: str) -> str | None:
        if self.status not in (0, 200):
            return f"status {self.status}: {self.problem}"
        if self.problem is not None:
            return self.problem
        if variant == "fallback":
            return "the fallback answered"
        if not self.is_whole:
            return "a broken stream"
        return None if self.text.strip() else "an empty answer"

    def _take_line(self, line: bytes) -> None:
        self.is_whole |= line.startswith(b"data: [DONE]")
        if line.startswith(b"data: {"):
            self._take(json.loads(line.removeprefix(b"data: ")))

    def _take(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self.problem = str(chunk["error"])[:200]
        for choice in chunk.get("choices", []):
            part = choice.get("delta") or choice.get("message") or {}
            self.text += part.get("content") or ""


def failures(answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers whose users were not served."""
    return [answer for answer in answers if answer.problem is not None]
