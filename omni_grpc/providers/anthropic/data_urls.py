"""What callers wrote as data URLs and base64, checked before it goes into a request."""

import base64
import binascii

from omni_grpc.core.errors import FieldInvalid


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
