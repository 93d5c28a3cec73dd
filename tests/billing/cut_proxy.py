"""A proxy before PostgreSQL, on a real socket, that breaks connections at chosen moments."""

import asyncio
import contextlib
from enum import Enum, auto
from types import TracebackType
from typing import Self
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

_READY = b"Z\x00\x00\x00\x05"
"""How the server's answer to a statement ends, but for one byte that tells its state."""


def _executes(data: bytes) -> bool:
    """Whether these messages of a client run a statement; a start-up or a PREPARE does not."""
    place = 0
    while place + 5 <= len(data):
        if data[place : place + 1] in b"BQ":
            return True
        place += 1 + int.from_bytes(data[place + 1 : place + 5], "big")
    return False


class Break(Enum):
    """What happens to the next statement."""

    DROP_ANSWER = auto()
    """It is done; its answer is lost and the connection is reset."""
    RESET = auto()
    """It is sent, and the connection is reset at once: done or not, nobody knows."""
    CUT_REQUEST = auto()
    """Half of it is sent, then the connection is reset: never done."""
    HANG = auto()
    """It is done; its answer never comes and the connection stays open."""


class CutProxy:
    """Listens on 127.0.0.1 and forwards to the server of `url`."""

    def __init__(self, url: str) -> None:
        target = conninfo_to_dict(url)
        self._socket = f"{target['host']}/.s.PGSQL.{target['port']}"
        self._database, self._user = target["dbname"], target["user"]
        self._next: list[Break] = []
        self._is_down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken = 0

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{quote(str(self._user))}@127.0.0.1:{port}/{self._database}"

    @property
    def armed(self) -> int:
        """How many of the next statements will be broken."""
        return len(self._next)

    def arm(self, *breaks: Break) -> None:
        """Break the next statements, one after the other."""
        self._next.extend(breaks)

    def down(self) -> None:
        """Take the database away."""
        self._is_down = True
        for writer in self._writers:
            writer.transport.abort()

    def up(self) -> None:
        self._is_down = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.down()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_down:
            writer.transport.abort()
            return
        self._writers.add(writer)
        up_reader, up_writer = await asyncio.open_unix_connection(self._socket)
        answers = asyncio.create_task(self._forward(up_reader, writer))
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while data := await reader.read(1 << 20):
                    if self._next and _executes(data):
                        self.broken += 1
                        await self._break(self._next.pop(0), data, answers, up_reader, up_writer)
                    else:
                        up_writer.write(data)
        finally:
            answers.cancel()
            self._writers.discard(writer)
            writer.transport.abort()
            up_writer.transport.abort()

    async def _break(
        self,
        what: Break,
        data: bytes,
        answers: "asyncio.Task[None]",
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        answers.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answers
        if what is Break.CUT_REQUEST:
            up_writer.write(data[: len(data) // 2])
            await up_writer.drain()
            raise ConnectionResetError
        up_writer.write(data)
        await up_writer.drain()
        if what is Break.RESET:
            raise ConnectionResetError
        answer = b""
        while _READY not in answer[-16:]:
            answer += await up_reader.read(1 << 20)
        if what is Break.DROP_ANSWER:
            raise ConnectionResetError
        await asyncio.Event().wait()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                writer.write(data)
        writer.transport.abort()
