"""HTTP/1.1 by hand, for bytes that no client library would send, and for leaving rudely."""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

from rest_rig import KEY

CHAT = "/v1/chat/completions"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        error = self.json["error"]
        assert set(error) >= {"message", "type", "param", "code"}
        assert error["message"]
        assert self.headers["content-type"] == "application/json"
        assert self.json["request_id"] == self.headers["x-request-id"]
        return error

    @property
    def events(self) -> list[str]:
        """The blocks of an event stream, without their line ends."""
        text = self.body.decode()
        assert text.endswith("\n\n")
        return text.removesuffix("\n\n").split("\n\n")

    @property
    def chunks(self) -> list[Any]:
        data = [event.removeprefix("data: ") for event in self.events if event.startswith("data:")]
        return [json.loads(text) for text in data if text != "[DONE]"]


def chat(model: str = "sim/fast", **fields: Any) -> bytes:
    return json.dumps({"model": model, "messages": HELLO, **fields}).encode()


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, service: Any) -> "RawClient":
        return cls(*await asyncio.open_connection(service.host, service.port, limit=2**24))

    async def send(
        self,
        body: bytes = b"",
        *,
        method: str = "POST",
        path: str = CHAT,
        headers: dict[str, str] | None = None,
        key: str | None = KEY,
        length: int | None = None,
    ) -> None:
        given = {"host": "test", **(headers or {})}
        if key is not None:
            given["authorization"] = f"Bearer {key}"
        if "transfer-encoding" not in given:
            given["content-length"] = str(len(body) if length is None else length)
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines[1:] if line]
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def answer(self) -> RawAnswer:
        async with asyncio.timeout(30):
            status, headers = await self.head()
            if headers.get("transfer-encoding") == "chunked":
                parts = []
                while part := await self.chunk():
                    parts.append(part)
                body = b"".join(parts)
            else:
                body = await self.reader.readexactly(int(headers["content-length"]))
        return RawAnswer(status, headers, body)

    async def ask(self, body: bytes = b"", **request: Any) -> RawAnswer:
        await self.send(body, **request)
        return await self.answer()

    async def get(self, path: str, **request: Any) -> RawAnswer:
        return await self.ask(method="GET", path=path, **request)

    async def ended(self) -> bool:
        """Whether the server closed the connection, within a moment."""
        async with asyncio.timeout(20):
            return await self.reader.read(1) == b""

    def leave(self, *, rudely: bool = False) -> None:
        """Closes; `rudely` by a reset."""
        if rudely:
            own: socket.socket = self.writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort() if rudely else self.writer.close()
