import asyncio
import errno
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm_assets.feedback.background import Background
from llm_assets.feedback.collector import Accepted, BusyError, Collector
from llm_assets.feedback.log import Log, Record
from tests.feedback.test_collector import Cleaning, ids
from tests.records import an_interaction


class Slow(Collector):
    """Takes nothing until it `may_write`, and then raises `error` if there is one."""

    def __init__(self, home: Path, error: Exception | None = None) -> None:
        super().__init__(home, Cleaning())
        self.may_write = asyncio.Event()
        self.error = error

    async def submit(self, records: Sequence[Record]) -> Accepted:
        await self.may_write.wait()
        if self.error is not None:
            raise self.error
        return await super().submit(records)


def test_what_was_handed_over_is_on_disk_after_a_flush(tmp_path: Path) -> None:
    async def session() -> None:
        collector = Collector(tmp_path, Cleaning())
        running = asyncio.create_task(collector.run())
        background = Background(collector)
        for number in range(20):
            background.put(an_interaction(f"r{number}"))
        assert Log.interactions(tmp_path).partitions() == []
        await background.flush(seconds=30)
        running.cancel()
        assert background.num_dropped == 0

    asyncio.run(session())
    assert len(ids(Log.interactions(tmp_path))) == 20


def test_only_so_many_wait_for_a_slow_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def session() -> None:
        collector = Slow(tmp_path)
        running = asyncio.create_task(collector.run())
        background = Background(collector, capacity=3)
        for number in range(5):
            background.put(an_interaction(f"r{number}"))
        await background.flush(seconds=0.01)
        assert background.num_dropped == 2
        collector.may_write.set()
        await background.flush(seconds=30)
        background.put(an_interaction("r5"))
        await background.flush(seconds=30)
        running.cancel()
        assert background.num_dropped == 2

    asyncio.run(session())
    assert ids(Log.interactions(tmp_path)) == ["r0", "r1", "r2", "r5"]
    assert caplog.messages == ["1 records dropped, the last one because: too many wait"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space"), BusyError("jane@example.com", retry_after_seconds=1)],
)
def test_what_the_collector_cannot_take_is_counted_and_not_quoted(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def session() -> int:
        collector = Slow(tmp_path, error)
        collector.may_write.set()
        background = Background(collector)
        with caplog.at_level(logging.ERROR):
            background.put(an_interaction("r1", prompt="jane@example.com"))
            await background.flush(seconds=30)
        return background.num_dropped

    assert asyncio.run(session()) == 1
    assert type(error).__name__ in caplog.text
    assert "jane" not in caplog.text
