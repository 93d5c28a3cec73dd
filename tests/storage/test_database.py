"""The pool and its verbs against a real server: killed, hung, locked, full, and cancelled."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.storage import Connection, Database, EmbeddedPostgres, Timeouts, connect

SHORT = Timeouts(pool_s=1.5, statement_s=1.0, lock_s=0.2, call_s=2.0)
"""Far enough apart that on a busy machine, too, the shorter one ends first."""

SOON_S = 4.0
"""Beyond the pool's own limit on a busy machine, and within a call's."""

PAUSE_S_MAX = 0.8
"""Below every time for which a call that blocked the loop would block it."""


class Item(msgspec.Struct, frozen=True):
    number: int
    name: str


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, application_name="test", pool_max=2) as opened:
        yield opened


@pytest.fixture
async def hurried(database_url: str) -> AsyncIterator[Database]:
    """A database with short limits and a single connection."""
    async with Database(
        database_url, application_name="hurried", pool_max=1, timeouts=SHORT
    ) as opened:
        yield opened


async def make_items(database: Database) -> None:
    await database.execute("CREATE TABLE item (number int PRIMARY KEY, name text)")


async def count_items(database: Database) -> int | None:
    return await database.fetch_one("SELECT count(*) FROM item", row=scalar_row)


async def longest_pause(until: asyncio.Task[object]) -> float:
    """The longest time for which the loop did nothing else while a task ran."""
    worst = 0.0
    while not until.done():
        before = time.monotonic()
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - before)
    return worst


async def recovers(database: Database) -> None:
    """The database answers again before long, asked without a pause."""
    began = time.monotonic()
    while not await database.ping():
        assert time.monotonic() - began < 10


async def test_rows_come_back_as_the_types_that_were_asked_for(database: Database) -> None:
    await make_items(database)
    assert await database.execute("INSERT INTO item VALUES (%s, %s), (2, 'b')", (1, "a")) == 2
    rows = await database.fetch_all("SELECT * FROM item ORDER BY number", row=class_row(Item))
    assert rows == [Item(1, "a"), Item(2, "b")]
    query = "SELECT * FROM item WHERE number = %(number)s"
    assert await database.fetch_one(query, {"number": 2}, row=class_row(Item)) == Item(2, "b")
    assert await database.fetch_one(query, {"number": 3}, row=class_row(Item)) is None


async def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    await make_items(database)

    async def two(connection: Connection) -> str:
        await connection.execute("INSERT INTO item VALUES (1, 'a')")
        await connection.execute("INSERT INTO item VALUES (2, 'b')")
        return "done"

    async def fails(connection: Connection) -> None:
        await connection.execute("INSERT INTO item VALUES (3, 'c')")
        raise KeyError("no")

    assert await database.transaction(two) == "done"
    with pytest.raises(KeyError):
        await database.transaction(fails)
    assert await count_items(database) == 2


async def test_what_is_wrong_with_a_statement_stays_psycopgs_own_error(database: Database) -> None:
    await make_items(database)
    await database.execute("INSERT INTO item VALUES (1, 'a')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        await database.execute("INSERT INTO item VALUES (1, 'a')")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await database.execute("SELECT * FROM nothing")
    assert await database.ping()


async def test_a_killed_server_is_told_soon_and_the_pool_comes_back(
    own_server: EmbeddedPostgres,
) -> None:
    async with Database(own_server.url(), application_name="test", pool_min=2) as database:
        assert await database.ping()
        os.kill(postmaster_pid(own_server), signal.SIGKILL)
        while await database.ping():  # its backends live on for a moment
            pass
        for _ in range(3):
            began = time.monotonic()
            call = asyncio.create_task(database.execute("SELECT 1"))
            pause = await longest_pause(call)
            with pytest.raises(LedgerUnavailable) as caught:
                await call
            assert time.monotonic() - began < SOON_S
            assert pause < PAUSE_S_MAX
            assert caught.value.retry_after_s
        assert not await database.ping()
        await asyncio.to_thread(own_server.start)
        await recovers(database)
        for _ in range(20):
            await database.execute("SELECT 1")


async def test_a_restart_between_two_calls_is_not_noticed(own_server: EmbeddedPostgres) -> None:
    async with Database(own_server.url(), application_name="test", pool_min=3) as database:
        await asyncio.gather(*(database.execute("SELECT pg_sleep(0.05)") for _ in range(3)))
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(own_server.start)
        for _ in range(5):
            await database.execute("SELECT 1")


async def test_it_opens_while_the_server_is_down(stopped: Path) -> None:
    server = EmbeddedPostgres(stopped)
    url = await asyncio.to_thread(server.start)
    await asyncio.to_thread(server.stop)
    async with Database(url, application_name="test") as database:
        began = time.monotonic()
        assert not await database.ping()
        assert time.monotonic() - began < SOON_S
        await asyncio.to_thread(server.start)
        try:
            await recovers(database)
        finally:
            await asyncio.to_thread(server.stop)


async def test_a_backend_that_hangs_is_given_up_in_time(database_url: str) -> None:
    async with Database(
        database_url, application_name="hang", pool_max=1, timeouts=SHORT
    ) as database:
        pid = await database.fetch_one("SELECT pg_backend_pid()", row=scalar_row)
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            call = asyncio.create_task(database.execute("SELECT 1"))
            pause = await longest_pause(call)
            with pytest.raises(LedgerUnavailable, match="did not answer within 2 s"):
                await call
            assert time.monotonic() - began < SOON_S
            assert pause < PAUSE_S_MAX
        finally:
            os.kill(pid, signal.SIGCONT)
        await recovers(database)


async def test_a_slow_statement_is_ended_by_the_server(hurried: Database) -> None:
    with pytest.raises(LedgerUnavailable, match="a statement took too long"):
        await hurried.execute("SELECT pg_sleep(5)")
    assert await hurried.ping()


async def test_a_row_that_somebody_else_has_locked_is_not_waited_for_long(
    hurried: Database, database_url: str
) -> None:
    await make_items(hurried)
    await hurried.execute("INSERT INTO item VALUES (1, 'a')")
    async with await psycopg.AsyncConnection.connect(database_url) as forgotten:
        await forgotten.execute("SELECT * FROM item FOR UPDATE")
        with pytest.raises(LedgerUnavailable, match="held a lock for too long"):
            await hurried.execute("UPDATE item SET name = 'b'")


async def test_a_server_that_writes_nothing_for_now_is_away(database: Database) -> None:
    """As one that was the primary until another took over: what waits for it must not be lost."""
    await make_items(database)

    async def work(connection: Connection) -> None:
        await connection.execute("SET TRANSACTION READ ONLY")
        await connection.execute("INSERT INTO item VALUES (1, 'one')")

    with pytest.raises(LedgerUnavailable, match="writes nothing"):
        await database.transaction(work)
    assert await count_items(database) == 0


async def test_a_full_pool_refuses_in_time(hurried: Database) -> None:
    refused, sits_there = asyncio.Event(), asyncio.Event()

    async def sits(_: Connection) -> None:
        sits_there.set()
        await refused.wait()

    assert await hurried.ping()
    sitting = asyncio.create_task(hurried.transaction(sits))
    await sits_there.wait()
    with pytest.raises(LedgerUnavailable, match="no connection was free"):
        await hurried.execute("SELECT 1")
    refused.set()
    with suppress(LedgerUnavailable):  # on a busy machine its own time may be over by now
        await sitting
    assert await hurried.ping()


async def test_a_transaction_that_never_ends_is_rolled_back_at_its_limit(hurried: Database) -> None:
    await make_items(hurried)

    async def never(connection: Connection) -> None:
        await connection.execute("INSERT INTO item VALUES (1, 'a')")
        await asyncio.Event().wait()

    with pytest.raises(LedgerUnavailable, match="did not answer within 2 s"):
        await hurried.transaction(never)
    assert await count_items(hurried) == 0


async def test_a_cancelled_callers_statement_is_done_all_the_same(
    database: Database, database_url: str
) -> None:
    await make_items(database)
    statement = "INSERT INTO item SELECT 1, 'a' FROM pg_sleep(1.5)"
    call = asyncio.create_task(database.execute(statement))
    async with await connect(database_url, application_name="looks") as looking:
        await seen_running(looking, "INSERT INTO item%")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        cursor = await looking.execute("SELECT count(*) FROM item")
        assert await cursor.fetchone() == (0,), "nobody waited for it"
    await database.close()
    async with Database(database_url, application_name="again") as again:
        assert await count_items(again) == 1


async def test_callers_cancelled_anywhere_cost_no_connection(database: Database) -> None:
    await make_items(database)
    for turns in range(200):
        call = asyncio.create_task(
            database.execute("INSERT INTO item VALUES (%s, 'x')", (turns,)),
        )
        for _ in range(turns % 13):
            await asyncio.sleep(0)
        call.cancel()
        with suppress(asyncio.CancelledError):  # it may have ended before
            await call
    await asyncio.gather(*database._tasks, return_exceptions=True)  # else they come first
    backends = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test'"
    assert await database.fetch_one(backends, row=scalar_row) in {1, 2}
    stats = database._pool.get_stats()
    assert stats.get("returns_bad", 0) == stats.get("connections_lost", 0) == 0
    assert stats["pool_size"] <= 2


async def test_no_message_shows_the_url() -> None:
    url = "postgresql://somebody:hunter2@127.0.0.1:1/secretdb"
    async with Database(url, application_name="test") as database:
        with pytest.raises(LedgerUnavailable) as pooled:
            await database.execute("SELECT 1")
    with pytest.raises(LedgerUnavailable) as alone:
        await connect(url, application_name="test")
    for caught in (pooled, alone):
        for secret in ("hunter2", "secretdb", "127.0.0.1"):
            assert secret not in str(caught.value)


async def test_a_closed_database_says_that_it_is_closed(database_url: str) -> None:
    database = Database(database_url, application_name="test")
    await database.open()
    await database.close()
    with pytest.raises(LedgerUnavailable, match="stopping"):
        await database.execute("SELECT 1")
    assert not await database.ping()


async def test_who_waits_for_a_connection_is_told_at_once_that_the_database_closes(
    database_url: str,
) -> None:
    database = Database(
        database_url,
        application_name="test",
        pool_max=1,
        timeouts=Timeouts(pool_s=30.0, call_s=30.0),
    )
    has_it, may_end = asyncio.Event(), asyncio.Event()

    async def long(connection: Connection) -> str:
        has_it.set()
        await may_end.wait()
        await connection.execute("SELECT 1")
        return "done"

    await database.open()
    running = asyncio.create_task(database.transaction(long))
    await has_it.wait()
    waiting = asyncio.create_task(database.execute("SELECT 1"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    with pytest.raises(LedgerUnavailable, match="stopping"):
        await waiting
    assert not running.done()
    may_end.set()
    assert await running == "done"
    await closing


async def test_a_connection_of_ones_own_is_durable_prepared_and_limited(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        name = sql.Identifier(admin.info.dbname)
        await admin.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    async with await connect(database_url, application_name="lane", timeouts=SHORT) as lane:
        assert lane.autocommit
        expected = {
            "synchronous_commit": "on",
            "statement_timeout": "1s",
            "lock_timeout": "200ms",
            "idle_in_transaction_session_timeout": "5s",
            "application_name": "lane",
        }
        for setting, value in expected.items():
            cursor = await lane.execute("SELECT current_setting(%s)", (setting,))
            assert await cursor.fetchone() == (value,)
        prepared = await lane.execute("SELECT count(*) FROM pg_prepared_statements")
        assert await prepared.fetchone() != (0,)


async def test_options_in_the_url_win_over_ours(database_url: str) -> None:
    url = f"{database_url}&options=-c%20lock_timeout%3D77s"
    async with await connect(url, application_name="lane") as lane:
        assert await (await lane.execute("SHOW lock_timeout")).fetchone() == ("77s",)
        assert await (await lane.execute("SHOW statement_timeout")).fetchone() == ("3s",)


async def test_a_server_that_accepts_but_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://omni@127.0.0.1:{server.getsockname()[1]}/omni"
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match=r"did not answer within 0\.3 s"):
            await connect(url, application_name="test", timeouts=Timeouts(connect_s=0.3))
        assert time.monotonic() - began < 1.5
        async with Database(url, application_name="test") as database:
            began = time.monotonic()
            assert not await database.ping()
            assert time.monotonic() - began < 1.5


async def seen_running(connection: Connection, pattern: str) -> None:
    """Wait until a statement like this runs on the server."""
    query = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s"
    deadline = time.monotonic() + 10
    while await (await connection.execute(query, (pattern,))).fetchone() is None:
        assert time.monotonic() < deadline


def postmaster_pid(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "cluster" / "postmaster.pid").read_text().split()[0])
