"""What the simulator makes that is no text, for all dialects: vectors, pictures, plain answers.

The same input gives the same vector and picture.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Mapping

import msgspec

from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.wire import Event

__all__ = ("Reply", "Seen", "json_reply", "png", "seed_of", "usage_in", "vector")


class Seen(msgspec.Struct):
    """A request that was read: where its behaviour may stand, and what it says."""

    model: str
    text: str
    prompt_tokens: int
    seen: dict[str, object]
    answer: Callable[[Behaviour], "Reply"]


class Reply(msgspec.Struct):
    """What goes out: one body of JSON with headers of its own, or the parts of a stream."""

    body: bytes = b""
    headers: Mapping[str, str] = {}
    content_type: str = ""
    parts: tuple[Event, ...] = ()


def seed_of(*facts: object) -> bytes:
    """Of whatever is made of these facts."""
    return hashlib.sha256(repr(facts).encode()).digest()


def json_reply(value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """A plain answer."""
    return Reply(body=json.dumps(value).encode(), headers=headers or {})


def usage_in(
    behaviour: Behaviour, usage: dict[str, object] | None, name: str = "usage"
) -> dict[str, object]:
    """The report, unless the behaviour leaves it out."""
    return {} if usage is None or behaviour.usage == "none" else {name: usage}


def vector(seed: bytes, dimensions: int) -> list[float]:
    """Numbers of length one, all told, each of 32 bits."""
    raw = struct.unpack(f"<{dimensions}i", hashlib.shake_256(seed).digest(4 * dimensions))
    length = sum(one * one for one in raw) ** 0.5
    packed = struct.pack(f"<{dimensions}f", *(one / length for one in raw))
    return list(struct.unpack(f"<{dimensions}f", packed))


def png(seed: bytes) -> bytes:
    """A picture of one colour, 8 by 8."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    rows = (b"\x00" + seed[:3] * 8) * 8
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content
