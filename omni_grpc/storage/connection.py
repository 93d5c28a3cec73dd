"""One connection to PostgreSQL: its limits, how it is made, and what its failures are called.

Every limit that libpq and the session know is set on every connection, so that a hung server, a
cut cable or a forgotten lock ends in `LedgerUnavailable` and not in a wait. The URL and the words
of the server, which name hosts and roles, stay out of every message.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from omni_grpc.core.errors import LedgerUnavailable

Connection = psycopg.AsyncConnection[TupleRow]

TCP_SILENCE_MS_MAX: Final = 5_000
"""A peer that acknowledges nothing for this long is gone."""

RETRY_AFTER_SECONDS: Final = 1.0

WORDS: Final[Mapping[type[psycopg.Error], str]] = {
    PoolTimeout: "no connection was free in time",
    TooManyRequests: "too many calls wait for a connection",
    PoolClosed: "this server is stopping",
    errors.QueryCanceled: "a statement took too long",
    errors.LockNotAvailable: "another session has held a lock for too long",
    errors.DeadlockDetected: "two sessions waited for each other",
    errors.DiskFull: "its disk is full",
    errors.TooManyConnections: "it has no free connection",
    errors.ReadOnlySqlTransaction: "it writes nothing now",
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The limits of one connection, or of each connection of a pool, in seconds.

    Attributes:
        connect_s: to reach the server and log in.
        pool_s: to be given a connection; shorter than any call's deadline.
        statement_s: one statement, by the server's clock.
        lock_s: waiting for one lock, so that a forgotten session stops nobody for long.
        idle_in_transaction_s: a session between the statements of a transaction.
        call_s: one verb of `Database` altogether.
    """

    connect_s: float = 2.0
    pool_s: float = 0.75
    statement_s: float = 3.0
    lock_s: float = 1.0
    idle_in_transaction_s: float = 5.0
    call_s: float = 5.0


TIMEOUTS: Final = Timeouts()


async def connect(url: str, *, application_name: str, timeouts: Timeouts = TIMEOUTS) -> Connection:
    """A connection of one's own, outside any pool: the ledger's lane holds one.

    Autocommit; every statement is prepared at its first use; commits are durable when they are
    acknowledged (`synchronous_commit` on), whatever the role's or the database's default is.

    Raises:
        LedgerUnavailable: the server cannot be reached within `timeouts.connect_s`.
    """
    target = conninfo(url, application_name=application_name, timeouts=timeouts, durable=True)
    try:
        async with asyncio.timeout(timeouts.connect_s):
            return await psycopg.AsyncConnection.connect(
                target, autocommit=True, prepare_threshold=0
            )
    except TimeoutError as error:
        raise unavailable(f"it did not answer within {timeouts.connect_s:g} s") from error
    except psycopg.OperationalError as error:
        raise unavailable(words_for(error)) from error


def conninfo(url: str, *, application_name: str, timeouts: Timeouts, durable: bool = False) -> str:
    """The URL with every limit that libpq and the session take. The URL's own options win.

    PgBouncer refuses the start-up parameter `options`, and a session setting through it would
    reach other sessions too: the limits need a direct connection or a pooler in session mode.
    """
    session = {
        "statement_timeout": _ms(timeouts.statement_s),
        "lock_timeout": _ms(timeouts.lock_s),
        "idle_in_transaction_session_timeout": _ms(timeouts.idle_in_transaction_s),
        **({"synchronous_commit": "on"} if durable else {}),
    }
    options = [f"-c {name}={value}" for name, value in session.items()]
    given = conninfo_to_dict(url).get("options")
    return make_conninfo(
        url,
        application_name=application_name,
        connect_timeout=max(2, round(timeouts.connect_s)),  # libpq takes no less than 2
        options=" ".join([*options, str(given)] if given else options),
        keepalives=1,
        keepalives_idle=15,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=TCP_SILENCE_MS_MAX,
    )


def _ms(seconds: float) -> str:
    return str(round(1_000 * seconds))


def unavailable(why: str) -> LedgerUnavailable:
    """The one error for what the database cannot do now."""
    return LedgerUnavailable(
        f"The database cannot serve this call now: {why}. Nothing is wrong with the request; "
        "try again shortly.",
        retry_after_s=RETRY_AFTER_SECONDS,
    )


def words_for(error: psycopg.Error) -> str:
    """What may be told of an error: its kind, never the server's text, which names hosts."""
    if words := WORDS.get(type(error)):
        return words
    return f"it answered SQLSTATE {error.sqlstate}" if error.sqlstate else "the connection failed"
