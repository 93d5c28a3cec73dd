"""How many chunks a second each dialect reads, beside OpenAI's in the same run.

The simulator makes one stream of each dialect, with the same hundred tokens; a raw server in a
process of its own sends those bytes again and again, each event in an HTTP chunk of its own where
HTTP/1.1 lets it, and one provider client reads them. Dialects take turns, so that they share what
else the machine does. `--seconds` is how long each is read in each of its turns.
"""

import argparse
import asyncio
import multiprocessing
import re
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

import aiohttp
import msgspec
import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.providers import Providers, ProviderSettings, UpstreamCall, load_specs
from omni_grpc.providers.registry import DIALECTS
from omni_grpc.simulator import Simulator

TURNS: Final = 5
TOKENS: Final = 100
CALLERS: Final = 16
FLOOR: Final = 0.6
BASE: Final = {"gemini": "/v1beta", "openai": "/v1", "responses": "/v1"}
MODELS: Final = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "cohere": "command-a-03-2025",
    "gemini": "gemini-2.5-flash",
}
PROMPT: Final = f"Go on. [sim tokens={TOKENS}]"
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Rate(NamedTuple):
    """One turn of one dialect."""

    chunks_per_s: float
    cpu_us_per_chunk: float


class Key(NamedTuple):
    """A key that is no secret."""

    text: str

    def get_secret_value(self) -> str:
        """The key."""
        return self.text


# --- the bytes --------------------------------------------------------------------------------
def call_of(dialect: str) -> UpstreamCall:
    """The one call that is made."""
    request = ChatRequest(model="m", messages=(Message(role="user", content=PROMPT),))
    return UpstreamCall(
        request=request,
        model=MODELS.get(dialect, "gpt-4o"),
        output_tokens_max=4_096,
        call_id="bench",
        seconds_left=60.0,
    )


def providers_at(origin: str) -> Providers:
    """A provider of each dialect, named after it, at one address."""
    (plain,) = (spec for spec in load_specs() if spec.id == "sim")
    specs = tuple(
        msgspec.structs.replace(plain, id=name, dialect=name, key_env="KEY", records=None)
        for name in DIALECTS
    )
    given = {
        name: ProviderSettings(base_url=origin + BASE.get(name, ""), api_key=Key("k"))
        for name in DIALECTS
    }
    return Providers(given, specs=specs)


async def recorded(simulator: Simulator, dialect: str) -> tuple[str, bytes]:
    """A stream of a dialect, headers and all, as the simulator sends it; and its route."""
    spec = msgspec.structs.replace(next(s for s in load_specs() if s.id == "sim"), dialect=dialect)
    wire = DIALECTS[dialect]().encode(call_of(dialect), spec, stream=True)
    url = f"{simulator.origin}{BASE.get(dialect, '')}/{wire.path}"
    chunks: list[bytes] = []
    headers = {"x-sim": "delay_ms=1", "authorization": "Bearer k", **wire.headers}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=wire.body, headers=headers) as got,
    ):
        if got.status != 200:
            raise SystemExit(f"{dialect}: {await got.text()}")
        async for part, _ in got.content.iter_chunks():
            if part:
                chunks.append(b"%x\r\n%b\r\n" % (len(part), part))
        kind = got.headers["Content-Type"]
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return wire.path, head.encode() + b"".join(chunks) + b"0\r\n\r\n"


class Replayer(asyncio.Protocol):
    """Answers whatever is asked with the bytes of its route."""

    streams: dict[bytes, bytes]

    def __init__(self) -> None:
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each whole request."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._read[: end + 2])
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._read) < whole:
                return
            path = self._read.split(b" ", 2)[1]
            self._read = self._read[whole:]
            found = next(stream for route, stream in self.streams.items() if path.endswith(route))
            self._transport.write(found)


def replay(streams: dict[str, bytes], ready: Connection) -> None:
    """The server's process."""

    async def serve() -> None:
        Replayer.streams = {route.encode(): stream for route, stream in streams.items()}
        server = await asyncio.get_running_loop().create_server(Replayer, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


# --- reading them -----------------------------------------------------------------------------
async def read(providers: Providers, dialect: str, seconds: float) -> Rate:
    """Reads streams of one dialect for a while."""
    provider, call = providers.get(dialect), call_of(dialect)
    until = time.perf_counter() + seconds
    streams = 0

    async def one() -> None:
        nonlocal streams
        while time.perf_counter() < until:
            stream = await provider.open_stream(call, lambda: None)
            async for _ in stream:
                pass
            if not stream.ended:
                raise SystemExit(f"{dialect}: a stream was not read to its end")
            streams += 1

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(CALLERS)))
    elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    chunks = streams * TOKENS
    return Rate(chunks / elapsed, 1e6 * used / chunks)


async def measured(seconds: float) -> dict[str, Rate]:
    """The median of each dialect's turns."""
    streams: dict[str, bytes] = {}
    async with Simulator() as simulator:
        for dialect in DIALECTS:
            route, stream = await recorded(simulator, dialect)
            streams[route] = stream
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=replay, args=(streams, there), daemon=True
    )
    server.start()
    providers = providers_at(f"http://127.0.0.1:{here.recv()}")
    await providers.open()
    found: dict[str, list[Rate]] = {dialect: [] for dialect in DIALECTS}
    try:
        for _ in track(range(TURNS), "reading", console=Console(stderr=True)):
            for dialect in DIALECTS:
                found[dialect].append(await read(providers, dialect, seconds))
    finally:
        await providers.close()
        server.kill()
    return {
        dialect: Rate(*(statistics.median(values) for values in zip(*rates, strict=True)))
        for dialect, rates in found.items()
    }


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(prog="bench/dialects.py", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    rates = uvloop.run(measured(options.seconds))
    table = Table("dialect", "chunks/s", "CPU a chunk", "of OpenAI's", "floor")
    for column in table.columns[1:]:
        column.justify = "right"
    base = rates["openai"].chunks_per_s
    for dialect, rate in rates.items():
        table.add_row(
            dialect,
            f"{rate.chunks_per_s:,.0f}",
            f"{rate.cpu_us_per_chunk:.1f} µs",
            f"{rate.chunks_per_s / base:.2f}",
            "" if dialect == "openai" else f"{FLOOR}",
        )
    Console().print(table)
    late = [name for name, rate in rates.items() if rate.chunks_per_s < FLOOR * base]
    sys.exit(f"Below the floor: {', '.join(late)}" if late else 0)


if __name__ == "__main__":
    main()
