"""Signatures as Standard Webhooks 1.0.0 has them: HMAC-SHA256 of id, time and body."""

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from typing import Final

SEAL_PURPOSE: Final = b"omni-webhook"
"""Keeps the key under which secrets are sealed apart from other purposes' keys."""

SECRET_BYTES: Final = 32
"""Of a signing secret; the standard asks for 24 to 64."""

_PREFIX: Final = "whsec_"


def new_secret() -> str:
    """A signing secret, as its owner is shown it."""
    return _PREFIX + b64encode(os.urandom(SECRET_BYTES)).decode()


def headers(secret: str, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a request.

    Args:
        secret: as `new_secret` made it.
        message_id: names the delivery; the same in each attempt, and without a full stop.
        timestamp_s: when this attempt is made, in Unix seconds.
        body: as it is sent.
    """
    key = b64decode(secret.removeprefix(_PREFIX))
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    signature = b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }
