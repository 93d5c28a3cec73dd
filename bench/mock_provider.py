"""A provider that costs as little as a provider can: fixed bytes from a raw socket.

Speaks `POST /v1/chat/completions` of OpenAI, plain and streamed, each event of a stream in an HTTP
chunk of its own, as real providers send them. A prompt with `[live]` in it is streamed at 50 tokens
a second, and each token is the time at which it was sent, so that whoever receives it knows how
long it was on its way. It checks nothing: it is here to be faster than what it is called by.
"""

import asyncio
import re
import sys
import time
from typing import Final

import uvloop

WORDS: Final = 100
"""Tokens of an answer that is sent at once; with role, finish and usage 103 chunks."""

TOKENS_PER_SECOND: Final = 50
TICK_S: Final = 0.001
SLOTS: Final = round(1 / TOKENS_PER_SECOND / TICK_S)
"""Live streams are spread over so many ticks, as callers are that do not know each other."""

LIVE_MARK: Final = b"[live]"
ANSWER: Final = "".join(f" word{number:03}" for number in range(WORDS))
PROMPT_TOKENS: Final = 170

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_STREAMED: Final = re.compile(rb'"stream": ?true')
_LIMIT: Final = re.compile(rb'"max_(?:completion_)?tokens": ?(\d+)')

_COMMON: Final = (
    b'"id":"chatcmpl-CfBenchBenchBenchBenchBenchBe","object":"chat.completion%s",'
    b'"created":1767225600,"model":"gpt-4o-mini-2024-07-18","service_tier":"default",'
    b'"system_fingerprint":"fp_560af6e559",'
)
_USAGE: Final = (
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
    b'"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":'
    b'{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,'
    b'"rejected_prediction_tokens":0}}'
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def _usage(completion: int) -> bytes:
    return _USAGE % (PROMPT_TOKENS, completion, PROMPT_TOKENS + completion)


def _event(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def _chunk(delta: bytes, finish: bytes = b"null") -> bytes:
    return _event(
        b"{"
        + _COMMON % b".chunk"
        + b'"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}],"usage":null}'
        % (delta, finish)
    )


def _stream_end(completion: int) -> bytes:
    return b"".join(
        (
            _chunk(b"{}", b'"stop"'),
            _event(b"{" + _COMMON % b".chunk" + b'"choices":[],' + _usage(completion) + b"}"),
            _event(b"[DONE]"),
            b"0\r\n\r\n",
        )
    )


def _plain() -> bytes:
    body = (
        b"{"
        + _COMMON % b""
        + b'"choices":[{"index":0,"message":{"role":"assistant","content":"%s","refusal":null,'
        b'"annotations":[]},"logprobs":null,"finish_reason":"stop"}],'
        % ANSWER.encode()
        + _usage(WORDS)
        + b"}"
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


_ROLE: Final = _chunk(b'{"role":"assistant","content":"","refusal":null}')
_PLAIN: Final = _plain()
_AT_ONCE: Final = b"".join(
    (
        _STREAM_HEAD,
        _ROLE,
        *(_chunk(b'{"content":" word%03d"}' % number) for number in range(WORDS)),
        _stream_end(WORDS),
    )
)
_LIVE_HEAD: Final = _STREAM_HEAD + _ROLE
_LIVE_TOKEN: Final = _chunk(b'{"content":"@%016d;"}' % 0).replace(b"0" * 16, b"%016d")
_NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class _Live:
    """One live stream: where it goes, and how many tokens it still has."""

    __slots__ = ("left", "total", "transport")

    def __init__(self, transport: asyncio.WriteTransport, tokens: int) -> None:
        self.transport = transport
        self.left = tokens
        self.total = tokens


class Wheel:
    """Sends the tokens of all live streams from one timer, each stream every `SLOTS` ticks."""

    def __init__(self) -> None:
        self._slots: list[list[_Live]] = [[] for _ in range(SLOTS)]
        self._joined = 0
        self._tick = 0
        self._began = 0.0

    def start(self) -> None:
        """Begins to turn, for ever."""
        self._began = asyncio.get_running_loop().time()
        self._turn()

    def add(self, live: _Live) -> None:
        """Puts a stream where its turn comes with as few others as possible."""
        self._joined += 1
        self._slots[self._joined % SLOTS].append(live)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        # A late tick is made up for: the rate holds, and only the send time says when it was.
        while self._began + self._tick * TICK_S <= loop.time():
            slot = self._tick % SLOTS
            if self._slots[slot]:
                self._slots[slot] = [live for live in self._slots[slot] if _send_token(live)]
            self._tick += 1
        loop.call_at(self._began + self._tick * TICK_S, self._turn)


def _send_token(live: _Live) -> bool:
    """Sends the next token; whether there is one after it."""
    transport = live.transport
    if transport.is_closing():
        return False
    token = _LIVE_TOKEN % (time.monotonic_ns() // 1000)
    live.left -= 1
    transport.write(token if live.left else token + _stream_end(live.total))
    return live.left > 0


class Provider(asyncio.Protocol):
    """One connection."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller connected."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's, which can write

    def data_received(self, data: bytes) -> None:
        """Bytes came: answers each request that is whole by now."""
        buffer = self._buffer + data if self._buffer else data
        while buffer:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                break
            found = _LENGTH.search(buffer, 0, end)
            size = end + 4 + (int(found.group(1)) if found else 0)
            if len(buffer) < size:
                break
            self._answer(buffer, end + 4, size)
            buffer = buffer[size:]
        self._buffer = buffer

    def _answer(self, request: bytes, start: int, end: int) -> None:
        if self._transport is None:
            return
        if not request.startswith(b"POST /v1/chat/completions"):
            self._transport.write(_NOT_FOUND)
        elif not _STREAMED.search(request, start, end):
            self._transport.write(_PLAIN)
        elif request.find(LIVE_MARK, start, end) < 0:
            self._transport.write(_AT_ONCE)
        else:
            limit = _LIMIT.search(request, start, end)
            self._transport.write(_LIVE_HEAD)
            self._wheel.add(_Live(self._transport, int(limit.group(1)) if limit else WORDS))


async def main() -> None:
    """Serves until standard input ends; the first line of output is the port."""
    loop = asyncio.get_running_loop()
    wheel = Wheel()
    server = await loop.create_server(lambda: Provider(wheel), "127.0.0.1", 0, backlog=4096)
    wheel.start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
