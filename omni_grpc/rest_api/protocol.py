"""uvicorn's HTTP/1.1 protocol with the bounds that it lacks, in bytes, in time and in meaning.

Without them a client can fill the memory with one endless header or trailer, or keep a connection
for ever by never ending a head. A request that a proxy on the way could have read otherwise, so
that another one hides in it, is refused, and its connection closed. What is no HTTP is answered in
the shape of all other errors.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from omni_grpc.core.errors import FieldInvalid, OmniError, TooLarge
from omni_grpc.core.ids import new_call_id
from omni_grpc.core.limits import METADATA_BYTES_MAX, REQUEST_BYTES_MAX
from omni_grpc.rest_api.errors import error_body
from omni_grpc.rest_api.exchange import JSON_HEADERS

HEAD_SECONDS_MAX: Final = 20.0
"""How long a connection may take to its first request, and a request to the end of its head."""

MESSAGE_BYTES_MAX: Final = 8 * REQUEST_BYTES_MAX
"""Bytes of one request on the wire: the largest body in chunks of a few bytes fits."""

_HEAD_TOO_LARGE: Final = 431


class RestProtocol(HttpToolsProtocol):
    """One connection; uvicorn takes the class as `http`."""

    _read_bytes = 0
    _message_bytes = 0
    """Of the current request; at most one read too many."""
    _fault: OmniError | None = None
    """What is wrong with the head, where uvicorn would only say that it is invalid."""
    _in_head = True
    """From the connection's start or a request's first byte to the end of its head."""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for a first request, but not for ever."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it too
        self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the wait."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what came of a request that has no end yet."""
        self._read_bytes = len(data)
        self._message_bytes += self._read_bytes
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._message_bytes > METADATA_BYTES_MAX:
                self._refuse(_head_too_large())
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self._head_late)
        elif self._message_bytes > MESSAGE_BYTES_MAX:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._message_bytes = self._read_bytes
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole.

        Raises:
            ValueError: it is too large or ambiguous; what uvicorn does then ends in
                `send_400_response`.
        """
        if self._message_bytes > METADATA_BYTES_MAX and self._head_bytes() > METADATA_BYTES_MAX:
            self._fault = _head_too_large()
        else:
            why = _ambiguity(self.parser.get_http_version(), self.url, self.headers)
            if why is not None:
                self._fault = FieldInvalid(f"{why} Nothing was done; the connection is closed.")
        if self._fault is not None:
            raise ValueError(self._fault.message)
        self._in_head = False
        self._stop_head_timer()
        # A trailer that comes in the same read would else be a header: a key, say.
        self.scope["headers"] = self.headers[:]
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self._refuse(self._fault or FieldInvalid(f"{msg} What was sent is not HTTP/1.1."))

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _head_late(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: OmniError) -> None:
        # Behind a request that is still served, an answer would stand in the middle of another. But
        # a fault in the body of the one request that is served can be its answer.
        cycle = self.cycle
        answers = cycle is None or cycle.response_complete
        if not (answers or cycle.response_started or self._in_head or self.pipeline):
            answers = cycle.disconnected = True
            cycle.message_event.set()
        if answers:
            call_id = str(new_call_id())
            body = error_body(error, call_id)
            headers = [
                *JSON_HEADERS,
                (b"x-request-id", call_id.encode()),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            lines = (b"%b: %b\r\n" % header for header in headers)
            head = b"".join((STATUS_LINE[error.http_status], *lines))
            self.transport.write(head + b"\r\n" + body)
        self.transport.close()


def _ambiguity(version: str, url: bytes, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Why others might read a request's head in another way; None if they do not.

    The parser has refused the rest: two lengths, a length beside chunks, folded lines, bare line
    ends, spaces before colons.
    """
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version != "1.1"):
            return "The one transfer-encoding that is read is `chunked`, in HTTP/1.1."
    if version not in ("1.1", "1.0"):
        return "The service speaks HTTP/1.1."
    if hosts != 1 and (hosts or version == "1.1"):
        return f"A request names its host once; this one has {hosts} Host headers."
    if not url.startswith(b"/") and url != b"*":
        return "A request's target is a path."
    return None


def _head_too_large() -> TooLarge:
    error = TooLarge(f"The headers are larger than {METADATA_BYTES_MAX} bytes; send less.")
    error.http_status = _HEAD_TOO_LARGE
    return error
