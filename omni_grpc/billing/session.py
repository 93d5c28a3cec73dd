"""The lane's database session: one connection, statements with a watchdog, and what errors mean.

A statement is never cancelled, since a cancellation can be lost on its way: a server that does not
answer has its socket shut down, which ends the wait, and what became of the statement is found out
by sending it again.
"""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import psycopg

STATEMENT_SECONDS_MAX: Final = 5.0
"""A batch takes milliseconds; one that takes this long has lost its server."""

_LOCK_TIMEOUT: Final = "55P03"
_SEND_AGAIN: Final = frozenset({"OM001", "40P01", "40001", _LOCK_TIMEOUT})
"""Relock, deadlock, serialization failure, lock timeout: nothing was applied, nothing is wrong."""

_DATA_ERRORS: Final = ("22", "23", "OM", "P0", "XX")
"""Classes of SQLSTATE that sending again cannot mend; every other error may pass, also a function
or a right that is missing: no operation's data can cause that, so finals wait for its return."""

Connect = Callable[[], Awaitable[psycopg.AsyncConnection]]
Rows = list[tuple[Any, ...]]  # of several shapes


class LedgerSession:
    """At most one connection. For one task at a time."""

    def __init__(self, connect: Connect, statement_s: float) -> None:
        self._connect = connect
        self._statement_s = statement_s
        self._connection: psycopg.AsyncConnection | None = None

    async def open(self) -> None:
        """Connects; whatever was open before is closed.

        Raises:
            LedgerUnavailable, psycopg.Error, OSError, TimeoutError: it cannot.
        """
        await self.close()
        self._connection = await self._connect()

    async def close(self) -> None:
        """Closes the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()

    async def look(self) -> None:
        """Finds out whether an idle connection has ended; costs a living one no round trip.

        Raises:
            psycopg.Error: it has.
        """
        connection = self._connection
        if connection is None or connection.closed:
            raise psycopg.OperationalError("not connected")
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):  # nothing was asked: it is the connection's end, or news of the server's
            await self.execute("SELECT 1", [])

    async def execute(self, sql: str, parameters: list[object]) -> Rows:
        """Runs one autocommit statement.

        Raises:
            psycopg.Error: see `sends_again` and `is_of_data`.
        """
        connection = self._connection
        if connection is None:
            raise psycopg.OperationalError("not connected")
        task = asyncio.ensure_future(connection.execute(sql, parameters, prepare=True, binary=True))
        timer = asyncio.get_running_loop().call_later(self._statement_s, _shut_down, connection)
        try:
            cursor = await asyncio.shield(task)
            return await cursor.fetchall()
        except asyncio.CancelledError:
            _shut_down(connection)
            await asyncio.wait({task})
            raise
        finally:
            timer.cancel()


def sqlstate(error: Exception) -> str:
    """The SQLSTATE of an error; empty where the server gave none."""
    return (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""


def sends_again(error: Exception) -> bool:
    """Whether nothing was applied and the same statement will do."""
    return sqlstate(error) in _SEND_AGAIN


def is_lock_timeout(error: Exception) -> bool:
    """Whether another session holds a lock for too long."""
    return sqlstate(error) == _LOCK_TIMEOUT


def is_of_data(error: Exception) -> bool:
    """Whether a statement's own content is at fault, as the server or the driver found it."""
    state = sqlstate(error)
    return state.startswith(_DATA_ERRORS) or (
        not state and isinstance(error, psycopg.DataError | ValueError)
    )


def _shut_down(connection: psycopg.AsyncConnection) -> None:
    """Wakes whoever waits for `connection` with an end of file, without waiting for anything."""
    with contextlib.suppress(psycopg.Error, OSError):
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
