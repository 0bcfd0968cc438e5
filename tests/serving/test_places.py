import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiohttp import web

from llm_assets.serving.places import NoPlaceError, Places
from llm_assets.serving.spec import ModelServerSpec
from tests.serving.recording import ASK, PATH, Served, completion, serving


def with_places(
    use: Callable[[Places], Awaitable[Any]], *, num_places: int = 2, max_waiting: int = 3
) -> Any:
    async def main() -> Any:
        return await use(Places(num_places, max_waiting))

    return asyncio.run(main())


async def occupy(places: Places, *, seconds: float = 60.0) -> None:
    async with places.take():
        await asyncio.sleep(seconds)


def test_only_so_many_are_worked_on_and_only_so_many_wait() -> None:
    async def use(places: Places) -> None:
        tasks = [asyncio.create_task(occupy(places)) for _ in range(5)]
        await asyncio.sleep(0)
        assert (places.num_taken, places.num_waiting) == (2, 3)
        with pytest.raises(NoPlaceError):
            await occupy(places)
        assert (places.num_shed, places.num_waiting) == (1, 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (places.num_taken, places.num_waiting) == (0, 0)
        await asyncio.wait_for(occupy(places, seconds=0), 1)

    with_places(use)


def test_the_first_who_waits_is_the_next() -> None:
    async def use(places: Places) -> list[int]:
        order: list[int] = []

        async def work(number: int) -> None:
            async with places.take():
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(work(number) for number in range(4)))
        return order

    assert with_places(use, num_places=1) == [0, 1, 2, 3]


def test_who_leaves_the_queue_makes_room_in_it() -> None:
    async def use(places: Places) -> None:
        working, waiting = (asyncio.create_task(occupy(places)) for _ in range(2))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        latest = asyncio.create_task(occupy(places))
        await asyncio.sleep(0)
        assert places.num_waiting == 1
        working.cancel()
        latest.cancel()
        await asyncio.gather(working, latest, return_exceptions=True)

    with_places(use, num_places=1, max_waiting=1)


def test_the_time_to_wait_is_that_of_the_queue() -> None:
    async def use(places: Places) -> list[int]:
        told = [places.retry_after_seconds]
        places._mean_seconds = 3.0
        tasks = [asyncio.create_task(occupy(places)) for _ in range(2)]
        for _ in range(3):
            tasks.append(asyncio.create_task(occupy(places)))
            await asyncio.sleep(0)
            told.append(places.retry_after_seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return told

    assert with_places(use) == [1, 2, 3, 5]  # 1, 2, 3 times 3 s over 2 places


def test_the_mean_time_is_learnt_from_what_is_done() -> None:
    async def use(places: Places) -> None:
        await occupy(places, seconds=0.05)
        assert places._mean_seconds == pytest.approx(0.05, abs=0.03)

    with_places(use)


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(0.2)
    return web.json_response(completion())


def ask_at_once(served: Served, count: int, **options: Any) -> list[httpx.Response]:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        asks = (client.post(PATH, json=ASK, **options) for _ in range(count))
        return await asyncio.gather(*asks)

    return served.run(use)


@pytest.mark.parametrize("headers", [{}, {"x-llm-assets-trial": "ab"}])
def test_a_request_for_which_there_is_no_room_is_sent_away_at_once(
    spec: ModelServerSpec, headers: dict[str, str]
) -> None:
    served = Served(serving(spec, parallel_requests=1, max_waiting_requests=1), slow)
    responses = ask_at_once(served, 4, headers=headers)
    assert sorted(response.status_code for response in responses) == [200, 200, 503, 503]
    shed = next(response for response in responses if response.status_code == 503)
    assert shed.headers["retry-after"] == "1"
    # The gateway asks nobody else then, so the record is ours to make, also in a trial.
    assert shed.headers["x-envoy-ratelimited"] == "true"
    assert "try again in 1 s" in shed.json()["error"]["message"]
    assert sorted(record.finish_reason or "" for record in served.recorded) == [
        *("shed", "shed", "stop", "stop")
    ]


def test_a_request_that_waits_too_long_is_a_504(spec: ModelServerSpec) -> None:
    limits = {"parallel_requests": 1, "timeout_seconds": 0.3}
    served = Served(serving(spec, **limits), slow)
    statuses = sorted(response.status_code for response in ask_at_once(served, 2))
    assert statuses == [200, 504]
    assert len(served.asked) == 2
