"""Proofs that thinking is the simulator's own: a signature, or a text that only it can read.

The key is no secret: what counts is that a block which was changed, or made up, is found out.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

__all__ = ("is_redacted", "is_signed", "redacted", "signature")

_KEY: Final = b"simulated-thinking"
_MAC_BYTES: Final = hashlib.sha256().digest_size


def signature(thinking: str) -> str:
    """The signature of a thinking block."""
    return base64.b64encode(_mac(thinking.encode())).decode()


def is_signed(thinking: str, proof: str) -> bool:
    """Whether a block came from here and was not changed."""
    return hmac.compare_digest(signature(thinking).encode(), proof.encode("utf-8", "replace"))


def redacted(thinking: str) -> str:
    """The data of a redacted block."""
    text = thinking.encode()
    return base64.b64encode(_mac(text) + text).decode()


def is_redacted(data: str) -> bool:
    """Whether a redacted block came from here and was not changed."""
    try:
        whole = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(_mac(whole[_MAC_BYTES:]), whole[:_MAC_BYTES])


def _mac(text: bytes) -> bytes:
    return hmac.digest(_KEY, text, "sha256")
