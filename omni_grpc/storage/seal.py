"""Sealing what rests in the database: AES-256-GCM, bound to the row that it belongs to.

The database never has the key, so a dump of it tells nothing. A sealed text that was changed, or
moved to another row, does not open.
"""

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_PURPOSE_BYTES_MAX: Final = 16


class SealBrokenError(Exception):
    """A sealed text does not open: it was changed or moved, or the key is another."""


class Sealer:
    """Seals and opens texts of one purpose under a key derived from a server's secret."""

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        """Derives the key; `purpose` has at most 16 bytes and keeps the keys of purposes apart."""
        if len(purpose) > _PURPOSE_BYTES_MAX:
            raise ValueError("a purpose has at most 16 bytes")
        key = hashlib.blake2b(secret, person=purpose, digest_size=_KEY_BYTES).digest()
        self._cipher = AESGCM(key)

    def seal(self, text: bytes, row: bytes) -> bytes:
        """The sealed text, 29 bytes longer; `row` names where it belongs."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, text, row)

    def open(self, sealed: bytes, row: bytes) -> bytes:
        """The text.

        Raises:
            SealBrokenError: it does not open.
        """
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _VERSION:
            raise SealBrokenError("it was sealed by another version")
        try:
            return self._cipher.decrypt(nonce, rest, row)
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("it was changed, or sealed by another key") from error
