"""Writes the domain's answers beside chats as messages of the contract."""

import base64
import binascii
import struct
from typing import TypeVar

from google.protobuf import timestamp_pb2
from omni.router.v1 import media_pb2 as pb

from omni_grpc.core.errors import Interrupted
from omni_grpc.core.media import (
    Embeddings,
    GeneratedImage,
    Images,
    MediaCompletion,
    SpeechStarted,
    Transcript,
)
from omni_grpc.core.usage import UsageSource

A = TypeVar("A")

_FLOAT_BYTES = 4
_MS_PER_SECOND = 1_000


def call(completion: MediaCompletion[A]) -> pb.MediaCall:
    """How a call ended."""
    usage = completion.usage
    return pb.MediaCall(
        call_id=completion.call_id,
        model=completion.model,
        create_time=timestamp_pb2.Timestamp(seconds=completion.create_time),
        usage=pb.MediaUsage(
            prompt_token_count=usage.prompt,
            prompt_audio_token_count=usage.prompt_audio,
            prompt_image_token_count=usage.prompt_image,
            completion_token_count=usage.completion,
            completion_image_token_count=usage.completion_image,
            image_count=usage.image,
            second_count=usage.second,
            character_count=usage.character,
            estimated=usage.source is UsageSource.ESTIMATE,
        ),
        cost_nanousd=completion.cost_nanousd,
        balance_nanousd=completion.balance_nanousd,
        attempts=[
            pb.MediaAttempt(
                model=attempt.model,
                outcome=attempt.outcome,
                cost_nanousd=attempt.cost_nanousd,
                price_version=attempt.price_version,
            )
            for attempt in completion.attempts
        ],
    )


def embeddings(completion: MediaCompletion[Embeddings]) -> pb.EmbedTextsResponse:
    """The vectors."""
    return pb.EmbedTextsResponse(
        call=call(completion),
        embeddings=[
            pb.Embedding(values=struct.unpack(f"<{len(vector) // _FLOAT_BYTES}f", vector))
            for vector in completion.answer.vectors
        ],
    )


def images(completion: MediaCompletion[Images]) -> pb.GenerateImagesResponse:
    """The pictures.

    Raises:
        Interrupted: one of them is not what the provider said that it is.
    """
    answer = completion.answer
    try:
        made = [_image(one) for one in answer.images]
    except binascii.Error:
        broken = Interrupted("The provider's picture cannot be read; it is charged all the same.")
        broken.charged_nanousd = completion.cost_nanousd
        raise broken from None
    return pb.GenerateImagesResponse(
        call=call(completion),
        images=made,
        size=answer.size or "",
        quality=answer.quality or "",
    )


def _image(image: GeneratedImage) -> pb.GeneratedImage:
    made = pb.GeneratedImage(revised_prompt=image.revised_prompt or "")
    if image.b64_json is not None:
        made.content = base64.b64decode(image.b64_json)
    elif image.url is not None:
        made.url = image.url
    return made


def speech_started(event: SpeechStarted) -> pb.SynthesizeSpeechResponse:
    """The first event of speech."""
    return pb.SynthesizeSpeechResponse(
        started=pb.SpeechStarted(
            call_id=event.call_id,
            model=event.model,
            content_type=event.content_type,
            create_time=timestamp_pb2.Timestamp(seconds=event.create_time),
        )
    )


def transcript(completion: MediaCompletion[Transcript]) -> pb.TranscribeAudioResponse:
    """What was said."""
    answer = completion.answer
    seconds = answer.duration_s
    return pb.TranscribeAudioResponse(
        call=call(completion),
        text=answer.text,
        content=answer.body.decode("utf-8", "replace"),
        language=answer.language or "",
        duration_ms=None if seconds is None else round(seconds * _MS_PER_SECOND),
    )
