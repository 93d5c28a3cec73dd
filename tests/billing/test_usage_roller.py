"""A rebuild of usage's sums, alone or beside workers, and what it tells: how much the sums have."""

import asyncio

import psycopg
import pytest
from ledger_rig import WALLETS, refund_op
from usage_rig import (
    Traffic,
    apply,
    by_day,
    give_credits,
    paid_call,
    read,
    roll,
    roll_twice,
    rolled,
    rolled_days,
    truth,
)

from omni_grpc.billing.usage import UsageRoller, UsageStore
from omni_grpc.storage import Database

pytestmark = pytest.mark.usefixtures("clean_books")


class Beaten(UsageStore):
    """A store to whose first step a worker of a running gateway comes first, and counts it all."""

    def __init__(self, database: Database, beside: psycopg.Connection) -> None:
        super().__init__(database)
        self._beside = beside
        self.own_steps: list[int | None] = []

    async def roll(self, generation: int, limit: int) -> int | None:
        async with asyncio.timeout(30):
            while not await self.is_active(generation):  # a transaction may still run at first
                roll(self._beside)
        self.own_steps.append(await super().roll(generation, limit))
        return self.own_steps[-1]


@pytest.fixture
def attempts(sql: psycopg.Connection) -> int:
    """How many attempts there are; of some more was counted than of others."""
    give_credits(sql)
    traffic = Traffic(sql, 11)
    for _ in range(30):
        traffic.act()
    roll_twice(sql)
    for _ in range(10):
        traffic.act()
    traffic.finish()
    row = sql.execute("SELECT count(*) FROM usage_record").fetchone()
    assert row
    return int(row[0])


async def test_a_rebuild_that_counts_alone_tells_how_many_attempts_the_new_sums_have(
    sql: psycopg.Connection, database: Database, attempts: int
) -> None:
    told: list[int] = []
    assert await UsageRoller(UsageStore(database)).rebuild(told.append) == attempts
    assert told == sorted(told)
    assert told[-1] >= attempts
    _assert_new_sums_are_right(sql)


async def test_a_rebuild_that_others_count_tells_the_same_number(
    sql: psycopg.Connection, database: Database, attempts: int
) -> None:
    store, told = Beaten(database, sql), list[int]()
    assert await UsageRoller(store).rebuild(told.append) == attempts
    assert not any(store.own_steps), "nothing was left for it"
    assert told == []
    _assert_new_sums_are_right(sql)


async def test_a_refund_counts_as_no_attempt(sql: psycopg.Connection, database: Database) -> None:
    give_credits(sql)
    apply(sql, refund_op(5, paid_call(sql, 30, WALLETS[0])))
    roller = UsageRoller(UsageStore(database))
    assert await roller.rebuild(lambda _: None) == 1
    assert await roller.rebuild(lambda _: None) == 1
    assert [sums["refunded"] for sums in rolled(sql).values()] == [5]


async def test_a_rebuild_of_empty_books_tells_none(database: Database) -> None:
    assert await UsageRoller(UsageStore(database)).rebuild(lambda _: None) == 0


def _assert_new_sums_are_right(sql: psycopg.Connection) -> None:
    assert rolled(sql) == truth(sql) == read(sql)
    assert rolled_days(sql) == by_day(truth(sql))
    found = sql.execute("SELECT generation, active FROM usage_state").fetchall()
    assert found == [(2, True)], "the old sums are gone"
    assert sql.execute("SELECT DISTINCT generation FROM usage_sum").fetchall() == [(2,)]
