"""Servers of the version before, which call the function by its older arguments, beside this one's
on one schema. The random streams of test_ledger_apply.py mix both as well."""

import psycopg
import pytest
from ledger_rig import WALLETS, chat_key, expiry_op, final_op, hold_op, resolve_op, transfer_op
from ledger_sql import apply, apply_as_before, apply_as_last, balance, codes, is_of_before

from omni_grpc.billing.operations import Code, Final, Leg, Origin, Requested, RequestKey
from omni_grpc.core.ids import AccountId
from omni_grpc.core.payments import Payment

WALLET = WALLETS[0]
BUDGET = Leg(AccountId(2001), 5, 5)


@pytest.fixture(autouse=True)
async def books_stay_clean(clean_books: None) -> None:
    """The doctor looks at each test's books."""


async def test_both_versions_work_on_one_wallet(sql: psycopg.Connection) -> None:
    held_before, held_now = hold_op(5, legs=[BUDGET]), hold_op(5, legs=[BUDGET])
    assert codes(apply_as_before(sql, [transfer_op(10), held_before])) == [Code.DONE] * 2
    assert codes(apply(sql, [held_now])) == [Code.DONE]
    assert codes(apply(sql, [final_op(Final.SETTLE, held_before.id, 3)])) == [Code.DONE]
    assert codes(apply_as_before(sql, [final_op(Final.SETTLE, held_now.id, 4)])) == [Code.DONE]
    assert balance(sql, WALLET) == (3, 0)
    assert balance(sql, BUDGET.account) == (-7, 0)


async def test_servers_that_know_no_payments_work_beside_this_version(
    sql: psycopg.Connection,
) -> None:
    """They call the function by the same names, but for those of payments."""
    paid = transfer_op(10, payment=Payment("stripe:live", "pi_1"))
    assert codes(apply(sql, [paid])) == [Code.DONE]
    assert codes(apply_as_last(sql, [transfer_op(10)])) == [Code.DONE]
    held_before, held_now = hold_op(5, legs=[BUDGET]), hold_op(5, legs=[BUDGET])
    assert codes(apply_as_last(sql, [held_before])) == [Code.DONE]
    assert codes(apply(sql, [held_now])) == [Code.DONE]
    assert codes(apply(sql, [final_op(Final.UNRESOLVED, held_before.id)])) == [Code.DONE]
    assert codes(apply_as_last(sql, [resolve_op(Final.WRITE_OFF, held_before.id, 4)])) == [0]
    assert codes(apply_as_last(sql, [final_op(Final.SETTLE, held_before.id, 3)])) == [Code.DONE]
    assert codes(apply_as_last(sql, [final_op(Final.SETTLE, held_now.id, 4)])) == [Code.DONE]
    assert balance(sql, WALLET) == (13, 0)
    assert balance(sql, 200) == (0, 0)  # losses


async def test_each_knows_what_the_other_did_under_a_request_id(sql: psycopg.Connection) -> None:
    grant = transfer_op(10, request=RequestKey(1, "grant", b"10", Requested.GRANT))
    hold_key = RequestKey(1, "hold", b"5", Requested.HOLD)
    settle_key = RequestKey(1, "settle", b"4", Requested.SETTLE)
    op = hold_op(5, origin=Origin.API, request=hold_key)
    settle = final_op(Final.SETTLE, op.id, 4, origin=Origin.API, wallet=WALLET, request=settle_key)
    for first, then in ((apply_as_before, apply), (apply, apply_as_before)):
        for batch in ([grant], [op], [settle]):
            first(sql, batch)
            assert codes(then(sql, batch)) == [Code.REQUEST_REPEATED]
    assert balance(sql, WALLET) == (6, 0)


async def test_what_the_version_before_refuses_it_still_refuses_in_its_way(
    sql: psycopg.Connection,
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        apply_as_before(sql, [hold_op(1, wallet=9_999)])
    assert caught.value.sqlstate == "OM002"
    op = hold_op(0)
    twice = final_op(Final.VOID, op.id)
    with pytest.raises(psycopg.Error) as caught:
        apply_as_before(sql, [op, twice])
    assert caught.value.sqlstate == "OM003"


async def test_an_empty_batch_of_the_version_before_is_nothing(sql: psycopg.Connection) -> None:
    assert apply_as_before(sql, []) == []


async def test_its_settles_correct_what_this_version_decided(sql: psycopg.Connection) -> None:
    voided, estimated = hold_op(5), hold_op(5)
    apply(sql, [transfer_op(10)])
    apply(sql, [voided, estimated])
    apply_as_before(sql, [final_op(Final.UNRESOLVED, voided.id)])
    apply(sql, [resolve_op(Final.VOID, voided.id)])
    apply_as_before(sql, [final_op(Final.SETTLE, estimated.id, 1, is_estimate=True)])
    found = apply_as_before(sql, [final_op(Final.SETTLE, op.id, 4) for op in (voided, estimated)])
    assert codes(found) == [Code.DONE] * 2
    assert balance(sql, WALLET) == (2, 0)


def test_what_it_never_asked_for_is_told_apart() -> None:
    op = hold_op(5)
    assert is_of_before(op)
    assert not is_of_before(hold_op(5, request=chat_key("mine")))
    assert not is_of_before(expiry_op(op.id))
    assert not is_of_before(resolve_op(Final.WRITE_OFF, op.id))
