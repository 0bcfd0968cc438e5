import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from llm_assets.records import Interaction
from llm_assets.serving.outbox import Outbox

Answer = Callable[[httpx.Request], httpx.Response]


def interaction(number: int) -> Interaction:
    return Interaction(
        request_id=f"r{number}",
        application="helpdesk",
        time=datetime(2026, 5, 1, tzinfo=UTC),
        model_version="helpdesk-v0001",
        variant="champion",
        prompt="Who wrote Faust?",
        response="literature",
    )


class Collector:
    """Keeps what it accepts; `statuses` are its first answers, then it says 200."""

    def __init__(self, *statuses: int | Exception) -> None:
        self.statuses = list(statuses)
        self.accepted: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.statuses.pop(0) if self.statuses else 200
        if isinstance(answer, Exception):
            raise answer
        if answer == 200:
            lines = request.content.splitlines()
            self.accepted += [Interaction.from_json(line).request_id for line in lines]
        return httpx.Response(answer, text="unknown application")


def outbox(collector: Answer, **options: int) -> Outbox:
    client = httpx.AsyncClient(transport=httpx.MockTransport(collector))
    return Outbox(url="http://collector/v1/interactions", client=client, **options)


async def sent(box: Outbox, count: int, *, seconds: float = 0.5) -> None:
    """Hand over interactions, let the sender work for a while, then flush."""
    sending = asyncio.create_task(box.run())
    for number in range(count):
        box.put(interaction(number))
    await asyncio.sleep(seconds)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await box.flush(seconds=1)


def test_interactions_are_sent_in_batches_and_in_order() -> None:
    collector = Collector()
    box = outbox(collector, batch_size=3)
    asyncio.run(sent(box, 8, seconds=0.1))
    assert collector.accepted == [f"r{number}" for number in range(8)]
    assert (box.num_sent, len(box)) == (8, 0)


def test_what_comes_together_is_sent_together() -> None:
    batches: list[int] = []

    def collect(request: httpx.Request) -> httpx.Response:
        batches.append(len(request.content.splitlines()))
        return httpx.Response(200)

    async def trickle(box: Outbox) -> None:
        sending = asyncio.create_task(box.run())
        box.put(interaction(0))
        await asyncio.sleep(0)
        for number in range(1, 5):
            box.put(interaction(number))
        await asyncio.sleep(0.2)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    asyncio.run(trickle(outbox(collect)))
    assert batches == [5]


@pytest.mark.parametrize("failure", [503, 500, 429, httpx.ConnectError("refused")])
def test_a_collector_that_is_away_gets_everything_later(failure: int | Exception) -> None:
    collector = Collector(failure, failure)
    box = outbox(collector)
    asyncio.run(sent(box, 3))
    assert collector.accepted == ["r0", "r1", "r2"]
    assert box.num_dropped == box.num_refused == 0


def test_a_full_queue_drops_and_counts() -> None:
    box = outbox(Collector(), capacity=2)
    for number in range(5):
        box.put(interaction(number))
    assert (len(box), box.num_dropped) == (2, 3)


def test_what_the_collector_calls_invalid_does_not_take_the_rest_with_it() -> None:
    accepted: list[str] = []

    def collect(request: httpx.Request) -> httpx.Response:
        names = [Interaction.from_json(line).request_id for line in request.content.splitlines()]
        if "r3" in names:
            return httpx.Response(400, text="r3 is not welcome")
        accepted.extend(names)
        return httpx.Response(200)

    box = outbox(collect)
    asyncio.run(sent(box, 7, seconds=0.1))
    assert accepted == ["r0", "r1", "r2", "r4", "r5", "r6"]
    assert (box.num_sent, box.num_refused, len(box)) == (6, 1, 0)


def test_what_is_left_is_flushed_at_the_end() -> None:
    collector = Collector()
    box = outbox(collector)
    box.put(interaction(0))
    asyncio.run(box.flush(seconds=1))
    assert collector.accepted == ["r0"]


def test_a_flush_gives_up_and_counts_what_it_leaves() -> None:
    box = outbox(Collector(*[503] * 100))
    box.put(interaction(0))
    asyncio.run(box.flush(seconds=0.1))
    assert box.num_dropped == 1


def test_without_a_collector_nothing_is_kept() -> None:
    box = Outbox(url=None, client=httpx.AsyncClient())
    box.put(interaction(0))
    assert len(box) == 0
