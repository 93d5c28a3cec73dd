"""The words of everything beside chats: embeddings, images, speech, transcriptions, moderations.

Both transports convert into these and out of them, and so does each provider's wire format. What a
provider answers in a form of its own (a transcription's text, a moderation's verdict) stays as it
came. Everything is frozen.
"""

from typing import Generic, Literal, TypeVar

import msgspec

from omni_grpc.core.chat import AttemptUsage
from omni_grpc.core.usage import Usage

SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
TranscriptFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
ImageFormat = Literal["png", "jpeg", "webp"]


class MediaFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a caller sent, with the name and type that it was sent under."""

    content: bytes
    name: str
    content_type: str = "application/octet-stream"


# --- what is asked ----------------------------------------------------------------------------
class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts, or their tokens, to be turned into vectors of `dimensions` numbers."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    user: str | None = None


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures of a prompt; with `images`, these are changed, within `mask` if there is one.

    `size` is `1024x1024` or the like, or auto; None leaves a setting to the provider.
    """

    model: str
    prompt: str
    count: int = 1
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: ImageFormat | None = None
    output_compression: int | None = None
    moderation: str | None = None
    style: str | None = None
    input_fidelity: str | None = None
    response_format: Literal["url", "b64_json"] | None = None
    user: str | None = None
    images: tuple[MediaFile, ...] = ()
    mask: MediaFile | None = None


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A text to be spoken by a voice."""

    model: str
    text: str
    voice: str
    instructions: str | None = None
    speed: float | None = None
    format: SpeechFormat = "mp3"


class TranscriptionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Speech to be written down."""

    model: str
    file: MediaFile
    language: str | None = None
    prompt: str | None = None
    format: TranscriptFormat = "json"
    temperature: float | None = None
    timestamp_granularities: tuple[str, ...] = ()


class ModerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Content to be judged: JSON, a text or a list of texts and parts, as it was written."""

    model: str
    input_json: msgspec.Raw


MediaRequest = (
    EmbeddingRequest | ImageRequest | SpeechRequest | TranscriptionRequest | ModerationRequest
)


# --- what comes back --------------------------------------------------------------------------
class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """One vector an input, in their order: 32-bit floats, little-endian."""

    vectors: tuple[bytes, ...]


class GeneratedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One picture: inline in base64, or at a URL that the provider keeps for a while."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures, and the settings that the provider says it chose."""

    created: int
    images: tuple[GeneratedImage, ...]
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What was said: `body` in the format that was asked for, `text` alone where that has it."""

    body: bytes
    text: str
    language: str | None = None
    duration_s: float | None = None


class Moderation(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's verdicts as JSON: a list, one an input."""

    id: str | None
    results_json: msgspec.Raw


class SpeechStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A provider has begun to speak; `content_type` is that of the audio which follows."""

    call_id: str
    model: str
    create_time: int
    content_type: str


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """All of a speech came; the audio itself went out before."""

    audio_bytes: int


A = TypeVar("A")


class MediaCompletion(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """How a call ended, once its cost is settled; the fields mean what they do for chats."""

    call_id: str
    model: str
    create_time: int
    answer: A
    usage: Usage
    attempts: tuple[AttemptUsage, ...]
    cost_nanousd: int
    balance_nanousd: int | None
