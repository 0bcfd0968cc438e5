"""Records on their way to the collector while nobody waits for them."""

import asyncio
import logging

from llm_assets.errors import UserError
from llm_assets.feedback.collector import BusyError, Collector
from llm_assets.feedback.log import Record

_LOG = logging.getLogger(__name__)


class Background:
    """Hands records to a collector of the same process; at most `capacity` of them wait.

    `num_dropped` counts those that found no room, and those that the collector could not take.
    """

    def __init__(self, collector: Collector, *, capacity: int = 1000) -> None:
        self.num_dropped = 0
        self._collector = collector
        self._capacity = capacity
        self._waiting: set[asyncio.Task[None]] = set()

    def put(self, record: Record) -> None:
        """Hand over a record; returns at once."""
        if len(self._waiting) >= self._capacity:
            self._drop("too many wait")
            return
        task = asyncio.create_task(self._submit(record))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def flush(self, *, seconds: float) -> None:
        """Wait until all are on disk, for at most this long."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=seconds)

    async def _submit(self, record: Record) -> None:
        try:
            await self._collector.submit([record])
        except (BusyError, OSError, UserError) as error:
            # Its message may hold what nobody may log.
            self._drop(type(error).__name__)

    def _drop(self, reason: str) -> None:
        self.num_dropped += 1
        if self.num_dropped == 1 or self.num_dropped % 1000 == 0:
            _LOG.error("%d records dropped, the last one because: %s", self.num_dropped, reason)
