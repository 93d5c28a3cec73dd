"""AWS's binary event stream as the simulator writes it, by the format's description.

A message is a prelude (its length, its headers' length, a CRC of both), headers, a payload of JSON
and a CRC of everything before.
"""

import struct
import zlib
from typing import Final

from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.wire import Event

__all__ = ("EVENT_STREAM", "EventStream", "message")

_STRING: Final = 7
_FRAME_BYTES: Final = 16
_EXCEPTION: Final = "Exception"


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message; all headers are strings."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", _FRAME_BYTES + len(head) + len(payload), len(head))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING, len(text)) + text


class EventStream:
    """The framing of Bedrock's streams. Line ends and comments are nothing to it."""

    content_type = "application/vnd.amazon.eventstream"

    def frame(self, event: Event, behaviour: Behaviour, *, broken: bool, padded: bool) -> bytes:
        """One event; the last byte of a broken one's checksum is wrong."""
        payload = event.data
        if padded and behaviour.long_line > len(payload):
            # Bedrock itself pads so, against those who guess a text by its lengths.
            payload = payload[:-1] + b',"p":"%b"}' % (b"a" * (behaviour.long_line - len(payload)))
        kind = "exception" if event.name.endswith(_EXCEPTION) else "event"
        headers = {
            f":{kind}-type": event.name,
            ":content-type": "application/json",
            ":message-type": kind,
        }
        framed = message(headers, payload)
        return framed[:-1] + bytes([framed[-1] ^ 1]) if broken else framed

    def ping(self, behaviour: Behaviour) -> bytes:
        """There is no such thing."""
        del behaviour
        return b""


EVENT_STREAM: Final = EventStream()
