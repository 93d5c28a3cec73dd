"""Images, audio and files as Google takes them: inline, or by an address that it fetches itself."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from omni_grpc.core.chat import AudioPart, FilePart, ImagePart
from omni_grpc.core.errors import FieldInvalid

_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
"""What comes before the name of a file of the Gemini API, wherever the API itself is reached."""

_FETCHED: Final = ("https://", "gs://")
_TYPES: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/md",
    "csv": "text/csv",
    "html": "text/html",
    "xml": "text/xml",
    "json": "application/json",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "aiff": "audio/aiff",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mov": "video/mov",
    "webm": "video/webm",
}
"""The types of Google's documents, by the ending of a name."""

_Json = dict[str, object]


def image(part: ImagePart, field: str) -> _Json:
    """An image as a part.

    Raises:
        FieldInvalid: its URL is neither data in base64 nor an address that Google fetches, or its
            id names no file at Google.
    """
    if part.file_id is not None:
        return _by_id(part.file_id, None, field)
    if part.url.startswith("data:"):
        return _inline(part.url, field)
    return _by_url(part.url, None, field)


def audio(part: AudioPart) -> _Json:
    """Audio as a part."""
    return {"inlineData": {"mimeType": f"audio/{part.format}", "data": part.data}}


def file(part: FilePart, field: str) -> _Json:
    """A file as a part.

    Raises:
        FieldInvalid: it has neither data in base64, nor an id that names a file at Google, nor an
            address that Google fetches.
    """
    if part.file_id is not None:
        return _by_id(part.file_id, part.filename, field)
    if part.file_url is not None:
        return _by_url(part.file_url, part.filename, field)
    return _inline(part.file_data or "", field)


def _by_id(name: str, filename: str | None, field: str) -> _Json:
    if name.startswith("files/"):
        return _by_address(_FILES + name, filename)
    if name.startswith(_FETCHED):
        return _by_address(name, filename)
    raise FieldInvalid(
        f"{field} must be named as Google names files: files/…, https://… or gs://….", field=field
    )


def _by_url(url: str, filename: str | None, field: str) -> _Json:
    if not url.startswith(_FETCHED):
        raise FieldInvalid(
            f"{field} must be a data URL in base64, or begin with https:// or gs:// for Google to "
            f"fetch it.",
            field=field,
        )
    return _by_address(url, filename)


def _inline(url: str, field: str) -> _Json:
    head, comma, data = url.partition(",")
    kind, *settings = head.removeprefix("data:").split(";")
    if not (head.startswith("data:") and comma and kind and "base64" in settings):
        raise FieldInvalid(
            f"{field} must be a data URL in base64: data:<type>;base64,<data>.", field=field
        )
    return {"inlineData": {"mimeType": kind, "data": data}}


def _by_address(address: str, filename: str | None) -> _Json:
    """The type stands beside an address where its name tells it; else Google finds it out."""
    kind = _type_of(filename or "") or _type_of(_path_of(address))
    return {"fileData": ({} if kind is None else {"mimeType": kind}) | {"fileUri": address}}


def _path_of(address: str) -> str:
    try:
        return urlsplit(address).path
    except ValueError:
        return ""


def _type_of(name: str) -> str | None:
    return _TYPES.get(name.rpartition(".")[2].lower())
