"""Reads a JSON body into a typed value, or says in OpenAI's field names what is wrong with it.

Whatever bytes come, this ends in a value or in FieldInvalid. What it lets through is sound
throughout, also where it is kept as raw JSON: valid UTF-8, no NUL, no lone surrogate, no NaN, and
nested no deeper than can be read again.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from omni_grpc.core.errors import FieldInvalid

LOCATED_BYTES_MAX: Final = 128 * 1024
"""A NUL is traced to its field in bodies up to this size; the search reads them a few times."""

MESSAGE_CHARS_MAX: Final = 300
"""A fault's message quotes what was sent, which may be a body of 10 MB."""

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_AT: Final = re.compile(r"(?P<why>.*) - at `(?:key in )?\$(?P<path>.*)`", re.DOTALL)
_INDEX: Final = re.compile(r"\[[0-9]*\]")
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)

_read_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

T = TypeVar("T")


def read_json(
    body: bytes, decode: Callable[[bytes], T], choices: Mapping[str, str]
) -> tuple[T, dict[str, msgspec.Raw]]:
    """The typed value of a body that is one JSON object, and its fields as they were written.

    Of a name that is written twice the last one counts, in both.

    Args:
        body: what was sent.
        decode: reads the typed value.
        choices: what may stand in the fields that take certain words, by path without indices.

    Raises:
        FieldInvalid: `field` is the path of the fault, such as `messages[0].content`.
    """
    if not body.isascii():
        _check_unicode(body)
    try:
        value, fields = decode(body), _read_fields(body)
    except msgspec.ValidationError as error:
        raise _wrong_value(str(error), choices) from None
    except msgspec.DecodeError as error:
        raise _malformed(body, str(error)) from None
    except RecursionError:
        raise FieldInvalid("The body is nested too deeply to be read.") from None
    if b"\\u0000" in body and _NUL.search(body):
        path = _path_of_nul(body) if len(body) <= LOCATED_BYTES_MAX else None
        raise FieldInvalid(
            f"{path or 'The body'}: a text contains the character NUL (\\u0000), which no model "
            "reads. Remove it.",
            field=path,
        )
    return value, fields


def _check_unicode(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise FieldInvalid(
            f"The body is not valid UTF-8: byte {error.start} is {body[error.start]:#04x}."
        ) from None


def _malformed(body: bytes, why: str) -> FieldInvalid:
    if not body:
        return FieldInvalid("The body is empty; send a JSON object.")
    why = why.removeprefix("JSON is malformed: ")
    if "surrogate" in why or ("hex escape" in why and _SURROGATE.search(body)):
        return FieldInvalid(
            f"The body has half of a surrogate pair, which is no character ({why}). "
            "Send characters beyond U+FFFF as UTF-8, or as both halves."
        )
    return FieldInvalid(f"The body is not valid JSON: {why}.")


def _wrong_value(text: str, choices: Mapping[str, str]) -> FieldInvalid:
    """Puts msgspec's fault (`Expected ... - at `$.a[0]``) in a caller's words."""
    located = _AT.fullmatch(text)
    why = located["why"] if located else text
    path = located["path"].removeprefix(".").replace("[...]", "") if located else ""
    prefix = f"{path}." if path else ""
    missing, unknown = _MISSING.fullmatch(why), _UNKNOWN.fullmatch(why)
    if missing:
        path = prefix + missing["name"]
        return FieldInvalid(_cut(f"{path} is required."), field=_cut(path))
    if unknown:
        path = prefix + unknown["name"]
        return FieldInvalid(_cut(f"{path}: there is no such field."), field=_cut(path))
    why = _cut(f"{path or 'The body'}: {why[:1].lower()}{why[1:]}.")
    allowed = choices.get(_INDEX.sub("", path))
    return FieldInvalid(f"{why} Use {allowed}." if allowed else why, field=_cut(path) or None)


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def _path_of_nul(body: bytes) -> str | None:
    """Goes down from the whole body, each time into the one part that has the NUL."""
    path = ""
    part = body.strip()
    while part[:1] in (b"{", b"["):
        children = (
            ((f".{name}", child) for name, child in _read_fields(part).items())
            if part.startswith(b"{")
            else ((f"[{place}]", child) for place, child in enumerate(_read_items(part)))
        )
        for step, child in children:
            text = bytes(child)
            if _NUL.search(text):
                path, part = path + step, text
                break
        else:
            break
    return _cut(path.removeprefix(".")) or None
