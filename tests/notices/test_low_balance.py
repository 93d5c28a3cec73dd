"""Warnings of low balances: once for each time that credits fall below an organisation's line."""

import asyncio
import json

import psycopg
import pytest
from webhook_receiver import Outbox, Receiver, outbox_of

from omni_grpc.notices import LowBalanceWatch
from omni_grpc.storage import Database


@pytest.fixture
async def outbox(database: Database, receiver: Receiver) -> Outbox:
    outbox = await outbox_of(database)
    await outbox.webhook("hook", receiver.url)
    return outbox


def balance(sql: psycopg.Connection, posted: int, pending: int = 0) -> None:
    # Only what the watch reads; no ledger is checked here.
    sql.execute("UPDATE account SET credits_posted = %s, debits_pending = %s", (posted, pending))


def line(sql: psycopg.Connection, nanousd: int | None) -> None:
    sql.execute("UPDATE org SET low_balance_nanousd = %s", (nanousd,))


def told(sql: psycopg.Connection) -> list[dict[str, object]]:
    rows = sql.execute("SELECT event, body FROM webhook_delivery ORDER BY id").fetchall()
    assert all(event == "balance.low" for event, _ in rows)
    return [json.loads(body)["data"] for _, body in rows]


async def test_a_balance_below_the_line_is_told_once_and_again_after_it_was_above(
    outbox: Outbox, sql: psycopg.Connection
) -> None:
    watch = LowBalanceWatch(outbox.database)
    line(sql, 1_000)
    balance(sql, 1_000)
    assert await watch.look() == 0
    balance(sql, 999)
    assert await watch.look() == 1
    assert await watch.look() == 0
    assert told(sql) == [
        {"account": "accounts/acme", "available_nanousd": 999, "low_balance_nanousd": 1_000}
    ]
    balance(sql, 1_000)
    assert await watch.look() == 0
    balance(sql, 0)
    assert await watch.look() == 1
    assert len(told(sql)) == 2


async def test_what_is_held_is_not_available(outbox: Outbox, sql: psycopg.Connection) -> None:
    line(sql, 1_000)
    balance(sql, 5_000, pending=4_001)
    assert await LowBalanceWatch(outbox.database).look() == 1
    assert told(sql)[0]["available_nanousd"] == 999


async def test_without_a_line_nothing_is_told_and_a_new_line_begins_anew(
    outbox: Outbox, sql: psycopg.Connection
) -> None:
    watch = LowBalanceWatch(outbox.database)
    balance(sql, 0)
    assert await watch.look() == 0
    line(sql, 10)
    assert await watch.look() == 1
    line(sql, None)
    assert await watch.look() == 0
    assert sql.execute("SELECT count(*) FROM low_balance").fetchone() == (0,)
    line(sql, 10)
    assert await watch.look() == 1


async def test_looks_at_the_same_moment_tell_once(outbox: Outbox, sql: psycopg.Connection) -> None:
    line(sql, 10)
    balance(sql, 0)
    watches = [LowBalanceWatch(outbox.database) for _ in range(6)]
    counts = await asyncio.gather(*(watch.look() for watch in watches))
    assert sorted(counts) == [0, 0, 0, 0, 0, 1]
    assert len(told(sql)) == 1


async def test_of_many_workers_one_looks(outbox: Outbox, sql: psycopg.Connection) -> None:
    sql.execute("UPDATE low_balance_look SET look_time = now() - interval '1 hour'")
    turns = await asyncio.gather(*(LowBalanceWatch(outbox.database).is_my_turn() for _ in range(6)))
    assert sorted(turns) == [False] * 5 + [True]
