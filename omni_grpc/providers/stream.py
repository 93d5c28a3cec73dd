"""A streamed answer over HTTP: opening, reading, cancelling, and the end of its connection.

Knows connections; how a stream is cut into events is the parser's, what an event means is the
decoder's. A task opens the stream; beyond that none is made.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Final

import aiohttp

from omni_grpc.core.chat import ChatDelta
from omni_grpc.core.errors import OmniError
from omni_grpc.core.patience import SECOND_LOOK_SECONDS
from omni_grpc.core.usage import Usage
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.dialect import EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.dispatch import Dispatch
from omni_grpc.providers.errors import Malformed, ProviderFault, Wait
from omni_grpc.providers.exchange import Exchange, moment, sockets_read
from omni_grpc.providers.http import Upstream
from omni_grpc.providers.sse import BrokenFramingError, EventTooLongError

_READ_FAILED: Final = (aiohttp.ClientError, OSError, RuntimeError)
"""What aiohttp raises for a body that cannot be read on: OSError covers TimeoutError, and a
RuntimeError says that the connection was closed under us."""


class HttpStream:
    """One stream; the `ProviderStream` of every dialect over HTTP."""

    def __init__(
        self,
        upstream: Upstream,
        request: WireRequest,
        parser: EventParser,
        decoder: StreamDecoder,
        *,
        call: UpstreamCall,
        dispatched: Callable[[], None],
        named: Callable[[str], None] | None,
    ) -> None:
        self._upstream = upstream
        self._named = named
        self._wire_request = request
        self._decoder = decoder
        self._call = call
        self._seconds = min(call.seconds_left, upstream.spec.timeouts.total_s)
        self._parser = parser
        self._opening = Exchange(
            self._request,
            Dispatch(dispatched),
            bills_on=upstream.spec.bills_after_cancel,
            shut=self._shut,
        )
        self._response: aiohttp.ClientResponse | None = None
        self._over = False
        self._fault: ProviderFault | None = None
        self._due = 0.0
        self._waiting_since: float | None = None
        self._late: Wait | None = None
        self._is_overdue = False
        self._timer: asyncio.TimerHandle | None = None

    # --- the facts ----------------------------------------------------------------------------
    @property
    def usage(self) -> Usage | None:
        """The last usage that was reported; see `ProviderStream`."""
        return self._decoder.usage

    @property
    def model(self) -> str | None:
        """The model as the provider names it."""
        return self._decoder.model

    @property
    def system_fingerprint(self) -> str | None:
        """The provider's mark of its backend."""
        return self._decoder.system_fingerprint

    @property
    def service_tier(self) -> str | None:
        """The tier that the call was served in."""
        return self._decoder.service_tier

    @property
    def ended(self) -> bool:
        """Whether the answer is whole."""
        return self._decoder.complete

    @property
    def left_out(self) -> tuple[str, ...]:
        """Settings that clash with the model; see `WireRequest`."""
        return self._wire_request.left_out

    # --- opening ------------------------------------------------------------------------------
    def __await__(self) -> Generator[object, None, "HttpStream"]:
        """Send the request and wait for a status line of success."""
        yield from self._open().__await__()
        return self

    async def _open(self) -> None:
        if self._over and not self._opening.is_started:
            raise RuntimeError("A stream that was closed is not opened.")
        self._due = asyncio.get_running_loop().time() + self._seconds
        try:
            self._response = await self._opening.start()
        except (ProviderFault, OmniError):
            self._over = True
            raise
        self._watch()

    async def _request(self) -> aiohttp.ClientResponse:
        upstream = self._upstream
        response = await upstream.post(
            self._wire_request,
            self._opening.dispatch,
            call_id=self._call.call_id,
            due=self._due,
            first_byte_s=upstream.spec.timeouts.first_byte_s,
            retries=self._call.retries,
        )
        self._tell_name(upstream.name_in(response))
        if response.headers.get("Content-Type", "").startswith("application/json"):
            raise upstream.faults.not_a_stream(await upstream.read(response, self._due))
        return response

    # --- reading ------------------------------------------------------------------------------
    def __aiter__(self) -> "HttpStream":
        """The stream itself."""
        return self

    async def __anext__(self) -> tuple[ChatDelta, ...]:
        """The deltas of the next read that brings any.

        Raises:
            ProviderFault: the stream failed; every delta before that was handed out.
        """
        while not self._over:
            deltas = await self._read()
            if not self._over and (self._decoder.done or self._decoder.fault is not None):
                self._end()
            if deltas:
                return deltas
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        raise StopAsyncIteration

    async def _read(self) -> tuple[ChatDelta, ...]:
        if self._response is None:
            raise RuntimeError("A stream is awaited before it is read.")
        content = self._response.content
        self._waiting_since = asyncio.get_running_loop().time()
        try:
            data = await content.readany()
        except _READ_FAILED:
            deltas = self._take_left(content)
            return deltas + self._take_end()
        finally:
            self._waiting_since = None
        return self._take(data) if data else self._take_end()

    def _take(self, data: bytes) -> tuple[ChatDelta, ...]:
        try:
            events = self._parser.feed(data)
        except EventTooLongError:
            self._decoder.fault = self._upstream.faults.malformed(
                "an event of its stream is larger than is believable"
            )
            return ()
        except BrokenFramingError as error:
            self._decoder.fault = self._upstream.faults.malformed(f"its stream is broken ({error})")
            return ()
        deltas = self._decoder.feed(events) if events else ()
        if self._named is not None:
            self._tell_name(self._decoder.id)
        return deltas

    def _tell_name(self, name: str | None) -> None:
        """Tells the provider's name of this answer, once."""
        if name is not None and self._named is not None:
            self._named(name)
            self._named = None

    def _take_left(self, content: aiohttp.StreamReader) -> tuple[ChatDelta, ...]:
        """What came before the connection failed; aiohttp hides it behind the exception."""
        deltas: tuple[ChatDelta, ...] = ()
        while (
            not self._decoder.done
            and self._decoder.fault is None
            and (data := content._read_nowait(-1))  # noqa: SLF001 - the public one raises
        ):
            deltas += self._take(data)
        return deltas

    def _take_end(self) -> tuple[ChatDelta, ...]:
        """The body has ended, well or not: nothing more will come."""
        deltas: tuple[ChatDelta, ...] = ()
        if not self._decoder.done and self._decoder.fault is None:
            deltas = self._decoder.feed(self._parser.finish())
            self._forgive_half_event()
        decoder = self._decoder
        if decoder.fault is None and not decoder.complete:
            decoder.fault = self._fault_of_end()
        self._end()
        return deltas

    def _forgive_half_event(self) -> None:
        if isinstance(self._decoder.fault, Malformed):
            self._decoder.fault = None  # it is the stream that is cut

    def _fault_of_end(self) -> ProviderFault:
        faults = self._upstream.faults
        if self._late is not None:
            return faults.timed_out(self._late, dispatched=True)
        return faults.truncated("its stream was cut before its end")

    async def drain(self) -> AsyncGenerator[tuple[ChatDelta, ...], None]:
        """Read on for a reader that was cancelled; see `ProviderStream`."""
        if self._response is None and self._opening.is_started and not self._over:
            try:
                self._response = await self._opening.outcome()
            except ProviderFault:
                self._over = True
                raise
            self._watch()
        async for deltas in self:
            yield deltas

    # --- waiting ------------------------------------------------------------------------------
    def _watch(self) -> None:
        """Limits the waits from here to the end of the stream."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._next_look(loop.time()), self._look)

    def _next_look(self, now: float) -> float:
        since = now if self._waiting_since is None else self._waiting_since
        return min(self._due, since + self._upstream.spec.timeouts.between_bytes_s)

    def _look(self) -> None:
        """End the stream where a wait is over. One timer a stream, moved when it fires.

        It looks twice: where the process stood still, this runs before what came meanwhile is
        read, and before whoever else stops the call for it can do so and lose nothing.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        next_look = self._next_look(now)
        if now < next_look:
            self._is_overdue = False
            self._timer = loop.call_at(next_look, self._look)
            return
        if not self._is_overdue:
            self._is_overdue = True
            self._timer = loop.call_later(SECOND_LOOK_SECONDS, self._look)
            return
        self._late = "total" if now >= self._due else "between_bytes"
        if self._response is not None:
            self._response.content.set_exception(TimeoutError())

    # --- the end ------------------------------------------------------------------------------
    def _end(self) -> None:
        """The stream has ended or failed: give its connection back, or close it."""
        decoder = self._decoder
        if decoder.fault is None and not decoder.complete:
            decoder.fault = self._upstream.faults.truncated(
                "its stream ended without a finish reason"
            )
        if decoder.fault is not None:
            self._fault = decoder.fault
            self._shut()
            return
        self._over = True
        self._clear_timer()
        if self._response is not None:
            self._upstream.linger(self._response)

    async def aclose(self) -> None:
        """Close the connection at once, unless the stream has ended."""
        if not self._over:
            self._shut()

    async def cancel(self) -> tuple[ChatDelta, ...]:
        """Stop the provider; see `ProviderStream`."""
        if self._over or not self._opening.is_started:
            self._over = True
            return ()
        if self._opening.dispatch.refused is not None:
            self._shut()
            raise self._opening.dispatch.refused
        self._clear_timer()
        self._opening.keep()
        deltas: tuple[ChatDelta, ...] = ()
        try:
            await sockets_read()
            if self._opening.stop_provider():
                with contextlib.suppress(*_READ_FAILED, ProviderFault, OmniError), moment():
                    if self._response is None:
                        self._response = await self._opening.outcome()
                    content = self._response.content
                    self._forget_lateness(content)
                    while not self._decoder.done and self._decoder.fault is None:
                        data = await content.readany()
                        if not data:
                            break
                        deltas += self._take(data)
            if self._response is not None:
                deltas += self._take_left(self._response.content)
        finally:
            self._shut()
        return deltas

    def _forget_lateness(self, content: aiohttp.StreamReader) -> None:
        """Makes it readable again: a wait that was over woke its reader, and closed nothing."""
        if self._late is not None and isinstance(content.exception(), TimeoutError):
            content._exception = None  # noqa: SLF001 - there is no public way back

    def _shut(self) -> None:
        """Close the connection, where it is still ours."""
        self._over = True
        self._clear_timer()
        self._opening.keep()
        self._opening.abort()
        response = self._opening.found
        if response is not None and response.connection is not None:
            response.close()
            self._opening.dispatch.abort()

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
