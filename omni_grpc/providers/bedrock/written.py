"""JSON that a caller or a model wrote, put into a request as it was written.

It is proven to be one JSON object first: a text with a brace too many would otherwise write fields
of its own.
"""

from typing import Final, TypeAlias

import msgspec

from omni_grpc.core.errors import FieldInvalid

Json: TypeAlias = dict[str, object]

_check: Final = msgspec.json.Decoder(msgspec.Raw).decode


def raw_object(text: str, field: str) -> msgspec.Raw:
    """The text as a JSON object.

    Raises:
        FieldInvalid: it is none.
    """
    if not text.lstrip(" \t\r\n").startswith("{"):
        raise FieldInvalid(f"{field} must be a JSON object.", field=field)
    data = text.encode("utf-8", "surrogatepass")
    try:
        data.decode("utf-8")  # msgspec checks the structure and passes strings by
        return _check(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FieldInvalid(f"{field} is not valid JSON: {error}.", field=field) from error
