"""The API of `rest_rig` and clients for it; on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import openai
import pytest
import uvloop
from raw_client import RawClient
from rest_rig import KEY, Service

Connect = Callable[[], Awaitable[RawClient]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


@pytest.fixture
async def connect(service: Service) -> AsyncIterator[Connect]:
    """Opens raw connections; they are closed at the end of the test."""
    opened: list[RawClient] = []

    async def connect() -> RawClient:
        opened.append(await RawClient.connect(service))
        return opened[-1]

    yield connect
    for client in opened:
        client.leave()


@pytest.fixture
async def raw(connect: Connect) -> RawClient:
    return await connect()


@pytest.fixture
async def sdk(service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=service.base_url, api_key=KEY, max_retries=0, timeout=30
    ) as client:
        yield client
