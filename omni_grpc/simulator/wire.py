"""Bytes on the wire: HTTP heads, HTTP chunks and server-sent events, framed by hand.

By hand, because a cut in the middle of a chunk, and a write that happens together with its
count, cannot be had from a response object.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from omni_grpc.simulator.behaviour import Behaviour

__all__ = ("LAST_CHUNK", "SSE", "ErrorReply", "Event", "ServerSentEvents", "chunk", "head")

LAST_CHUNK: Final = b"0\r\n\r\n"


class Event(msgspec.Struct, frozen=True):
    """One event of a stream: its data, and by how many tokens it lengthens the answer.

    `name` is its type where the framing carries it beside the data.
    """

    data: bytes
    tokens: int = 0
    reasoning: int = 0
    is_usage: bool = False
    name: str = ""


class ErrorReply(msgspec.Struct, frozen=True):
    """An error in a dialect: the same JSON is the body of a refusal and the event in a stream.

    `name` is the type of that event, `headers` go with the refusal.
    """

    status: int
    body: bytes
    name: str = ""
    headers: Mapping[str, str] = {}


def head(status: int, headers: Mapping[str, str], *, keep_alive: bool) -> bytes:
    """Status line and headers."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Simulated"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{key}: {value}" for key, value in headers.items())]
    lines.append(f"connection: {'keep-alive' if keep_alive else 'close'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ServerSentEvents:
    """The framing of most dialects."""

    content_type = "text/event-stream; charset=utf-8"

    def frame(self, event: Event, behaviour: Behaviour, *, broken: bool, padded: bool) -> bytes:
        """One event as `behaviour` wants it written: broken JSON, a long line, CRLF, a comment."""
        data = event.data
        if padded and behaviour.long_line > len(data):
            data = data[:-1] + b',"obfuscation":"%b"}' % (b"x" * (behaviour.long_line - len(data)))
        if broken:
            data = data[: len(data) // 2]
        end = b"\r\n" if behaviour.crlf else b"\n"
        before = _comment(behaviour, "simulated") if behaviour.comments else b""
        name = b"event: " + event.name.encode() + end if event.name else b""
        return before + name + b"data: " + data + end + end

    def ping(self, behaviour: Behaviour) -> bytes:
        """A comment."""
        return _comment(behaviour, "ping")


SSE: Final = ServerSentEvents()


def _comment(behaviour: Behaviour, text: str) -> bytes:
    """A line that a reader of server-sent events must skip."""
    end = b"\r\n" if behaviour.crlf else b"\n"
    return b": " + text.encode() + end + end
