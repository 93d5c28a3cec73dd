"""A provider client pointed at a script of bytes or at the simulator, on both event loops."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

import pytest
import uvloop
from pydantic import SecretStr
from raw_provider import RawProvider, Script

from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.providers import (
    ChatProvider,
    Providers,
    ProviderSettings,
    ProviderSpec,
    Timeouts,
    UpstreamCall,
)

KEY = "sk-test-0123456789abcdef"

Start = Callable[..., Awaitable[tuple[ChatProvider, RawProvider]]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def make_call(
    *,
    model: str = "m-1",
    seconds_left: float = 30.0,
    output_tokens_max: int = 100,
    **request: object,
) -> UpstreamCall:
    request.setdefault("messages", (Message(role="user", content="Hi"),))
    return UpstreamCall(
        request=ChatRequest(model=f"sim/{model}", **request),
        model=model,
        output_tokens_max=output_tokens_max,
        call_id="0198-call",
        seconds_left=seconds_left,
    )


def make_spec(timeouts: Timeouts | None = None, **more: object) -> ProviderSpec:
    return ProviderSpec(
        id="p", dialect="openai", key_env="P_KEY", bills_after_cancel=False,
        timeouts=timeouts or Timeouts(), **more,
    )  # fmt: skip


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


class Dispatched:
    """Counts how often a request was told to be on its way."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


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
