"""JSON that a caller wrote, put into a request as it was written.

It is first proven to be one JSON object: a text with a brace too many would write fields of its
own.
"""

from typing import Final

import msgspec

from omni_grpc.core.errors import FieldInvalid

_check_json: Final = msgspec.json.Decoder(msgspec.Raw).decode


def raw_object(text: str, field: str) -> msgspec.Raw:
    """The JSON object that `text` is.

    Raises:
        FieldInvalid: it is none.
    """
    if not text.lstrip(" \t\r\n").startswith("{"):
        raise FieldInvalid(f"{field} must be a JSON object.", field=field)
    try:
        data = text.encode()
        return _check_json(data)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise FieldInvalid(f"{field} is not valid JSON: {error}.", field=field) from error
