"""What all streamed answers share, whatever their wire format: the loop, the pings, the headers.

The status of a stream goes out with the first event, so that what fails before it has a status of
its own. What the provider sent in one piece leaves in one piece, and each piece gives way to the
worker's other calls.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Final, Protocol
from urllib.parse import quote

from omni_grpc.completion import ChatEvent
from omni_grpc.core.chat import ChatCompletion, ChatDelta, ChatStarted
from omni_grpc.core.money import usd_text
from omni_grpc.rest_api.errors import Headers
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange

WAITED_SECONDS_MIN: Final = 0.0002
"""An event that took less than this came without a turn of the loop, or nearly so: then other
calls get one. Without it one fast stream starves all others."""

IGNORED_BYTES_MAX: Final = 1_024
"""Most of `x-omni-ignored`: clients and proxies bound a head at some kilobytes."""

PING: Final = b": ping\n\n"


class EventWriter(Protocol):
    """Writes the events of one stream in a wire format."""

    def deltas(self, deltas: Iterable[ChatDelta]) -> bytes:
        """The events of what came together; they leave together."""
        ...

    def end(self, completion: ChatCompletion) -> bytes:
        """The last events."""
        ...


async def send_stream(
    exchange: Exchange,
    events: AsyncGenerator[ChatEvent, None],
    open_writer: Callable[[ChatStarted], EventWriter],
    *,
    ping_seconds: float,
    ping: bytes = PING,
    before_end: Callable[[ChatCompletion], Awaitable[None]] | None = None,
) -> None:
    """Sends a chat as it comes, and closes it.

    Args:
        exchange: whose answer it is.
        events: `Chats.stream`.
        open_writer: makes the writer, once a provider has begun to answer.
        ping_seconds: a silent stream gets a `ping` after each of these.
        ping: a whole event or comment.
        before_end: is done before the last events are written.
    """
    clock = time.monotonic
    async with aclosing(events):
        started = await anext(events)
        if not isinstance(started, ChatStarted):
            raise TypeError("a stream begins with ChatStarted")
        writer = open_writer(started)
        await exchange.start_events(offer_headers(started))
        with _Pings(exchange, ping_seconds, ping):
            asked = clock()
            async for event in events:
                if isinstance(event, tuple):
                    # What the reader does not get is no sign of life to it: pings go on.
                    if written := writer.deltas(event):
                        await exchange.send_events(written)
                elif isinstance(event, ChatCompletion):
                    if before_end is not None:
                        await before_end(event)
                    await exchange.end_events(writer.end(event))
                if clock() - asked < WAITED_SECONDS_MIN:
                    await asyncio.sleep(0)
                asked = clock()


def offer_headers(found: ChatStarted | ChatCompletion) -> Headers:
    """Which call it is, who answers, and what of the request was not sent there."""
    model = found.model
    headers = [
        (b"x-request-id", found.call_id.encode()),
        (b"x-omni-model", model.encode()),
        (b"x-omni-provider", model.partition("/")[0].encode()),
    ]
    if found.ignored:
        headers.append((b"x-omni-ignored", _names(found.ignored)))
    return headers


def _names(fields: tuple[str, ...]) -> bytes:
    """Names of fields, some of them the caller's own, as a header can carry them."""
    shown: list[str] = []
    room = IGNORED_BYTES_MAX
    for field in fields:
        name = quote(field, safe="[]")
        room -= len(name) + 1
        if room < 0:
            shown.append("...")
            break
        shown.append(name)
    return ",".join(shown).encode()


def completion_headers(completion: ChatCompletion) -> Headers:
    """The headers of a plain answer: also what it cost, and what is left."""
    headers = offer_headers(completion)
    headers.append((b"x-omni-cost-usd", usd_text(completion.cost_nanousd).encode()))
    if completion.balance_nanousd is not None:
        headers.append((b"x-omni-balance-usd", usd_text(completion.balance_nanousd).encode()))
    if completion.savings is not None:
        saved = completion.savings.saved_nanousd
        headers.append((b"x-omni-savings-usd", usd_text(saved).encode()))
    headers += JSON_HEADERS
    return headers


class _Pings:
    """Sends a ping whenever a stream was silent for a while. One timer a stream."""

    __slots__ = ("_exchange", "_loop", "_ping", "_sending", "_silence_s", "_timer")

    def __init__(self, exchange: Exchange, silence_s: float, ping: bytes) -> None:
        self._exchange = exchange
        self._silence_s = silence_s
        self._ping = ping
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None
        exchange.last_sent_s = self._loop.time()
        self._timer = self._loop.call_later(silence_s, self._look)

    def __enter__(self) -> None:
        """Runs since it was made."""

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()

    def _look(self) -> None:
        due = self._exchange.last_sent_s + self._silence_s
        now = self._loop.time()
        if due <= now:
            # A reader that does not take one ping gets no second one.
            if self._sending is None or self._sending.done():
                self._sending = self._loop.create_task(self._exchange.ping(self._ping))
            due = now + self._silence_s
        self._timer = self._loop.call_at(due, self._look)
