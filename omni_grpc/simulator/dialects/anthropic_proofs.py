"""Proofs that thinking is the simulator's own: a signature, or a text that only it can read.

The key is no secret: what counts is that a block which was changed, made up or moved is found out.
A proof holds the place of its block: the kinds of the other blocks before it.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

__all__ = ("is_redacted", "is_signed", "place_of", "redacted", "signature")

_KEY: Final = b"simulated-thinking"
_MAC_BYTES: Final = hashlib.sha256().digest_size


def signature(thinking: str, place: str = "") -> str:
    """The signature of a thinking block at its place."""
    return base64.b64encode(_mac(thinking.encode(), place) + place.encode()).decode()


def is_signed(thinking: str, proof: str) -> bool:
    """Whether a block came from here and was not changed."""
    whole = _opened(proof)
    if whole is None:
        return False
    place = whole[_MAC_BYTES:].decode("utf-8", "replace")
    mac = _mac(thinking.encode("utf-8", "surrogatepass"), place)
    return hmac.compare_digest(mac, whole[:_MAC_BYTES])


def redacted(thinking: str, place: str = "") -> str:
    """The data of a redacted block at its place."""
    text = f"{place}\n{thinking}".encode()
    return base64.b64encode(_mac(text) + text).decode()


def is_redacted(data: str) -> bool:
    """Whether a redacted block came from here and was not changed."""
    whole = _opened(data)
    return whole is not None and hmac.compare_digest(_mac(whole[_MAC_BYTES:]), whole[:_MAC_BYTES])


def place_of(proof: str) -> str:
    """Where a block stood, by its signature or its data."""
    return (_opened(proof) or b"")[_MAC_BYTES:].partition(b"\n")[0].decode("utf-8", "replace")


def _opened(proof: str) -> bytes | None:
    try:
        return base64.b64decode(proof, validate=True)
    except (binascii.Error, ValueError):
        return None


def _mac(text: bytes, place: str = "") -> bytes:
    return hmac.digest(_KEY, place.encode() + b"\n" + text, "sha256")
