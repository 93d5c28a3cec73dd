"""RouterService's calls beside chats: read the request, ask completion, write what came."""

import asyncio
from contextlib import aclosing
from typing import Any, Protocol

import grpc
from omni.router.v1 import media_pb2 as pb

from omni_grpc.completion import Call, Media, checked_request_id
from omni_grpc.core.media import SpeechStarted
from omni_grpc.grpc_api import media_request, media_response
from omni_grpc.grpc_api.first_message import whole
from omni_grpc.grpc_api.interceptors import current_call

_Context = grpc.aio.ServicerContext


class _Named(Protocol):
    @property
    def request_id(self) -> str: ...


class MediaRpcs:
    """The part of RouterService that is no chat."""

    def __init__(self, media: Media) -> None:
        self._media = media

    async def EmbedTexts(
        self, request: pb.EmbedTextsRequest, context: "_Context[Any, Any]"
    ) -> pb.EmbedTextsResponse:
        """Turns texts into vectors."""
        asked = media_request.embedding_request(request)
        found = await self._media.embed(_call(request), asked)
        return await asyncio.to_thread(media_response.embeddings, found)

    async def GenerateImages(
        self, request: pb.GenerateImagesRequest, context: "_Context[Any, Any]"
    ) -> pb.GenerateImagesResponse:
        """Generates pictures."""
        asked = media_request.image_request(request)
        found = await self._media.paint(_call(request), asked)
        return await asyncio.to_thread(media_response.images, found)

    async def SynthesizeSpeech(
        self, request: pb.SynthesizeSpeechRequest, context: "_Context[Any, Any]"
    ) -> None:
        """Speaks; audio leaves as it comes in."""
        asked = media_request.speech_request(request)
        async with aclosing(self._media.speak(_call(request), asked)) as parts:
            async for part in parts:
                if isinstance(part, bytes):
                    await context.write(pb.SynthesizeSpeechResponse(audio=part))
                elif isinstance(part, SpeechStarted):
                    await whole(context.write(media_response.speech_started(part)))
                else:
                    await context.write(
                        pb.SynthesizeSpeechResponse(completion=media_response.call(part))
                    )

    async def TranscribeAudio(
        self, request: pb.TranscribeAudioRequest, context: "_Context[Any, Any]"
    ) -> pb.TranscribeAudioResponse:
        """Writes down what is said."""
        asked = media_request.transcription_request(request)
        return media_response.transcript(await self._media.transcribe(_call(request), asked))


def _call(request: _Named) -> Call:
    """The current call, with the name that its caller gave it."""
    call = current_call()
    if request.request_id:
        call.request_id = checked_request_id(request.request_id, field="request_id")
    return call
