"""Request ids: callers' own names for what is done and paid once, however often it is sent."""

import re
from typing import Final

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import REQUEST_ID_CHARS_MAX

_REQUEST_ID: Final = re.compile(rf"[\x20-\x7e]{{1,{REQUEST_ID_CHARS_MAX}}}", re.ASCII)


def checked_request_id(text: str, *, field: str) -> str:
    """The request id, if it can be one; `field` is what the transport calls it.

    Raises:
        FieldInvalid: it is empty, too long, or has other than printable ASCII characters.
    """
    if not _REQUEST_ID.fullmatch(text):
        raise FieldInvalid(
            f"{field} must be 1 to {REQUEST_ID_CHARS_MAX} printable ASCII characters, "
            "the same again when the call is repeated.",
            field=field,
        )
    return text
