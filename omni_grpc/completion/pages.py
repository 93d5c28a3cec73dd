"""Page tokens: where a list goes on, sealed so that a caller can only hand them back.

A token is bound to the list and to every other field of the request, as AIP-158 demands: with
another filter or parent it is refused instead of skipping rows.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

_SEAL_BYTES = 16
T = TypeVar("T", str, int)


class PageTokens:
    """Seals and opens page tokens with a key that all workers and replicas share."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key, person=b"omni-page-token").digest()

    def seal(self, query: Sequence[str], position: str | int) -> str:
        """The token after `position` of the list that `query` names."""
        content = msgspec.msgpack.encode(position)
        sealed = self._mac(query, content) + content
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open_text(self, query: Sequence[str], token: str) -> str | None:
        """The position in a token, a text; None for the empty token, which is the first page.

        Raises:
            FieldInvalid: not a token of this list.
        """
        return self._open(query, token, str)

    def open_number(self, query: Sequence[str], token: str) -> int | None:
        """The position in a token, a number; otherwise as `open_text`."""
        return self._open(query, token, int)

    def _open(self, query: Sequence[str], token: str, kind: type[T]) -> T | None:
        if not token:
            return None
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
            content = sealed[_SEAL_BYTES:]
            if not hmac.compare_digest(sealed[:_SEAL_BYTES], self._mac(query, content)):
                raise ValueError
            return msgspec.msgpack.decode(content, type=kind)
        except (binascii.Error, ValueError, UnicodeEncodeError):
            raise FieldInvalid(
                "The page_token is not one that this list returned for the same request; "
                "repeat the request without it.",
                field="page_token",
            ) from None

    def _mac(self, query: Sequence[str], content: bytes) -> bytes:
        bound = msgspec.msgpack.encode(list(query)) + content
        return hashlib.blake2b(bound, key=self._key, digest_size=_SEAL_BYTES).digest()


def page_size(asked: int) -> int:
    """The rows of a page: 0 means the default, and more than the maximum means the maximum.

    Raises:
        FieldInvalid: negative.
    """
    if asked < 0:
        raise FieldInvalid("The page_size must not be negative.", field="page_size")
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
