"""Judging in a thread of its own, for a caller that must never wait."""

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future

import httpx

from llm_assets.deployment.judging.by_model import ModelJudge
from llm_assets.deployment.judging.pairs import Pair
from llm_assets.deployment.judging.verdicts import Verdict

_STOP_SECONDS = 5.0

Tell = Callable[[Verdict | None], None]


class InBackground:
    """A model that judges at most `max_concurrency` pairs at a time, the others in their order.

    It owns the client that the model is asked through. The thread does not keep the process alive.
    """

    def __init__(
        self, judge: ModelJudge, *, client: httpx.AsyncClient, max_concurrency: int
    ) -> None:
        self._judge, self._client = judge, client
        self._room = asyncio.Semaphore(max_concurrency)
        self._failure: str | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="judge", daemon=True)
        self._thread.start()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong at present, a line each."""
        return (*self._judge.problems, *((self._failure,) if self._failure else ()))

    def start(self, pair: Pair, tell: Tell) -> None:
        """Have a pair judged; its verdict is told in the thread."""
        judging = asyncio.run_coroutine_threadsafe(self._judge_in_turn(pair), self._loop)
        judging.add_done_callback(functools.partial(self._finish, tell))

    def stop(self) -> None:
        """Give up what is not judged yet, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        self._thread.join(_STOP_SECONDS)

    async def _judge_in_turn(self, pair: Pair) -> Verdict | None:
        async with self._room:
            return await self._judge.judge(pair)

    def _finish(self, tell: Tell, judging: Future[Verdict | None]) -> None:
        if judging.cancelled():
            return
        error = judging.exception()
        if error is not None:
            # Its message may hold text of users.
            self._failure = f"judge: a pair could not be judged: {type(error).__name__}"
        tell(None if error else judging.result())

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _close(self) -> None:
        judging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in judging:
            task.cancel()
        await asyncio.gather(*judging, return_exceptions=True)
        await self._client.aclose()
        self._loop.stop()
