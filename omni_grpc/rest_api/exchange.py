"""One HTTP request and its answer, on bare ASGI: what is read, what is sent, who is still there.

The request's body is bounded while it is read, and read to its end before an error is answered, so
that a connection can be used again. While a call runs, a client that goes away cancels it at once.
Nothing is buffered for a slow reader: sending waits.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

from omni_grpc.completion import Call, checked_request_id
from omni_grpc.core.errors import Deadline, FieldInvalid, OmniError, TooLarge
from omni_grpc.core.limits import REQUEST_BYTES_MAX
from omni_grpc.identity.presented import UNUSUAL_NAMES, Presented, bearer_token, presented_in
from omni_grpc.rest_api.errors import OPENAI_ERRORS, ErrorForm, Headers, error_headers

BODY_SECONDS_MAX: Final = 60.0
"""How long a body may take to arrive after its first part: 10 MB at 1.4 Mbit/s."""

DISCARD_BYTES_MAX: Final = 4 * REQUEST_BYTES_MAX
"""How much of a refused body is still read, since most clients read no answer before they have
sent everything. Above it the connection is closed instead."""

DISCARD_SECONDS_MAX: Final = 30.0
STREAM_ERROR_SECONDS_MAX: Final = 5.0
"""How long the last words of a failed stream may wait for a reader that may be the cause."""

TIMEOUT_HEADER: Final = b"x-omni-timeout-ms"
REQUEST_ID_HEADER: Final = b"idempotency-key"
OPTIONAL_HEADER: Final = b"x-omni-optional"
_UNUSUAL: Final = frozenset(name.encode() for name in UNUSUAL_NAMES)
_TIMEOUT_DIGITS_MAX: Final = 15
_PAGE_SIZE_DIGITS_MAX: Final = 9
_FIELD_CHARS_MAX: Final = 64
"""How much of a field's name an error repeats; the longest that any route reads has half of it."""

BASE_HEADERS: Final[Headers] = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
JSON_HEADERS: Final[Headers] = [(b"content-type", b"application/json"), *BASE_HEADERS]
_EVENT_STREAM_HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
    *BASE_HEADERS,
]


class ClientGoneError(Exception):
    """The client went away before its request was whole; nobody reads an answer."""


class Exchange:
    """One request and its answer. Used by the task that serves it."""

    __slots__ = (
        "_begun",
        "_ended",
        "_has_events",
        "_headers",
        "_receive",
        "_send",
        "_started",
        "_unread",
        "_watcher",
        "added_headers",
        "call",
        "client_gone",
        "errors",
        "last_sent_s",
        "paid",
        "scope",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, errors: ErrorForm = OPENAI_ERRORS
    ) -> None:
        self.scope = scope
        self.errors = errors
        """How errors are written; a stream's writer may set one that knows where it stands."""
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self._send = send
        headers = self._headers
        self._unread = headers.get(b"content-length", b"0") != b"0" or (
            b"transfer-encoding" in headers
        )
        self._begun = False
        self._started = False
        self._ended = False
        self._has_events = True
        self._watcher: asyncio.Task[None] | None = None
        self.call: Call | None = None
        """The call that it is, once that is open."""
        self.client_gone = False
        """Whether the task was cancelled because the client went away."""
        self.last_sent_s = 0.0
        """When something was last sent, by the event loop's clock."""
        self.added_headers: Headers = []
        """Headers of the answer, whatever it is."""
        self.paid: dict[str, object] | None = None
        """The top-up that a payment in the request bought."""

    # --- what was asked -----------------------------------------------------------------------
    @property
    def path_id(self) -> str:
        """The variable part of the route's path."""
        value: str = self.scope["path_params"]["id"]
        return value

    @property
    def peer(self) -> str:
        """The client's network address; empty where the server does not know it."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    def query(self, unread: Collection[str] = ()) -> dict[str, str]:
        """The query's fields, each of which takes one value. Bytes that are no text are replaced.

        Those that a route does not read are left out, however often they stand.

        Raises:
            FieldInvalid: one stands more than once.
        """
        text = self.scope["query_string"].decode("latin-1")
        fields: dict[str, str] = {}
        for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
            if name in unread:
                continue
            if name in fields:
                shown = name[:_FIELD_CHARS_MAX]
                raise FieldInvalid(
                    f"{shown!r} stands more than once in the query, and takes one value: which of "
                    "them is meant cannot be known. Say it once.",
                    field=shown,
                )
            fields[name] = value
        return fields

    def timeout_s(self) -> float | None:
        """The deadline that the client gives in `x-omni-timeout-ms`.

        Raises:
            FieldInvalid: it is no whole number.
        """
        value = self._headers.get(TIMEOUT_HEADER)
        if value is None:
            return None
        if not value.removeprefix(b"-").isdigit() or len(value) > _TIMEOUT_DIGITS_MAX:
            name = TIMEOUT_HEADER.decode()
            raise FieldInvalid(f"The header {name} must be whole milliseconds.", field=name)
        return int(value) / 1000

    def request_id(self) -> str | None:
        """The caller's own name for a paid call, from `Idempotency-Key`.

        Raises:
            FieldInvalid: it is empty, too long, or has other than printable ASCII characters.
        """
        value = self._headers.get(REQUEST_ID_HEADER)
        if value is None:
            return None
        # The parser leaves the white space behind a value, which is no part of it.
        text = value.strip(b" \t").decode("latin-1")
        return checked_request_id(text, field=REQUEST_ID_HEADER.decode())

    def optional_fields(self) -> tuple[str, ...]:
        """What `x-omni-optional` names: for clients that cannot add a field to their bodies."""
        text = self._headers.get(OPTIONAL_HEADER, b"").decode("latin-1")
        return tuple(name for name in map(str.strip, text.split(",")) if name)

    def presented(self) -> Presented:
        """What the headers say of who sends the request; a token may be any text.

        Raises:
            FieldInvalid: they contradict each other.
        """
        headers = self._headers
        if len(headers) == len(self.scope["headers"]) and _UNUSUAL.isdisjoint(headers):
            authorization = headers.get(b"authorization", b"").decode("latin-1")
            return Presented(bearer_token(authorization).strip() or None, self.peer)
        values: dict[str, list[str]] = {}
        for name, value in self.scope["headers"]:
            if name in _UNUSUAL or name == b"authorization":
                values.setdefault(name.decode(), []).append(value.decode("latin-1"))
        host = headers.get(b"host", b"").decode("latin-1")
        return presented_in(values, peer=self.peer, host=host)

    def header(self, name: bytes) -> str:
        """A header by its name in lower case; empty where it was not sent."""
        return self._headers.get(name, b"").strip(b" \t").decode("latin-1")

    @property
    def content_type(self) -> bytes:
        """The body's, as it was sent; empty where it was not."""
        return self._headers.get(b"content-type", b"")

    async def body(self, bytes_max: int = REQUEST_BYTES_MAX) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is larger than `bytes_max`.
            Deadline: it did not arrive in time.
            FieldInvalid: it is compressed.
            ClientGoneError: it never came to its end.
        """
        if self._headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise FieldInvalid(
                "Compressed bodies are not read; send it without content-encoding.",
                field="content-encoding",
            )
        if self._length() > bytes_max:
            raise _too_large(bytes_max)
        message = await self._next()
        first: bytes = message.get("body", b"")
        if self._unread:
            try:
                async with asyncio.timeout(BODY_SECONDS_MAX):
                    return await self._rest(first, bytes_max)
            except TimeoutError:
                raise Deadline(
                    f"The body did not arrive within {BODY_SECONDS_MAX:g} s; nothing was started."
                ) from None
        return first

    async def _rest(self, first: bytes, bytes_max: int) -> bytes:
        parts, size = [first], len(first)
        while self._unread:
            message = await self._next()
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > bytes_max:
                raise _too_large(bytes_max)
            parts.append(part)
        return b"".join(parts)

    # --- the client's presence ----------------------------------------------------------------
    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Cancels the current task when the client goes away within the block, and says so."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an exchange is served by a task")
        self._watcher = asyncio.create_task(self._cancel_when_gone(task))
        try:
            yield
        finally:
            self._unwatch()

    async def _cancel_when_gone(self, served: "asyncio.Task[object]") -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        served.cancel()

    def _unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    # --- the answer ---------------------------------------------------------------------------
    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends a whole answer."""
        self._unwatch()
        self._started = self._ended = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    *headers,
                    *self.added_headers,
                    *self._limit_headers(),
                    (b"content-length", b"%d" % len(body)),
                ],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def start_events(self, headers: Headers) -> None:
        """Sends the status and headers of a stream of server-sent events."""
        self._started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    *headers,
                    *self.added_headers,
                    *self._limit_headers(),
                    *_EVENT_STREAM_HEADERS,
                ],
            }
        )

    async def start_bytes(self, headers: Headers) -> None:
        """Sends the status and headers of a stream of bytes, which has no form for an error.

        If it fails, its connection is closed before its end.
        """
        self._has_events = False
        self._started = True
        headers = [*headers, *self.added_headers, *self._limit_headers()]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def _limit_headers(self) -> Headers:
        call = self.call
        if call is None or call.limits is None:
            return []
        return self.errors.limit_headers(call.limits, call.create_time)

    async def send_events(self, events: bytes) -> None:
        """Sends some whole events; waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": events, "more_body": True})
        self.last_sent_s = asyncio.get_running_loop().time()

    async def ping(self, comment: bytes) -> None:
        """Sends a comment in a stream that has not ended, beside the task that serves it."""
        if not self._ended:
            await self.send_events(comment)

    async def end_events(self, events: bytes) -> None:
        """Sends the last events of a stream."""
        self._unwatch()
        self._ended = True
        await self._send({"type": "http.response.body", "body": events})

    async def fail(self, error: OmniError, call_id: str) -> None:
        """Sends an error in the one form that is still possible.

        Before the first byte it is an answer with its status; in a stream, its last event.
        """
        if self._ended:
            return
        if self._started:
            if not self._has_events:
                return  # the server closes an answer that has no end
            # Where this is not read either, the server closes the unfinished answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_ERROR_SECONDS_MAX):
                    await self.end_events(self.errors.event(error, call_id))
            return
        headers = [(b"x-request-id", call_id.encode()), *error_headers(error), *JSON_HEADERS]
        try:
            if not await self._discard_body():
                headers.append((b"connection", b"close"))
        except ClientGoneError:
            return
        await self.answer(error.http_status, headers, self.errors.body(error, call_id))

    # --- reading ------------------------------------------------------------------------------
    async def _next(self) -> Message:
        self._begun = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self._unread = message.get("more_body", False)
        return message

    async def _discard_body(self) -> bool:
        """Reads what is left of the body; says whether the connection can be used again."""
        if not self._unread:
            return True
        waits = self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._begun
        if waits or self._length() > DISCARD_BYTES_MAX:
            return False
        try:
            async with asyncio.timeout(DISCARD_SECONDS_MAX):
                return await self._discard_rest()
        except TimeoutError:
            return False

    async def _discard_rest(self) -> bool:
        size = 0
        while self._unread and size <= DISCARD_BYTES_MAX:
            size += len((await self._next()).get("body", b""))
        return not self._unread

    def _length(self) -> int:
        """The declared length; 0 where none is. The server refuses what is no number."""
        return int(self._headers.get(b"content-length", b"0"))


def page_size_asked(fields: Mapping[str, str]) -> int:
    """The `page_size` of a query; 0 where it has none.

    Raises:
        FieldInvalid: it is no whole number.
    """
    text = fields.get("page_size", "0")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _PAGE_SIZE_DIGITS_MAX):
        raise FieldInvalid("The page_size must be a whole number.", field="page_size")
    return int(text)


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {bytes_max} bytes, the most that this route takes. "
        "Send less, or send images and files by URL."
    )
