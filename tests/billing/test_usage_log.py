"""The log of calls: rows in batches, none twice, none in anybody's way, and counted where lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from ledger_rig import WALLETS, until
from usage_rig import routed

from omni_grpc.billing.usage import CallLog, RoutedCall, UsageStore
from omni_grpc.billing.usage.log import BATCH_ROWS, QUEUE_ROWS_MAX
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import hold_id_of, new_call_id
from omni_grpc.storage import Database


class Watch:
    """Counts what is lost."""

    def __init__(self) -> None:
        self.dropped = 0

    def call_rows_dropped(self, count: int) -> None:
        self.dropped += count


class Shaky(UsageStore):
    """A store whose database is away when a test says so, also after it has written."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.is_away = False
        self.loses_answers = False
        self.batches: list[int] = []

    async def insert(self, calls: Sequence[RoutedCall]) -> None:
        if self.is_away:
            raise LedgerUnavailable("The database does not answer.")
        self.batches.append(len(calls))
        await super().insert(calls)
        if self.loses_answers:
            self.loses_answers = False
            raise LedgerUnavailable("The answer was lost.")


@pytest.fixture
def store(database: Database) -> Shaky:
    return Shaky(database)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def log(store: Shaky, watch: Watch) -> CallLog:
    return CallLog(store, watch)


@asynccontextmanager
async def running(log: CallLog) -> AsyncIterator[None]:
    task = asyncio.create_task(log.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def a_call(**given: Any) -> RoutedCall:
    return routed(hold_id_of(new_call_id(), 1), WALLETS[0], **given)


def count(sql: psycopg.Connection) -> int:
    row = sql.execute("SELECT count(*) FROM routed_call").fetchone()
    assert row is not None
    return int(row[0])


async def test_rows_are_written_soon_and_in_batches(
    log: CallLog, store: Shaky, sql: psycopg.Connection
) -> None:
    async with running(log):
        log.add(a_call())
        assert count(sql) == 0
        await until(lambda: count(sql) == 1)
        for _ in range(2 * BATCH_ROWS):
            log.add(a_call())
        await until(lambda: log.waiting == 0)
    assert count(sql) == 2 * BATCH_ROWS + 1
    assert store.batches == [1, BATCH_ROWS, BATCH_ROWS]


async def test_what_the_database_cannot_take_waits_and_is_written_once(
    log: CallLog, store: Shaky, watch: Watch, sql: psycopg.Connection
) -> None:
    for _ in range(3):
        log.add(a_call())
    store.is_away = True
    with pytest.raises(LedgerUnavailable):
        await log.flush()
    assert log.waiting == 3
    store.is_away, store.loses_answers = False, True
    with pytest.raises(LedgerUnavailable):
        await log.flush()
    await log.flush()
    assert (count(sql), log.waiting, watch.dropped) == (3, 0, 0)


async def test_a_full_queue_drops_and_counts_and_never_waits(log: CallLog, watch: Watch) -> None:
    call = a_call()
    for _ in range(QUEUE_ROWS_MAX + 5):
        log.add(call)
    assert (log.waiting, watch.dropped) == (QUEUE_ROWS_MAX, 5)


async def test_a_stop_writes_what_waits_or_counts_it_as_lost(
    log: CallLog, store: Shaky, watch: Watch, sql: psycopg.Connection
) -> None:
    log.add(a_call())
    await log.close(5.0)
    assert (count(sql), watch.dropped) == (1, 0)
    store.is_away = True
    log.add(a_call())
    await log.close(0.01)
    assert (count(sql), watch.dropped) == (1, 1)


@pytest.mark.parametrize("place", [0, 3, 6])
async def test_a_row_that_is_refused_costs_itself_alone(
    log: CallLog, store: Shaky, watch: Watch, sql: psycopg.Connection, place: int
) -> None:
    calls = [a_call() for _ in range(7)]
    calls[place] = a_call(duration_ms=2**63)
    for call in calls:
        log.add(call)
    await log.flush()
    written = {row[0] for row in sql.execute("SELECT call_id FROM routed_call")}
    assert written == {call.call_id for call in calls} - {calls[place].call_id}
    assert (watch.dropped, log.waiting) == (1, 0)
    assert len(store.batches) < 2 * len(calls)


async def test_rows_that_no_driver_can_send_cost_themselves_alone(
    log: CallLog, watch: Watch, sql: psycopg.Connection
) -> None:
    for call in (a_call(), a_call(asked=None), a_call(), a_call(duration_ms=object()), a_call()):
        log.add(call)
    await log.flush()
    assert (count(sql), watch.dropped, log.waiting) == (3, 2, 0)


async def test_a_refused_row_is_dropped_once_where_the_database_goes_away_beside_it(
    log: CallLog, store: Shaky, watch: Watch, sql: psycopg.Connection
) -> None:
    for call in (a_call(duration_ms=2**63), a_call()):
        log.add(call)
    store.loses_answers = True  # that of the second row alone
    with pytest.raises(LedgerUnavailable):
        await log.flush()
    assert (log.waiting, watch.dropped) == (1, 1)
    await log.flush()
    assert (count(sql), watch.dropped, log.waiting) == (1, 1, 0)


async def test_a_table_that_takes_nothing_is_not_asked_for_each_row(
    log: CallLog, store: Shaky, watch: Watch, sql: psycopg.Connection
) -> None:
    sql.execute("ALTER TABLE routed_call RENAME TO gone")
    for _ in range(5):
        log.add(a_call())
    await log.flush()
    assert (store.batches, watch.dropped, log.waiting) == ([5], 5, 0)


async def test_whatever_a_caller_wrote_is_kept_as_text(
    log: CallLog, store: Shaky, sql: psycopg.Connection
) -> None:
    tags = {"a'b\"": "'); DROP TABLE posting; --", "nul\x00": "\ud800", "long": "x" * 5_000}
    call = a_call(tags=tags, end_user="\x00\udfff {1,2}", asked='{"NULL",null}')
    log.add(call)
    await log.flush()
    row = sql.execute("SELECT tags, end_user, asked FROM routed_call").fetchone()
    assert row is not None
    assert row[0]["a'b\""] == tags["a'b\""]
    assert row[0]["nul\ufffd"] == "?"
    assert row[1:] == ("\ufffd? {1,2}", '{"NULL",null}')
