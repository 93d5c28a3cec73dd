"""`POST /v1/chat/completions`, plain and streamed: the hot route."""

from functools import partial
from typing import Final

from omni_grpc.completion import Call, Chats, Gates
from omni_grpc.rest_api.exchange import Exchange
from omni_grpc.rest_api.openai import ChunkWriter, encode_completion, read_chat
from omni_grpc.rest_api.streaming import completion_headers, send_stream

PATH: Final = "/v1/chat/completions"


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
                    await send_stream(
                        exchange,
                        self._chats.stream(call, order.request),
                        partial(
                            ChunkWriter,
                            include_usage=order.include_usage,
                            hide_reasoning=order.hide_reasoning,
                        ),
                        ping_seconds=self._ping_seconds,
                    )
                else:
                    found = await self._chats.complete(call, order.request)
                    body = encode_completion(found, hide_reasoning=order.hide_reasoning)
                    await exchange.answer(200, completion_headers(found), body)
