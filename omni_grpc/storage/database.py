"""The asynchronous way to PostgreSQL: a pool of connections behind a few verbs.

Every statement runs in a task of its own, so that a caller who is cancelled neither breaks a
connection nor loses it to the pool: the statement ends by itself, within the time limits, and its
result is dropped. What the database cannot do now (it is down, full, slow or locked) is one error,
`LedgerUnavailable`, soon and without blocking the loop; what is wrong with a statement stays
psycopg's own error. Nothing here repeats a statement: only its author knows whether that is safe.
"""

import asyncio
import select
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeVar

import psycopg
from psycopg.rows import AsyncRowFactory
from psycopg_pool import AsyncConnectionPool

from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.storage.connection import (
    TIMEOUTS,
    Connection,
    Timeouts,
    conninfo,
    unavailable,
    words_for,
)

T = TypeVar("T")
Parameters = Sequence[object] | Mapping[str, object]

POOL_SIZE_MAX: Final = 8
"""Connections of one worker's pool. The ledger's lane has its own; what is left is light."""

POOL_WAITING_MAX: Final = 1_024
"""Callers that may wait for a connection; a longer queue would outlive their deadlines."""

POOL_IDLE_SECONDS_MAX: Final = 300.0
POOL_LIFETIME_SECONDS_MAX: Final = 1_800.0
"""A connection is replaced after this time, so that the memory of its session stays small."""

RECONNECT_SECONDS_MAX: Final = 1.0
"""How long the pool tries by itself to replace a lost connection. After that each caller's need
starts a try, so that the first one after an outage does not wait for a long back-off to end."""

CLOSE_SECONDS_MAX: Final = 5.0
CONNECTING_SECONDS_MAX: Final = 0.5
"""How long a connection that is just being made may hold up the end: it does no work yet, and where
the database is away it would be waited for in vain. The pool closes it once it is made."""

PING_SECONDS_MAX: Final = 0.5
GRACE_SECONDS: Final = 0.05
"""How much longer than its limit a caller waits for the statement's own, clearer, error."""

CLEANUP_SECONDS_MAX: Final = 2.0
"""How long a statement that is past its limit may take to be undone, before its connection goes."""


class Database:
    """A pool of connections and the verbs that use one each. For one event loop.

    Connections are in autocommit mode: a single statement is a single round trip.

    Args:
        url: where the database is; never logged.
        application_name: what the server's own views call us.
        pool_min: connections kept open.
        pool_max: the most connections at once.
        timeouts: the limits.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        pool_min: int = 1,
        pool_max: int = POOL_SIZE_MAX,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self._timeouts = timeouts
        self._tasks: set[asyncio.Task[Any]] = set()  # of any result type
        self._pool = AsyncConnectionPool[Connection](
            conninfo=conninfo(url, application_name=application_name, timeouts=timeouts),
            kwargs={"autocommit": True, "prepare_threshold": 5},
            min_size=pool_min,
            max_size=pool_max,
            open=False,
            name=application_name,
            timeout=timeouts.pool_s,
            max_waiting=POOL_WAITING_MAX,
            max_lifetime=POOL_LIFETIME_SECONDS_MAX,
            max_idle=POOL_IDLE_SECONDS_MAX,
            reconnect_timeout=RECONNECT_SECONDS_MAX,
            num_workers=2,
        )

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Start connecting in the running loop. The server may be down: this does not wait."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Let running statements end, for a few seconds, and close every connection.

        Who waits for a connection is told at once that there will be none.
        """
        await self._pool.close(timeout=CONNECTING_SECONDS_MAX)
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=CLOSE_SECONDS_MAX)
            for task in late:
                task.cancel()

    async def execute(self, statement: LiteralString, parameters: Parameters = ()) -> int:
        """Run one statement; returns how many rows it touched.

        Raises:
            LedgerUnavailable: the database cannot do it now. If the connection broke after the
                statement was sent, it may have been done all the same.
        """

        async def work(connection: Connection) -> int:
            return (await connection.execute(statement, parameters)).rowcount

        return await self._run(work)

    async def fetch_all(
        self, query: LiteralString, parameters: Parameters = (), *, row: AsyncRowFactory[T]
    ) -> list[T]:
        """Run one query; returns its rows, each made by `row` (psycopg's class_row, scalar_row…).

        Raises:
            LedgerUnavailable: the database cannot do it now.
        """

        async def work(connection: Connection) -> list[T]:
            cursor = connection.cursor(row_factory=row)
            return await (await cursor.execute(query, parameters)).fetchall()

        return await self._run(work)

    async def fetch_one(
        self, query: LiteralString, parameters: Parameters = (), *, row: AsyncRowFactory[T]
    ) -> T | None:
        """Run one query; returns its first row, or None.

        Raises:
            LedgerUnavailable: the database cannot do it now.
        """

        async def work(connection: Connection) -> T | None:
            cursor = connection.cursor(row_factory=row)
            return await (await cursor.execute(query, parameters)).fetchone()

        return await self._run(work)

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one transaction: committed if it returns, rolled back if it raises.

        A cancelled caller does not stop it: it goes on to its own end, committed or not.

        Raises:
            LedgerUnavailable: the database cannot do it now. If the connection broke in the
                commit, it may have been done all the same.
        """

        async def whole(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self._run(whole)

    async def ping(self) -> bool:
        """Whether the database answers now; says so within half a second."""

        async def work(connection: Connection) -> None:
            await connection.execute("SELECT 1")

        try:
            await self._run(work, limit_s=PING_SECONDS_MAX)
        except LedgerUnavailable:
            return False
        return True

    async def _run(
        self, work: Callable[[Connection], Awaitable[T]], *, limit_s: float | None = None
    ) -> T:
        limit_s = limit_s or self._timeouts.call_s
        task = asyncio.create_task(self._work(work, limit_s))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait((task,), timeout=limit_s + GRACE_SECONDS)
        if not done:
            # The task is past its limit and cleans up: it asks the server to cancel, or gives
            # the connection up. Nobody needs to wait for that.
            raise unavailable(f"it did not answer within {limit_s:g} s")
        if task.cancelled():
            raise unavailable("this server is stopping")
        return task.result()

    async def _work(self, work: Callable[[Connection], Awaitable[T]], limit_s: float) -> T:
        pool_s = min(limit_s, self._timeouts.pool_s)
        try:
            # At the first limit the work is cancelled, at the second what cleans up after it: a
            # rollback that a hung server never answers would else keep its connection for ever.
            async with asyncio.timeout(limit_s + CLEANUP_SECONDS_MAX):
                async with asyncio.timeout(limit_s) as limit:
                    connection = await self._take(pool_s)
                    try:
                        return await work(connection)
                    finally:
                        await self._pool.putconn(connection)
        # One that writes nothing was a primary until now: psycopg has it among its internal errors.
        except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction) as error:
            raise unavailable(words_for(error)) from error
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise unavailable(f"it did not answer within {limit_s:g} s") from error

    async def _take(self, wait_s: float) -> Connection:
        """A connection whose server is there; to be put back.

        The pool's own check would pause for a second between two lost connections, and after a
        restart of the server all of them are lost.
        """
        deadline = time.monotonic() + wait_s
        while True:
            connection = await self._pool.getconn(timeout=deadline - time.monotonic())
            try:
                if not await _is_lost(connection):
                    return connection
            except BaseException:
                await self._pool.putconn(connection)
                raise
            await connection.close()
            await self._pool.putconn(connection)  # the pool makes another in its place

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # else, its caller gone, asyncio would report the error as lost


async def _is_lost(connection: Connection) -> bool:
    """Whether the server of an idle connection is gone; costs a healthy one no round trip.

    An idle connection has nothing to read; if it has, it ended, or the server had news.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        await AsyncConnectionPool.check_connection(connection)
    except psycopg.Error:
        return True
    return False
