"""Frames: how records lie in a segment of a journal, and how they are found again.

A frame is a mark, the record's length and number, two checksums, and the record. Whatever is no
whole frame is skipped up to the next one and told as damage, apart from a torn tail: the start of
the frame that was being written when its writer died, whose write therefore never returned.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from omni_grpc.storage.errors import JournalError

MARK: Final = b"\xff\xc0J1"
"""Begins a frame. Its first two bytes stand in no UTF-8, so a caller's text never looks like it."""

RECORD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest record: four times the largest answer that is kept, and small enough to be one write."""

_HEAD: Final = struct.Struct("<4sIQI")  # mark, length, number, checksum of the record
_CHECK: Final = struct.Struct("<I")  # of the head, so that a changed length is no torn tail
HEAD_BYTES: Final = _HEAD.size + _CHECK.size


def frame(number: int, record: bytes) -> bytes:
    """`record` as a frame; numbers count the records of a journal, from 1, without a gap.

    Raises:
        JournalError: the record is larger than RECORD_BYTES_MAX.
    """
    if len(record) > RECORD_BYTES_MAX:
        raise JournalError(f"a record of {len(record)} bytes is larger than {RECORD_BYTES_MAX}")
    head = _HEAD.pack(MARK, len(record), number, zlib.crc32(record))
    return b"".join((head, _CHECK.pack(zlib.crc32(head)), record))


@dataclass(slots=True)
class Damage:
    """What of a journal was not found whole."""

    torn_bytes: int = 0
    """The start of a record whose write never returned. That is no damage."""
    skipped_bytes: int = 0
    records_missing: int = 0
    """Records that were written, as their numbers tell, and are not there."""

    def __bool__(self) -> bool:
        """Whether a record may be lost whose write did return."""
        return bool(self.skipped_bytes or self.records_missing)


class FrameReader:
    """Reads the segments of one journal in their order, and adds up their damage."""

    def __init__(self) -> None:
        self.damage = Damage()
        self._next: int | None = None

    def read(self, segment: bytes, *, is_last: bool) -> Iterator[bytes]:
        """The records of a segment. Only the last one of a journal can have a torn tail."""
        at = 0
        while at < len(segment):
            start = self._find(segment, at)
            if start is None:
                if is_last and _is_torn(segment, at):
                    self.damage.torn_bytes += len(segment) - at
                else:
                    self.damage.skipped_bytes += len(segment) - at
                return
            self.damage.skipped_bytes += start - at
            _, length, number, _ = _HEAD.unpack_from(segment, start)
            if self._next is not None:
                self.damage.records_missing += number - self._next
            self._next = number + 1
            at = start + HEAD_BYTES + length
            yield segment[start + HEAD_BYTES : at]

    def skip(self, size: int) -> None:
        """Tells of a segment of `size` bytes that cannot be read at all."""
        self.damage.skipped_bytes += size

    def _find(self, segment: bytes, start: int) -> int | None:
        """Where the next whole frame begins, from `start` on."""
        at = start
        while at != -1:
            if self._is_whole(segment, at):
                return at
            at = segment.find(MARK, at + 1)
        return None

    def _is_whole(self, segment: bytes, at: int) -> bool:
        end = _end(segment, at)
        if end is None or end > len(segment):
            return False
        _, _, number, checksum = _HEAD.unpack_from(segment, at)
        if self._next is not None and number < self._next:
            return False
        return zlib.crc32(memoryview(segment)[at + HEAD_BYTES : end]) == int(checksum)


def _end(segment: bytes, at: int) -> int | None:
    """Where the frame at `at` ends, perhaps beyond the segment; None if no whole head is there."""
    body = at + HEAD_BYTES
    if body > len(segment) or not segment.startswith(MARK, at):
        return None
    (check,) = _CHECK.unpack_from(segment, at + _HEAD.size)
    if zlib.crc32(segment[at : at + _HEAD.size]) != check:
        return None
    _, length, _, _ = _HEAD.unpack_from(segment, at)
    return body + int(length)


def _is_torn(segment: bytes, at: int) -> bool:
    """Whether what is left, in which no whole frame is, can be the start of one."""
    if len(segment) - at < HEAD_BYTES:
        start = segment[at : at + len(MARK)]
        return MARK.startswith(start)
    end = _end(segment, at)
    return end is not None and end > len(segment)
