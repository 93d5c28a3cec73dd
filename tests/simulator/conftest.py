import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator

import openai
import pytest

from omni_grpc.simulator import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=simulator.base_url, api_key="unused", max_retries=0, timeout=60
    ) as made:
        yield made


@pytest.fixture
def simulator_url() -> Iterator[str]:
    """A simulator in a thread of its own, for clients that block."""
    ready: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        async with Simulator() as running:
            stop = asyncio.Event()
            ready.put((running.base_url, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    url, loop, stop = ready.get(timeout=60)
    yield url
    loop.call_soon_threadsafe(stop.set)
    thread.join(timeout=60)
