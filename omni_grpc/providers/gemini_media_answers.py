"""Google's answers beside chats: vectors, pictures, what was heard, and speech as it comes in.

A picture or a speech that Google withholds is a refusal with its reason. Whatever bytes come end
in an answer or in a ProviderFault.
"""

import base64
import binascii
import struct
from typing import Any, Final

import msgspec

from omni_grpc.core.media import GeneratedImage, Images, Transcript, TranscriptFormat
from omni_grpc.core.usage import Usage
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.gemini.decode import decode_completion
from omni_grpc.providers.gemini.wire import usage_of
from omni_grpc.providers.http import generation_id_of
from omni_grpc.providers.media_dialect import ProviderMedia
from omni_grpc.providers.media_reading import count, embeddings, read
from omni_grpc.providers.sse import SseParser

SAMPLES_PER_SECOND: Final = 24_000
"""Of Google's speech: mono, 16 bits, little-endian, as OpenAI's own pcm is."""

_RATE: Final = f"rate={SAMPLES_PER_SECOND}"
_UNKNOWN_SIZE: Final = 2**32 - 1
_WAV_HEAD: Final = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    b"RIFF", _UNKNOWN_SIZE, b"WAVE",
    b"fmt ", 16, 1, 1, SAMPLES_PER_SECOND, 2 * SAMPLES_PER_SECOND, 2, 16,
    b"data", _UNKNOWN_SIZE,
)  # fmt: skip
"""Of a file whose length its writer does not know yet; OpenAI's own says the same."""

_FORMATS: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


# --- embeddings -------------------------------------------------------------------------------
class _Vector(msgspec.Struct):
    values: list[float]
    statistics: Any = None


class _Batch(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: Any = None


class _PredictedVector(msgspec.Struct):
    embeddings: _Vector


class _PredictedVectors(msgspec.Struct):
    predictions: list[_PredictedVector]


def read_embeddings(data: bytes, faults: Faults, asked: int) -> ProviderMedia:
    """Vectors of the Gemini API, which tells what newer models read."""
    found = read(data, _Batch, faults)
    said = found.usage_metadata
    prompt = count(said.get("promptTokenCount")) if isinstance(said, dict) else None
    return embeddings([one.values for one in found.embeddings], asked, prompt, faults)


def read_predicted_embeddings(data: bytes, faults: Faults, asked: int) -> ProviderMedia:
    """Vectors of Vertex AI, each with its tokens."""
    vectors = [one.embeddings for one in read(data, _PredictedVectors, faults).predictions]
    said = [one.statistics for one in vectors]
    counts = [count(one.get("token_count")) if isinstance(one, dict) else None for one in said]
    known = [one for one in counts if one is not None]
    prompt = sum(known) if known and len(known) == len(counts) else None
    return embeddings([one.values for one in vectors], asked, prompt, faults)


# --- images -----------------------------------------------------------------------------------
class _Blob(msgspec.Struct, rename="camel"):
    data: str = ""
    mime_type: str = ""


class _Part(msgspec.Struct, rename="camel"):
    inline_data: _Blob | None = None
    thought: bool | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None

    @property
    def blobs(self) -> list[_Blob]:
        """What it brought that is no text; drafts are thoughts."""
        parts = (self.content.parts if self.content else None) or ()
        return [one.inline_data for one in parts if one.inline_data and not one.thought]


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Any = None
    response_id: Any = None
    error: Any = None

    @property
    def candidate(self) -> _Candidate:
        """The only one."""
        return self.candidates[0] if self.candidates else _Candidate()

    @property
    def blocked(self) -> str | None:
        """Why the prompt was refused."""
        return self.prompt_feedback.block_reason if self.prompt_feedback else None


def read_images(data: bytes, faults: Faults) -> ProviderMedia:
    """Pictures of Gemini."""
    found = read(data, _Answer, faults)
    if found.error:
        raise faults.error_object(found.error)
    blobs = [one for one in found.candidate.blobs if one.mime_type in _FORMATS and one.data]
    if not blobs:
        candidate = found.candidate
        why = found.blocked or candidate.finish_message or candidate.finish_reason
        raise _withheld(why, faults)
    images = Images(
        created=0,
        images=tuple(GeneratedImage(b64_json=one.data) for one in blobs),
        output_format=_FORMATS[blobs[0].mime_type],
    )
    usage = usage_of(found.usage_metadata, has_content=True)
    return ProviderMedia(images, usage, generation_id_of(found.response_id))


def _withheld(why: str | None, faults: Faults) -> ProviderFault:
    message = f"nothing was made: {why or 'no reason given'}"
    return faults.error_object({"code": 400, "status": "BLOCKED", "message": message})


# --- audio ------------------------------------------------------------------------------------
def read_transcript(data: bytes, faults: Faults, form: TranscriptFormat) -> ProviderMedia:
    """What a model of chats wrote down."""
    found = decode_completion(data, faults)
    choice = found.choices[0]
    if choice.finish_reason == "length":
        raise faults.malformed("it wrote more than the audio can say")
    if choice.finish_reason == "content_filter":
        raise _withheld("it was filtered", faults)
    text = (choice.answer.text or "").strip()
    body = msgspec.json.encode({"text": text}) if form == "json" else f"{text}\n".encode()
    return ProviderMedia(Transcript(body=body, text=text), found.usage, found.id)


class GeminiSpeech:
    """Reads speech in events of base64; see `SpeechReader`."""

    def __init__(self, faults: Faults, *, is_wav: bool) -> None:
        self._faults = faults
        self._parser = SseParser()
        self._head = _WAV_HEAD if is_wav else b""
        self.usage: Usage | None = None
        self.is_whole = False

    def feed(self, data: bytes) -> bytes:
        """The audio of all events that are whole; a WAV file's head comes with the first."""
        audio = b"".join(self._event(one) for one in self._parser.feed(data))
        if audio:
            audio, self._head = self._head + audio, b""
        return audio

    def _event(self, event: bytes) -> bytes:
        faults = self._faults
        try:
            found = msgspec.json.decode(event, type=_Answer)
        except BAD_JSON:
            raise faults.malformed("an event of its stream is not what was asked for") from None
        if found.error:
            raise faults.stream_error(found.error)
        if found.blocked:
            raise _withheld(found.blocked, faults)
        usage = usage_of(found.usage_metadata, has_content=True)
        self.usage = usage or self.usage
        candidate = found.candidate
        audio = b"".join(self._samples(one) for one in candidate.blobs)
        match candidate.finish_reason:
            case None:
                pass
            case "STOP":
                self.is_whole = True
            case "MAX_TOKENS":
                raise faults.truncated("its audio was cut at its limit")
            case reason:
                raise _withheld(candidate.finish_message or reason, faults)
        return audio

    def _samples(self, blob: _Blob) -> bytes:
        settings = blob.mime_type.lower().replace(" ", "").split(";")
        if settings[0] not in ("audio/l16", "audio/pcm") or _RATE not in settings[1:]:
            raise self._faults.malformed("its audio is not of the kind that it documents")
        try:
            return base64.b64decode(blob.data, validate=True)
        except (binascii.Error, ValueError):
            raise self._faults.malformed("audio of its stream is not base64") from None
