"""JSON that a caller or a model wrote, put into a request as it was written.

It is proven to be one JSON value first: a text with a brace too many would otherwise write fields
of its own.
"""

from typing import Final, TypeAlias

import msgspec

from omni_grpc.core.errors import FieldInvalid

Json: TypeAlias = dict[str, object]

_check: Final = msgspec.json.Decoder(msgspec.Raw).decode


def present(**fields: object) -> Json:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


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
