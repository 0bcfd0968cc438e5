"""Interactions on their way to the collector: in the background, in batches, with patience.

Nothing here slows or fails an answer. While the collector is away the interactions wait; only
when the queue is full is one dropped, and counted.
"""

import asyncio
import logging
from dataclasses import dataclass, field

import httpx

from llm_assets.records import Interaction

_LOG = logging.getLogger(__name__)


@dataclass
class Outbox:
    """A bounded queue in front of the collector at `url`; with None as url everything is dropped.

    What comes within `gather_seconds` of an interaction is sent with it, because a batch costs us
    and the collector about as much as a record. `num_dropped` counts interactions that found the
    queue full, and `num_refused` those that the collector called invalid.
    """

    url: str | None
    client: httpx.AsyncClient
    capacity: int = 10_000
    batch_size: int = 200
    gather_seconds: float = 0.05
    longest_pause_seconds: float = 5.0
    num_sent: int = 0
    num_dropped: int = 0
    num_refused: int = 0
    _queue: asyncio.Queue[Interaction] = field(init=False)
    _unsent: list[Interaction] = field(init=False, default_factory=list)
    _size: int = field(init=False)

    def __post_init__(self) -> None:
        self._queue = asyncio.Queue(self.capacity)
        self._size = self.batch_size

    def __len__(self) -> int:
        return self._queue.qsize() + len(self._unsent)

    def put(self, interaction: Interaction) -> None:
        """Hand over an interaction; returns at once."""
        if self.url is None:
            return
        try:
            self._queue.put_nowait(interaction)
        except asyncio.QueueFull:
            self.num_dropped += 1
            if self.num_dropped == 1 or self.num_dropped % 1000 == 0:
                _LOG.error("%d interactions dropped: the queue is full", self.num_dropped)

    async def run(self) -> None:
        """Send until cancelled."""
        pause = 0.1
        while True:
            if not self._unsent:
                self._unsent.append(await self._queue.get())
                if len(self) < self.batch_size:
                    await asyncio.sleep(self.gather_seconds)
            self._fill_batch()
            if await self._send():
                pause = 0.1
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, self.longest_pause_seconds)

    async def flush(self, *, seconds: float) -> None:
        """Send what is left, for at most this long; what then remains is counted as dropped.

        Call it once `run` has been cancelled.
        """
        try:
            async with asyncio.timeout(seconds):
                while len(self):
                    self._fill_batch()
                    if not await self._send():
                        await asyncio.sleep(0.2)
        except TimeoutError:
            self.num_dropped += len(self)
            _LOG.error("%d interactions dropped: the collector is away", len(self))

    def _fill_batch(self) -> None:
        while len(self._unsent) < self.batch_size and not self._queue.empty():
            self._unsent.append(self._queue.get_nowait())

    async def _send(self) -> bool:
        """Send a batch; returns whether to go on at once.

        The collector refuses a batch as a whole, so a refused one is halved until the record that
        is to blame stands alone and is given up. It ignores records that it already has, so
        sending one again after a lost answer does no harm.
        """
        assert self.url is not None
        batch = self._unsent[: self._size]
        lines = b"\n".join(interaction.to_json() for interaction in batch) + b"\n"
        headers = {"content-type": "application/x-ndjson"}
        try:
            response = await self.client.post(self.url, content=lines, headers=headers)
        except httpx.HTTPError as error:
            _LOG.warning("collector: %s; will try again", type(error).__name__)
            return False
        is_refused = response.is_client_error and response.status_code not in (408, 429)
        if not response.is_success and not is_refused:
            _LOG.warning("collector: status %d; will try again", response.status_code)
            return False
        if is_refused and len(batch) > 1:
            self._size = len(batch) // 2
            return True
        if is_refused:
            self.num_refused += 1
            _LOG.error("collector refused %s: %s", batch[0].request_id, response.text[:300])
        else:
            self.num_sent += len(batch)
        self._size = self.batch_size
        del self._unsent[: len(batch)]
        return True
