r"""Server-sent events, cut at any byte, turned into the data of whole events.

Takes \n, \r\n and \r as line ends, joins the data lines of an event, and skips comments and every
other field. Holds at most `EVENT_BYTES_MAX` of an unfinished event.
"""

from typing import Final

EVENT_BYTES_MAX: Final = 8 * 1024 * 1024
"""Largest event: an image in base64 fits, a provider that never ends a line does not."""

_BOM: Final = b"\xef\xbb\xbf"


class EventTooLongError(Exception):
    """An event grew beyond the bound."""


class BrokenFramingError(Exception):
    """The bytes of a stream are not of its framing."""


class SseParser:
    """Feed it what a read brought; it returns the data of the events that are whole by then."""

    __slots__ = ("_lines", "_lines_bytes", "_partial", "_partial_bytes", "_started")

    def __init__(self) -> None:
        self._started = False
        # The line that has not ended, in pieces: a line dribbled byte by byte is joined once.
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        # The data lines of the event that has not ended.
        self._lines: list[bytes] = []
        self._lines_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came.

        Raises:
            EventTooLongError: the unfinished event is larger than `EVENT_BYTES_MAX`.
        """
        if not self._started:
            data = self._skip_bom(data)
        if self._partial:
            if b"\n" not in data and b"\r" not in data and self._partial[-1][-1:] != b"\r":
                self._keep_partial(data)
                return []
            self._partial.append(data)
            data = b"".join(self._partial)
            self._partial.clear()
            self._partial_bytes = 0
        if b"\r" in data:
            data = self._unify_line_ends(data)
        events: list[bytes] = []
        if self._lines:
            data = self._finish_event(data, events)
        blocks = data.split(b"\n\n")
        tail = blocks.pop()
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(block[6:])
            elif block:
                self._take_block(block, events)
        if tail:
            self._keep_tail(tail)
        return events

    def finish(self) -> list[bytes]:
        """The data of an event that lacks only its blank line, after the last byte has come."""
        if self._partial:
            self._take_line(b"".join(self._partial).rstrip(b"\r"))
            self._partial.clear()
        events: list[bytes] = []
        self._end_event(events)
        return events

    def _skip_bom(self, data: bytes) -> bytes:
        if not data:
            return data
        data = b"".join((*self._partial, data))
        self._partial.clear()
        self._partial_bytes = 0
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._keep_partial(data)
            return b""
        self._started = True
        return data.removeprefix(_BOM)

    def _unify_line_ends(self, data: bytes) -> bytes:
        held = data.endswith(b"\r")
        if held:  # the next byte tells whether this is half of a line end
            data = data[:-1]
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if held:
            return self._split_off_held(data)
        return data

    def _split_off_held(self, data: bytes) -> bytes:
        # What precedes the held byte on its line waits with it.
        cut = data.rfind(b"\n") + 1
        self._keep_partial(data[cut:] + b"\r")
        return data[:cut]

    def _finish_event(self, data: bytes, events: list[bytes]) -> bytes:
        """Take lines until the event that an earlier read began is whole; returns the rest."""
        start = 0
        while True:
            end = data.find(b"\n", start)
            if end < 0:
                return data[start:]
            if end == start:
                self._end_event(events)
                return data[end + 1 :]
            self._take_line(data[start:end])
            start = end + 1

    def _take_block(self, block: bytes, events: list[bytes]) -> None:
        for line in block.split(b"\n"):
            self._take_line(line)
        self._end_event(events)

    def _keep_tail(self, tail: bytes) -> None:
        lines = tail.split(b"\n")
        partial = lines.pop()
        for line in lines:
            self._take_line(line)
        if partial:
            self._keep_partial(partial)

    def _take_line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[6:] if line.startswith(b"data: ") else line[5:]
        elif line == b"data":
            value = b""
        else:
            return
        self._lines.append(value)
        self._lines_bytes += len(value) + 1
        self._check_size()

    def _end_event(self, events: list[bytes]) -> None:
        if self._lines:
            events.append(b"\n".join(self._lines))
            self._lines.clear()
            self._lines_bytes = 0

    def _keep_partial(self, data: bytes) -> None:
        self._partial.append(data)
        self._partial_bytes += len(data)
        self._check_size()

    def _check_size(self) -> None:
        if self._partial_bytes + self._lines_bytes > EVENT_BYTES_MAX:
            raise EventTooLongError
