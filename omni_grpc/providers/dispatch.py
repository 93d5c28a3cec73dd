"""How far one request got on its way out: the proof by which the ledger frees or keeps a hold.

`started` turns true right before the first byte may leave; a connection that the provider has
closed meanwhile is found out before that, so a request that died with it was provably not sent.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from omni_grpc.providers.errors import ProviderFault

_SLICE_BYTES: Final = 256 * 1024
_GONE_EVENTS: Final = getattr(select, "POLLRDHUP", 0)


class ConnectionGoneError(Exception):
    """The connection had been closed before anything was sent on it."""


class Dispatch:
    """Where one request stands. `transport` carries it from its start on.

    Once it is `forbidden`, it will not be started, nor started again. Once it is `answered`, the
    last byte of its answer has come, and its connection may be another request's already. While it
    waits to be sent again, `refused` is what became of it before, and nothing of it is under way:
    it is not `started`.
    """

    __slots__ = (
        "_dispatched",
        "_is_half_closed",
        "_is_told",
        "answered",
        "forbidden",
        "refused",
        "sent",
        "started",
        "transport",
    )

    def __init__(self, dispatched: Callable[[], None]) -> None:
        self._dispatched = dispatched
        self._is_half_closed = False
        self._is_told = False
        self.answered = False
        self.forbidden = False
        self.refused: ProviderFault | None = None
        self.started = False
        self.sent = False
        self.transport: asyncio.WriteTransport | None = None

    def start(self, transport: asyncio.WriteTransport) -> None:
        """The first byte leaves next, unless whoever is told of it refuses."""
        self.transport = transport
        if not self._is_told:
            self._dispatched()
            self._is_told = True
        self.started = True
        self.refused = None

    def end(self, transport: asyncio.WriteTransport | None) -> None:
        """The answer's last byte has come: that connection is no longer this request's to close."""
        if self.transport is transport:
            self.answered = True
            self.transport = None
            if self._is_half_closed and transport is not None:
                transport.close()  # nobody can ask on it again, and the pool has it already

    def wait(self, refused: ProviderFault) -> None:
        """It brought no answer, and waits to be sent again."""
        self.refused = refused
        self.answered = self.sent = self.started = False
        self.transport = None

    def half_close(self) -> bool:
        """End our side of the connection, which tells the provider to stop.

        False where that cannot be done and the connection is closed whole: over TLS, and where
        the request is not written yet.
        """
        self.forbidden = True
        transport = self.transport
        if (
            transport is None
            or not self.sent
            or transport.is_closing()
            or transport.get_write_buffer_size()
            or not transport.can_write_eof()
        ):
            self.drop()
            return False
        transport.write_eof()
        self._is_half_closed = True
        return True

    def abort(self) -> None:
        """Close the connection now, and never start, nor start again."""
        self.forbidden = True
        self.drop()

    def drop(self) -> None:
        """Close the connection now, dropping what is not written yet."""
        if self.transport is not None:
            self.transport.abort()


class RequestBody(Payload):
    """A JSON body that knows the moment before its first byte: aiohttp sends the head with it.

    aiohttp's own payload of bytes knows no such moment, and warns of bodies above a megabyte.
    """

    def __init__(
        self, body: bytes, dispatch: Dispatch, on_start: Callable[[], None] | None
    ) -> None:
        super().__init__(body, content_type="application/json")
        self._body = body
        self._dispatch = dispatch
        self._on_start = on_start

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self._body)

    @property
    def autoclose(self) -> bool:
        """It holds nothing that must be closed."""
        return True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text."""
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write all of it, in slices that let the connection hold us back.

        Raises:
            ConnectionGoneError: nothing was written, since the provider has closed the
                connection, or nobody waits for an answer any more.
            OmniError: nothing was written, since whoever was told of it refused.
        """
        del content_length  # it is the whole body's
        transport = writer.transport
        if transport is None or self._dispatch.forbidden or _is_gone(transport):
            raise ConnectionGoneError
        if self._on_start is not None:
            self._on_start()
        self._dispatch.start(transport)
        body = self._body
        if len(body) <= _SLICE_BYTES:
            await writer.write(body)
        else:
            view = memoryview(body)
            for start in range(0, len(body), _SLICE_BYTES):
                await writer.write(view[start : start + _SLICE_BYTES])
        self._dispatch.sent = True


def _is_gone(transport: asyncio.WriteTransport) -> bool:
    """Whether the provider has closed, also where the loop has not heard of it yet."""
    if transport.is_closing():
        return True
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), _GONE_EVENTS)
    return bool(poll.poll(0))
