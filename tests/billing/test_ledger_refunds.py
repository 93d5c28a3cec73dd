"""Refunds: never above their charge, out of revenue, back into the budget windows that paid."""

import psycopg
import pytest
from ledger_rig import BUDGETS, WALLETS, final_op, hold_op, refund_op, resolve_op, transfer_op
from ledger_sql import apply, balance, codes

from omni_grpc.billing.operations import (
    Code,
    Final,
    HoldOp,
    Leg,
    Origin,
    Outcome,
    Requested,
    RequestKey,
)
from omni_grpc.core.ids import AccountId, uuid7

WALLET, THEIRS = WALLETS[:2]


@pytest.fixture(autouse=True)
async def books_stay_clean(clean_books: None) -> None:
    """The doctor looks at each test's books."""


def settled(
    sql: psycopg.Connection,
    cost: int,
    *,
    held: int = 100,
    legs: tuple[Leg, ...] = (),
    leg_costs: tuple[int, ...] = (),
    is_estimate: bool = False,
) -> HoldOp:
    op = hold_op(held, legs=legs)
    apply(sql, [transfer_op(held)])
    apply(sql, [op])
    apply(sql, [final_op(Final.SETTLE, op.id, cost, leg_costs=leg_costs, is_estimate=is_estimate)])
    return op


def refund(sql: psycopg.Connection, op: HoldOp, amount: int, wallet: int = WALLET) -> Outcome:
    (outcome,) = apply(sql, [refund_op(amount, op.id, wallet=wallet)])
    return outcome


async def test_a_charge_is_refunded_in_parts_and_never_above_it(sql: psycopg.Connection) -> None:
    op = settled(sql, 10)
    assert [refund(sql, op, amount).code for amount in (4, 5)] == [Code.DONE] * 2
    above = refund(sql, op, 2)
    assert (above.code, above.amount) == (Code.ABOVE_HOLD, 1)
    last = refund(sql, op, 1)
    assert (last.code, last.amount, last.posted) == (Code.DONE, 1, 100)
    assert refund(sql, op, 1).code is Code.ABOVE_HOLD
    assert balance(sql, WALLET) == (100, 0)
    assert balance(sql, 100) == (0, 0)  # revenue


async def test_two_refunds_of_one_charge_in_a_batch_count_each_other(
    sql: psycopg.Connection,
) -> None:
    op = settled(sql, 10)
    found = apply(sql, [refund_op(6, op.id), refund_op(6, op.id), refund_op(4, op.id)])
    assert codes(found) == [Code.DONE, Code.ABOVE_HOLD, Code.DONE]


async def test_a_refund_sent_again_is_made_once(sql: psycopg.Connection) -> None:
    op = settled(sql, 10)
    first = refund_op(4, op.id)
    assert codes(apply(sql, [first])) == [Code.DONE]
    (again,) = apply(sql, [first])
    assert (again.code, again.amount) == (Code.REQUEST_REPEATED, 4)
    assert balance(sql, WALLET) == (94, 0)


async def test_what_is_no_charge_of_the_wallet_is_not_refunded(sql: psycopg.Connection) -> None:
    op, voided, free = settled(sql, 10), hold_op(5), hold_op(5)
    grant = transfer_op(5)
    apply(sql, [voided, free, grant])
    apply(sql, [final_op(Final.VOID, voided.id), final_op(Final.SETTLE, free.id, 0)])
    assert refund(sql, op, 1, wallet=THEIRS).code is Code.UNKNOWN
    assert (
        codes(apply(sql, [refund_op(1, of) for of in (uuid7(), voided.id, grant.id)]))
        == [Code.UNKNOWN] * 3
    )
    nothing = refund(sql, free, 1)
    assert (nothing.code, nothing.amount) == (Code.ABOVE_HOLD, 0)


@pytest.mark.parametrize("amount", [0, -1])
async def test_a_refund_of_nothing_or_less_is_no_refund(
    amount: int, sql: psycopg.Connection
) -> None:
    op = settled(sql, 10)
    with pytest.raises(psycopg.errors.CheckViolation):
        refund(sql, op, amount)
    assert balance(sql, WALLET) == (90, 0)


async def test_a_charge_of_a_team_is_refunded_too(sql: psycopg.Connection) -> None:
    op = hold_op(10, origin=Origin.API)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    apply(sql, [final_op(Final.SETTLE, op.id, 7, origin=Origin.API, wallet=WALLET)])
    assert refund(sql, op, 7).code is Code.DONE
    assert balance(sql, WALLET) == (10, 0)


async def test_a_refused_refunds_request_id_is_free_again(sql: psycopg.Connection) -> None:
    request = RequestKey(1, "mine", b"refund", Requested.REFUND)
    op = hold_op(10)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    early = refund_op(4, op.id, request=request)
    assert codes(apply(sql, [early])) == [Code.UNKNOWN]
    apply(sql, [final_op(Final.SETTLE, op.id, 4)])
    assert codes(apply(sql, [early])) == [Code.DONE]


async def test_a_refund_makes_room_for_the_holds_of_its_batch(sql: psycopg.Connection) -> None:
    op = settled(sql, 100)
    assert codes(apply(sql, [hold_op(30), refund_op(30, op.id)])) == [Code.DONE, Code.DONE]
    assert balance(sql, WALLET) == (30, 30)


async def test_a_refund_in_the_batch_of_its_settle_finds_it(sql: psycopg.Connection) -> None:
    op = hold_op(10)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    found = apply(sql, [refund_op(3, op.id), final_op(Final.SETTLE, op.id, 8)])
    assert codes(found) == [Code.DONE, Code.DONE]
    assert balance(sql, WALLET) == (5, 0)


async def test_a_charge_and_its_late_correction_are_refunded_together(
    sql: psycopg.Connection,
) -> None:
    estimated, written_off = settled(sql, 10, is_estimate=True), hold_op(50)
    apply(sql, [final_op(Final.SETTLE, estimated.id, 25)])
    apply(sql, [written_off])
    apply(sql, [final_op(Final.UNRESOLVED, written_off.id)])
    apply(sql, [resolve_op(Final.WRITE_OFF, written_off.id, 50)])
    apply(sql, [final_op(Final.SETTLE, written_off.id, 20)])
    assert balance(sql, WALLET) == (55, 0)
    assert [refund(sql, estimated, amount).code for amount in (25, 1)] == [
        Code.DONE,
        Code.ABOVE_HOLD,
    ]
    assert [refund(sql, written_off, amount).code for amount in (20, 1)] == [
        Code.DONE,
        Code.ABOVE_HOLD,
    ]
    assert balance(sql, WALLET) == (100, 0)


# --- budgets ------------------------------------------------------------------------------------
DOLLARS = Leg(AccountId(BUDGETS[0]), 100, 100)
TOKENS = Leg(AccountId(BUDGETS[1]), 1_000, 1_000)


async def test_a_refund_goes_back_into_each_window_in_proportion(sql: psycopg.Connection) -> None:
    op = settled(sql, 3, legs=(DOLLARS, TOKENS), leg_costs=(3, 700))
    windows = []
    for _ in range(3):
        assert refund(sql, op, 1).code is Code.DONE
        windows.append([balance(sql, leg.account)[0] for leg in (DOLLARS, TOKENS)])
    assert windows == [[-2, -467], [-1, -234], [0, 0]]


async def test_a_window_is_given_back_no_more_than_it_was_charged_after_a_correction(
    sql: psycopg.Connection,
) -> None:
    """The correction raises the wallet's charge, and not the window's, which had its own cost."""
    op = settled(sql, 10, legs=(DOLLARS,), leg_costs=(10,), is_estimate=True)
    refund(sql, op, 5)
    apply(sql, [final_op(Final.SETTLE, op.id, 20, leg_costs=(10,))])
    windows = []
    for _ in range(3):
        assert refund(sql, op, 5).code is Code.DONE
        windows.append(balance(sql, DOLLARS.account)[0])
    assert windows == [-5, -3, 0]
    assert balance(sql, WALLET) == (100, 0)


async def test_a_window_is_given_back_what_a_late_settle_charged_it(
    sql: psycopg.Connection,
) -> None:
    """Nothing was charged by the first word, and all of it by the second."""
    op = hold_op(100, legs=(DOLLARS, TOKENS))
    apply(sql, [transfer_op(100)])
    apply(sql, [op])
    apply(sql, [final_op(Final.UNRESOLVED, op.id)])
    apply(sql, [resolve_op(Final.VOID, op.id)])
    apply(sql, [final_op(Final.SETTLE, op.id, 40, leg_costs=(40, 700))])
    assert [balance(sql, leg.account)[0] for leg in (DOLLARS, TOKENS)] == [-40, -700]
    assert refund(sql, op, 10).code is Code.DONE
    assert [balance(sql, leg.account)[0] for leg in (DOLLARS, TOKENS)] == [-30, -525]
    assert refund(sql, op, 30).code is Code.DONE
    assert [balance(sql, leg.account)[0] for leg in (DOLLARS, TOKENS)] == [0, 0]
