"""Envelopes: each secret under a data key of its own, each data key under a master key.

Both seals are AES-256-GCM and bound to the row: its id, organisation, owner and provider. What was
changed, or moved to another row, does not open. A rotation seals the data key anew and never sees a
secret.
"""

import os
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omni_grpc.vault.master_keys import KEY_BYTES, MasterKeys
from omni_grpc.vault.model import Secret

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12


class NoMasterKeyError(Exception):
    """There is no master key to seal with."""


class EnvelopeBrokenError(Exception):
    """An envelope does not open; the message says why, and holds nothing of what is in it."""


class Place(msgspec.Struct, frozen=True):
    """Where an envelope belongs: in no other row does it open."""

    id: int
    org_id: int
    subject_kind: str
    subject_id: int
    provider: str


class Envelope(msgspec.Struct, frozen=True):
    """A sealed secret, its sealed data key, and which master key sealed that."""

    sealed: bytes
    sealed_key: bytes
    master_key_id: str


class _Content(msgspec.Struct, array_like=True):
    text: str
    variables: dict[str, str]


_decode: Final = msgspec.msgpack.Decoder(_Content).decode


def seal(secret: Secret, place: Place, keys: MasterKeys) -> Envelope:
    """A secret in an envelope under the current master key.

    Raises:
        NoMasterKeyError: there is none.
    """
    data_key = os.urandom(KEY_BYTES)
    text = msgspec.msgpack.encode(_Content(secret.text, dict(secret.variables)))
    sealed = _sealed(data_key, text, _bound(b"secret", place))
    master_key_id, sealed_key = _wrapped(data_key, place, keys)
    return Envelope(sealed, sealed_key, master_key_id)


def open_envelope(envelope: Envelope, place: Place, keys: MasterKeys) -> Secret:
    """What is in an envelope.

    Raises:
        EnvelopeBrokenError: it does not open here.
    """
    data_key = _unwrapped(envelope, place, keys)
    text = _opened(data_key, envelope.sealed, _bound(b"secret", place))
    try:
        content = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EnvelopeBrokenError("what is in it is of another version") from None
    return Secret(content.text, content.variables)


def rewrap(envelope: Envelope, place: Place, keys: MasterKeys) -> Envelope:
    """The same secret with its data key under the current master key.

    Raises:
        NoMasterKeyError: there is none.
        EnvelopeBrokenError: the data key does not open here.
    """
    data_key = _unwrapped(envelope, place, keys)
    master_key_id, sealed_key = _wrapped(data_key, place, keys)
    return Envelope(envelope.sealed, sealed_key, master_key_id)


def _wrapped(data_key: bytes, place: Place, keys: MasterKeys) -> tuple[str, bytes]:
    current = keys.current()
    if current is None:
        raise NoMasterKeyError
    master_key_id, master_key = current
    return master_key_id, _sealed(master_key, data_key, _bound(b"key", place))


def _unwrapped(envelope: Envelope, place: Place, keys: MasterKeys) -> bytes:
    master_key = keys.get(envelope.master_key_id)
    if master_key is None:
        raise EnvelopeBrokenError(
            f"it is sealed with the master key {envelope.master_key_id}, which is not set here"
        )
    return _opened(master_key, envelope.sealed_key, _bound(b"key", place))


def _bound(part: bytes, place: Place) -> bytes:
    """What a seal is bound to, as bytes that no other place has."""
    return b"omni-credential " + part + b"\0" + msgspec.msgpack.encode(msgspec.to_builtins(place))


def _sealed(key: bytes, text: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, text, bound)


def _opened(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    if sealed[:1] != _VERSION:
        raise EnvelopeBrokenError("it was sealed by another version")
    try:
        return AESGCM(key).decrypt(nonce, rest, bound)
    except (InvalidTag, ValueError):
        raise EnvelopeBrokenError("it was changed, moved, or sealed with another key") from None
