"""The keys that seal all others: from the settings, never from the database.

The first seals; all open. A key is told by the hash of it, which gives nothing of it away.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
"""AES-256."""

KEYS_MAX: Final = 16
"""Master keys at once: the current one, and those that a rotation has not left behind yet."""

_FILE_BYTES_MAX: Final = 64 * 1024
_HEX_CHARS: Final = 2 * KEY_BYTES


class MasterKeyError(ValueError):
    """Master keys cannot be used; the message says why and holds nothing of them."""


class MasterKeys:
    """The master keys of this process, the current one first; there may be none."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        """Takes keys of 32 bytes.

        Raises:
            MasterKeyError: one has another length or stands there twice, or there are too many.
        """
        if len(keys) > KEYS_MAX:
            raise MasterKeyError(f"there are {len(keys)} keys, and {KEYS_MAX} at most")
        if any(len(key) != KEY_BYTES for key in keys):
            raise MasterKeyError(_FORM)
        self._keys = {key_id(key): key for key in keys}
        if len(self._keys) != len(keys):
            raise MasterKeyError("a key stands there twice")

    @property
    def current_id(self) -> str | None:
        """The id of the key that seals; None where there is none."""
        return next(iter(self._keys), None)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, the current one first."""
        return tuple(self._keys)

    def current(self) -> tuple[str, bytes] | None:
        """The key that seals, by its id; None where there is none."""
        return next(iter(self._keys.items()), None)

    def get(self, of: str) -> bytes | None:
        """A key by its id; None where it is not known here."""
        return self._keys.get(of)


def key_id(key: bytes) -> str:
    """The public name of a key: 12 hexadecimal digits of its hash."""
    return hashlib.blake2b(key, person=b"omni-master-key", digest_size=6).hexdigest()


def read_master_keys(text: str | None, file: Path | None) -> MasterKeys:
    """The keys of the settings: comma-separated in a text, or a line each in a file.

    Raises:
        MasterKeyError: both are given, the file cannot be read, or a key is none.
    """
    if text is not None and file is not None:
        raise MasterKeyError("give the keys or their file, not both")
    if file is not None:
        try:
            with file.open("rb") as opened:
                raw = opened.read(_FILE_BYTES_MAX + 1)
        except OSError as error:
            raise MasterKeyError(f"{file} cannot be read: {error.strerror}") from None
        if len(raw) > _FILE_BYTES_MAX:
            raise MasterKeyError(f"{file} is larger than a list of keys can be")
        lines = [line.strip() for line in raw.decode("ascii", "replace").splitlines()]
        parts = [line for line in lines if line and not line.startswith("#")]
        if not parts:
            raise MasterKeyError(f"{file} has no key; make one with: openssl rand -base64 32")
    else:
        parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    return MasterKeys([_decoded(part) for part in parts])


def new_master_key() -> str:
    """A key as settings have it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


_FORM: Final = "each key must be 32 bytes in base64 or hex; make one with: openssl rand -base64 32"


def _decoded(text: str) -> bytes:
    try:
        if len(text) == _HEX_CHARS:
            return bytes.fromhex(text)
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        raise MasterKeyError(_FORM) from None
