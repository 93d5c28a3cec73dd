"""`POST /v1/images/generations` and `POST /v1/images/edits`."""

import asyncio
from typing import Final

from omni_grpc.completion import Call, Gates, Media
from omni_grpc.core.media import ImageRequest, Images, MediaCompletion
from omni_grpc.rest_api.audio import UPLOAD_BYTES_MAX
from omni_grpc.rest_api.exchange import Exchange
from omni_grpc.rest_api.media_answer import JSON, answer_plain
from omni_grpc.rest_api.openai.form_body import read_form
from omni_grpc.rest_api.openai.media_answers import encode_images
from omni_grpc.rest_api.openai.media_wire import read_image_edit, read_images

PATH: Final = "/v1/images/generations"
EDITS_PATH: Final = "/v1/images/edits"


class ImagesRoute:
    """Paints pictures for the door."""

    def __init__(self, media: Media, gates: Gates) -> None:
        self._media = media
        self._gates = gates

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """Reads the request, paints, sends the pictures."""

        async def read() -> ImageRequest:
            return await self._read(exchange)

        await answer_plain(exchange, call, self._gates, read, self._media.paint, _write)

    async def _read(self, exchange: Exchange) -> ImageRequest:
        return read_images(await exchange.body())


class ImageEditsRoute(ImagesRoute):
    """Changes pictures that come in a form."""

    async def _read(self, exchange: Exchange) -> ImageRequest:
        body = await exchange.body(UPLOAD_BYTES_MAX)
        return read_image_edit(await asyncio.to_thread(read_form, body, exchange.content_type))


def _write(found: MediaCompletion[Images], _request: ImageRequest) -> tuple[bytes, bytes]:
    return encode_images(found), JSON
