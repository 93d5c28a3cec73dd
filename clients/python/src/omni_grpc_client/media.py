"""What is asked of a model beside chats, and what comes back: frozen values without any I/O.

Vectors, pictures, speech and transcriptions; each result has its usage and its cost, and the
contract's own message as `raw`.
"""

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict

from omni.router.v1 import media_pb2 as pb

from omni_grpc_client.answer import AttemptUsage
from omni_grpc_client.calls import amount_of, count_of, time_of

Texts: TypeAlias = str | Sequence[str | Sequence[int]]
"""What is embedded: texts, or lists of tokens in the model's own numbers. A `str` is one text."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file for a provider, which knows its kind by the ending of `name`."""

    content: bytes = field(repr=False)
    name: str
    content_type: str = ""

    @classmethod
    def from_file(cls, path: str | Path) -> "MediaFile":
        """The file at `path` under its own name, which tells its type."""
        media_type, _ = mimetypes.guess_type(Path(path).name)
        return cls(Path(path).read_bytes(), Path(path).name, media_type or "")


class ImageOptions(TypedDict, total=False):
    """Everything that pictures can be asked for beside model and prompt. None is as unset."""

    n: int | None
    """How many pictures, 1 to 10; each is charged."""
    size: str | None
    """`1024x1024` or the like, or `auto`."""
    quality: str | None
    """As the provider names it."""
    background: str | None
    """`transparent`, `opaque` or `auto`."""
    output_format: Literal["png", "jpeg", "webp"] | None
    """The form of the files."""
    output_compression: int | None
    """From 0 to 100, for formats that lose something."""
    moderation: str | None
    """How the provider watches over content, as it names it."""
    style: str | None
    """As the provider names it."""
    input_fidelity: str | None
    """How closely changed pictures follow the given ones, `high` or `low`."""
    images: Sequence[MediaFile] | None
    """Pictures to be changed; at most 16. None makes new ones."""
    mask: MediaFile | None
    """Where the first of them may change."""
    end_user: str | None
    """Your own name of your end user, passed on to the provider."""


class SpeechOptions(TypedDict, total=False):
    """Everything that speech can be asked for beside model, text and voice. None is as unset."""

    instructions: str | None
    """How it shall sound, for models that take it."""
    speed: float | None
    """From 0.25 to 4."""
    format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None
    """The form of the audio; MP3 if unset."""


class TranscriptOptions(TypedDict, total=False):
    """Everything that a transcription can be asked for beside model and audio. None is as unset."""

    language: str | None
    """The language that is spoken, as ISO 639-1."""
    prompt: str | None
    """Words that help the model, in that language."""
    format: Literal["json", "text", "srt", "verbose_json", "vtt"] | None
    """The form of `content`; JSON if unset."""
    temperature: float | None
    """From 0 to 1."""
    timestamp_granularities: Sequence[Literal["word", "segment"]] | None
    """Of what the verbose format tells the times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaUsage:
    """What a call used, in the units by which it was charged; None where one does not apply.

    Attributes:
        prompt_tokens: audio and image ones included.
        prompt_audio_tokens: audio tokens of the prompt.
        prompt_image_tokens: image tokens of the prompt.
        completion_tokens: generated ones, those of images included.
        completion_image_tokens: generated ones that are of images.
        images: generated pictures.
        seconds: whole seconds of audio, rounded up.
        characters: characters that were spoken.
        estimated: whether the service counted, since the provider reported nothing.
    """

    prompt_tokens: int | None
    prompt_audio_tokens: int | None
    prompt_image_tokens: int | None
    completion_tokens: int | None
    completion_image_tokens: int | None
    images: int | None
    seconds: int | None
    characters: int | None
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaResult:
    """How a call that is no chat ended.

    Attributes:
        call_id: the server's name of this call; `usage` of the client takes it.
        model: the offer that answered, `provider/model`, never an alias.
        create_time: when the call was accepted.
        usage: what it used.
        cost_nanousd: what it was charged.
        balance_nanousd: what can be spent after it; None while the ledger does not answer.
        attempts: each attempt, in order; the last one answered.
    """

    call_id: str
    model: str
    create_time: datetime | None
    usage: MediaUsage
    cost_nanousd: int
    balance_nanousd: int | None
    attempts: tuple[AttemptUsage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings(MediaResult):
    """One vector for each input, in their order."""

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    raw: pb.EmbedTextsResponse = field(repr=False, compare=False)

    @classmethod
    def from_proto(cls, raw: pb.EmbedTextsResponse) -> "Embeddings":
        """Reads the contract's message."""
        vectors = tuple(tuple(one.values) for one in raw.embeddings)
        return cls(vectors=vectors, raw=raw, **_ended(raw.call))


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """A picture: the file, or where the provider keeps it for a while. One of both is empty.

    `revised_prompt` is the prompt as the provider wrote it anew; empty where it did not.
    """

    content: bytes = field(repr=False)
    url: str
    revised_prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImages(MediaResult):
    """The pictures. `size` and `quality` are what the provider says it chose, if it does."""

    images: tuple[GeneratedImage, ...]
    size: str
    quality: str
    raw: pb.GenerateImagesResponse = field(repr=False, compare=False)

    @classmethod
    def from_proto(cls, raw: pb.GenerateImagesResponse) -> "GeneratedImages":
        """Reads the contract's message."""
        images = tuple(
            GeneratedImage(content=one.content, url=one.url, revised_prompt=one.revised_prompt)
            for one in raw.images
        )
        ended = _ended(raw.call)
        return cls(images=images, size=raw.size, quality=raw.quality, raw=raw, **ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech(MediaResult):
    """A text that was spoken: the whole audio, and its media type, such as `audio/mpeg`."""

    audio: bytes = field(repr=False)
    content_type: str
    raw: pb.MediaCall = field(repr=False, compare=False)

    @classmethod
    def from_proto(cls, raw: pb.MediaCall, audio: bytes, content_type: str) -> "Speech":
        """Reads the contract's message; the rest came before it in the stream."""
        return cls(audio=audio, content_type=content_type, raw=raw, **_ended(raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript(MediaResult):
    """What was said.

    Attributes:
        text: the text; in the formats with times, with those.
        content: the provider's whole answer in the format that was asked for.
        language: what the provider heard; empty where it does not say.
        duration_ms: how long the audio lasts; None where the provider does not say.
    """

    text: str
    content: str
    language: str
    duration_ms: int | None
    raw: pb.TranscribeAudioResponse = field(repr=False, compare=False)

    @classmethod
    def from_proto(cls, raw: pb.TranscribeAudioResponse) -> "Transcript":
        """Reads the contract's message."""
        return cls(
            text=raw.text,
            content=raw.content,
            language=raw.language,
            duration_ms=count_of(raw, "duration_ms"),
            raw=raw,
            **_ended(raw.call),
        )


class _Ended(TypedDict):
    call_id: str
    model: str
    create_time: datetime | None
    usage: MediaUsage
    cost_nanousd: int
    balance_nanousd: int | None
    attempts: tuple[AttemptUsage, ...]


def _ended(raw: pb.MediaCall) -> _Ended:
    usage = raw.usage
    return {
        "call_id": raw.call_id,
        "model": raw.model,
        "create_time": time_of(raw, "create_time"),
        "usage": MediaUsage(
            prompt_tokens=count_of(usage, "prompt_token_count"),
            prompt_audio_tokens=count_of(usage, "prompt_audio_token_count"),
            prompt_image_tokens=count_of(usage, "prompt_image_token_count"),
            completion_tokens=count_of(usage, "completion_token_count"),
            completion_image_tokens=count_of(usage, "completion_image_token_count"),
            images=count_of(usage, "image_count"),
            seconds=count_of(usage, "second_count"),
            characters=count_of(usage, "character_count"),
            estimated=usage.estimated,
        ),
        "cost_nanousd": amount_of(raw, "cost_nanousd"),
        "balance_nanousd": count_of(raw, "balance_nanousd"),
        "attempts": tuple(
            AttemptUsage(one.model, one.outcome, amount_of(one, "cost_nanousd"), one.price_version)
            for one in raw.attempts
        ),
    }
