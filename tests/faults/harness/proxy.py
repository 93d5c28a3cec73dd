"""The TCP proxy between a server and PostgreSQL: it can stop any batch before or after its commit.

It knows the ledger's lanes by their application name and reads their batches, keeps a log of when
each was seen, sent, committed and acknowledged, and holds those that a trap matches until it is
told what becomes of them. The whole line can be cut or go silent, for lanes and pools alike.
"""

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Self

from harness import wire
from harness.wire import Layout, Operations

CHUNK_BYTES = 1 << 18


class Verdict(Enum):
    """What becomes of a batch that a trap holds."""

    PASS = auto()
    """It goes on."""
    DROP = auto()
    """The connection is reset: before the trap it was never sent, after it never acknowledged."""
    CUT = auto()
    """Half of it is sent, then the connection is reset: never done."""
    RESET = auto()
    """It is sent, and the connection is reset in the same moment: done or not, nobody knows."""
    HANG = auto()
    """It is sent, and nothing ever comes back; the connection stays."""


class Line(Enum):
    """How the whole line between a server and its database is."""

    OPEN = auto()
    CUT = auto()
    """Connections are reset, new ones too."""
    SILENT = auto()
    """Nothing passes either way, and nobody is told."""


@dataclass(eq=False)
class Batch:
    """One batch on its way; times are monotonic, None while it has not come so far."""

    operations: Operations
    backend: int
    seen_s: float
    sent_s: float | None = None
    committed_s: float | None = None
    acknowledged_s: float | None = None
    sqlstate: str = ""


@dataclass(eq=False)
class Trap:
    """Holds the first batch that it matches, before it is sent or after it was done."""

    matches: Callable[[Batch], bool]
    before: bool
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    batch: Batch | None = None
    _verdict: Verdict | None = None
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, verdict: Verdict) -> None:
        """Says what becomes of the batch; the first word counts."""
        if self._verdict is None:
            self._verdict = verdict
            self._told.set()

    async def verdict(self, batch: Batch) -> Verdict:
        """Holds `batch` until it is told what becomes of it."""
        self.batch = batch
        self.reached.set()
        await self._told.wait()
        return self._verdict or Verdict.PASS


class DatabaseProxy:
    """Listens on 127.0.0.1 for one server and forwards to PostgreSQL's unix socket."""

    def __init__(self, socket_path: Callable[[], str], layout: Layout) -> None:
        self._socket_path = socket_path
        self._layout = layout
        self._links: set[_Link] = set()
        self._flow = asyncio.Event()
        self._flow.set()
        self._pool_flow = asyncio.Event()
        self._pool_flow.set()
        self.line = Line.OPEN
        self.blind = ""
        """Why a batch could not be read."""
        self.traps: list[Trap] = []
        self.batches: list[Batch] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in list(self._links):
            link.task.cancel()
        await asyncio.gather(*(link.task for link in self._links), return_exceptions=True)

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    def trap(self, matches: Callable[[Batch], bool], *, before: bool) -> Trap:
        """Arms a trap for the next batch that matches."""
        made = Trap(matches, before)
        self.traps.append(made)
        return made

    def release(self) -> None:
        """Lets everything pass and forgets every trap."""
        for trap in self.traps:
            trap.tell(Verdict.PASS)
        self.traps.clear()
        self.set_line(Line.OPEN)
        self.set_pools(silent=False)

    def set_line(self, line: Line) -> None:
        self.line = line
        if line is Line.SILENT:
            self._flow.clear()
        else:
            self._flow.set()
        if line is Line.CUT:
            for link in self._links:
                link.reset()

    def lane_backends(self) -> list[int]:
        """The PostgreSQL processes that serve this server's lanes now."""
        return [link.backend for link in self._links if link.is_lane and link.backend]

    def cut_lanes(self) -> int:
        """Resets the lanes' connections; how many there were."""
        lanes = [link for link in self._links if link.is_lane]
        for link in lanes:
            link.reset()
        return len(lanes)

    def set_pools(self, *, silent: bool) -> None:
        """All connections but the lanes' hear nothing any more: a pool is soon exhausted."""
        if silent:
            self._pool_flow.clear()
        else:
            self._pool_flow.set()

    async def flowing(self, *, is_lane: bool) -> None:
        await self._flow.wait()
        if not is_lane:
            await self._pool_flow.wait()

    def find_trap(self, batch: Batch, *, before: bool) -> Trap | None:
        for trap in self.traps:
            if trap.before is before and trap.batch is None and trap.matches(batch):
                return trap
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.line is Line.CUT:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        link = _Link(self, self._layout, reader, writer, task)
        self._links.add(link)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
                await link.run(self._socket_path())
        except asyncio.CancelledError:
            pass  # asyncio's streams would report it as an error of theirs
        finally:
            link.reset()
            self._links.discard(link)


class _Link:
    """One connection of a server, and its other half to PostgreSQL."""

    def __init__(
        self,
        proxy: DatabaseProxy,
        layout: Layout,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.task = task
        self.is_lane = False
        self.backend = 0
        self._proxy = proxy
        self._layout = layout
        self._reader = reader
        self._writer = writer
        self._up_reader: asyncio.StreamReader | None = None
        self._up_writer: asyncio.StreamWriter | None = None
        self._statements: dict[bytes, bytes] = {}
        self._pending: Batch | None = None
        self._mute = False

    def reset(self) -> None:
        """Ends both halves at once."""
        self._writer.transport.abort()
        if self._up_writer is not None:
            self._up_writer.transport.abort()

    async def run(self, socket_path: str) -> None:
        """Forwards until either side ends."""
        packet = await self._startup()
        if not wire.is_cancel_request(packet):
            told = wire.startup_parameters(packet)
            self.is_lane = told.get("application_name") == wire.LEDGER_NAME
        await self._proxy.flowing(is_lane=self.is_lane)
        self._up_reader, self._up_writer = await asyncio.open_unix_connection(socket_path)
        self._up_writer.write(packet)
        halves = (
            asyncio.create_task(self._client_to_server()),
            asyncio.create_task(self._server_to_client()),
        )
        try:
            done, _ = await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            for half in done:
                half.result()
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)

    async def _startup(self) -> bytes:
        while True:
            size = await self._reader.readexactly(4)
            packet = size + await self._reader.readexactly(struct.unpack("!I", size)[0] - 4)
            if not wire.is_encryption_request(packet):
                return packet
            self._writer.write(b"N")

    # --- from the server that is tested to PostgreSQL --------------------------------------------
    async def _client_to_server(self) -> None:
        assert self._up_writer is not None
        buffer, group = bytearray(), b""
        while data := await self._reader.read(CHUNK_BYTES):
            await self._proxy.flowing(is_lane=self.is_lane)
            if not self.is_lane:
                self._up_writer.write(data)
                continue
            buffer += data
            for message in wire.split_messages(buffer):
                group += message
                if message[:1] in b"SQX":  # Sync, Query, Terminate: the server answers from here on
                    await self._forward(group)
                    group = b""

    async def _forward(self, group: bytes) -> None:
        assert self._up_writer is not None
        batch = self._batch_of(group)
        verdict = Verdict.PASS
        if batch is not None:
            self._proxy.batches.append(batch)
            trap = self._proxy.find_trap(batch, before=True)
            if trap is not None:
                verdict = await trap.verdict(batch)
        if verdict is Verdict.DROP:
            raise ConnectionResetError
        if verdict is Verdict.CUT:
            self._up_writer.write(group[: len(group) // 2])
            await self._up_writer.drain()
            raise ConnectionResetError
        self._pending = batch
        if batch is not None:
            batch.sent_s = time.monotonic()
        self._mute = verdict is Verdict.HANG
        self._up_writer.write(group)
        if verdict is Verdict.RESET:
            await self._up_writer.drain()
            raise ConnectionResetError

    def _batch_of(self, group: bytes) -> Batch | None:
        for message in wire.split_messages(bytearray(group)):
            if message[:1] == b"P":
                name, sql = wire.parsed_statement(message)
                self._statements[name] = sql
            elif message[:1] == b"B":
                name, parameters = wire.bound_parameters(message)
                sql = self._statements.get(name, b"")
                if b"ledger_apply(" in sql:
                    return self._read(sql, parameters)
        return None

    def _read(self, sql: bytes, parameters: list[bytes | None]) -> Batch:
        try:
            operations = wire.operations_of(sql, parameters, self._layout)
        except (KeyError, ValueError) as error:
            # A proxy that is blind would prove nothing: the play fails by this.
            self._proxy.blind = f"cannot read {sql!r}: {type(error).__name__}: {error}"
            operations = Operations()
        return Batch(operations, self.backend, time.monotonic())

    # --- and back --------------------------------------------------------------------------------
    async def _server_to_client(self) -> None:
        assert self._up_reader is not None
        buffer, answer = bytearray(), b""
        while data := await self._up_reader.read(CHUNK_BYTES):
            await self._proxy.flowing(is_lane=self.is_lane)
            if not self.is_lane:
                self._writer.write(data)
                continue
            buffer += data
            for message in wire.split_messages(buffer):
                answer += message
                if message[:1] == b"K":
                    self.backend = wire.backend_pid(message)
                if message[:1] == b"E" and self._pending is not None:
                    self._pending.sqlstate = wire.sqlstate_of(message)
                if message[:1] == b"Z" or self._pending is None:
                    await self._give_back(answer)
                    answer = b""

    async def _give_back(self, answer: bytes) -> None:
        batch, self._pending = self._pending, None
        if batch is not None:
            if not batch.sqlstate:
                batch.committed_s = time.monotonic()
            trap = self._proxy.find_trap(batch, before=False)
            verdict = Verdict.PASS if trap is None else await trap.verdict(batch)
            if self._mute or verdict is Verdict.HANG:
                await asyncio.Event().wait()  # until the server gives up and ends the connection
            if verdict is not Verdict.PASS:
                raise ConnectionResetError
            batch.acknowledged_s = time.monotonic()
        self._writer.write(answer)
