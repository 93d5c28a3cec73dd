"""What the routes beside chats share: the gate, the caller's own name of the call, the headers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from omni_grpc.completion import Call, Gates
from omni_grpc.core.media import MediaCompletion, SpeechStarted
from omni_grpc.core.money import usd_text
from omni_grpc.rest_api.errors import Headers
from omni_grpc.rest_api.exchange import BASE_HEADERS, Exchange

R = TypeVar("R")
A = TypeVar("A")

JSON = b"application/json"


async def answer_plain(
    exchange: Exchange,
    call: Call,
    gates: Gates,
    read: Callable[[], Awaitable[R]],
    ask: Callable[[Call, R], Awaitable[MediaCompletion[A]]],
    write: Callable[[MediaCompletion[A], R], tuple[bytes, bytes]],
) -> None:
    """Serves one call whose answer is whole: reads it, asks, and writes body and content type."""
    with gates.metered(call):
        call.request_id = exchange.request_id()
        request = await read()
        with exchange.watched():
            completion = await ask(call, request)
            # Thousands of vectors take a while to write, and a few large pictures too.
            body, content_type = await asyncio.to_thread(write, completion, request)
            headers = [*_headers(completion), (b"content-type", content_type), *BASE_HEADERS]
            await exchange.answer(200, headers, body)


def offer_headers(found: "SpeechStarted | MediaCompletion[A]") -> Headers:
    """Which offer answers, and the call's name."""
    return [
        (b"x-request-id", found.call_id.encode()),
        (b"x-omni-model", found.model.encode()),
        (b"x-omni-provider", found.model.partition("/")[0].encode()),
    ]


def _headers(completion: MediaCompletion[A]) -> Headers:
    headers = offer_headers(completion)
    headers.append((b"x-omni-cost-usd", usd_text(completion.cost_nanousd).encode()))
    if completion.balance_nanousd is not None:
        headers.append((b"x-omni-balance-usd", usd_text(completion.balance_nanousd).encode()))
    return headers
