"""Daily snapshots: what each account had, taken in slices beside traffic, once a day."""

import psycopg
import pytest
from ledger_rig import WALLETS, final_op, hold_op, transfer_op
from ledger_sql import apply

from omni_grpc.billing.operations import Final

ALL = 2**63 - 1


@pytest.fixture(autouse=True)
async def books_stay_clean(clean_books: None) -> None:
    """The doctor looks at each test's books."""


def take(sql: psycopg.Connection, limit: int = 1_000) -> list[int]:
    """Takes today's, slice by slice; the last account of each slice."""
    before, lasts = ALL, []
    while row := sql.execute("SELECT ledger_snapshot(%s, %s)", [before, limit]).fetchone():
        if row[0] is None:
            break
        before = row[0]
        lasts.append(before)
    return lasts


def kept(sql: psycopg.Connection, account: int) -> list[tuple[int, int, int]]:
    return sql.execute(
        "SELECT entry_count, credits_posted, debits_posted FROM account_snapshot"
        " WHERE account = %s ORDER BY day",
        [account],
    ).fetchall()


def a_day_passes(sql: psycopg.Connection) -> None:
    """Only once in a test."""
    sql.execute("UPDATE account_snapshot SET day = day - 1")


def spend(sql: psycopg.Connection, amount: int, wallet: int) -> None:
    op = hold_op(amount, wallet=wallet)
    apply(sql, [transfer_op(amount, wallet=wallet)])
    apply(sql, [op])
    apply(sql, [final_op(Final.SETTLE, op.id, amount)])


async def test_every_account_has_its_state_of_the_day(sql: psycopg.Connection) -> None:
    spend(sql, 7, WALLETS[0])
    lasts = take(sql, 10)
    row = sql.execute("SELECT count(*) FROM account").fetchone()
    assert row
    assert len(lasts) == -(-row[0] // 10)
    assert lasts == sorted(lasts, reverse=True)
    assert lasts[-1] == 1
    assert sql.execute("SELECT count(*) FROM account_snapshot").fetchone() == row
    assert kept(sql, WALLETS[0]) == [(2, 7, 7)]
    assert kept(sql, 1) == [(0, 0, 7)]  # funding
    assert kept(sql, 100) == [(0, 7, 0)]  # revenue


async def test_the_first_look_of_a_day_stands(sql: psycopg.Connection) -> None:
    take(sql)
    spend(sql, 7, WALLETS[0])
    take(sql)
    assert kept(sql, WALLETS[0]) == [(0, 0, 0)]


async def test_an_account_that_did_not_change_is_left_out_but_the_first(
    sql: psycopg.Connection,
) -> None:
    """The first one shows that the day was looked at to its end."""
    spend(sql, 7, WALLETS[0])
    take(sql)
    a_day_passes(sql)
    spend(sql, 5, WALLETS[1])
    take(sql)
    assert kept(sql, WALLETS[0]) == [(2, 7, 7)]
    assert kept(sql, WALLETS[1]) == [(0, 0, 0), (2, 5, 5)]
    a_quiet_day = [len(kept(sql, account)) for account in (1, 101)]
    assert a_quiet_day == [2, 1]


async def test_what_is_held_is_no_part_of_a_snapshot(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(10)])
    take(sql)
    a_day_passes(sql)
    apply(sql, [hold_op(4)])
    take(sql)
    assert kept(sql, WALLETS[0]) == [(1, 10, 0)]
