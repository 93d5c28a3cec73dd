"""OpenAI's wire formats beside chats, as pure functions: what goes out, and what an answer says.

Embeddings are asked for in base64, a third of the size of written numbers; whoever answers with
numbers all the same is understood. Usage is told in the words of `core.usage`; what a provider does
not tell stays None. Whatever bytes come end in an answer or in a ProviderFault.
"""

import base64
import binascii
import math
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from omni_grpc.core.media import (
    EmbeddingRequest,
    Embeddings,
    GeneratedImage,
    ImageRequest,
    Images,
    MediaFile,
    MediaRequest,
    Moderation,
    ModerationRequest,
    SpeechRequest,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.faults import BAD_JSON, Faults

MediaAnswer = Embeddings | Images | Transcript | Moderation

COUNT_MAX: Final = 10**9
"""Largest count that is believed, as of a chat's tokens."""

_JSON_FORMATS: Final = frozenset({"json", "verbose_json"})
_encode: Final = msgspec.json.Encoder().encode

T = TypeVar("T")


class ProviderMedia(msgspec.Struct, frozen=True):
    """A whole answer. `usage` is None where the provider reported none that can be believed."""

    answer: MediaAnswer
    usage: Usage | None
    id: str | None = None


# --- what goes out ----------------------------------------------------------------------------
def encode(request: MediaRequest, model: str, *, by_events: bool = False) -> WireRequest:
    """The request under the provider's own name of the model.

    `by_events` asks for speech as events, which end with its usage; else it is bare audio.
    """
    match request:
        case EmbeddingRequest():
            return _embeddings(request, model)
        case ImageRequest(images=()):
            fields = _image_fields(request, model)
            return WireRequest("images/generations", _encode(fields))
        case ImageRequest():
            return _image_edit(request, model)
        case SpeechRequest():
            return _speech(request, model, by_events=by_events)
        case TranscriptionRequest():
            return _transcription(request, model)
        case ModerationRequest():
            fields = {"model": model, "input": request.input_json}
            return WireRequest("moderations", _encode(fields))


def _embeddings(request: EmbeddingRequest, model: str) -> WireRequest:
    fields = {
        "model": model,
        "input": request.inputs,
        "encoding_format": "base64",
        "dimensions": request.dimensions,
        "user": request.user,
    }
    return WireRequest("embeddings", _encode(_given(fields)))


def _image_fields(request: ImageRequest, model: str) -> dict[str, object]:
    return _given(
        {
            "model": model,
            "prompt": request.prompt,
            "n": request.count,
            "size": request.size,
            "quality": request.quality,
            "background": request.background,
            "output_format": request.output_format,
            "output_compression": request.output_compression,
            "moderation": request.moderation,
            "style": request.style,
            "input_fidelity": request.input_fidelity,
            "response_format": request.response_format,
            "user": request.user,
        }
    )


def _image_edit(request: ImageRequest, model: str) -> WireRequest:
    name = "image" if len(request.images) == 1 else "image[]"
    files = [(name, image) for image in request.images]
    if request.mask is not None:
        files.append(("mask", request.mask))
    fields = [(key, str(value)) for key, value in _image_fields(request, model).items()]
    return _multipart("images/edits", fields, files)


def _speech(request: SpeechRequest, model: str, *, by_events: bool) -> WireRequest:
    fields = {
        "model": model,
        "input": request.text,
        "voice": request.voice,
        "instructions": request.instructions,
        "speed": request.speed,
        "response_format": request.format,
        "stream_format": "sse" if by_events else None,
    }
    return WireRequest("audio/speech", _encode(_given(fields)))


def _transcription(request: TranscriptionRequest, model: str) -> WireRequest:
    fields = [("model", model), ("response_format", request.format)]
    if request.language is not None:
        fields.append(("language", request.language))
    if request.prompt is not None:
        fields.append(("prompt", request.prompt))
    if request.temperature is not None:
        fields.append(("temperature", str(request.temperature)))
    fields += [("timestamp_granularities[]", one) for one in request.timestamp_granularities]
    return _multipart("audio/transcriptions", fields, [("file", request.file)])


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None}


def _multipart(
    path: str, fields: list[tuple[str, str]], files: list[tuple[str, MediaFile]]
) -> WireRequest:
    boundary = f"omni-{secrets.token_hex(16)}"
    parts: list[bytes] = []
    for name, value in fields:
        parts.append(
            f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'.encode()
        )
        parts += (value.encode("utf-8", "replace"), b"\r\n")
    for name, file in files:
        head = f'content-disposition: form-data; name="{name}"; filename="{_quoted(file.name)}"'
        kind = _quoted(file.content_type)
        parts.append(f"--{boundary}\r\n{head}\r\ncontent-type: {kind}\r\n\r\n".encode())
        parts += (file.content, b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return WireRequest(path, b"".join(parts), headers)


def _quoted(text: str) -> str:
    """A caller's text for a header: nothing in it may end the line or the quotation."""
    return "".join(char for char in text if char.isprintable() and char not in '"\\')[:255]


# --- what comes back --------------------------------------------------------------------------
def decoder(request: MediaRequest) -> Callable[[bytes, Faults], ProviderMedia]:
    """What reads the answer to a request.

    Raises:
        TypeError: it is speech, whose answer is a stream.
    """
    match request:
        case EmbeddingRequest():
            return lambda data, faults: _read_embeddings(data, faults, len(request.inputs))
        case ImageRequest():
            return _read_images
        case TranscriptionRequest():
            return lambda data, faults: _read_transcript(data, faults, request)
        case ModerationRequest():
            return _read_moderation
        case SpeechRequest():
            raise TypeError("speech is streamed")


class _Usage(msgspec.Struct):
    prompt_tokens: Any = None
    input_tokens: Any = None
    output_tokens: Any = None
    input_tokens_details: Any = None
    input_token_details: Any = None
    output_tokens_details: Any = None
    seconds: Any = None


class _Vector(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: Any = None
    id: Any = None


class _Image(msgspec.Struct):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Images(msgspec.Struct):
    data: list[_Image]
    created: int = 0
    usage: Any = None
    size: Any = None
    quality: Any = None
    background: Any = None
    output_format: Any = None


class _Transcript(msgspec.Struct):
    text: str
    usage: Any = None
    language: Any = None
    duration: Any = None


class _Moderation(msgspec.Struct):
    results: list[msgspec.Raw]
    id: Any = None
    usage: Any = None


def _read_embeddings(data: bytes, faults: Faults, asked: int) -> ProviderMedia:
    found = _read(data, _Vectors, faults)
    if len(found.data) != asked:
        raise faults.malformed(f"it gave {len(found.data)} embeddings for {asked} inputs")
    order = sorted(range(asked), key=lambda at: _or(found.data[at].index, at))
    try:
        vectors = tuple(_vector(found.data[at].embedding) for at in order)
    except (binascii.Error, ValueError, struct.error, OverflowError):
        raise faults.malformed("an embedding of its answer cannot be read") from None
    return ProviderMedia(Embeddings(vectors=vectors), usage_in(found.usage), _text(found.id))


def _vector(written: str | list[float]) -> bytes:
    if isinstance(written, list):
        return struct.pack(f"<{len(written)}f", *written)
    content = base64.b64decode(written, validate=True)
    if len(content) % 4:
        raise ValueError("no whole numbers")
    return content


def _read_images(data: bytes, faults: Faults) -> ProviderMedia:
    found = _read(data, _Images, faults)
    if not all(one.b64_json or one.url for one in found.data):
        raise faults.malformed("an image of its answer is neither there nor anywhere")
    images = Images(
        created=found.created,
        images=tuple(
            GeneratedImage(b64_json=one.b64_json, url=one.url, revised_prompt=one.revised_prompt)
            for one in found.data
        ),
        size=_text(found.size),
        quality=_text(found.quality),
        background=_text(found.background),
        output_format=_text(found.output_format),
    )
    return ProviderMedia(images, usage_in(found.usage, writes_images=True))


def _read_transcript(data: bytes, faults: Faults, request: TranscriptionRequest) -> ProviderMedia:
    if request.format not in _JSON_FORMATS:
        try:
            return ProviderMedia(Transcript(body=data, text=data.decode()), None)
        except UnicodeDecodeError:
            raise faults.malformed("its transcription is no text") from None
    found = _read(data, _Transcript, faults)
    seconds = _seconds(found.duration)
    usage = usage_in(found.usage, hears=True)
    if usage is None and seconds is not None:
        usage = Usage(second=math.ceil(seconds))
    transcript = Transcript(
        body=data, text=found.text, language=_text(found.language), duration_s=seconds
    )
    return ProviderMedia(transcript, usage)


def _read_moderation(data: bytes, faults: Faults) -> ProviderMedia:
    found = _read(data, _Moderation, faults)
    results = msgspec.Raw(b"[" + b",".join(bytes(one) for one in found.results) + b"]")
    answer = Moderation(id=_text(found.id), results_json=results)
    return ProviderMedia(answer, usage_in(found.usage), answer.id)


def _read(data: bytes, kind: type[T], faults: Faults) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except BAD_JSON:
        pass
    try:
        found = msgspec.json.decode(data)
    except BAD_JSON:
        raise faults.malformed("its answer is not JSON") from None
    if isinstance(found, dict) and found.get("error") is not None:
        raise faults.error_object(found["error"])
    raise faults.malformed("its answer is not what was asked for")


# --- usage ------------------------------------------------------------------------------------
def usage_in(said: object, *, writes_images: bool = False, hears: bool = False) -> Usage | None:
    """What a usage object says; None for what is none.

    Args:
        said: the decoded JSON.
        writes_images: whether output tokens are those of images where it does not say.
        hears: whether input tokens are those of audio where it does not say.
    """
    try:
        usage = msgspec.convert(said, _Usage)
    except msgspec.ValidationError:
        return None
    seconds = _seconds(usage.seconds)
    prompt = _first(usage.input_tokens, usage.prompt_tokens)
    completion = _count(usage.output_tokens)
    if seconds is None and prompt is None and completion is None:
        return None
    read = _details(usage.input_tokens_details) or _details(usage.input_token_details)
    written = _details(usage.output_tokens_details)
    audio, image = _part(read, "audio_tokens", prompt), _part(read, "image_tokens", prompt)
    painted = _part(written, "image_tokens", completion)
    if hears and not read:
        audio = prompt
    if writes_images and not written:
        painted = completion
    return Usage(
        prompt=prompt,
        prompt_audio=audio,
        prompt_image=image,
        completion=completion,
        completion_image=painted,
        second=None if seconds is None else math.ceil(seconds),
    )


def _first(*values: object) -> int | None:
    return next((count for count in map(_count, values) if count is not None), None)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_MAX:
        return None
    return value


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= COUNT_MAX else None


def _details(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _part(details: dict[str, object], name: str, whole: int | None) -> int | None:
    count = _count(details.get(name))
    return None if count is None or whole is None else min(count, whole)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.isprintable() else None


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


# --- speech by events -------------------------------------------------------------------------
class SpeechEvent(msgspec.Struct, frozen=True):
    """One event of a speech: audio, or its end with what it used."""

    audio: bytes = b""
    done: bool = False
    usage: Usage | None = None


def speech_events(events: list[bytes], faults: Faults) -> Iterator[SpeechEvent]:
    """What the events of one read say; events of other kinds are passed over.

    Raises:
        ProviderFault: one is broken, or is an error.
    """
    for event in events:
        if event == b"[DONE]":
            continue
        try:
            found = msgspec.json.decode(event)
        except BAD_JSON:
            raise faults.malformed("an event of its stream is not JSON") from None
        if not isinstance(found, dict):
            raise faults.malformed("an event of its stream is no object")
        if found.get("error") is not None:
            raise faults.stream_error(found["error"])
        match found.get("type"):
            case "speech.audio.delta":
                yield SpeechEvent(audio=_audio(found.get("audio"), faults))
            case "speech.audio.done":
                yield SpeechEvent(done=True, usage=usage_in(found.get("usage")))


def _audio(written: object, faults: Faults) -> bytes:
    try:
        return base64.b64decode(str(written), validate=True)
    except (binascii.Error, ValueError):
        raise faults.malformed("audio of its stream is not base64") from None
