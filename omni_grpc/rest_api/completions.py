"""`POST /v1/completions`, OpenAI's older API of texts: a chat with one turn, plain or streamed."""

from functools import partial
from typing import Final

from omni_grpc.completion import Call, Chats, Gates
from omni_grpc.rest_api.exchange import Exchange
from omni_grpc.rest_api.openai.completions_answer import TextWriter, encode_text_completion
from omni_grpc.rest_api.openai.completions_request import read_completions
from omni_grpc.rest_api.streaming import completion_headers, send_stream

PATH: Final = "/v1/completions"


class CompletionsRoute:
    """Completes texts for the door."""

    def __init__(self, chats: Chats, gates: Gates, *, ping_seconds: float) -> None:
        self._chats = chats
        self._gates = gates
        self._ping_seconds = ping_seconds

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """Reads the body, completes the chat, sends the answer."""
        with self._gates.metered(call):
            call.request_id = exchange.request_id()
            order = read_completions(await exchange.body())
            with exchange.watched():
                if order.stream:
                    await send_stream(
                        exchange,
                        self._chats.stream(call, order.request),
                        partial(TextWriter, include_usage=order.include_usage),
                        ping_seconds=self._ping_seconds,
                    )
                else:
                    found = await self._chats.complete(call, order.request)
                    body = encode_text_completion(found)
                    await exchange.answer(200, completion_headers(found), body)
