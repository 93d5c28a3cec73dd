"""A provider made of bytes: each connection runs a script that reads requests and writes at will.

For what a well-behaved server cannot do: half an answer, a cut at any byte, silence, a connection
that closes under a request.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

HEAD_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HEAD_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict:
        return json.loads(self.body)


@dataclass
class Peer:
    """One accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Request] = field(default_factory=list)
    gone_at: float | None = None

    async def request(self) -> Request | None:
        """The next whole request; None where the client has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ", 2)
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:] if line)
            }
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone_at = time.monotonic()
            return None
        request = Request(method, path, headers, body)
        self.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> float:
        """Wait for the client's end of the connection; the moment at which it was seen."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass
        self.gone_at = time.monotonic()
        return self.gone_at

    def reset(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class RawProvider:
    """Runs a script for each connection, on a port of its own."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task] = set()
        self.peers: list[Peer] = []
        self.failures: list[Exception] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        assert not self.failures, self.failures

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    @property
    def requests(self) -> list[Request]:
        return [request for peer in self.peers for request in peer.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self._script(peer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        except Exception as error:  # noqa: BLE001 - any failure of a script fails its test
            self.failures.append(error)
        finally:
            writer.close()
            self._tasks.discard(task)


# --- what a script says -------------------------------------------------------------------------
def plain(body: object, head: bytes = HEAD_JSON) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head + b"Content-Length: %d\r\n\r\n" % len(data) + data


def answer(text: str = "Hello", **more: object) -> dict:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **more,
    }


def error(message: str, **more: object) -> dict:
    return {"error": {"message": message, "type": "t", "param": None, "code": None, **more}}


def status(code: int, body: object = b"", *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    head = f"HTTP/1.1 {code} Status\r\nContent-Type: application/json\r\n{lines}".encode()
    return plain(body, head)


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP's chunked encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def delta(index: int = 0, finish: str | None = None, **fields: object) -> bytes:
    choice = {"index": index, "delta": fields, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "model": "m-1", "choices": [choice]})


def usage(prompt: int = 3, completion: int = 2, **more: object) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, **more}
    return event({"id": "chatcmpl-1", "model": "m-1", "choices": [], "usage": counts})


def story(*texts: str) -> bytes:
    """A whole, right stream."""
    return b"".join(
        (
            delta(role="assistant", content=""),
            *(delta(content=text) for text in texts),
            delta(finish="stop"),
            usage(completion=len(texts)),
            DONE,
        )
    )


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition, in small bounded steps."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(0.002)
