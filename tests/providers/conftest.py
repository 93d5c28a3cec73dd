"""A provider client pointed at a script of bytes or at the simulator, on both event loops."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

import pytest
import uvloop
from provider_calls import KEY, Dispatched, make_call, make_spec
from pydantic import SecretStr
from raw_provider import RawProvider, Script

from omni_grpc.providers import (
    ChatProvider,
    Providers,
    ProviderSettings,
    Timeouts,
    UpstreamCall,
    exchange,
)
from omni_grpc.simulator import Simulator

Start = Callable[..., Awaitable[tuple[ChatProvider, RawProvider]]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent before a cancel is read for long: a busy machine may take its time."""
    monkeypatch.setattr(exchange, "CANCEL_SECONDS_MAX", 5.0)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of that limit itself."""
    monkeypatch.setattr(exchange, "CANCEL_SECONDS_MAX", 0.25)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator that asks for the key of `make_spec`'s provider."""
    async with Simulator(key=KEY) as simulator:
        yield simulator


@pytest.fixture
def call() -> Callable[..., UpstreamCall]:
    return make_call


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[ChatProvider]]]:
    """Makes a client of any address; closed at the end of the test."""
    opened: list[Providers] = []

    async def connect(
        url: str, timeouts: Timeouts | None = None, key: str = KEY, **spec: object
    ) -> ChatProvider:
        settings = {"p": ProviderSettings(base_url=url, api_key=SecretStr(key))}
        providers = Providers(settings, specs=(make_spec(timeouts, **spec),))
        await providers.open()
        opened.append(providers)
        return providers.get("p")

    yield connect
    for providers in opened:
        await providers.close()


@pytest.fixture
async def start(connect: Callable[..., Awaitable[ChatProvider]]) -> AsyncIterator[Start]:
    """Starts a script of bytes and a client of it."""
    running: list[RawProvider] = []

    async def start(
        script: Script, timeouts: Timeouts | None = None, **spec: object
    ) -> tuple[ChatProvider, RawProvider]:
        raw = await RawProvider(script).__aenter__()
        running.append(raw)
        return await connect(raw.url, timeouts, **spec), raw

    yield start
    for raw in running:
        await raw.__aexit__()


@pytest.fixture
def dispatched() -> Dispatched:
    return Dispatched()


@pytest.fixture
def silent_port() -> Iterator[str]:
    """An address that neither accepts a connection nor refuses one: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for sock in waiting:
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    for sock in (*waiting, listener):
        sock.close()
