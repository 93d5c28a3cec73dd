"""OpenAI's answers beside chats: vectors, pictures, transcripts, verdicts, and speech in events.

Usage is told in the words of `core.usage`; what a provider does not tell stays None. Whatever bytes
come end in an answer or in a ProviderFault.
"""

import base64
import binascii
import math
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from omni_grpc.core.media import (
    EmbeddingRequest,
    Embeddings,
    GeneratedImage,
    ImageRequest,
    Images,
    MediaRequest,
    Moderation,
    ModerationRequest,
    SpeechRequest,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.media_dialect import (
    MediaDecoder,
    ProviderMedia,
)
from omni_grpc.providers.media_reading import COUNT_MAX, count, pack, read

_JSON_FORMATS: Final = frozenset({"json", "verbose_json"})
_encode: Final = msgspec.json.Encoder().encode


# --- what comes back --------------------------------------------------------------------------
def decoder(request: MediaRequest) -> MediaDecoder:
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
    found = read(data, _Vectors, faults)
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
        return pack(written)
    content = base64.b64decode(written, validate=True)
    if len(content) % 4:
        raise ValueError("no whole numbers")
    return content


def _read_images(data: bytes, faults: Faults) -> ProviderMedia:
    found = read(data, _Images, faults)
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
    found = read(data, _Transcript, faults)
    seconds = _seconds(found.duration)
    usage = usage_in(found.usage, hears=True)
    if usage is None and seconds is not None:
        usage = Usage(second=math.ceil(seconds))
    transcript = Transcript(
        body=data, text=found.text, language=_text(found.language), duration_s=seconds
    )
    return ProviderMedia(transcript, usage)


def _read_moderation(data: bytes, faults: Faults) -> ProviderMedia:
    found = read(data, _Moderation, faults)
    results = msgspec.Raw(b"[" + b",".join(bytes(one) for one in found.results) + b"]")
    answer = Moderation(id=_text(found.id), results_json=results)
    return ProviderMedia(answer, usage_in(found.usage), answer.id)


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
    completion = count(usage.output_tokens)
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
    return next((one for one in map(count, values) if one is not None), None)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= COUNT_MAX else None


def _details(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _part(details: dict[str, object], name: str, whole: int | None) -> int | None:
    part = count(details.get(name))
    return None if part is None or whole is None else min(part, whole)


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
