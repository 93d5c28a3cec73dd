"""OpenAI's requests beside chats: from bodies and forms to the domain's words.

A field that is not known is refused by name: nothing here may cost what the price does not cover.
So is what is known and cannot be done, above all streams of partial pictures and of transcripts.
"""

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX
from omni_grpc.core.media import (
    EmbeddingRequest,
    ImageFormat,
    ImageRequest,
    MediaFile,
    ModerationRequest,
    SpeechFormat,
    SpeechRequest,
    TranscriptFormat,
    TranscriptionRequest,
)
from omni_grpc.rest_api.openai.form_body import Form
from omni_grpc.rest_api.openai.json_body import read_json

TOKEN_MAX: Final = 2**31 - 1
"""Largest number of a token: vocabularies have some hundred thousand."""

Model = Annotated[str, Meta(min_length=1, max_length=MODEL_ID_CHARS_MAX)]
Token = Annotated[int, Meta(ge=0, le=TOKEN_MAX)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
_T = TypeVar("_T")

_CHOICES: Final = {
    "encoding_format": "float or base64",
    "output_format": "png, jpeg or webp",
    "stream_format": "audio or sse",
    "response_format": "one of the formats of this route",
}


class _Embeddings(msgspec.Struct, forbid_unknown_fields=True):
    model: Model
    input: str | list[str | Token | list[Token]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class _Images(msgspec.Struct, forbid_unknown_fields=True):
    model: Model
    prompt: str
    n: int | None = None
    size: Word | None = None
    quality: Word | None = None
    background: Word | None = None
    output_format: ImageFormat | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    moderation: Word | None = None
    style: Word | None = None
    input_fidelity: Word | None = None
    response_format: Literal["url", "b64_json"] | None = None
    user: str | None = None
    stream: bool | None = None
    partial_images: int | None = None


class _Speech(msgspec.Struct, forbid_unknown_fields=True):
    model: Model
    input: str
    voice: Word
    instructions: str | None = None
    response_format: SpeechFormat = "mp3"
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stream_format: Literal["audio", "sse"] | None = None


class _Transcription(msgspec.Struct, forbid_unknown_fields=True):
    model: Model
    language: Word | None = None
    prompt: str | None = None
    response_format: TranscriptFormat = "json"
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    stream: bool | None = None


class _Moderation(msgspec.Struct, forbid_unknown_fields=True):
    model: Model
    input: msgspec.Raw


def read_embeddings(body: bytes) -> tuple[EmbeddingRequest, bool]:
    """A request for embeddings, and whether they are wanted in base64.

    Raises:
        FieldInvalid: `field` is what is wrong with it. So do all here.
    """
    wire, _ = read_json(body, msgspec.json.Decoder(_Embeddings).decode, _CHOICES)
    request = EmbeddingRequest(
        model=wire.model,
        inputs=_inputs(wire.input),
        dimensions=wire.dimensions,
        user=wire.user,
    )
    return request, wire.encoding_format == "base64"


def _inputs(given: str | list[str | int | list[int]]) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(given, str):
        return (given,)
    texts = [one for one in given if isinstance(one, str)]
    tokens = [one for one in given if isinstance(one, int)]
    lists = [tuple(one) for one in given if isinstance(one, list)]
    if sum(map(bool, (texts, tokens, lists))) > 1:
        raise FieldInvalid(
            "input: send texts, or tokens, or lists of tokens, and not some of each.",
            field="input",
        )
    return (tuple(tokens),) if tokens else (*texts, *lists)


def read_images(body: bytes) -> ImageRequest:
    """A request for new pictures."""
    wire, _ = read_json(body, msgspec.json.Decoder(_Images).decode, _CHOICES)
    return _image_request(wire, (), None)


def read_image_edit(form: Form) -> ImageRequest:
    """A request to change pictures."""
    wire = _converted(form, _Images)
    images = tuple(form.files.pop("image", ()))
    masks = form.files.pop("mask", [])
    _no_other_files(form)
    if not images:
        raise FieldInvalid("image is required: one file, or several.", field="image")
    if len(masks) > 1:
        raise FieldInvalid("mask: send one file at most.", field="mask")
    return _image_request(wire, images, masks[0] if masks else None)


def _image_request(
    wire: _Images, images: tuple[MediaFile, ...], mask: MediaFile | None
) -> ImageRequest:
    if wire.stream:
        raise _unsupported("stream", "partial images are not streamed here")
    if wire.partial_images:
        raise _unsupported("partial_images", "partial images are not streamed here")
    return ImageRequest(
        model=wire.model,
        prompt=wire.prompt,
        count=1 if wire.n is None else wire.n,
        size=wire.size,
        quality=wire.quality,
        background=wire.background,
        output_format=wire.output_format,
        output_compression=wire.output_compression,
        moderation=wire.moderation,
        style=wire.style,
        input_fidelity=wire.input_fidelity,
        response_format=wire.response_format,
        user=wire.user,
        images=images,
        mask=mask,
    )


def read_speech(body: bytes) -> SpeechRequest:
    """A request to speak."""
    wire, _ = read_json(body, msgspec.json.Decoder(_Speech).decode, _CHOICES)
    if wire.stream_format == "sse":
        raise _unsupported("stream_format", "speech comes as bare audio here, byte by byte")
    return SpeechRequest(
        model=wire.model,
        text=wire.input,
        voice=wire.voice,
        instructions=wire.instructions,
        speed=wire.speed,
        format=wire.response_format,
    )


def read_transcription(form: Form) -> TranscriptionRequest:
    """A request to write down what is said."""
    granularities = tuple(form.texts.pop("timestamp_granularities", ()))
    if not set(granularities) <= {"word", "segment"}:
        raise FieldInvalid(
            "timestamp_granularities: use word, segment or both.",
            field="timestamp_granularities",
        )
    wire = _converted(form, _Transcription)
    files = form.files.pop("file", [])
    _no_other_files(form)
    if len(files) != 1:
        raise FieldInvalid("file is required: one audio file.", field="file")
    if wire.stream:
        raise _unsupported("stream", "transcriptions are not streamed here")
    return TranscriptionRequest(
        model=wire.model,
        file=files[0],
        language=wire.language,
        prompt=wire.prompt,
        format=wire.response_format,
        temperature=wire.temperature,
        timestamp_granularities=granularities,
    )


def read_moderation(body: bytes) -> ModerationRequest:
    """A request to judge content."""
    wire, _ = read_json(body, msgspec.json.Decoder(_Moderation).decode, _CHOICES)
    if bytes(wire.input).strip()[:1] not in (b'"', b"["):
        raise FieldInvalid("input must be a text or a list.", field="input")
    return ModerationRequest(model=wire.model, input_json=wire.input)


def _converted(form: Form, kind: type[_T]) -> _T:
    """A form's texts as if they had come as JSON, so that faults are told in the same words."""
    repeated = next((name for name, texts in form.texts.items() if len(texts) > 1), None)
    if repeated is not None:
        raise FieldInvalid(f"{repeated[:64]}: the form has it more than once.", field=repeated)
    fields = {name: texts[0] for name, texts in form.texts.items()}
    decoder = msgspec.json.Decoder(kind, strict=False)
    value, _ = read_json(msgspec.json.encode(fields), decoder.decode, _CHOICES)
    return value


def _no_other_files(form: Form) -> None:
    for name in form.files:
        raise FieldInvalid(f"{name[:64]}: there is no such file here.", field=name[:64])


def _unsupported(field: str, why: str) -> FeatureUnsupported:
    return FeatureUnsupported(
        f"{field}: {why}. Leave it out.", field=field, metadata={"feature": field}
    )
