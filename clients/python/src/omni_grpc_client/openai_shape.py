"""Reads messages, tools and formats that are written as dicts in OpenAI's shape.

Nothing is dropped in silence: a key that this client does not know, with a value that means
something, is refused by its path. Keys whose value is None or empty are ignored, because dumped
SDK objects are full of them.
"""

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeGuard, cast

from omni_grpc_client.failures import field_invalid
from omni_grpc_client.prompt import (
    Audio,
    CacheTtl,
    File,
    Image,
    JsonSchema,
    Message,
    OpenAIShape,
    Part,
    ReasoningBlock,
    Role,
    Text,
    Tool,
    ToolCall,
)

OWN_FORMAT = "openai"
"""The format of a block of reasoning that names none: the dialect that it is written in."""

_DETAILS: Mapping[str, Literal["text", "summary", "encrypted"]] = {
    "reasoning.text": "text",
    "reasoning.summary": "summary",
    "reasoning.encrypted": "encrypted",
}

ROLES = ("system", "developer", "user", "assistant", "tool")


def message(shape: OpenAIShape, where: str) -> Message:
    """A message from `{"role": …, "content": …}`."""
    _only(
        shape,
        where,
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "refusal",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
    )
    role = _text(shape, "role", where)
    if role not in ROLES:
        raise field_invalid(f"{where}.role", f"{role!r} is none of {', '.join(ROLES)}")
    content, refusal = _content(shape.get("content"), f"{where}.content")
    return Message(
        role=cast("Role", role),
        content=content,
        tool_calls=[
            _tool_call(_mapping(one, f"{where}.tool_calls[{at}]"), f"{where}.tool_calls[{at}]")
            for at, one in enumerate(_sequence(shape.get("tool_calls"), f"{where}.tool_calls"))
        ],
        tool_call_id=_text(shape, "tool_call_id", where),
        name=_text(shape, "name", where),
        refusal=_text(shape, "refusal", where) or refusal,
        # Servers that return reasoning name it one way or the other.
        reasoning=_text(shape, "reasoning", where) or _text(shape, "reasoning_content", where),
        reasoning_blocks=_reasoning_blocks(shape, where),
    )


def tool(shape: OpenAIShape, where: str) -> Tool:
    """A tool from `{"type": "function", "function": {…}}`."""
    function, path = _inner(shape, "function", "function", where, "cache_control")
    _only(function, path, "name", "description", "parameters", "strict")
    return Tool(
        name=_text(function, "name", path),
        description=_text(function, "description", path),
        parameters=_schema(function.get("parameters"), f"{path}.parameters"),
        strict=_flag(function, "strict", path),
        cache=_cache(shape, where),
    )


def tool_name(shape: OpenAIShape, where: str) -> str:
    """The forced tool's name from `{"type": "function", "function": {"name": …}}`."""
    function, path = _inner(shape, "function", "function", where)
    _only(function, path, "name")
    return _text(function, "name", path)


def response_format(shape: OpenAIShape, where: str) -> JsonSchema | str:
    """`text`, `json_object` or a schema from `{"type": …}`."""
    kind = _text(shape, "type", where)
    if kind != "json_schema":
        _only(shape, where, "type")
        return kind
    inner, path = _inner(shape, "json_schema", "json_schema", where)
    _only(inner, path, "name", "schema", "description", "strict")
    schema = _schema(inner.get("schema"), f"{path}.schema")
    if schema is None:
        raise field_invalid(f"{path}.schema", "a JSON schema is missing")
    return JsonSchema(
        name=_text(inner, "name", path),
        schema=schema,
        description=_text(inner, "description", path),
        strict=_flag(inner, "strict", path),
    )


def _reasoning_blocks(shape: OpenAIShape, where: str) -> list[ReasoningBlock]:
    """The blocks of `reasoning_details`, as OpenRouter documents them."""
    where = f"{where}.reasoning_details"
    found: list[ReasoningBlock] = []
    for at, one in enumerate(_sequence(shape.get("reasoning_details"), where)):
        path = f"{where}[{at}]"
        detail = _mapping(one, path)
        known = ("type", "text", "summary", "data", "signature", "id", "format", "index")
        _only(detail, path, *known, "text_before", "calls_before")
        kind = _DETAILS.get(_text(detail, "type", path))
        if kind is None:
            raise field_invalid(f"{path}.type", f"none of {', '.join(_DETAILS)}")
        found.append(
            ReasoningBlock(
                kind=kind,
                format=_text(detail, "format", path) or OWN_FORMAT,
                text=_text(detail, "summary" if kind == "summary" else "text", path),
                signature=_text(detail, "signature", path),
                data=_text(detail, "data", path),
                id=_text(detail, "id", path),
                text_before=_count(detail, "text_before", path),
                calls_before=_count(detail, "calls_before", path),
            )
        )
    return found


def _count(shape: OpenAIShape, key: str, where: str) -> int:
    value = shape.get(key) or 0
    if not isinstance(value, int) or value < 0:
        raise field_invalid(f"{where}.{key}", f"{value!r} is no count")
    return value


def _cache(shape: OpenAIShape, where: str) -> CacheTtl | None:
    """The mark of `{"cache_control": {"type": "ephemeral", "ttl": …}}`, five minutes if unsaid."""
    value = shape.get("cache_control")
    if value is None:
        return None
    path = f"{where}.cache_control"
    mark = _mapping(value, path)
    _only(mark, path, "type", "ttl")
    if _text(mark, "type", path) != "ephemeral":
        raise field_invalid(f"{path}.type", "there is only ephemeral")
    return cast("CacheTtl", _text(mark, "ttl", path) or "5m")


def _content(value: object, where: str) -> tuple[str | list[Part] | None, str]:
    """The content, and the text of its refusal parts, which the contract keeps apart."""
    if value is None or isinstance(value, str):
        return value, ""
    parts: list[Part] = []
    refusals: list[str] = []
    for at, one in enumerate(_sequence(value, where)):
        path = f"{where}[{at}]"
        shape = _mapping(one, path)
        if shape.get("type") == "refusal":
            refusals.append(_text(shape, "refusal", path))
        else:
            parts.append(_part(shape, path))
    return parts, "".join(refusals)


def _part(shape: OpenAIShape, where: str) -> Part:
    kind = _text(shape, "type", where)
    if kind == "text":
        _only(shape, where, "type", "text", "cache_control")
        text, cache = _text(shape, "text", where), _cache(shape, where)
        return text if cache is None else Text(text, cache)
    if kind == "image_url":
        inner, path = _inner(shape, kind, "image_url", where, "cache_control")
        _only(inner, path, "url", "detail")
        return Image(_text(inner, "url", path), _text(inner, "detail", path), _cache(shape, where))
    if kind == "input_audio":
        inner, path = _inner(shape, kind, "input_audio", where)
        _only(inner, path, "data", "format")
        return Audio(_base64(inner, "data", path), _text(inner, "format", path))
    if kind == "file":
        inner, path = _inner(shape, kind, "file", where, "cache_control")
        _only(inner, path, "file_id", "file_data", "filename")
        return File(
            file_id=_text(inner, "file_id", path),
            data_uri=_text(inner, "file_data", path),
            filename=_text(inner, "filename", path),
            cache=_cache(shape, where),
        )
    raise field_invalid(
        f"{where}.type", f"{kind!r} is none of text, image_url, input_audio, file, refusal"
    )


def _tool_call(shape: OpenAIShape, where: str) -> ToolCall:
    # Streamed calls, dumped, keep their place in the turn.
    function, path = _inner(shape, "function", "function", where, "id", "index")
    _only(function, path, "name", "arguments")
    return ToolCall(
        id=_text(shape, "id", where),
        name=_text(function, "name", path),
        arguments_json=_text(function, "arguments", path),
    )


def _inner(
    shape: OpenAIShape, kind: str, key: str, where: str, *beside: str
) -> tuple[OpenAIShape, str]:
    """The object under `key` of a shape whose type is `kind`, and its path."""
    _only(shape, where, "type", key, *beside)
    found = _text(shape, "type", where)
    if found not in {kind, ""}:
        raise field_invalid(f"{where}.type", f"{found!r} where {kind!r} is expected")
    return _mapping(shape.get(key), f"{where}.{key}"), f"{where}.{key}"


def _only(shape: OpenAIShape, where: str, *known: str) -> None:
    for key, value in shape.items():
        meaningless = value is None or (isinstance(value, Collection) and not value)
        if key not in known and not meaningless:
            raise field_invalid(f"{where}.{key}", "this client does not know this key")


def _text(shape: OpenAIShape, key: str, where: str) -> str:
    value = shape.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise field_invalid(f"{where}.{key}", f"a {type(value).__name__} where text is expected")
    return value


def _flag(shape: OpenAIShape, key: str, where: str) -> bool | None:
    value = shape.get(key)
    if value is not None and not isinstance(value, bool):
        raise field_invalid(f"{where}.{key}", f"a {type(value).__name__} where a bool is expected")
    return value


def _schema(value: object, where: str) -> OpenAIShape | str | None:
    return value if value is None or isinstance(value, str) else _mapping(value, where)


def _base64(shape: OpenAIShape, key: str, where: str) -> bytes:
    try:
        return base64.b64decode(_text(shape, key, where), validate=True)
    except binascii.Error:
        raise field_invalid(f"{where}.{key}", "not base64") from None


def _mapping(value: object, where: str) -> OpenAIShape:
    if not _is_mapping(value):
        raise field_invalid(where, f"a {type(value).__name__} where an object is expected")
    return value


def _sequence(value: object, where: str) -> Sequence[object]:
    if value is None:
        return ()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise field_invalid(where, f"a {type(value).__name__} where a list is expected")
    return value


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
