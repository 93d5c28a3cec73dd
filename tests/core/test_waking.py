"""A loop that sleeps until it is woken ends when it is cancelled, at whatever moment that comes."""

import asyncio

import pytest

from omni_grpc.core.waking import woken


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_that_comes_as_the_event_is_set_is_not_forgotten(turns: int) -> None:
    event = asyncio.Event()

    async def loop() -> None:
        while True:
            event.clear()
            await woken(event, 30)

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=10)
    assert done
    assert task.cancelled()


async def test_it_returns_when_woken_and_when_the_time_is_over() -> None:
    event = asyncio.Event()
    await woken(event, 0.01)
    event.set()
    async with asyncio.timeout(20):
        await woken(event, 3600)
