"""The fake service, and both clients behind one asynchronous face, so that tests run on each."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import get_origin

import pytest
from client_fake_service import API_KEY, FakeService, fake_service
from omni_grpc_client import AsyncOmni, Omni, Pages


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    monkeypatch.delenv("OMNI_API_KEY", raising=False)
    monkeypatch.delenv("OMNI_GRPC_ADDR", raising=False)


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with fake_service() as fake:
        yield fake


class _Pages:
    def __init__(self, pages) -> None:
        self._pages = pages

    def __aiter__(self):
        return _in_threads(iter(self._pages))

    def by_page(self):
        return _in_threads(self._pages.by_page())


class _Stream:
    """A synchronous stream as if it were an asynchronous one; each step in a thread."""

    def __init__(self, stream) -> None:
        self._stream = stream

    async def __aenter__(self):
        await asyncio.to_thread(self._stream.__enter__)
        return self

    async def __aexit__(self, *error):
        await asyncio.to_thread(self._stream.__exit__, *error)

    def __aiter__(self):
        return _in_threads(iter(self._stream))

    async def result(self):
        return await asyncio.to_thread(self._stream.result)

    def __getattr__(self, name):
        return getattr(self._stream, name)


class _InThreads:
    """`Omni` as if it were `AsyncOmni`."""

    def __init__(self, omni: Omni) -> None:
        self._omni = omni

    def __getattr__(self, name: str):
        method = getattr(self._omni, name)
        if name in {"stream_chat", "synthesize_speech", "sync_catalog"}:
            return lambda *args, **options: _Stream(method(*args, **options))
        if get_origin(inspect.signature(method).return_annotation) is Pages:
            return lambda *args, **options: _Pages(method(*args, **options))

        async def call(*args, **options):
            return await asyncio.to_thread(method, *args, **options)

        return call


async def _in_threads(iterator):
    end = object()
    while (item := await asyncio.to_thread(next, iterator, end)) is not end:
        yield item


@pytest.fixture(params=["async", "sync"])
def open_client(request) -> Callable[..., object]:
    """Opens either client: `async with open_client(target, …) as omni`."""

    @asynccontextmanager
    async def opened(target: str, api_key: str = API_KEY, **options):
        if request.param == "async":
            async with AsyncOmni(target, api_key=api_key, **options) as omni:
                yield omni
        else:
            with Omni(target, api_key=api_key, **options) as omni:
                yield _InThreads(omni)

    return opened


@pytest.fixture
async def omni(service, open_client) -> AsyncIterator[AsyncOmni]:
    """Either client, connected to `service`."""
    async with open_client(service.target) as client:
        yield client
