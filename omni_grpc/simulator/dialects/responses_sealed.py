"""Reasoning that only the simulator can read: what it hands out as `encrypted_content`.

It proves that what comes back is what the simulator gave, with the item that it gave it for. The
key is no secret and always the same, so one simulator takes up what another began.
"""

import base64
import hmac
from typing import Final

import msgspec

__all__ = ("open_reasoning", "seal_reasoning")

_KEY: Final = b"omni-grpc simulator, encrypted reasoning"
_MARK: Final = "gAAAAA"
"""As OpenAI's own begin."""

_MAC_BYTES: Final = 32


class _Sealed(msgspec.Struct, frozen=True):
    id: str
    text: str


_decode: Final = msgspec.msgpack.Decoder(_Sealed).decode


def seal_reasoning(item_id: str, text: str) -> str:
    """The encrypted content of one item."""
    payload = msgspec.msgpack.encode(_Sealed(item_id, text))
    mac = hmac.digest(_KEY, payload, "sha256")
    return _MARK + base64.urlsafe_b64encode(mac + payload).decode()


def open_reasoning(sealed: str, item_id: str | None) -> str | None:
    """The text, None where it was not sealed here or for another item."""
    try:
        data = base64.urlsafe_b64decode(sealed.removeprefix(_MARK))
    except ValueError:
        return None
    mac, payload = data[:_MAC_BYTES], data[_MAC_BYTES:]
    if not hmac.compare_digest(mac, hmac.digest(_KEY, payload, "sha256")):
        return None
    found = _decode(payload)
    return found.text if item_id in (None, found.id) else None
