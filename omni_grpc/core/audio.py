"""How long a WAV file of plain samples lasts: the one container whose bytes cannot lie about it.

Its length is its bytes over its own rate, by which everybody plays it. A compressed file's header
may say what its content does not keep, so its bound is taken from its bytes instead.
"""

import struct
from typing import Final

_HEAD: Final = struct.Struct("<4sI4s")
_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")

_CHUNKS_MAX: Final = 64
"""Chunks looked at: a file has its format and its data among the first few."""

_PLAIN: Final = frozenset({1, 3})
"""Integer and floating-point samples."""


def pcm_seconds(content: bytes, size_bytes: int | None = None) -> int | None:
    """Whole seconds, rounded up, of a WAV file of plain samples; None for any other content.

    Args:
        content: the file, or its beginning.
        size_bytes: of the whole file, where `content` is its beginning.
    """
    if len(content) < _HEAD.size or _HEAD.unpack_from(content)[::2] != (b"RIFF", b"WAVE"):
        return None
    at, bytes_per_second = _HEAD.size, 0
    for _ in range(_CHUNKS_MAX):
        if at + _CHUNK.size > len(content):
            return None
        kind, size = _CHUNK.unpack_from(content, at)
        at += _CHUNK.size
        if kind == b"data":
            # A stream's writer did not know its size: then all that follows is sound.
            left = (len(content) if size_bytes is None else size_bytes) - at
            return -(-left // bytes_per_second) or 1 if bytes_per_second else None
        if kind == b"fmt ":
            if size < _FORMAT.size or at + size > len(content):
                return None
            form, channels, rate, _, _, bits = _FORMAT.unpack_from(content, at)
            if form not in _PLAIN:
                return None
            bytes_per_second = rate * channels * (bits // 8)
        at += size + size % 2
    return None
