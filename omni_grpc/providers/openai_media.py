"""OpenAI's wire formats beside chats, as pure functions: what goes out, and the dialect.

Embeddings are asked for in base64, a third of the size of written numbers; whoever answers with
numbers all the same is understood.
"""

import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from omni_grpc.core.media import (
    EmbeddingRequest,
    ImageRequest,
    MediaFile,
    MediaRequest,
    ModerationRequest,
    SpeechRequest,
    TranscriptionRequest,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.media_dialect import (
    MediaCall,
    MediaDecoder,
    MediaRefusal,
    ProviderMedia,
    SpeechReader,
)
from omni_grpc.providers.media_reading import given
from omni_grpc.providers.openai_media_answers import decoder, speech_events
from omni_grpc.providers.sse import SseParser

_encode: Final = msgspec.json.Encoder().encode


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
    return WireRequest("embeddings", _encode(given(fields)))


def _image_fields(request: ImageRequest, model: str) -> dict[str, object]:
    return given(
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
    return WireRequest("audio/speech", _encode(given(fields)))


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


# --- the dialect ------------------------------------------------------------------------------
class OpenAIMedia:
    """The dialects `openai` and `responses`; see `MediaDialect`."""

    hears_in_chats = False

    def refused(self, request: MediaRequest, model: str) -> MediaRefusal | None:
        """Nothing: what it does not know, it refuses itself."""
        del request, model
        return None

    def encode(self, call: MediaCall) -> WireRequest:
        """The request."""
        return encode(call.request, call.model, by_events=call.by_events)

    def decoder(self, call: MediaCall) -> MediaDecoder:
        """Reads the answer."""
        return decoder(call.request)

    def counted(self, found: ProviderMedia, headers: Mapping[str, str]) -> ProviderMedia:
        """All of the usage stands in the body."""
        del headers
        return found

    def reader(self, call: MediaCall, faults: Faults) -> SpeechReader:
        """Bare audio, or events that end with their usage."""
        return _Events(faults) if call.by_events else _BareAudio()


class _BareAudio:
    """Audio as it is; only the end of its bytes ends it."""

    usage: Usage | None = None
    is_whole = True

    def feed(self, data: bytes) -> bytes:
        return data


class _Events:
    """Audio in events, the last of which tells the usage."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._parser = SseParser()
        self.usage: Usage | None = None
        self.is_whole = False

    def feed(self, data: bytes) -> bytes:
        audio = b""
        for event in speech_events(self._parser.feed(data), self._faults):
            audio += event.audio
            if event.done:
                self.usage = event.usage
                self.is_whole = True
        return audio
