"""The asynchronous client's methods beside chats. `sync_media.py` has the same for threads."""

# ruff: noqa: ASYNC109 - `timeout` travels to the service as the call's deadline

from typing import Unpack

from omni_grpc_client import media_calls
from omni_grpc_client.aio_stream import AsyncSpeechStream
from omni_grpc_client.aio_wire import AsyncWire
from omni_grpc_client.calls import Kind
from omni_grpc_client.client import Client
from omni_grpc_client.media import (
    Embeddings,
    GeneratedImages,
    ImageOptions,
    MediaFile,
    SpeechOptions,
    Texts,
    Transcript,
    TranscriptOptions,
)


class AsyncMediaMethods(Client):
    """Vectors, pictures, speech and transcriptions: the part of `AsyncOmni` that is no chat.

    As chats, these calls are sent again where that is safe and are charged once. Their answers are
    not kept: the repeat of one that is done raises `Interrupted`, which says what the first cost.
    """

    _wire: AsyncWire

    async def embed(
        self,
        model: str,
        texts: Texts,
        *,
        dimensions: int | None = None,
        end_user: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Embeddings:
        """Turns texts into vectors, one for each.

        Args:
            model: `provider/model`, a bare model id or an alias.
            texts: a text, several, or lists of tokens.
            dimensions: numbers of each vector; the model's own default if unset.
            end_user: your own name of your end user, passed on to the provider.
            request_id: the idempotency key; a new one if you name none.
            timeout: seconds that it may take.
        """
        call = media_calls.embed_texts(model, texts, dimensions, end_user, request_id)
        return await self._wire.run(self._wire.stubs.router.EmbedTexts, call, timeout)

    async def generate_images(
        self,
        model: str,
        prompt: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **options: Unpack[ImageOptions],
    ) -> GeneratedImages:
        """Generates pictures, or changes those of the option `images`. See `ImageOptions`."""
        call = media_calls.generate_images(model, prompt, options, request_id)
        return await self._wire.run(self._wire.stubs.router.GenerateImages, call, timeout)

    def synthesize_speech(
        self,
        model: str,
        text: str,
        *,
        voice: str,
        request_id: str | None = None,
        timeout: float | None = None,
        **options: Unpack[SpeechOptions],
    ) -> AsyncSpeechStream:
        """Speaks a text, and streams the audio as it is spoken. See `SpeechOptions`.

            async with omni.synthesize_speech("openai/tts-1", "…", voice="alloy") as stream:
                async for audio in stream:
                    file.write(audio)
            print(stream.completion.cost_nanousd)

        The call starts with the `async with`, and is cancelled when that is left early.
        """
        return AsyncSpeechStream(
            self._wire,
            media_calls.synthesize_speech(model, text, voice, options, request_id),
            self._connection.timeouts.of(Kind.MODEL, timeout),
        )

    async def transcribe(
        self,
        model: str,
        audio: MediaFile,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **options: Unpack[TranscriptOptions],
    ) -> Transcript:
        """Writes down what is said in an audio file of at most 10 MB. See `TranscriptOptions`."""
        call = media_calls.transcribe_audio(model, audio, options, request_id)
        return await self._wire.run(self._wire.stubs.router.TranscribeAudio, call, timeout)
