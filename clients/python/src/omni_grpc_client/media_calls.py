"""The calls beside chats: vectors, pictures, speech, transcriptions.

Each carries a request id, so that it can be sent again without being paid twice. What cannot be
said in the contract is refused before anything is sent; the rest is the service's to judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from omni.router.v1 import media_pb2 as pb

from omni_grpc_client.calls import Call, Kind, check_options, new_request_id
from omni_grpc_client.errors import FieldInvalid
from omni_grpc_client.failures import field_invalid
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

_Enum = TypeVar("_Enum")

_IMAGE_FORMATS = {
    "png": pb.IMAGE_FORMAT_PNG,
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
_SPEECH_FORMATS = {
    "mp3": pb.SPEECH_FORMAT_MP3,
    "opus": pb.SPEECH_FORMAT_OPUS,
    "aac": pb.SPEECH_FORMAT_AAC,
    "flac": pb.SPEECH_FORMAT_FLAC,
    "wav": pb.SPEECH_FORMAT_WAV,
    "pcm": pb.SPEECH_FORMAT_PCM,
}
_TRANSCRIPT_FORMATS = {
    "json": pb.TRANSCRIPT_FORMAT_JSON,
    "text": pb.TRANSCRIPT_FORMAT_TEXT,
    "srt": pb.TRANSCRIPT_FORMAT_SRT,
    "verbose_json": pb.TRANSCRIPT_FORMAT_VERBOSE_JSON,
    "vtt": pb.TRANSCRIPT_FORMAT_VTT,
}


def embed_texts(
    model: str, texts: Texts, dimensions: int | None, end_user: str, request_id: str | None
) -> Call[pb.EmbedTextsRequest, pb.EmbedTextsResponse, Embeddings]:
    """EmbedTexts."""
    given = [texts] if isinstance(texts, str) else texts
    with _writing("embeddings"):
        request = pb.EmbedTextsRequest(
            model=model,
            inputs=[_input(one) for one in given],
            dimension_count=dimensions,
            end_user=end_user,
            request_id=new_request_id(request_id),
        )
    return Call(
        request=request,
        parse=Embeddings.from_proto,
        kind=Kind.MODEL,
        request_id=request.request_id,
    )


def generate_images(
    model: str, prompt: str, options: ImageOptions, request_id: str | None
) -> Call[pb.GenerateImagesRequest, pb.GenerateImagesResponse, GeneratedImages]:
    """GenerateImages."""
    check_options(options, ImageOptions.__annotations__, "a picture")
    mask = options.get("mask")
    with _writing("pictures"):
        request = pb.GenerateImagesRequest(
            model=model,
            prompt=prompt,
            image_count=options.get("n"),
            size=options.get("size"),
            quality=options.get("quality"),
            background=options.get("background"),
            output_format=_choice(_IMAGE_FORMATS, options.get("output_format"), "output_format"),
            output_compression=options.get("output_compression"),
            moderation=options.get("moderation"),
            style=options.get("style"),
            input_fidelity=options.get("input_fidelity"),
            images=[
                _file(image, f"images[{at}]")
                for at, image in enumerate(options.get("images") or ())
            ],
            mask=None if mask is None else _file(mask, "mask"),
            end_user=options.get("end_user"),
            request_id=new_request_id(request_id),
        )
    return Call(
        request=request,
        parse=GeneratedImages.from_proto,
        kind=Kind.MODEL,
        request_id=request.request_id,
    )


def synthesize_speech(
    model: str, text: str, voice: str, options: SpeechOptions, request_id: str | None
) -> pb.SynthesizeSpeechRequest:
    """SynthesizeSpeech; its events are read by `Listening`."""
    check_options(options, SpeechOptions.__annotations__, "speech")
    with _writing("speech"):
        return pb.SynthesizeSpeechRequest(
            model=model,
            text=text,
            voice=voice,
            instructions=options.get("instructions"),
            speed=options.get("speed"),
            format=_choice(_SPEECH_FORMATS, options.get("format"), "format"),
            request_id=new_request_id(request_id),
        )


def transcribe_audio(
    model: str, audio: MediaFile, options: TranscriptOptions, request_id: str | None
) -> Call[pb.TranscribeAudioRequest, pb.TranscribeAudioResponse, Transcript]:
    """TranscribeAudio."""
    check_options(options, TranscriptOptions.__annotations__, "a transcription")
    with _writing("transcription"):
        request = pb.TranscribeAudioRequest(
            model=model,
            file=_file(audio, "audio"),
            language=options.get("language"),
            prompt=options.get("prompt"),
            format=_choice(_TRANSCRIPT_FORMATS, options.get("format"), "format"),
            temperature=options.get("temperature"),
            timestamp_granularities=options.get("timestamp_granularities"),
            request_id=new_request_id(request_id),
        )
    return Call(
        request=request,
        parse=Transcript.from_proto,
        kind=Kind.MODEL,
        request_id=request.request_id,
    )


def _input(given: str | Sequence[int]) -> pb.EmbeddingInput:
    if isinstance(given, str):
        return pb.EmbeddingInput(text=given)
    return pb.EmbeddingInput(tokens=pb.TokenList(values=given))


def _file(file: object, where: str) -> pb.MediaFile:
    if not isinstance(file, MediaFile):
        raise field_invalid(where, f"a {type(file).__name__}; give a MediaFile")
    return pb.MediaFile(content=file.content, name=file.name, content_type=file.content_type)


def _choice(choices: Mapping[str, _Enum], wanted: str | None, field: str) -> _Enum | None:
    if wanted is None:
        return None
    if wanted not in choices:
        raise field_invalid(field, f"{wanted!r} is none of {', '.join(choices)}")
    return choices[wanted]


@contextmanager
def _writing(what: str) -> Iterator[None]:
    """Protobuf's own refusals told as `FieldInvalid`: a wrong type, a number that does not fit."""
    try:
        yield
    except (TypeError, ValueError) as fault:
        message = f"The request for {what} cannot be sent: {fault}"
        raise FieldInvalid(message, charged_nanousd=0) from fault
