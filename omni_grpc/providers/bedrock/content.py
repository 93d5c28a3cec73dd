"""The messages of a chat in Converse's words: turns of content blocks.

Turns alternate between user and assistant, so neighbours of one role become one; results of tools
are the user's. Media goes inline: Converse takes addresses of Amazon S3 alone.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    AudioPart,
    CacheTtl,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningBlock,
    RefusalPart,
    TextPart,
)
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.core.turn_order import Calls, is_interleaved, is_text, turn_of
from omni_grpc.providers.bedrock.wire import FORMAT
from omni_grpc.providers.written import FAILED_SILENTLY, Json, failed_as_text, raw_object

DOCUMENT_NAME_CHARS_MAX: Final = 200
"""Converse's own limit."""

_IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_DOCUMENT_FORMATS: Final = frozenset(_DOCUMENTS.values())
_AUDIO_FORMATS: Final = frozenset(
    [
        "mp3",
        "opus",
        "wav",
        "aac",
        "flac",
        "mp4",
        "ogg",
        "mkv",
        "mka",
        "x-aac",
        "m4a",
        "mpeg",
        "mpga",
        "pcm",
        "webm",
    ]
)
_TEXTS: Final = frozenset({"application/json", "application/xml", "application/yaml"})
"""Media types beside `text/…` that are texts."""

_TAKES_STATUS: Final = re.compile(r"anthropic\.claude-|amazon\.nova-")
"""Models that take the status of a tool's result, by AWS's documents."""

_TOOL_ID_CHARS_MAX: Final = 64
_TOOL_ID_REFUSED: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_REFUSED: Final = re.compile(r"[^A-Za-z0-9\s()\[\]-]+")
_BLANKS: Final = re.compile(r"\s+")


def system_blocks(messages: Sequence[Message]) -> list[Json]:
    """The system prompts, wherever they stand: Converse has one place for them."""
    blocks: list[Json] = []
    for message in messages:
        if message.role not in ("system", "developer"):
            continue
        content = message.content
        for part in content if isinstance(content, tuple) else (TextPart(text=content or ""),):
            if not isinstance(part, TextPart):
                raise FeatureUnsupported("A system prompt is text there.", field="messages")
            _add_text(blocks, part.text, part.cache)
    return blocks


class Turns:
    """Writes the conversation; a document's name stands once in all of it."""

    def __init__(self, model: str) -> None:
        """`model` is the one that reads them; its name says what it takes."""
        self._takes_status = _TAKES_STATUS.search(model) is not None
        self._names: set[str] = set()
        self._turns: list[tuple[str, list[Json]]] = []
        self.has_tools = False

    def written(self, messages: Sequence[Message]) -> list[Json]:
        """The turns.

        Raises:
            FieldInvalid: a message holds what Converse cannot be told.
        """
        for place, message in enumerate(messages):
            if message.role in ("system", "developer"):
                continue
            role = "assistant" if message.role == "assistant" else "user"
            blocks = self._blocks(message, f"messages[{place}]")
            if not blocks:  # what Converse refuses as empty is left out
                continue
            if self._turns and self._turns[-1][0] != role:
                self._end_turn()
            if self._turns and self._turns[-1][0] == role:
                self._turns[-1][1].extend(blocks)
            else:
                self._turns.append((role, blocks))
        self._end_turn()
        if not self._turns:
            raise FieldInvalid(
                "There must be at least one message with content beside system prompts.",
                field="messages",
            )
        return [{"role": role, "content": blocks} for role, blocks in self._turns]

    def _end_turn(self) -> None:
        """Leaves out reasoning that nothing follows: Claude takes no turn that ends with it."""
        if not self._turns:
            return
        said = self._turns[-1][1]
        while said and "reasoningContent" in said[-1]:
            said.pop()
        if not said:
            self._turns.pop()

    def _blocks(self, message: Message, field: str) -> list[Json]:
        if message.role == "tool":
            return self._tool_result(message, field)
        calls: list[Json] = []
        for place, call in enumerate(message.tool_calls):
            self.has_tools = True
            arguments = raw_object(
                call.arguments_json or "{}", f"{field}.tool_calls[{place}].arguments"
            )
            use = {"toolUseId": _tool_id(call.id), "name": call.name, "input": arguments}
            calls.append({"toolUse": use})
        blocks: list[Json] = []
        if message.reasoning_blocks:
            thoughts = [one for one in message.reasoning_blocks if one.format == FORMAT]
            if is_interleaved(thoughts) and is_text(message.content):
                return self._in_order(message, thoughts, calls, field)
            blocks = [block for one in thoughts if (block := _reasoning(one)) is not None]
        blocks += self._parts(message.content, field)
        _add_text(blocks, message.refusal or "", None)
        return blocks + calls

    def _in_order(
        self, message: Message, thoughts: list[ReasoningBlock], calls: list[Json], field: str
    ) -> list[Json]:
        blocks: list[Json] = []
        for item in turn_of(message, thoughts):
            match item:
                case Calls():
                    blocks += calls[item.start : item.end]
                case ReasoningBlock():
                    thought = _reasoning(item)
                    blocks += [] if thought is None else [thought]
                case _:
                    blocks += self._parts(item, field)
        return blocks

    def _tool_result(self, message: Message, field: str) -> list[Json]:
        self.has_tools = True
        says_status = message.tool_failed and self._takes_status
        said = message if says_status else failed_as_text(message)
        content = self._parts(said.content, field)
        inside = [block for block in content if "cachePoint" not in block]
        if any("audio" in block for block in inside):
            raise FeatureUnsupported("A tool's result holds no audio there.", field=field)
        result: Json = {"toolUseId": _tool_id(message.tool_call_id or ""), "content": inside}
        if says_status:
            result["content"] = inside or [{"text": FAILED_SILENTLY}]
            result["status"] = "error"
        # A mark inside would be none: it stands behind the result.
        return [{"toolResult": result}, *(block for block in content if "cachePoint" in block)]

    def _parts(self, content: str | Iterable[Part] | None, field: str) -> list[Json]:
        blocks: list[Json] = []
        if content is None or isinstance(content, str):
            _add_text(blocks, content or "", None)
            return blocks
        for place, part in enumerate(content):
            self._add_part(blocks, part, f"{field}.content[{place}]")
        return blocks

    def _add_part(self, blocks: list[Json], part: Part, field: str) -> None:
        match part:
            case TextPart():
                _add_text(blocks, part.text, part.cache)
            case RefusalPart():
                _add_text(blocks, part.refusal, None)
            case ImagePart():
                blocks.append(_image(part.url, field))
                _add_mark(blocks, part.cache)
            case AudioPart():
                blocks.append(_audio(part, field))
            case FilePart():
                blocks.append(self._file(part, field))
                _add_mark(blocks, part.cache)

    def _file(self, part: FilePart, field: str) -> Json:
        if part.file_data is None:
            raise FeatureUnsupported("A file goes inline there, as a data URL.", field=field)
        kind, data = "", part.file_data
        if data.startswith("data:"):
            kind, data = _data_url(data, field)
        if kind.startswith("image/"):
            return _image(part.file_data, field)
        form = _document_format(kind, part.filename or "")
        if form is None:
            raise FeatureUnsupported(
                f"The file's kind is not one of {', '.join(sorted(_DOCUMENT_FORMATS))}.",
                field=field,
            )
        name = self._name(part.filename or "")
        return {"document": {"format": form, "name": name, "source": {"bytes": data}}}

    def _name(self, filename: str) -> str:
        """A name of the few characters that Converse takes, and that no other document has."""
        stem = filename.rpartition(".")[0] or filename
        name = _BLANKS.sub(" ", _NAME_REFUSED.sub("-", stem)).strip(" -") or "document"
        name = name[: DOCUMENT_NAME_CHARS_MAX - 8].rstrip()
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}-{number}"
        self._names.add(found)
        return found


def mark(ttl: CacheTtl) -> Json:
    """The end of a prefix that shall be kept. Five minutes are what it means without a time."""
    point: Json = {"type": "default"}
    if ttl != "5m":
        point["ttl"] = ttl
    return {"cachePoint": point}


def _add_mark(blocks: list[Json], ttl: CacheTtl | None) -> None:
    if ttl is not None:
        blocks.append(mark(ttl))


def _add_text(blocks: list[Json], text: str, ttl: CacheTtl | None) -> None:
    """A block of text; a blank one, which Converse refuses, is left out."""
    if text and not text.isspace():
        blocks.append({"text": text})
    if blocks:
        _add_mark(blocks, ttl)


def _reasoning(block: ReasoningBlock) -> Json | None:
    """The block as it came; None for one that lacks its proof."""
    if block.data is not None:
        return {"reasoningContent": {"redactedContent": block.data}}
    if block.signature is None:
        return None
    said = {"text": block.text, "signature": block.signature}
    return {"reasoningContent": {"reasoningText": said}}


def _tool_id(call_id: str) -> str:
    """An id as Converse and the models behind it take it; other providers' have more."""
    return _TOOL_ID_REFUSED.sub("_", call_id)[-_TOOL_ID_CHARS_MAX:] or "_"


def _document_format(kind: str, filename: str) -> str | None:
    """By the media type, else by the name; any other text is plain text."""
    extension = filename.rpartition(".")[2].lower()
    found = _DOCUMENTS.get(kind)
    if found is None and extension in _DOCUMENT_FORMATS:
        found = extension
    if found is None and (kind.startswith("text/") or kind in _TEXTS):
        found = "txt"
    return found


def _image(url: str, field: str) -> Json:
    kind, data = _data_url(url, field)
    form = _IMAGES.get(kind)
    if form is None:
        raise FeatureUnsupported(
            "The image's kind is not one of png, jpeg, gif and webp.", field=field
        )
    return {"image": {"format": form, "source": {"bytes": data}}}


def _audio(part: AudioPart, field: str) -> Json:
    if part.format not in _AUDIO_FORMATS:
        raise FeatureUnsupported(f"Audio in {part.format!r} is not taken there.", field=field)
    return {"audio": {"format": part.format, "source": {"bytes": part.data}}}


def _data_url(url: str, field: str) -> tuple[str, str]:
    """The media type and the base64 of a data URL."""
    head, comma, data = url.partition(",")
    kind, *settings = head.removeprefix("data:").split(";")
    if not (comma and data and head.startswith("data:") and "base64" in settings):
        raise FieldInvalid(
            f"{field} must be a data URL in base64, such as data:image/png;base64,AAAA.",
            field=field,
        )
    return kind.lower(), data


def encoded(body: Json) -> bytes:
    """The body as JSON.

    Raises:
        FieldInvalid: a text is no Unicode.
    """
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise FieldInvalid(
            "The request holds a lone surrogate, which is no Unicode text; send valid UTF-8.",
            field="messages",
        ) from error
