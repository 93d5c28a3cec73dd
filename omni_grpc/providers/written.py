"""What callers, models and tools wrote, put into a request as it was written.

JSON is proven to be one JSON value first: a text with a brace too many would otherwise write fields
of its own. The result of a tool that failed says so in its text where a dialect has no flag.
"""

from typing import Final, TypeAlias

import msgspec

from omni_grpc.core.chat import Message, Part, TextPart
from omni_grpc.core.errors import FieldInvalid

FAILED: Final = "Error: "
"""Stands before the result of a tool that failed, for models whose API has no flag for it."""

FAILED_SILENTLY: Final = "Error"
"""The result of a tool that failed and said nothing, where an API takes no empty one."""

Json: TypeAlias = dict[str, object]

_check: Final = msgspec.json.Decoder(msgspec.Raw).decode


def present(**fields: object) -> Json:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def failed_as_text(message: Message) -> Message:
    """A tool's turn as a dialect without a flag for failures takes it; any other as it is."""
    if not message.tool_failed:
        return message
    content = message.content
    parts: tuple[Part, ...]
    if not isinstance(content, tuple):
        return msgspec.structs.replace(message, content=FAILED + (content or ""), tool_failed=False)
    first = content[0] if content else None
    if isinstance(first, TextPart):
        parts = (msgspec.structs.replace(first, text=FAILED + first.text), *content[1:])
    else:
        parts = (TextPart(text=FAILED), *content)
    return msgspec.structs.replace(message, content=parts, tool_failed=False)


def raw_object(text: str, field: str) -> msgspec.Raw:
    """A JSON object, from a text that is one.

    Raises:
        FieldInvalid: it is none; `field` says where it stands.
    """
    if not text.lstrip(" \t\r\n").startswith("{"):
        raise FieldInvalid(f"{field} must be a JSON object.", field=field)
    return raw_value(text.encode("utf-8", "surrogatepass"), field)


def raw_value(data: bytes, field: str) -> msgspec.Raw:
    """Any JSON value, from bytes that are one.

    Raises:
        FieldInvalid: they are none; `field` says where they stand.
    """
    try:
        data.decode("utf-8")  # msgspec checks the structure and passes strings by
        return _check(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FieldInvalid(f"{field} is not valid JSON: {error}.", field=field) from error
