import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from llm_assets.serving.connection import while_connected


async def leaving() -> Any:
    await asyncio.sleep(0.02)
    return {"type": "http.disconnect"}


async def staying() -> Any:
    await asyncio.sleep(60)


def test_work_is_done_while_the_client_stays() -> None:
    async def work() -> int:
        await asyncio.sleep(0.01)
        return 7

    assert asyncio.run(while_connected(staying, work())) == 7


def test_work_is_stopped_when_the_client_leaves_and_the_task_goes_on() -> None:
    stopped: list[bool] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(30):
                await asyncio.sleep(60)
        finally:
            stopped.append(True)

    async def main() -> str:
        with pytest.raises(ClientDisconnect):
            await while_connected(leaving, work())
        async with asyncio.timeout(1):  # the cancellation is spent
            await asyncio.sleep(0.01)
        return "goes on"

    assert asyncio.run(main()) == "goes on"
    assert stopped == [True]


def test_a_failure_of_the_work_passes_through() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(while_connected(staying, work()))


def test_a_stop_of_the_server_is_no_client_that_left() -> None:
    async def main() -> bool:
        task = asyncio.create_task(while_connected(staying, asyncio.sleep(60)))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
