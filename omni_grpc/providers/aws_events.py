"""AWS's binary event stream, cut at any byte, turned into the JSON texts of its messages.

A message becomes one object whose only key is its event type; an exception becomes
`{"exception": type, "details": …}`. What headers say is botocore's work, once for each form of
them, since the messages of a stream have the same few; checksums are verified of each. botocore is
imported with the first stream, so that a process without AWS does not pay for it.
"""

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from omni_grpc.providers.sse import EVENT_BYTES_MAX, BrokenFramingError, EventTooLongError

if TYPE_CHECKING:
    from botocore.eventstream import (  # type: ignore[import-untyped]  # botocore ships no types
        EventStreamBuffer,
    )

_PRELUDE_BYTES: Final = 12
_MESSAGE_BYTES_MIN: Final = 16
"""The prelude and the checksum at the end."""

_LENGTH: Final = struct.Struct(">I")
_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM_BYTES: Final = 4
_FORMS_KEPT_MAX: Final = 256
"""Forms of headers that are remembered; a stream has some six, whatever it says."""

_BROKEN: Final = (ValueError, LookupError, TypeError, struct.error)
"""What botocore's parser raises for headers that are none, beside its own errors."""


class AwsEventParser:
    """Feed it what a read brought; it returns the messages that are whole by then.

    Messages that came before a broken one are returned first: the error is raised by the next
    call of `feed`.
    """

    __slots__ = ("_broken", "_buffer", "_held", "_held_bytes", "_needed")

    def __init__(self) -> None:
        self._buffer: EventStreamBuffer | None = None
        self._broken: Exception | None = None
        # Bytes of a message that is not whole, in pieces: one dribbled is joined once.
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._needed = _PRELUDE_BYTES

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came.

        Raises:
            EventTooLongError: a message says that it is larger than `EVENT_BYTES_MAX`.
            BrokenFramingError: a checksum is wrong, or what came is no event stream.
        """
        if self._broken is not None:
            raise self._broken
        events: list[bytes] = []
        self._held.append(data)
        self._held_bytes += len(data)
        try:
            while self._held_bytes >= self._needed:
                self._take_whole(events)
        except (BrokenFramingError, EventTooLongError) as error:
            self._broken = error
            if not events:
                raise
        return events

    def finish(self) -> list[bytes]:
        """Nothing: a message without its checksum is none."""
        return []

    def _take_whole(self, events: list[bytes]) -> None:
        """The messages that the held bytes have, and how many bytes the next one needs."""
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        start = 0
        while True:
            self._needed = _needed(data, start)
            if len(data) - start < self._needed:
                break
            if self._needed > _PRELUDE_BYTES:
                text = self._message(data[start : start + self._needed])
                if text is not None:
                    events.append(text)
                start += self._needed
        rest = data[start:]
        self._held = [rest]
        self._held_bytes = len(rest)

    def _message(self, frame: bytes) -> bytes | None:
        """The JSON text of one whole message; None for one that tells nothing."""
        length, headers_bytes, checksum = _PRELUDE.unpack_from(frame)
        end = length - _CHECKSUM_BYTES
        start = _PRELUDE_BYTES + headers_bytes
        form = _forms.get(frame[_PRELUDE_BYTES:start]) if start <= end else None
        if form is None:
            return self._first_of_its_form(frame, start)
        if crc32(frame[: _PRELUDE_BYTES - _CHECKSUM_BYTES]) != checksum:
            raise BrokenFramingError("a prelude's checksum is wrong")
        if crc32(frame[:end]) != _LENGTH.unpack_from(frame, end)[0]:
            raise BrokenFramingError("a message's checksum is wrong")
        return b"%b%b%b" % (form[0], frame[start:end] or b"null", form[1])

    def _first_of_its_form(self, frame: bytes, start: int) -> bytes | None:
        """A message whose headers were not seen yet: botocore reads them, and checks it all."""
        from botocore.eventstream import EventStreamBuffer, ParserError

        if self._buffer is None:
            self._buffer = EventStreamBuffer()
        try:
            self._buffer.add_data(frame)
            message = self._buffer.next()
            form = _form_of(message.headers)
            payload = bytes(message.payload)
        except ParserError as error:
            raise BrokenFramingError(str(error)) from error
        except _BROKEN as error:
            raise BrokenFramingError("a message's headers are none") from error
        except StopIteration as error:  # its length is known to be whole
            raise BrokenFramingError("a message contradicts its length") from error
        if form is None:
            return _error_text(message.headers)
        if len(_forms) < _FORMS_KEPT_MAX:
            _forms[frame[_PRELUDE_BYTES:start]] = form
        return b"%b%b%b" % (form[0], payload or b"null", form[1])


_forms: dict[bytes, tuple[bytes, bytes]] = {}
"""By a message's headers: what stands before its payload in its JSON text, and what after it."""


def _needed(data: bytes, start: int) -> int:
    """How many bytes the message at `start` has, or the prelude while that is not there.

    Raises:
        EventTooLongError: more than is believable.
        BrokenFramingError: fewer than a message can have.
    """
    if len(data) - start < _PRELUDE_BYTES:
        return _PRELUDE_BYTES
    length: int = _LENGTH.unpack_from(data, start)[0]
    if length > EVENT_BYTES_MAX:
        raise EventTooLongError
    if length < _MESSAGE_BYTES_MIN:
        raise BrokenFramingError("a message says that it is shorter than its own frame")
    return length


def _form_of(headers: Mapping[str, object]) -> tuple[bytes, bytes] | None:
    """What stands around the payload of such messages; None for those of another kind."""
    match headers.get(":message-type"):
        case "event":
            name = str(headers.get(":event-type", ""))
            return b"{%b:" % msgspec.json.encode(name), b"}"
        case "exception":
            name = str(headers.get(":exception-type", ""))
            return b'{"exception":%b,"details":' % msgspec.json.encode(name), b"}"
        case _:
            return None


def _error_text(headers: Mapping[str, object]) -> bytes | None:
    """An error without a payload; None for a message that tells nothing."""
    if headers.get(":message-type") != "error":
        return None
    name = str(headers.get(":error-code", ""))
    details = {"message": str(headers.get(":error-message", ""))}
    return msgspec.json.encode({"exception": name, "details": details})
