"""A plain answer over HTTP: asked for, read whole, and stopped without losing what was sent."""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Generic, Protocol, TypeVar

from omni_grpc.core.errors import OmniError
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.dispatch import Dispatch
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.exchange import Exchange, moment
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.http import Upstream


class _Found(Protocol):
    @property
    def id(self) -> str | None: ...


class _Call(Protocol):
    @property
    def call_id(self) -> str: ...
    @property
    def seconds_left(self) -> float: ...
    @property
    def retries(self) -> bool: ...


T = TypeVar("T", bound=_Found)


class HttpAnswer(Generic[T]):
    """One plain answer, to a chat or to anything else; the `ProviderAnswer` of all over HTTP."""

    def __init__(
        self,
        upstream: Upstream,
        request: WireRequest,
        decode: Callable[[bytes, Faults], T],
        *,
        call: _Call,
        dispatched: Callable[[], None],
        named: Callable[[str], None] | None,
        counted: Callable[[T, Mapping[str, str]], T] | None = None,
    ) -> None:
        """`counted` adds to an answer what its head tells of it."""
        self._upstream = upstream
        self._request = request
        self._decode = decode
        self._counted = counted
        self._call = call
        self._seconds = min(call.seconds_left, upstream.spec.timeouts.total_s)
        self._named = named
        self._exchange = Exchange(
            self._ask,
            Dispatch(dispatched),
            bills_on=upstream.spec.bills_after_cancel,
            shut=self._shut,
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """Settings that clash with the model; see `WireRequest`."""
        return self._request.left_out

    def __await__(self) -> Generator[object, None, T]:
        """Sends the request and waits for all of the answer."""
        return self._exchange.start().__await__()

    async def _ask(self) -> T:
        upstream = self._upstream
        due = asyncio.get_running_loop().time() + self._seconds
        response = await upstream.post(
            self._request,
            self._exchange.dispatch,
            call_id=self._call.call_id,
            due=due,
            first_byte_s=None,
            retries=self._call.retries,
        )
        name = upstream.name_in(response)
        if name is not None and self._named is not None:
            self._named(name)
        found = self._decode(await upstream.read(response, due), upstream.faults)
        if self._counted is not None:
            found = self._counted(found, response.headers)
        if name is None and found.id is not None and self._named is not None:
            self._named(found.id)
        return found

    async def drain(self) -> T:
        """Waits on for a caller who was cancelled; see `ProviderAnswer`."""
        return await self._exchange.outcome()

    async def cancel(self) -> T | None:
        """Stops the provider; see `ProviderAnswer`."""
        exchange = self._exchange
        if not exchange.is_started:
            return None
        exchange.keep()
        if exchange.dispatch.refused is not None:
            self._shut()
            raise exchange.dispatch.refused
        try:
            if exchange.stop_provider():
                # A provider that was stopped ends the connection, which is no fault of it.
                with contextlib.suppress(TimeoutError, ProviderFault, OmniError), moment():
                    return await exchange.outcome()
        finally:
            self._shut()
        return exchange.found

    def _shut(self) -> None:
        self._exchange.keep()
        self._exchange.abort()
