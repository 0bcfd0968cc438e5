"""Clients in a closed loop: each asks, waits for the whole answer, checks it, and asks again."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp

Body = dict[str, Any]

_TIMEOUT = aiohttp.ClientTimeout(total=900)


class Reply(NamedTuple):
    """One answer: what it took, and why it does not count if it does not.

    `first_seconds` is when its first text came, of an answer that was not streamed when all came.
    """

    seconds: float
    first_seconds: float
    text: str
    num_prompt_tokens: int
    num_tokens: int
    is_cached: bool
    problem: str | None


class Asked(NamedTuple):
    """The replies in the order of the requests, and the seconds that all of them took together."""

    replies: list[Reply]
    seconds: float

    @property
    def good(self) -> list[Reply]:
        """The replies that count."""
        return [reply for reply in self.replies if reply.problem is None]

    @property
    def problems(self) -> list[str]:
        """Why the others do not."""
        return [reply.problem for reply in self.replies if reply.problem is not None]


def ask(url: str, bodies: Sequence[Body], *, num_clients: int, keeps: bool = True) -> Asked:
    """Ask everything, by that many clients at a time; `keeps` says whether connections are kept."""
    return asyncio.run(_ask(url, bodies, num_clients, keeps))


def ask_in_turn(
    urls: Mapping[str, str], bodies: Iterable[Body], *, num_warm_up: int
) -> dict[str, list[Reply]]:
    """Ask every body at every URL, by one client, so that whatever disturbs meets all of them.

    The first `num_warm_up` replies of each are left out.
    """
    return asyncio.run(_ask_in_turn(urls, bodies, num_warm_up))


async def _ask(url: str, bodies: Sequence[Body], num_clients: int, keeps: bool) -> Asked:
    waiting, replies = iter(enumerate(bodies)), dict[int, Reply]()
    async with _session(num_clients, keeps=keeps) as session:
        began = time.perf_counter()
        clients = (_client(session, url, waiting, replies) for _ in range(num_clients))
        await asyncio.gather(*clients)
        seconds = time.perf_counter() - began
    return Asked([replies[number] for number in range(len(bodies))], seconds)


async def _client(
    session: aiohttp.ClientSession,
    url: str,
    waiting: Iterator[tuple[int, Body]],
    replies: dict[int, Reply],
) -> None:
    for number, body in waiting:
        replies[number] = await _reply(session, url, body)


async def _ask_in_turn(
    urls: Mapping[str, str], bodies: Iterable[Body], num_warm_up: int
) -> dict[str, list[Reply]]:
    replies: dict[str, list[Reply]] = {name: [] for name in urls}
    async with _session(len(urls), keeps=True) as session:
        for body in bodies:
            for name, url in urls.items():
                replies[name].append(await _reply(session, url, body))
    return {name: found[num_warm_up:] for name, found in replies.items()}


def _session(num: int, *, keeps: bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=num, force_close=not keeps)
    return aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, trust_env=False)


async def _reply(session: aiohttp.ClientSession, url: str, body: Body) -> Reply:
    began = time.perf_counter()
    taken, headers, first = _Taken(), {}, None
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            headers = response.headers
            if response.status != 200:
                taken.problem = f"{response.status}: {(await response.text())[:200]}"
            elif response.content_type == "text/event-stream":
                async for line in response.content:
                    taken.add_line(line)
                    if first is None and taken.text:
                        first = time.perf_counter() - began
            else:
                taken.add(await response.json())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        taken.problem = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    if headers.get("x-llm-assets-variant") == "fallback":
        taken.problem = "the fallback answered"
    elif taken.problem is None and not taken.text:
        taken.problem = "an empty answer"
    return Reply(
        seconds,
        seconds if first is None else first,
        taken.text,
        taken.num_prompt_tokens,
        taken.num_tokens,
        headers.get("x-llm-assets-cache") == "hit",
        taken.problem,
    )


class _Taken:
    """What came of an answer so far."""

    def __init__(self) -> None:
        self.text = ""
        self.num_prompt_tokens = self.num_tokens = 0
        self.problem: str | None = None

    def add_line(self, line: bytes) -> None:
        if line.startswith(b"data: {"):
            self.add(json.loads(line.removeprefix(b"data: ")))

    def add(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self.problem = str(chunk["error"])[:200]
        for choice in chunk.get("choices", []):
            part = choice.get("delta") or choice.get("message") or {}
            self.text += part.get("content") or ""
        if usage := chunk.get("usage"):
            self.num_prompt_tokens = usage["prompt_tokens"]
            self.num_tokens = usage["completion_tokens"]
