"""`POST /v1/embeddings`."""

from typing import Final

from omni_grpc.completion import Call, Gates, Media
from omni_grpc.core.media import EmbeddingRequest, Embeddings, MediaCompletion
from omni_grpc.rest_api.exchange import Exchange
from omni_grpc.rest_api.media_answer import JSON, answer_plain
from omni_grpc.rest_api.openai.media_answers import encode_embeddings
from omni_grpc.rest_api.openai.media_wire import read_embeddings

PATH: Final = "/v1/embeddings"

_Asked = tuple[EmbeddingRequest, bool]


class EmbeddingsRoute:
    """Embeds texts for the door."""

    def __init__(self, media: Media, gates: Gates) -> None:
        self._media = media
        self._gates = gates

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """Reads the body, embeds, sends the vectors."""

        async def read() -> _Asked:
            return read_embeddings(await exchange.body())

        async def ask(call: Call, asked: _Asked) -> MediaCompletion[Embeddings]:
            return await self._media.embed(call, asked[0])

        def write(found: MediaCompletion[Embeddings], asked: _Asked) -> tuple[bytes, bytes]:
            return encode_embeddings(found, as_base64=asked[1]), JSON

        await answer_plain(exchange, call, self._gates, read, ask, write)
