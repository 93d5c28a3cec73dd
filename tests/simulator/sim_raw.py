"""Raw sockets for the simulator's tests: what no SDK would send or show."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from omni_grpc.catalog.tokens import count_answer
from omni_grpc.simulator import CallRecord, Simulator

HELLO = [{"role": "user", "content": "Tell me about the sea."}]


class RawCall:
    """One request on a connection of its own, and all that came back for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""
        self.was_reset = False

    @classmethod
    async def send(cls, simulator: Simulator, head: str, body: bytes = b"") -> "RawCall":
        host, _, port = simulator.origin.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 26)
        writer.write(head.encode() + body)
        return cls(reader, writer)

    @classmethod
    async def post(cls, simulator: Simulator, headers: str = "", **body: Any) -> "RawCall":
        data = json.dumps({"model": "fast", "messages": HELLO, **body}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\n{headers}"
        head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        return await cls.send(simulator, head, data)

    async def read_some(self, count: int) -> None:
        while len(self.received) < count and (got := await self.reader.read(4_096)):
            self.received += got

    async def read_until(self, text: bytes) -> None:
        while text not in self.received and (got := await self.reader.read(4_096)):
            self.received += got

    async def read_to_end(self) -> None:
        try:
            while got := await self.reader.read(1 << 16):
                self.received += got
        except ConnectionResetError:
            self.was_reset = True
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            self.was_reset = True

    @property
    def status(self) -> int:
        return int(self.received.split(b" ", 2)[1]) if self.received else 0

    @property
    def head(self) -> str:
        return self.received.partition(b"\r\n\r\n")[0].decode().lower()

    @property
    def body(self) -> bytes:
        """The body, as far as it came, without its chunk frames."""
        rest = self.received.partition(b"\r\n\r\n")[2]
        if "transfer-encoding: chunked" not in self.head:
            return rest
        body = b""
        while rest:
            size, mark, rest = rest.partition(b"\r\n")
            if not mark:
                break
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return body

    @property
    def is_whole(self) -> bool:
        """Whether the chunked body was ended properly."""
        return self.received.endswith(b"\r\n0\r\n\r\n")

    @property
    def data(self) -> list[str]:
        """The data of every event that arrived whole."""
        frames = self.body.replace(b"\r\n", b"\n").split(b"\n\n")[:-1]
        return [f.removeprefix(b"data: ").decode() for f in frames if f.startswith(b"data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    @property
    def tokens(self) -> int:
        return answer_tokens(self.chunks)


def answer_tokens(chunks: list[dict[str, Any]]) -> int:
    """What the meter would count for a stream that broke off after `chunks`."""
    texts: dict[tuple[Any, ...], str] = {}

    def add(key: tuple[Any, ...], text: str | None) -> None:
        texts[key] = texts.get(key, "") + (text or "")

    for chunk in chunks:
        for choice in chunk.get("choices", []):
            index, delta = choice["index"], choice["delta"]
            for key in ("content", "refusal", "reasoning_content"):
                add((index, key), delta.get(key))
            for call in delta.get("tool_calls", []):
                add((index, call["index"], "name"), call["function"].get("name"))
                add((index, call["index"], "arguments"), call["function"]["arguments"])
    return count_answer(texts.values())


async def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Bounded polling."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to hold in time"
        await asyncio.sleep(0.002)


async def ended(simulator: Simulator, count: int = 1) -> tuple[CallRecord, ...]:
    """The log once `count` calls are in it and have ended."""
    await until(
        lambda: (
            len(simulator.log) >= count
            and all(record.outcome != "running" for record in simulator.log)
        )
    )
    return simulator.log
