"""One connection, watched: it knows at once when the peer has gone, and cuts as told.

It stands between the event loop and aiohttp's own protocol, because aiohttp tells a handler of a
lost connection late or not at all. A peer that closes, resets, or only closes its sending half
has gone: nothing more is written, and what was written before is still delivered.
"""

import asyncio
import socket
import struct
import time
from typing import Final, cast

from aiohttp import web

__all__ = ("Connection", "Sent")

_LINGER_RESET: Final = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket; `gone_at` is monotonic, None while the peer is there."""

    def __init__(self, inner: web.RequestHandler, connections: "set[Connection]") -> None:
        self._inner = inner
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writing_paused = False
        self.gone_at: float | None = None
        self.stopped = False

    # --- what the event loop calls --------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted."""
        # uvloop's transports are not asyncio's by class, only by what they do.
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request came."""
        self._inner.data_received(data)

    def eof_received(self) -> None:
        """The peer sends no more; returning None closes the transport once it is flushed."""
        self._peer_went()
        self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._connections.discard(self)
        self._peer_went()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer reads slowly: the buffer is full."""
        self._writing_paused = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The buffer has room again."""
        self._writing_paused = False
        self._inner.resume_writing()
        self.wake()

    # --- what an answer calls -------------------------------------------------------------------
    @property
    def is_gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.gone_at is not None or self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> bool:
        """Send `data` whole, or nothing; false means that the peer had gone."""
        if self.is_gone or self._transport is None:
            return False
        self._transport.write(data)
        # A failed send closes the transport at once, and then the data went nowhere.
        return not self._transport.is_closing()

    async def drain(self) -> bool:
        """Wait for a slow reader. False if the peer went."""
        while self._writing_paused and not self.is_gone:
            await self.pause(None)
        return not self.is_gone

    async def pause(self, seconds: float | None) -> bool:
        """Wait, for ever if None, until `wake` or until the peer goes. False if it went."""
        if self.is_gone:
            return False
        waiter = self._waiter = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, self.wake)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return not self.is_gone

    def wake(self) -> None:
        """End a pause now."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cut(self, *, reset: bool) -> None:
        """End the connection in the middle: by RST, or by FIN after what was written."""
        if self._transport is None:
            return
        if reset:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            self._transport.abort()
        else:
            self._transport.close()

    def stop(self) -> None:
        """The simulator ends: whoever waits here learns it."""
        self.stopped = True
        self._peer_went()

    def _peer_went(self) -> None:
        if self.gone_at is None:
            self.gone_at = time.monotonic()
        self.wake()


class Sent(web.StreamResponse):
    """Tells aiohttp that the answer already went out; it sends nothing."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._is_kept = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request."""
        return self._is_kept

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the headers went out."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the body went out."""
