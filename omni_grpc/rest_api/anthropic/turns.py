"""Anthropic's turns of blocks as the domain's messages.

A user's turn becomes a message for each result of a tool, and one for what else was said. Of an
assistant's turn each block of reasoning keeps its place; words stand before calls where none is
between them. What has no place in the domain is refused by name, or noted where it changes no
answer.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    CacheTtl,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningBlock,
    TextPart,
    ToolCall,
)
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.core.turn_order import chars_of, is_interleaved
from omni_grpc.rest_api.anthropic.signatures import NATIVE, Signatures
from omni_grpc.rest_api.anthropic.wire import (
    WireBlock,
    WireBlocksData,
    WireCacheControl,
    WireDocument,
    WireFileId,
    WireImage,
    WireImageData,
    WireMessage,
    WirePdfData,
    WireRedactedThinking,
    WireText,
    WireTextData,
    WireThinking,
    WireToolResult,
    WireToolUse,
    WireUrl,
)

_CACHE_DEFAULT: Final[CacheTtl] = "5m"
_URLS: Final = ("https://", "http://")


class Turns:
    """Turns wire messages into the domain's; `ignored` gathers what was left out on the way."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self.ignored: list[str] = []

    def system(self, wire: str | tuple[WireText, ...] | None) -> Iterator[Message]:
        """The system prompt, if there is any."""
        if isinstance(wire, str):
            if wire:
                yield Message(role="system", content=wire)
        elif wire:
            parts = tuple(TextPart(text=one.text, cache=ttl_of(one.cache_control)) for one in wire)
            yield Message(role="system", content=plain(parts))

    def messages(self, wire: WireMessage, place: int) -> Iterator[Message]:
        """The messages of one turn; none of an assistant's that holds nothing which can go back.

        Raises:
            FieldInvalid: a block stands where it does not belong, or is empty.
            FeatureUnsupported: a block asks for what this service does not carry.
        """
        content = wire.content
        if isinstance(content, str):
            yield Message(role=wire.role, content=content)
            return
        field = f"messages[{place}].content"
        if not content:
            raise invalid(field, "is empty; send text, or at least one block")
        if wire.role == "assistant":
            yield from self._said(content, field)
        elif wire.role == "user":
            yield from self._asked(content, field)
        else:
            yield Message(role="system", content=plain(tuple(self._texts(content, field))))

    # --- roles --------------------------------------------------------------------------------
    def _asked(self, blocks: tuple[WireBlock, ...], field: str) -> Iterator[Message]:
        # Results stand first, right behind their calls: all providers demand it.
        parts: list[Part] = []
        for place, block in enumerate(blocks):
            where = f"{field}[{place}]"
            if isinstance(block, WireToolResult):
                yield self._result(block, where)
            else:
                parts += self._parts(block, where)
        if parts:
            yield Message(role="user", content=plain(tuple(parts)))

    def _said(self, blocks: tuple[WireBlock, ...], field: str) -> Iterator[Message]:
        parts: list[Part] = []
        calls: list[ToolCall] = []
        reasoning: list[ReasoningBlock] = []
        for place, block in enumerate(blocks):
            where = f"{field}[{place}]"
            match block:
                case WireText():
                    parts += self._parts(block, where)
                case WireToolUse():
                    calls.append(self._call(block, where))
                case WireThinking():
                    found = self._signatures.opened(block.thinking, block.signature, where)
                    reasoning += _placed(found, parts, calls)
                case WireRedactedThinking():
                    found = self._signatures.unwrapped(block.data, where)
                    reasoning += _placed(found, parts, calls)
                case _:
                    raise invalid(f"{where}.type", "is for user messages")
        if parts or calls or reasoning:
            yield Message(
                role="assistant",
                content=plain(tuple(parts)) if parts else None,
                tool_calls=tuple(calls),
                reasoning_blocks=tuple(reasoning),
            )

    def _texts(self, blocks: tuple[WireBlock, ...], field: str) -> Iterator[TextPart]:
        for place, block in enumerate(blocks):
            if not isinstance(block, WireText):
                raise invalid(f"{field}[{place}].type", "must be text in a system message")
            yield TextPart(text=block.text, cache=ttl_of(block.cache_control))

    # --- tools --------------------------------------------------------------------------------
    def _call(self, wire: WireToolUse, field: str) -> ToolCall:
        if wire.cache_control is not None:
            self.ignored.append(f"{field}.cache_control")
        arguments = object_text(wire.input, f"{field}.input")
        return ToolCall(id=wire.id, name=wire.name, arguments_json=arguments)

    def _result(self, wire: WireToolResult, field: str) -> Message:
        content = wire.content
        parts: list[Part] = []
        if isinstance(content, tuple):
            for place, block in enumerate(content):
                parts += self._parts(block, f"{field}.content[{place}]")
        else:
            parts.append(TextPart(text=content or ""))
        found = _marked(parts, ttl_of(wire.cache_control))
        return Message(
            role="tool",
            tool_call_id=wire.tool_use_id,
            content=plain(found) or "",
            tool_failed=bool(wire.is_error),
        )

    # --- content ------------------------------------------------------------------------------
    def _parts(self, block: WireBlock, field: str) -> Iterator[Part]:
        match block:
            case WireText():
                yield TextPart(text=block.text, cache=ttl_of(block.cache_control))
            case WireImage():
                yield _image(block, field)
            case WireDocument():
                yield from self._document(block, field)
            case _:
                raise invalid(f"{field}.type", "is for assistant messages")

    def _document(self, wire: WireDocument, field: str) -> Iterator[Part]:
        if wire.citations is not None and wire.citations.enabled:
            self.ignored.append(f"{field}.citations")
        # What the caller says about a document goes before it, where there is no place for it.
        about = [wire.context] if wire.context else []
        inside = self._source(wire, f"{field}.source")
        if wire.title and not isinstance(inside[0], FilePart):
            about.insert(0, wire.title)
        if about:
            yield TextPart(text="\n".join(about))
        yield from _marked(inside, ttl_of(wire.cache_control))

    def _source(self, wire: WireDocument, field: str) -> list[Part]:
        source = wire.source
        match source:
            case WireUrl():
                if not source.url.startswith(_URLS):
                    raise invalid(f"{field}.url", "must be an https: URL")
                return [FilePart(file_url=source.url, filename=wire.title)]
            case WirePdfData():
                data = f"data:{source.media_type};base64,{source.data}"
                return [FilePart(file_data=data, filename=wire.title)]
            case WireFileId():
                return [FilePart(file_id=source.file_id, filename=wire.title)]
            case WireTextData():
                return [TextPart(text=source.data)]
            case WireBlocksData():
                return self._inner_blocks(source, field)

    def _inner_blocks(self, source: WireBlocksData, field: str) -> list[Part]:
        content = source.content
        if isinstance(content, str):
            return [TextPart(text=content)]
        found: list[Part] = []
        for place, block in enumerate(content):
            found += self._parts(block, f"{field}.content[{place}]")
        if not found:
            raise invalid(f"{field}.content", "is empty")
        return found


def _image(wire: WireImage, field: str) -> ImagePart:
    source, cache = wire.source, ttl_of(wire.cache_control)
    if isinstance(source, WireImageData):
        return ImagePart(url=f"data:{source.media_type};base64,{source.data}", cache=cache)
    if isinstance(source, WireFileId):
        return ImagePart(file_id=source.file_id, cache=cache)
    if not source.url.startswith(_URLS):
        raise invalid(f"{field}.source.url", "must be an https: URL")
    return ImagePart(url=source.url, cache=cache)


def _placed(
    blocks: tuple[ReasoningBlock, ...], parts: list[Part], calls: list[ToolCall]
) -> tuple[ReasoningBlock, ...]:
    """Blocks behind these parts and calls; one that says itself where it stood was sealed so."""
    chars = chars_of(parts)
    if not chars and not calls:
        return blocks
    return tuple(
        msgspec.structs.replace(one, text_before=chars, calls_before=len(calls))
        if one.format == NATIVE and not is_interleaved((one,))
        else one
        for one in blocks
    )


def _marked(parts: list[Part], cache: CacheTtl | None) -> tuple[Part, ...]:
    """The parts, the last of them marked."""
    last = parts[-1] if parts else None
    if cache is not None and isinstance(last, TextPart | ImagePart | FilePart):
        return (*parts[:-1], msgspec.structs.replace(last, cache=cache))
    return tuple(parts)


def mark_last(messages: list[Message], cache: CacheTtl | None) -> None:
    """Marks the end of the conversation, where its last message has content to mark."""
    last = messages[-1]
    if isinstance(last.content, str):
        parts: list[Part] = [TextPart(text=last.content)]
    else:
        parts = list(last.content or ())
    messages[-1] = msgspec.structs.replace(last, content=plain(_marked(parts, cache)) or None)


def plain(parts: tuple[Part, ...]) -> str | tuple[Part, ...]:
    """One unmarked text as a string, which every provider takes."""
    if len(parts) == 1 and isinstance(parts[0], TextPart) and parts[0].cache is None:
        return parts[0].text
    return parts


# --- what all readers of the body need --------------------------------------------------------
def ttl_of(wire: WireCacheControl | None) -> CacheTtl | None:
    """How long a mark asks to keep; None without a mark."""
    return None if wire is None else wire.ttl or _CACHE_DEFAULT


def object_text(raw: msgspec.Raw, field: str) -> str:
    """The text of a JSON object as it was written.

    Raises:
        FieldInvalid: it is none.
    """
    text = bytes(raw)
    if not text.startswith(b"{"):
        raise invalid(field, "must be a JSON object")
    return text.decode()


def invalid(field: str, why: str) -> FieldInvalid:
    """The error of a field that cannot be as it is."""
    return FieldInvalid(f"{field} {why}.", field=field)


def unsupported(field: str, what: str, instead: str) -> FeatureUnsupported:
    """The error of a field that asks for what this service does not carry."""
    return FeatureUnsupported(
        f"{field}: {what} are not supported here. {instead}",
        field=field,
        metadata={"feature": what},
    )
