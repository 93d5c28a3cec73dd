"""Reads the contract's requests beside chats into the domain's words."""

from typing import Final, TypeVar

import msgspec
from omni.router.v1 import media_pb2 as pb

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX
from omni_grpc.core.media import (
    EmbeddingRequest,
    ImageFormat,
    ImageRequest,
    MediaFile,
    SpeechFormat,
    SpeechRequest,
    TranscriptFormat,
    TranscriptionRequest,
)

_C = TypeVar("_C")

_WORD_CHARS_MAX: Final = 64
_FILE_NAME_CHARS_MAX: Final = 255
_COMPRESSION_MAX: Final = 100
_SPEED_MIN: Final = 0.25
_SPEED_MAX: Final = 4.0

_IMAGE_FORMATS: Final[dict[int, ImageFormat | None]] = {
    pb.IMAGE_FORMAT_UNSPECIFIED: None,
    pb.IMAGE_FORMAT_PNG: "png",
    pb.IMAGE_FORMAT_JPEG: "jpeg",
    pb.IMAGE_FORMAT_WEBP: "webp",
}
_SPEECH_FORMATS: Final[dict[int, SpeechFormat]] = {
    pb.SPEECH_FORMAT_UNSPECIFIED: "mp3",
    pb.SPEECH_FORMAT_MP3: "mp3",
    pb.SPEECH_FORMAT_OPUS: "opus",
    pb.SPEECH_FORMAT_AAC: "aac",
    pb.SPEECH_FORMAT_FLAC: "flac",
    pb.SPEECH_FORMAT_WAV: "wav",
    pb.SPEECH_FORMAT_PCM: "pcm",
}
_TRANSCRIPT_FORMATS: Final[dict[int, TranscriptFormat]] = {
    pb.TRANSCRIPT_FORMAT_UNSPECIFIED: "json",
    pb.TRANSCRIPT_FORMAT_JSON: "json",
    pb.TRANSCRIPT_FORMAT_TEXT: "text",
    pb.TRANSCRIPT_FORMAT_SRT: "srt",
    pb.TRANSCRIPT_FORMAT_VERBOSE_JSON: "verbose_json",
    pb.TRANSCRIPT_FORMAT_VTT: "vtt",
}


def embedding_request(request: pb.EmbedTextsRequest) -> EmbeddingRequest:
    """What is to be embedded.

    Raises:
        FieldInvalid: `field` is what is wrong with it. So do all here.
    """
    return EmbeddingRequest(
        model=_model(request.model),
        inputs=tuple(map(_input, request.inputs)),
        dimensions=request.dimension_count if request.HasField("dimension_count") else None,
        user=_word(request.end_user, "end_user"),
    )


def _input(given: pb.EmbeddingInput) -> str | tuple[int, ...]:
    if given.HasField("tokens"):
        tokens = tuple(given.tokens.values)
        if any(token < 0 for token in tokens):
            raise FieldInvalid("inputs.tokens has a negative number.", field="inputs.tokens")
        return tokens
    return given.text


def image_request(request: pb.GenerateImagesRequest) -> ImageRequest:
    """What is to be painted."""
    compression = None
    if request.HasField("output_compression"):
        compression = request.output_compression
        if not 0 <= compression <= _COMPRESSION_MAX:
            raise FieldInvalid(
                f"output_compression must be from 0 to {_COMPRESSION_MAX}.",
                field="output_compression",
            )
    return ImageRequest(
        model=_model(request.model),
        prompt=request.prompt,
        count=request.image_count if request.HasField("image_count") else 1,
        size=_word(request.size, "size"),
        quality=_word(request.quality, "quality"),
        background=_word(request.background, "background"),
        output_format=_choice(_IMAGE_FORMATS, request.output_format, "output_format"),
        output_compression=compression,
        moderation=_word(request.moderation, "moderation"),
        style=_word(request.style, "style"),
        input_fidelity=_word(request.input_fidelity, "input_fidelity"),
        user=_word(request.end_user, "end_user"),
        images=tuple(_file(image, "images") for image in request.images),
        mask=_file(request.mask, "mask") if request.HasField("mask") else None,
    )


def speech_request(request: pb.SynthesizeSpeechRequest) -> SpeechRequest:
    """What is to be spoken."""
    voice = _word(request.voice, "voice")
    if voice is None:
        raise FieldInvalid("voice is required.", field="voice")
    speed = request.speed if request.HasField("speed") else None
    if speed is not None and not _SPEED_MIN <= speed <= _SPEED_MAX:
        raise FieldInvalid(f"speed must be from {_SPEED_MIN} to {_SPEED_MAX:g}.", field="speed")
    return SpeechRequest(
        model=_model(request.model),
        text=request.text,
        voice=voice,
        instructions=request.instructions or None,
        speed=speed,
        format=_choice(_SPEECH_FORMATS, request.format, "format"),
    )


def transcription_request(request: pb.TranscribeAudioRequest) -> TranscriptionRequest:
    """What is to be written down."""
    if not request.HasField("file"):
        raise FieldInvalid("file is required.", field="file")
    temperature = request.temperature if request.HasField("temperature") else None
    if temperature is not None and not 0 <= temperature <= 1:
        raise FieldInvalid("temperature must be from 0 to 1.", field="temperature")
    granularities = tuple(request.timestamp_granularities)
    if not set(granularities) <= {"word", "segment"}:
        raise FieldInvalid(
            "timestamp_granularities: use word, segment or both.",
            field="timestamp_granularities",
        )
    return TranscriptionRequest(
        model=_model(request.model),
        file=_file(request.file, "file"),
        language=_word(request.language, "language"),
        prompt=request.prompt or None,
        format=_choice(_TRANSCRIPT_FORMATS, request.format, "format"),
        temperature=temperature,
        timestamp_granularities=granularities,
    )


def _model(name: str) -> str:
    if not 1 <= len(name) <= MODEL_ID_CHARS_MAX:
        raise FieldInvalid(
            f"model is required, with at most {MODEL_ID_CHARS_MAX} characters.", field="model"
        )
    return name


def _word(text: str, field: str) -> str | None:
    if len(text) > _WORD_CHARS_MAX:
        raise FieldInvalid(f"{field} has more than {_WORD_CHARS_MAX} characters.", field=field)
    return text or None


def _file(file: pb.MediaFile, field: str) -> MediaFile:
    if not 1 <= len(file.name) <= _FILE_NAME_CHARS_MAX:
        raise FieldInvalid(
            f"{field}.name is required, with at most {_FILE_NAME_CHARS_MAX} characters.",
            field=f"{field}.name",
        )
    made = MediaFile(content=file.content, name=file.name)
    if file.content_type:
        made = msgspec.structs.replace(made, content_type=file.content_type)
    return made


def _choice(choices: dict[int, _C], value: int, field: str) -> _C:
    try:
        return choices[value]
    except KeyError:
        raise FieldInvalid(f"{field} has a value that is not known here.", field=field) from None
