"""Grants that expire: spent oldest first, and only what nobody spent or reserved is taken back."""

from collections.abc import Sequence

import psycopg
import pytest
from ledger_rig import FUTURE, PAST, WALLETS, expiry_op, final_op, hold_op, refund_op, transfer_op
from ledger_sql import apply, balance, codes

from omni_grpc.billing.operations import Code, Final, HoldOp, TransferOp

WALLET, THEIRS = WALLETS[:2]


@pytest.fixture(autouse=True)
async def books_stay_clean(clean_books: None) -> None:
    """The doctor looks at each test's books."""


def grant(sql: psycopg.Connection, amount: int, *, is_over: bool | None = None) -> TransferOp:
    """A grant for ever, or one whose time is over, or is not."""
    expire_time = None if is_over is None else PAST if is_over else FUTURE
    op = transfer_op(amount, expire_time=expire_time)
    assert codes(apply(sql, [op])) == [Code.DONE]
    return op


def spend(sql: psycopg.Connection, amount: int) -> HoldOp:
    op = hold_op(amount)
    assert codes(
        apply(
            sql,
            [
                op,
            ],
        )
    ) == [Code.DONE]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, amount)])) == [Code.DONE]
    return op


def expire(sql: psycopg.Connection, *grants: TransferOp) -> Sequence[int | None]:
    """How much of each is taken back."""
    return [outcome.amount for outcome in apply(sql, [expiry_op(op.id) for op in grants])]


def is_open(sql: psycopg.Connection, op: TransferOp) -> bool:
    row = sql.execute("SELECT open FROM credit_lot WHERE id = %s", [op.id]).fetchone()
    assert row
    return bool(row[0])


def time_passes(sql: psycopg.Connection) -> None:
    sql.execute("UPDATE credit_lot SET expire_time = now() - interval '1 s'")


async def test_what_was_not_spent_is_taken_back_once(sql: psycopg.Connection) -> None:
    lot = grant(sql, 10, is_over=True)
    spend(sql, 4)
    (outcome,) = apply(sql, [expiry_op(lot.id)])
    assert (outcome.code, outcome.amount, outcome.posted) == (Code.DONE, 6, 0)
    assert not is_open(sql, lot)
    (again,) = apply(sql, [expiry_op(lot.id)])
    assert again.code is Code.ALREADY
    assert balance(sql, WALLET) == (0, 0)
    assert balance(sql, 1) == (-4, 0)  # funding


async def test_an_expiry_sent_again_is_made_once(sql: psycopg.Connection) -> None:
    op = expiry_op(grant(sql, 10, is_over=True).id)
    assert codes(apply(sql, [op])) == [Code.DONE]
    (again,) = apply(sql, [op])
    assert (again.code, again.amount) == (Code.ALREADY, 10)
    assert balance(sql, WALLET) == (0, 0)


async def test_a_grant_does_not_expire_before_its_time_nor_for_ever(
    sql: psycopg.Connection,
) -> None:
    later, never = grant(sql, 10, is_over=False), grant(sql, 10)
    found = apply(sql, [expiry_op(later.id), expiry_op(never.id)])
    assert codes(found) == [Code.ALREADY, Code.ALREADY]
    assert balance(sql, WALLET) == (20, 0)
    assert is_open(sql, later)


async def test_an_expiry_takes_nothing_from_another_wallet(sql: psycopg.Connection) -> None:
    lot = grant(sql, 10, is_over=True)
    apply(sql, [transfer_op(10, wallet=THEIRS)])
    assert codes(apply(sql, [expiry_op(lot.id, wallet=THEIRS)])) == [Code.ALREADY]
    assert (balance(sql, WALLET), balance(sql, THEIRS)) == ((10, 0), (10, 0))


async def test_older_credits_are_spent_first(sql: psycopg.Connection) -> None:
    grant(sql, 10)
    lot = grant(sql, 10, is_over=True)
    grant(sql, 10)
    spend(sql, 13)
    assert expire(sql, lot) == [7]
    assert balance(sql, WALLET) == (10, 0)


async def test_what_is_reserved_expires_when_it_was_freed(sql: psycopg.Connection) -> None:
    lot = grant(sql, 10, is_over=True)
    op = hold_op(6)
    apply(sql, [op])
    assert expire(sql, lot) == [4]
    assert is_open(sql, lot)
    assert expire(sql, lot) == [0]
    apply(sql, [final_op(Final.SETTLE, op.id, 1)])
    assert expire(sql, lot) == [5]
    assert not is_open(sql, lot)
    assert balance(sql, WALLET) == (0, 0)


async def test_a_lot_that_is_all_spent_is_closed_before_its_time(sql: psycopg.Connection) -> None:
    lot = grant(sql, 10, is_over=False)
    spend(sql, 10)
    grant(sql, 5)
    assert expire(sql, lot) == [None]
    assert not is_open(sql, lot)


async def test_of_two_lots_the_younger_expires_first(sql: psycopg.Connection) -> None:
    older, younger = grant(sql, 10, is_over=False), grant(sql, 10, is_over=True)
    spend(sql, 3)
    assert expire(sql, younger) == [10]
    spend(sql, 2)
    time_passes(sql)
    assert expire(sql, older) == [5]
    assert balance(sql, WALLET) == (0, 0)


async def test_of_two_lots_that_end_together_each_gives_back_its_own(
    sql: psycopg.Connection,
) -> None:
    older, younger = grant(sql, 10, is_over=True), grant(sql, 10, is_over=True)
    op = hold_op(12)
    apply(sql, [op])
    assert expire(sql, younger, older) == [8, 0]
    apply(sql, [final_op(Final.SETTLE, op.id, 7)])
    assert expire(sql, younger, older) == [2, 3]
    assert balance(sql, WALLET) == (0, 0)


async def test_a_lot_stays_gone_when_credits_come_later(sql: psycopg.Connection) -> None:
    lot = grant(sql, 10, is_over=True)
    expire(sql, lot)
    charge = spend_of_new_credits(sql)
    apply(sql, [refund_op(5, charge.id)])
    assert expire(sql, lot) == [None]
    assert balance(sql, WALLET) == (20, 0)


def spend_of_new_credits(sql: psycopg.Connection) -> HoldOp:
    grant(sql, 20)
    return spend(sql, 5)


async def test_a_refund_of_what_an_expired_grant_paid_stays(sql: psycopg.Connection) -> None:
    lot = grant(sql, 10, is_over=True)
    charge = spend(sql, 8)
    assert expire(sql, lot) == [2]
    apply(sql, [refund_op(8, charge.id)])
    assert expire(sql, lot) == [None]
    assert balance(sql, WALLET) == (8, 0)


async def test_a_wallet_emptied_by_an_expiry_has_no_room_for_the_holds_of_its_batch(
    sql: psycopg.Connection,
) -> None:
    lot = grant(sql, 10, is_over=True)
    assert codes(apply(sql, [hold_op(5), expiry_op(lot.id)])) == [Code.SHORT, Code.DONE]
    assert balance(sql, WALLET) == (0, 0)
