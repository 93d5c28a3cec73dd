"""REST load: prebuilt requests over raw sockets, answers parsed no more than needed.

Each caller has a connection of its own, as the callers of an SDK's pool have. The first answer of
the run is read whole and compared with what the provider says; of the others it is made sure that
they are successes and complete.
"""

import asyncio
import re
import time
from typing import Final

import msgspec
from load import ERROR_PAUSE_S, Load, Samples, generator, prompt
from mock_provider import ANSWER, WORDS

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_LAST_CHUNK: Final = b"0\r\n\r\n"
_TAIL_BYTES: Final = 64
_OK: Final = b"HTTP/1.1 200"


class Caller(asyncio.Protocol):
    """One connection that sends a request, waits for the answer, and sends the next."""

    def __init__(self, samples: Samples, *, verify: bool) -> None:
        self._samples = samples
        self._load = samples.load
        self._verify = verify
        self._transport: asyncio.WriteTransport | None = None
        self._waiting = False
        self._request = request(self._load)
        self._tokens = WORDS
        self._reset()

    def _reset(self) -> None:
        self._began = time.perf_counter()
        self._first = 0.0
        self._head = b""
        self._left: int | None = None
        self._tail = b""
        self._cut = b""
        self._events = 0
        self._kept: list[bytes] = []

    # --- what the loop calls --------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's, which can write

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed it, which it has no reason to."""
        if self._waiting:
            self._fail("connection closed" if exc is None else type(exc).__name__)

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        if self._verify:
            self._kept.append(data)
        if not self._first:
            self._head += data
            at = self._head.find(b"\r\n\r\n")
            if at < 0:
                return
            data = self._head[at + 4 :]
            self._head = self._head[: at + 4]
            found = _LENGTH.search(self._head)
            self._left = int(found.group(1)) if found else None
            self._first = time.perf_counter()
        if self._left is None:
            self._take_streamed(data)
            return
        self._left -= len(data)
        self._tail = (self._tail + data)[-200:] if not self._head.startswith(_OK) else b""
        if self._left <= 0:
            self._end(whole=True)

    def _take_streamed(self, data: bytes) -> None:
        self._events += data.count(b"data: ")
        if self._load.kind == "live":
            self._cut = self._samples.tokens(self._cut + data)
        if len(data) < _TAIL_BYTES:
            data = self._tail + data
        self._tail = data[-_TAIL_BYTES:]
        if data.endswith(_LAST_CHUNK):
            self._end(whole=self._load.kind == "unary" or b"[DONE]" in self._tail)

    # --- one call after another -----------------------------------------------------------------
    def send(self) -> None:
        """Sends the next request, if there shall be one."""
        if self._transport is None or not self._samples.begin():
            return
        self._waiting = True
        self._reset()
        if self._load.kind == "live":
            self._tokens = self._samples.live_tokens()
            self._request = request(self._load, self._tokens)
        self._transport.write(self._request)

    def _end(self, *, whole: bool) -> None:
        if not self._head.startswith(_OK):
            self._fail(self._head[9:12].decode() + " " + self._tail.decode(errors="replace"))
        elif not whole:
            self._fail("broken off")
        elif self._verify and self._load.kind != "live" and not self._is_right():
            self._fail("not the provider's answer")
        else:
            self._waiting = False
            self._verify = False
            now = time.perf_counter()
            self._samples.ok(self._began, self._first, now, self._events, self._tokens)
            self.send()

    def _fail(self, why: str) -> None:
        self._waiting = False
        self._samples.failed(why)
        asyncio.get_running_loop().call_later(ERROR_PAUSE_S, self._again)

    def _again(self) -> None:
        if self._transport is not None and self._transport.is_closing():
            task = asyncio.ensure_future(connect(self))
            task.add_done_callback(lambda _: self.send())
        else:
            self.send()

    def _is_right(self) -> bool:
        body = b"".join(self._kept).partition(b"\r\n\r\n")[2]
        if self._load.kind == "unary":
            answer = msgspec.json.decode(body)
            return bool(answer["choices"][0]["message"]["content"] == ANSWER and answer["usage"])
        said = [
            msgspec.json.decode(event.partition(b"\n")[0])
            for event in _unchunked(body).split(b"data: ")[1:]
            if not event.startswith(b"[DONE]")
        ]
        text = "".join(
            choice["delta"].get("content") or "" for chunk in said for choice in chunk["choices"]
        )
        return text == ANSWER and bool(said[-1].get("usage"))


def _unchunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return b"".join(parts)


def request(load: Load, tokens: int = 256) -> bytes:
    """The bytes of one request."""
    body: dict[str, object] = {
        "model": load.model,
        "messages": [{"role": "user", "content": prompt(load.kind)}],
        "max_tokens": tokens,
    }
    if load.kind != "unary":
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    encoded = msgspec.json.encode(body)
    more = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n"
        f"Authorization: Bearer {load.api_key}\r\nContent-Type: application/json\r\n"
        f"{more}Accept: */*\r\nUser-Agent: omni-grpc-bench\r\n"
        f"Content-Length: {len(encoded)}\r\n\r\n"
    ).encode() + encoded


async def connect(caller: Caller) -> None:
    """Connects a caller, again if need be."""
    port = caller._load.port  # noqa: SLF001 - of this module
    await asyncio.get_running_loop().create_connection(lambda: caller, "127.0.0.1", port)


async def run(samples: Samples) -> None:
    """Runs the load."""
    callers = [Caller(samples, verify=number == 0) for number in range(samples.load.callers)]
    for caller in callers:
        await connect(caller)

    def start() -> None:
        for number, caller in enumerate(callers):
            # Live callers come over the first second and a half, others at once.
            pause = 1.5 * number / len(callers) if samples.load.kind == "live" else 0
            asyncio.get_running_loop().call_later(pause, caller.send)

    await samples.run(start)


if __name__ == "__main__":
    generator(run)
