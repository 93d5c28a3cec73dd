"""`POST /v1/chat/completions`, plain and streamed: the hot route.

The status of a stream goes out with the first event, so that what fails before it has a status of
its own. What the provider sent in one piece leaves in one piece, and each piece gives way to the
worker's other calls.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final

from omni_grpc.completion import Call, Chats, Gates
from omni_grpc.core.chat import ChatCompletion, ChatRequest, ChatStarted
from omni_grpc.core.money import usd_text
from omni_grpc.rest_api.errors import Headers
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange
from omni_grpc.rest_api.openai import ChunkWriter, encode_completion, read_chat

PATH: Final = "/v1/chat/completions"

WAITED_SECONDS_MIN: Final = 0.0002
"""An event that took less than this came without a turn of the loop, or nearly so: then other
calls get one. Without it one fast stream starves all others."""

_PING: Final = b": ping\n\n"


class ChatRoute:
    """Completes chats for the door."""

    def __init__(self, chats: Chats, gates: Gates, *, ping_seconds: float) -> None:
        self._chats = chats
        self._gates = gates
        self._ping_seconds = ping_seconds

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """Reads the body, completes the chat, sends the answer."""
        with self._gates.metered(call):
            call.request_id = exchange.request_id()
            order = read_chat(await exchange.body())
            with exchange.watched():
                if order.stream:
                    await self._stream(exchange, call, order.request, order.include_usage)
                else:
                    completion = await self._chats.complete(call, order.request)
                    await exchange.answer(200, _headers(completion), encode_completion(completion))

    async def _stream(
        self, exchange: Exchange, call: Call, request: ChatRequest, include_usage: bool
    ) -> None:
        clock = time.monotonic
        async with aclosing(self._chats.stream(call, request)) as events:
            started = await anext(events)
            if not isinstance(started, ChatStarted):
                raise TypeError("a stream begins with ChatStarted")
            await exchange.start_events(_offer_headers(started))
            writer = ChunkWriter(started, include_usage=include_usage)
            with _Pings(exchange, self._ping_seconds):
                asked = clock()
                async for event in events:
                    if isinstance(event, tuple):
                        await exchange.send_events(writer.deltas(event))
                    elif isinstance(event, ChatCompletion):
                        await exchange.end_events(writer.end(event))
                    if clock() - asked < WAITED_SECONDS_MIN:
                        await asyncio.sleep(0)
                    asked = clock()


class _Pings:
    """Sends a comment whenever a stream was silent for a while. One timer a stream."""

    __slots__ = ("_exchange", "_loop", "_sending", "_silence_s", "_timer")

    def __init__(self, exchange: Exchange, silence_s: float) -> None:
        self._exchange = exchange
        self._silence_s = silence_s
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
                self._sending = self._loop.create_task(self._exchange.ping(_PING))
            due = now + self._silence_s
        self._timer = self._loop.call_at(due, self._look)


def _offer_headers(found: ChatStarted | ChatCompletion) -> Headers:
    model = found.model
    return [
        (b"x-request-id", found.call_id.encode()),
        (b"x-omni-model", model.encode()),
        (b"x-omni-provider", model.partition("/")[0].encode()),
    ]


def _headers(completion: ChatCompletion) -> Headers:
    headers = _offer_headers(completion)
    headers.append((b"x-omni-cost-usd", usd_text(completion.cost_nanousd).encode()))
    if completion.balance_nanousd is not None:
        headers.append((b"x-omni-balance-usd", usd_text(completion.balance_nanousd).encode()))
    headers += JSON_HEADERS
    return headers
