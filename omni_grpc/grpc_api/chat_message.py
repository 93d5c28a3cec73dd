"""Reads the turns of a conversation, their parts and what a model thought in them."""

import base64
from collections.abc import Sequence
from typing import Final, Literal

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc.core.chat import (
    AudioPart,
    CacheTtl,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningBlock,
    Role,
    TextPart,
    ToolCall,
)
from omni_grpc.core.limits import PART_COUNT_MAX, TOOL_COUNT_MAX
from omni_grpc.grpc_api.chat_checks import (
    check_count,
    check_no_nul,
    check_tool_call_id,
    invalid,
    unknown,
    word,
)

_ROLES: Final[dict[int, Role]] = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "developer",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}
_CACHE_TTLS: Final[dict[int, CacheTtl]] = {
    pb.CACHE_TTL_FIVE_MINUTES: "5m",
    pb.CACHE_TTL_ONE_HOUR: "1h",
}
_BLOCK_KINDS: Final[dict[int, Literal["text", "summary", "encrypted"]]] = {
    pb.REASONING_BLOCK_KIND_TEXT: "text",
    pb.REASONING_BLOCK_KIND_SUMMARY: "summary",
    pb.REASONING_BLOCK_KIND_ENCRYPTED: "encrypted",
}

_URLS: Final = ("https://", "http://")

REASONING_BLOCKS_MAX: Final = 512
"""As many as parts of a message; a turn with tools rarely has ten."""


def read_message(message: pb.Message, field: str) -> Message:
    """One turn.

    Raises:
        FieldInvalid: naming the field below `field`.
    """
    role = _ROLES.get(message.role)
    if role is None:
        raise invalid(f"{field}.role", "is required: SYSTEM, DEVELOPER, USER, ASSISTANT or TOOL")
    check_count(message.parts, f"{field}.parts", 0, PART_COUNT_MAX)
    check_count(message.tool_calls, f"{field}.tool_calls", 0, TOOL_COUNT_MAX)
    content = _content(message, field)
    if role == "assistant":
        if content is None and not message.tool_calls and not message.refusal:
            raise invalid(f"{field}.parts", "is empty, and the turn has no tool calls or refusal")
    else:
        if content is None:
            raise invalid(f"{field}.parts", "is required: a turn says something")
        for name in ("tool_calls", "refusal", "reasoning", "reasoning_blocks"):
            if getattr(message, name):
                raise invalid(f"{field}.{name}", "belongs to assistant turns only")
    if (role == "tool") != bool(message.tool_call_id):
        raise invalid(
            f"{field}.tool_call_id", "is required in a tool turn, and belongs to no other"
        )
    if message.tool_failed and role != "tool":
        raise invalid(f"{field}.tool_failed", "belongs to tool turns only")
    check_tool_call_id(message.tool_call_id, f"{field}.tool_call_id")
    for name in ("name", "refusal", "reasoning"):
        check_no_nul(getattr(message, name), f"{field}.{name}")
    return Message(
        role=role,
        content=content,
        name=message.name or None,
        tool_calls=tuple(
            _tool_call(call, f"{field}.tool_calls[{i}]")
            for i, call in enumerate(message.tool_calls)
        ),
        tool_call_id=message.tool_call_id or None,
        refusal=message.refusal or None,
        reasoning=message.reasoning or None,
        reasoning_blocks=(
            _reasoning_blocks(message.reasoning_blocks, f"{field}.reasoning_blocks")
            if message.reasoning_blocks
            else ()
        ),
        tool_failed=message.tool_failed,
    )


def _reasoning_blocks(
    blocks: Sequence[pb.ReasoningBlock], field: str
) -> tuple[ReasoningBlock, ...]:
    check_count(blocks, field, 0, REASONING_BLOCKS_MAX)
    return tuple(_reasoning_block(block, f"{field}[{i}]") for i, block in enumerate(blocks))


def _reasoning_block(block: pb.ReasoningBlock, field: str) -> ReasoningBlock:
    kind = _BLOCK_KINDS.get(block.kind)
    if kind is None:
        raise invalid(f"{field}.kind", "is required: TEXT, SUMMARY or ENCRYPTED")
    if kind == "encrypted" and not block.data:
        raise invalid(f"{field}.data", "is required in a block of this kind")
    if kind == "text" and not block.text and not block.signature:
        raise invalid(f"{field}.text", "is required in a block of this kind")
    for name in ("text", "signature", "data", "id"):
        check_no_nul(getattr(block, name), f"{field}.{name}")
    for name in ("preceding_char_count", "preceding_tool_call_count"):
        if getattr(block, name) < 0:
            raise invalid(f"{field}.{name}", "must not be negative")
    return ReasoningBlock(
        kind=kind,
        format=word(block.format, f"{field}.format"),
        text=block.text,
        signature=block.signature or None,
        data=block.data or None,
        id=block.id or None,
        text_before=block.preceding_char_count,
        calls_before=block.preceding_tool_call_count,
    )


def _content(message: pb.Message, field: str) -> str | tuple[Part, ...] | None:
    parts = message.parts
    if not parts:
        return None
    if len(parts) == 1 and parts[0].WhichOneof("kind") == "text" and not parts[0].cache_ttl:
        check_no_nul(parts[0].text, f"{field}.parts[0].text")
        return parts[0].text
    return tuple(_part(part, f"{field}.parts[{i}]") for i, part in enumerate(parts))


def _part(part: pb.Part, field: str) -> Part:
    match part.WhichOneof("kind"):
        case "text":
            check_no_nul(part.text, f"{field}.text")
            return TextPart(text=part.text, cache=cache_ttl(part.cache_ttl, field))
        case "image":
            return _image(part, field)
        case "audio":
            if not part.audio.data or not part.audio.format:
                raise invalid(f"{field}.audio", "needs data and a format")
            if part.cache_ttl:
                raise invalid(f"{field}.cache_ttl", "is for text, images and documents")
            data = base64.b64encode(part.audio.data).decode()
            return AudioPart(data=data, format=word(part.audio.format, f"{field}.audio.format"))
        case "file":
            return _file(part, field)
        case _:
            raise invalid(field, "is empty: set one of text, image, audio, file")


def _image(part: pb.Part, field: str) -> ImagePart:
    image = part.image
    if image.uri and image.file_id:
        raise invalid(f"{field}.image", "needs exactly one of uri and file_id")
    if not image.file_id and not image.uri.startswith((*_URLS, "data:")):
        raise invalid(f"{field}.image.uri", "must be an https: or data: URL")
    for name in ("uri", "file_id"):
        check_no_nul(getattr(image, name), f"{field}.image.{name}")
    return ImagePart(
        url=image.uri,
        file_id=image.file_id or None,
        detail=word(image.detail, f"{field}.image.detail") if image.detail else None,
        cache=cache_ttl(part.cache_ttl, field),
    )


def _file(part: pb.Part, field: str) -> FilePart:
    file = part.file
    if bool(file.file_id) + bool(file.data_uri) + bool(file.uri) != 1:
        raise invalid(f"{field}.file", "needs exactly one of file_id, data_uri and uri")
    if file.uri and not file.uri.startswith(_URLS):
        raise invalid(f"{field}.file.uri", "must be an https: URL")
    for name in ("file_id", "data_uri", "filename", "uri"):
        check_no_nul(getattr(file, name), f"{field}.file.{name}")
    return FilePart(
        file_id=file.file_id or None,
        file_data=file.data_uri or None,
        file_url=file.uri or None,
        filename=file.filename or None,
        cache=cache_ttl(part.cache_ttl, field),
    )


def cache_ttl(value: "pb.CacheTtl", field: str) -> CacheTtl | None:
    """How long the provider shall keep the prompt up to here; None without a mark."""
    if value == pb.CACHE_TTL_UNSPECIFIED:
        return None
    ttl = _CACHE_TTLS.get(value)
    if ttl is None:
        raise unknown(f"{field}.cache_ttl")
    return ttl


def _tool_call(call: pb.ToolCall, field: str) -> ToolCall:
    if not call.id or not call.name:
        raise invalid(field, "needs an id and a name")
    check_tool_call_id(call.id, f"{field}.id")
    for name in ("name", "arguments_json"):
        check_no_nul(getattr(call, name), f"{field}.{name}")
    return ToolCall(id=call.id, name=call.name, arguments_json=call.arguments_json)
