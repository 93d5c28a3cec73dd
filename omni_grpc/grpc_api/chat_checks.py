"""The checks that the parts of a chat's prompt share; each names the field that is wrong.

They raise FieldInvalid.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from omni_grpc.core.errors import FieldInvalid

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

WORD_CHARS_MAX: Final = 64
"""Longest word of a provider's own vocabulary; it goes upstream uncounted by the hold."""

TOOL_CALL_ID_CHARS_MAX: Final = 4_096
"""Ids go upstream uncounted by the hold too; the longest known carry a signature."""


def check_count(values: Sequence[object], field: str, low: int, high: int) -> None:
    """How many elements there may be."""
    if not low <= len(values) <= high:
        raise invalid(field, f"has {len(values)} elements; {low} to {high} are allowed")


def check_function_name(name: str, field: str) -> None:
    """A name as functions and schemas have it."""
    if not _NAME.fullmatch(name):
        raise invalid(field, "must be 1 to 64 of a-z, A-Z, 0-9, _ and -")


def check_json_object(text: str, field: str) -> None:
    """The text of a JSON object that can be read again."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        raise invalid(field, "is not the text of a JSON object") from None
    except RecursionError:
        raise invalid(field, "is nested too deeply to be read") from None
    if _NUL_IN_JSON.search(text):
        raise invalid(field, "contains a NUL character")


def word(text: str, field: str) -> str:
    """A word of a provider's own vocabulary."""
    if not 1 <= len(text) <= WORD_CHARS_MAX:
        raise invalid(field, f"must be a word of 1 to {WORD_CHARS_MAX} characters")
    check_no_nul(text, field)
    return text


def check_tool_call_id(text: str, field: str) -> None:
    """The id of a tool call."""
    if len(text) > TOOL_CALL_ID_CHARS_MAX:
        raise invalid(field, f"is longer than {TOOL_CALL_ID_CHARS_MAX} characters")
    check_no_nul(text, field)


def check_no_nul(text: str, field: str) -> None:
    """Text that a model can read."""
    if "\x00" in text:
        raise invalid(field, "contains a NUL character")


def unknown(field: str) -> FieldInvalid:
    """The fault of an enum's value that a newer contract may know."""
    return invalid(field, "has a value that this server does not know")


def invalid(field: str, why: str) -> FieldInvalid:
    """The fault of a field; `why` goes on after its name."""
    return FieldInvalid(f"{field} {why}.", field=field)
