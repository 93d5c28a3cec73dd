"""Reads requests that are no chats as OpenAI does: what is wrong is refused by its field.

Embeddings, pictures, speech and moderations come as JSON, edits and transcriptions as forms.
"""

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from omni_grpc.simulator.dialect import Rejected

__all__ = (
    "EmbeddingBody",
    "ImageBody",
    "ModerationBody",
    "SpeechBody",
    "TranscriptionBody",
    "read_form",
    "read_media",
)

INPUTS_MAX: Final = 2_048
SPOKEN_CHARS_MAX: Final = 4_096

Name = Annotated[str, Meta(min_length=1)]
Quality = Literal["auto", "standard", "hd", "low", "medium", "high"]
Size = Annotated[str, Meta(pattern=r"^(auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$")]
Voice = Literal[
    "alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse",
]  # fmt: skip
T = TypeVar("T")


class EmbeddingBody(msgspec.Struct, forbid_unknown_fields=True):
    """`/v1/embeddings`."""

    model: Name
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(ge=1, le=3_072)] = 1_536
    user: str | None = None

    def inputs(self) -> list[str | list[int]]:
        """One by one.

        Raises:
            Rejected: there are none or too many, or one is empty.
        """
        given = self.input
        found: list[str | list[int]] = []
        if isinstance(given, str):
            found = [given]
        elif tokens := [one for one in given if isinstance(one, int)]:
            found = [tokens] if len(tokens) == len(given) else []
        else:
            found = [one for one in given if not isinstance(one, int)]
        if not 1 <= len(found) <= INPUTS_MAX or not all(found) or len({*map(type, found)}) > 1:
            raise Rejected(400, "'$.input' is invalid.", param="input")
        return found


class ImageBody(msgspec.Struct, forbid_unknown_fields=True):
    """`/v1/images/generations` and, with files, `/v1/images/edits`."""

    model: Name
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    n: Annotated[int, Meta(ge=1, le=10)] = 1
    size: Size = "auto"
    quality: Quality = "auto"
    background: Literal["transparent", "opaque", "auto"] = "auto"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: Annotated[int, Meta(ge=0, le=100)] = 100
    moderation: Literal["low", "auto"] = "auto"
    style: Literal["vivid", "natural"] | None = None
    input_fidelity: Literal["high", "low"] | None = None
    response_format: Literal["url", "b64_json"] = "b64_json"
    user: str | None = None


class SpeechBody(msgspec.Struct, forbid_unknown_fields=True):
    """`/v1/audio/speech`."""

    model: Name
    input: Annotated[str, Meta(min_length=1, max_length=SPOKEN_CHARS_MAX)]
    voice: Voice
    instructions: str | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Meta(ge=0.25, le=4)] = 1.0
    stream_format: Literal["sse", "audio"] = "audio"


class TranscriptionBody(msgspec.Struct, forbid_unknown_fields=True):
    """`/v1/audio/transcriptions`, but for its file."""

    model: Name
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    language: str | None = None
    prompt: str = ""
    temperature: Annotated[float, Meta(ge=0, le=1)] = 0.0


class _Part(msgspec.Struct):
    type: Literal["text", "image_url"]
    text: str = ""


class ModerationBody(msgspec.Struct, forbid_unknown_fields=True):
    """`/v1/moderations`."""

    model: Name
    input: str | list[str | _Part]

    def texts(self) -> list[str]:
        """What is judged; parts are judged together."""
        if isinstance(self.input, str):
            return [self.input]
        texts = [one if isinstance(one, str) else one.text for one in self.input]
        return [" ".join(texts)] if self.input and isinstance(self.input[0], _Part) else texts


def read_media(body: bytes, kind: type[T]) -> T:
    """A JSON body.

    Raises:
        Rejected: it is not one of its kind.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise _wrong(str(error)) from None


async def read_form(
    request: web.Request, kind: type[T]
) -> tuple[T, dict[str, list[bytes]], list[str]]:
    """A form: its fields, its files by field, and the fields that may be repeated.

    Raises:
        Rejected: it is not one of its kind.
    """
    try:
        form = await request.post()
    except ValueError as error:
        raise Rejected(400, f"Could not parse multipart form ({error}).") from None
    fields: dict[str, str] = {}
    files: dict[str, list[bytes]] = {}
    lists: list[str] = []
    for name, value in form.items():
        if isinstance(value, web.FileField):
            files.setdefault(name.removesuffix("[]"), []).append(value.file.read())
        elif name.endswith("[]"):
            lists.append(f"{name}={value!s}")
        else:
            fields[name] = str(value)
    try:
        return msgspec.convert(fields, kind, strict=False), files, lists
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None


def _wrong(text: str) -> Rejected:
    field = text.rpartition("$.")[2].rstrip("`") if "$." in text else None
    return Rejected(400, f"Invalid request: {text}.", param=field)
