"""What callers wrote as JSON or as data URLs, checked before it goes into a request as it is."""

import base64
import binascii
from typing import Final

import msgspec

from omni_grpc.core.errors import FieldInvalid

Json = dict[str, object]

_check_json: Final = msgspec.json.Decoder(msgspec.Raw).decode


def present(**fields: object) -> Json:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def raw_object(text: str, field: str) -> msgspec.Raw:
    """A JSON object as it was written, proven to be one value and no more.

    Raises:
        FieldInvalid: it is no JSON object.
    """
    if not text.lstrip(" \t\r\n").startswith("{"):
        raise FieldInvalid(f"{field} must be a JSON object.", field=field)
    data = text.encode("utf-8", "surrogatepass")
    try:
        data.decode("utf-8")  # msgspec checks the structure and passes strings by
        return _check_json(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FieldInvalid(f"{field} is not valid JSON: {error}.", field=field) from error


def data_of(url: str, field: str) -> tuple[str, str]:
    """Media type and base64 of a data URL.

    Raises:
        FieldInvalid: it is none, or not in base64.
    """
    head, comma, data = url.partition(",")
    kind, *settings = head.removeprefix("data:").split(";")
    if not comma or not head.startswith("data:") or "base64" not in settings:
        raise FieldInvalid(
            f"{field} must be a data URL in base64, like data:application/pdf;base64,JVBERi0=.",
            field=field,
        )
    return kind.lower() or "text/plain", data


def text_of(data: str, field: str) -> str:
    """The text in base64.

    Raises:
        FieldInvalid: it is no base64, or no UTF-8.
    """
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise FieldInvalid(f"{field} is no text in base64: {error}.", field=field) from error
