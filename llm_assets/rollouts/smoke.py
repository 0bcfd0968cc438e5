"""The smoke test: the challenger's server answers on its own port, before any user asks it."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx

from llm_assets.records import SHADOW_VARIANT
from llm_assets.serving.headers import VARIANT

_PAUSE_SECONDS = 0.2


class Outcome(NamedTuple):
    """Whether a server passed; `problem` says why not."""

    has_passed: bool
    problem: str = ""


@dataclass
class SmokeTest:
    """Asks a server some prompts in a thread; `outcome` is None until all were answered.

    A server that cannot be reached is tried again for `timeout_seconds`, because it may just have
    been started again. The thread does not keep the process alive.
    """

    url: str
    application: str
    prompts: Sequence[str]
    timeout_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    outcome: Outcome | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        threading.Thread(target=self._run, name="smoke", daemon=True).start()

    def _run(self) -> None:
        deadline = time.monotonic() + self.timeout_seconds
        # What answers nobody is recorded apart, like the answers to copies.
        headers = {**self.headers, VARIANT: SHADOW_VARIANT}
        with httpx.Client(timeout=self.timeout_seconds, trust_env=False, headers=headers) as client:
            problems = (self._problem(client, prompt, deadline) for prompt in self.prompts)
            problem = next((problem for problem in problems if problem), "")
        self.outcome = Outcome(not problem, problem)

    def _problem(self, client: httpx.Client, prompt: str, deadline: float) -> str:
        body = {"model": self.application, "messages": [{"role": "user", "content": prompt}]}
        while True:
            try:
                answer = client.post(f"{self.url}/v1/chat/completions", json=body)
            except httpx.ConnectError as error:
                if time.monotonic() >= deadline:
                    return f"no answer: {type(error).__name__}"
                time.sleep(_PAUSE_SECONDS)
            except httpx.HTTPError as error:
                return f"no answer: {type(error).__name__}"
            else:
                break
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        return "" if _text(answer).strip() else "an empty answer"


def _text(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["choices"][0]["message"]["content"] or "")
    except (ValueError, LookupError, TypeError):
        return ""
