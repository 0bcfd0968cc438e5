"""The places at an engine and the queue in front of them.

The engine keeps a queue of its own, but its few threads wait with each request, cannot tell who
has left, and answer no question about health meanwhile. So only as many requests reach it as it
works on at once.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

# How much the latest answer counts in the mean of all.
_WEIGHT_OF_LATEST = 0.1


class NoPlaceError(Exception):
    """All places are taken and the queue is full."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"the queue is full for about {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


@dataclass
class Places:
    """As many requests as there are places are worked on; `max_waiting` more wait for their turn.

    `num_taken` and `num_waiting` are those of this moment, `num_shed` were sent away.
    """

    num_places: int
    max_waiting: int
    num_taken: int = field(init=False, default=0)
    num_waiting: int = field(init=False, default=0)
    num_shed: int = field(init=False, default=0)
    _mean_seconds: float | None = field(init=False, default=None)
    _free: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.num_places)

    @property
    def retry_after_seconds(self) -> int:
        """How long the queue of this moment will take; at least 1."""
        seconds = self.num_waiting * (self._mean_seconds or 0.0) / self.num_places
        return max(1, math.ceil(seconds))

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a place and keep it for the block; whoever is cancelled frees it.

        Raises:
            NoPlaceError: the queue is full.
        """
        if self._free.locked() and self.num_waiting >= self.max_waiting:
            self.num_shed += 1
            raise NoPlaceError(self.retry_after_seconds)
        self.num_waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.num_waiting -= 1
        self.num_taken += 1
        started = perf_counter()
        try:
            yield
        finally:
            self._learn(perf_counter() - started)
            self.num_taken -= 1
            self._free.release()

    def _learn(self, seconds: float) -> None:
        mean = seconds if self._mean_seconds is None else self._mean_seconds
        self._mean_seconds = mean + _WEIGHT_OF_LATEST * (seconds - mean)
