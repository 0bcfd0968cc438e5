"""Asking a model behind an endpoint that speaks OpenAI's API, with patience and within a budget."""

import asyncio
import email.utils
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

_MAX_TOKENS = 1024
_MAX_TRIES = 8
_LONGEST_PAUSE_SECONDS = 60.0
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]{0,59}", re.ASCII)


class NoReplyError(RuntimeError):
    """A question stays without a reply; `Endpoint.problem` says why."""


class Endpoint:
    """A model behind `base_url`, asked through a client.

    It is asked at most `max_calls` times. A call that the endpoint refused does not count; one that
    ran into the timeout does, because it may have been paid for. `problem` says in one line why
    calls fail at present, and is None once one succeeds.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        client: httpx.AsyncClient,
        timeout_seconds: float,
        max_calls: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.model = model
        self.problem: str | None = None
        self._url = httpx.URL(f"{base_url.rstrip('/')}/chat/completions")
        self._client, self._timeout_seconds = client, timeout_seconds
        self._num_left, self._sleep = max_calls, sleep

    def request(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Return the request that asks for a reply to messages; the same ones make the same."""
        return {
            "model": self.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": _MAX_TOKENS,
        }

    async def ask(self, request: Mapping[str, Any]) -> str:
        """Return the text of the reply; it is empty for a reply that is no chat completion.

        While the endpoint is away or busy the request is sent again, with growing pauses or those
        that the endpoint asks for.

        Raises:
            NoReplyError: the endpoint refused the request, the tries were used up, or the budget.
        """
        for attempt in range(_MAX_TRIES):
            response = await self._send(request)
            if response is not None and response.is_success:
                self.problem = None
                return _text_of(response)
            if response is not None and not _is_passing(response):
                break
            if attempt + 1 < _MAX_TRIES:
                asked_for = None if response is None else _retry_after(response)
                pause = 0.5 * 2**attempt if asked_for is None else asked_for
                await self._sleep(min(pause, _LONGEST_PAUSE_SECONDS))
        raise NoReplyError

    async def _send(self, request: Mapping[str, Any]) -> httpx.Response | None:
        """Return the endpoint's answer, or None if there was none; both are told in `problem`."""
        if self._num_left <= 0:
            self.problem = f"judge {self.model}: the budget of calls is spent"
            raise NoReplyError
        self._num_left -= 1
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.post(self._url, json=request)
        except TimeoutError:
            self._tell(f"no answer within {self._timeout_seconds:g} s")
            return None
        except httpx.HTTPError as error:
            self._num_left += 1
            self._tell(type(error).__name__)
            return None
        if not response.is_success:
            self._num_left += 1
            self._tell(f"status {response.status_code}{_code_of(response)}")
        return response

    def _tell(self, what: str) -> None:
        self.problem = f"judge {self.model} at {self._url.netloc.decode()}: {what}"


def _is_passing(response: httpx.Response) -> bool:
    return response.is_server_error or response.status_code in (408, 429)


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that a response asks to wait: told as such, or as a time (RFC 9110)."""
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value, re.ASCII):
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
        told = email.utils.parsedate_to_datetime(response.headers.get("date", ""))
        return max(0.0, (until - told).total_seconds())
    except (ValueError, TypeError):  # one of them is no time, or only one has an offset
        return None


def _text_of(response: httpx.Response) -> str:
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return content if isinstance(content, str) else ""


def _code_of(response: httpx.Response) -> str:
    """Return OpenAI's code of an error, such as `model_not_found`; its message may quote users."""
    try:
        code = response.json()["error"]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f" ({code})" if isinstance(code, str) and _PLAIN_NAME.fullmatch(code) else ""
