"""ledger_apply against a plain model: the same answers and the same books after every batch."""

import asyncio
import dataclasses
import random
from collections import Counter

import psycopg
import pytest
from ledger_model import Model, Refused
from ledger_rig import (
    BUDGETS,
    WALLETS,
    final_op,
    hold_op,
    load_prices,
    resolve_op,
    transfer_op,
    until,
)
from ledger_sql import (
    EPOCH,
    OWNER,
    apply,
    apply_as_before,
    balance,
    codes,
    is_of_before,
    said,
    stored_books,
)
from ledger_stream import Stream

from omni_grpc.billing.batch import outcomes, statement
from omni_grpc.billing.invariants import check
from omni_grpc.billing.operations import Code, Final, Leg, Origin, Requested, RequestKey
from omni_grpc.core.ids import AccountId
from omni_grpc.storage import Database

BATCHES = 120

WALLET = WALLETS[0]

SEEN_BY_EVERY_SEED = {
    *(("HoldOp", code) for code in (Code.DONE, Code.ALREADY, Code.DECIDED, Code.SHORT)),
    *(("HoldOp", code) for code in (Code.REQUEST_REPEATED, Code.REQUEST_RUNNING)),
    *(("FinalOp", code) for code in (Code.DONE, Code.ALREADY, Code.DECIDED, Code.UNKNOWN)),
    *(("FinalOp", code) for code in (Code.RENEWED, Code.NOT_UNRESOLVED)),
    *(("TransferOp", code) for code in (Code.DONE, Code.ALREADY, Code.UNKNOWN)),
    ("RequestEndOp", Code.DONE),
}


@pytest.mark.parametrize("seed", range(4))
async def test_every_batch_is_decided_as_the_model_decides_it(
    seed: int, sql: psycopg.Connection, database: Database
) -> None:
    """Half of what the version before could ask is asked as its code asks it."""
    stream = Stream(seed)
    chance = stream.random
    sql.execute("UPDATE account SET debit_limit = 60 WHERE id = %s", [BUDGETS[0]])
    model = Model(stored_books(sql), OWNER, EPOCH)
    seen: Counter[tuple[str, Code]] = Counter()
    for _ in range(BATCHES):
        batch = stream.batch()
        is_old = all(is_of_before(op) for op in batch) and chance.random() < 0.5
        send = apply_as_before if is_old else apply
        try:
            expected = model.apply(batch)
        except Refused:
            with pytest.raises(psycopg.Error):
                send(sql, batch)
        else:
            found = send(sql, batch)
            assert [said(outcome) for outcome in found] == expected
            seen.update(
                (type(op).__name__, outcome.code) for op, outcome in zip(batch, found, strict=True)
            )
        something_else_happens(chance, sql, model)
        assert stored_books(sql) == model.books
    assert await check(database, prices=load_prices, slice_rows=100) == []
    assert await check(database, prices=load_prices) == []
    assert seen.keys() >= SEEN_BY_EVERY_SEED


def something_else_happens(chance: random.Random, sql: psycopg.Connection, model: Model) -> None:
    """Renewals, new limits, time, and what forgets and remembers by time."""
    if chance.random() < 0.1 and model.books.holds:
        ids = chance.sample(list(model.books.holds), 1)
        rows = sql.execute("SELECT ledger_renew(%s, %s, 60, %s)", [OWNER, EPOCH, ids])
        assert {row[0] for row in rows} == model.renew(ids)
    if chance.random() < 0.03:
        limit = chance.choice((None, 0, 40, 500))
        account = chance.choice(BUDGETS[:2])
        sql.execute("UPDATE account SET debit_limit = %s WHERE id = %s", [limit, account])
        model.books.accounts[account].limit = limit
    if chance.random() < 0.03:
        sql.execute("UPDATE hold SET lease_until = now() - interval '1 s'")
        sql.execute("UPDATE request SET until = now() - interval '1 s'")
        sql.execute("UPDATE credit_lot SET expire_time = now() - interval '1 s'")
        model.lapse()
    if chance.random() < 0.02:
        sql.execute("UPDATE request SET create_time = now() - interval '2 h'")
        row = sql.execute("SELECT ledger_forget_requests(1, 1000)").fetchone()
        assert row == (model.forget(),)
    if chance.random() < 0.05:
        sql.execute(
            "UPDATE account_snapshot SET day = s.last + 1"
            " FROM (SELECT coalesce(max(day), '0001-01-01') AS last FROM account_snapshot"
            "        WHERE day < '1000-01-01') s WHERE day > '1000-01-01'"
        )
        sql.execute("SELECT ledger_snapshot(9223372036854775807, 1000)")


# --- single rules -------------------------------------------------------------------------------
async def test_late_settles_in_one_batch_share_the_room_that_is_left(
    sql: psycopg.Connection,
) -> None:
    first, second, other = hold_op(5), hold_op(5), hold_op(8)
    apply(sql, [transfer_op(10)])
    apply(sql, [first, second])
    apply(sql, [final_op(Final.UNRESOLVED, op.id) for op in (first, second)])
    apply(sql, [resolve_op(Final.VOID, op.id) for op in (first, second)])
    apply(sql, [other])
    found = apply(sql, [final_op(Final.SETTLE, op.id, 5) for op in (first, second)])
    assert codes(found) == [Code.DONE, Code.DONE]
    assert [outcome.amount for outcome in found] == [2, 0]
    assert balance(sql, WALLET) == (8, 8)
    assert sql.execute("SELECT sum(debits_posted) FROM account WHERE kind = 5").fetchone() == (8,)


async def test_a_settle_after_its_owners_own_void_is_refused(sql: psycopg.Connection) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    apply(sql, [final_op(Final.VOID, op.id)])
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 5)])) == [Code.DECIDED]
    assert balance(sql, WALLET) == (10, 0)


async def test_a_repeated_request_tells_the_first_outcome_to_the_microsecond(
    sql: psycopg.Connection,
) -> None:
    request = RequestKey(1, "mine", b"5 of wallet", Requested.HOLD)
    apply(sql, [transfer_op(10)])
    (first,) = apply(sql, [hold_op(5, origin=Origin.API, request=request)])
    (again,) = apply(sql, [hold_op(5, origin=Origin.API, request=request)])
    assert (again.code, again.target, again.amount) == (Code.REQUEST_REPEATED, first.target, 5)
    assert again.until == first.until


async def test_a_request_id_of_a_refused_hold_is_free_again(sql: psycopg.Connection) -> None:
    request = RequestKey(1, "mine", b"5 of wallet", Requested.HOLD)
    assert codes(apply(sql, [hold_op(5, origin=Origin.API, request=request)])) == [Code.SHORT]
    apply(sql, [transfer_op(10)])
    assert codes(apply(sql, [hold_op(5, origin=Origin.API, request=request)])) == [Code.DONE]


async def test_the_same_request_id_of_two_callers_is_two_requests(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(10)])
    found = apply(
        sql,
        [
            hold_op(5, origin=Origin.API, request=RequestKey(caller, "mine", b"5", Requested.HOLD))
            for caller in (1, 2)
        ],
    )
    assert codes(found) == [Code.DONE, Code.DONE]


@pytest.mark.parametrize("kind", [Final.SETTLE, Final.VOID, Final.LEASE_END])
@pytest.mark.parametrize("origin", [Origin.ROUTER, Origin.API])
async def test_an_origin_cannot_end_the_others_holds(
    origin: Origin, kind: Final, sql: psycopg.Connection
) -> None:
    mine = hold_op(5, origin=origin, seconds=-1)
    other = Origin.API if origin is Origin.ROUTER else Origin.ROUTER
    apply(sql, [transfer_op(10)])
    apply(sql, [mine])
    wallet = WALLETS[0] if other is Origin.API else None
    assert codes(apply(sql, [final_op(kind, mine.id, 0, origin=other, wallet=wallet)])) == [
        Code.UNKNOWN
    ]
    assert balance(sql, WALLET) == (10, 5)


async def test_a_caller_cannot_end_a_hold_of_another_wallet(sql: psycopg.Connection) -> None:
    op = hold_op(5, origin=Origin.API)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    theirs = final_op(Final.SETTLE, op.id, 5, origin=Origin.API, wallet=WALLETS[1])
    assert codes(apply(sql, [theirs])) == [Code.UNKNOWN]
    apply(sql, [final_op(Final.SETTLE, op.id, 5, origin=Origin.API, wallet=WALLETS[0])])
    assert codes(apply(sql, [theirs])) == [Code.UNKNOWN]


async def test_open_already_and_final_already_are_told_apart(sql: psycopg.Connection) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    assert codes(apply(sql, [op])) == [Code.DONE]
    assert codes(apply(sql, [op])) == [Code.ALREADY]
    apply(sql, [final_op(Final.SETTLE, op.id, 3)])
    assert codes(apply(sql, [op])) == [Code.DECIDED]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 3)])) == [Code.ALREADY]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 4)])) == [Code.DECIDED]
    assert codes(apply(sql, [final_op(Final.VOID, op.id)])) == [Code.DECIDED]
    assert balance(sql, WALLET) == (7, 0)


async def test_an_unresolved_hold_is_not_open_for_its_owner_but_takes_its_settle(
    sql: psycopg.Connection,
) -> None:
    op = hold_op(5, seconds=-1)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    assert codes(apply(sql, [final_op(Final.LEASE_END, op.id)])) == [Code.DONE]
    assert balance(sql, WALLET) == (10, 5)
    assert codes(apply(sql, [op])) == [Code.DECIDED]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 5)])) == [Code.DONE]
    assert balance(sql, WALLET) == (5, 0)


async def test_a_hold_of_another_life_of_the_worker_is_not_its_own(
    sql: psycopg.Connection,
) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    rows = sql.execute(*statement(OWNER, EPOCH + 1, 0, [op]), prepare=True, binary=True).fetchall()
    assert codes(outcomes([op], rows)) == [Code.DECIDED]


async def test_what_a_provider_bills_above_the_hold_is_the_operators_loss(
    sql: psycopg.Connection,
) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    (outcome,) = apply(sql, [final_op(Final.SETTLE, op.id, 12)])
    assert (outcome.amount, outcome.posted, outcome.pending) == (5, 5, 0)
    assert sql.execute("SELECT debits_posted FROM account WHERE id = 200").fetchone() == (7,)
    assert sql.execute("SELECT credits_posted FROM account WHERE id = 100").fetchone() == (12,)


async def test_a_budget_of_another_unit_stands_in_the_same_hold(sql: psycopg.Connection) -> None:
    """Dollars on the wallet, tokens on the budget: each is held, and charged, in its own unit."""
    sql.execute("UPDATE account SET debit_limit = 1000 WHERE id = %s", [BUDGETS[0]])
    tokens = Leg(AccountId(BUDGETS[0]), 700, 700)
    op, too_much = hold_op(5, legs=[tokens]), hold_op(1, legs=[tokens])
    apply(sql, [transfer_op(10)])
    assert codes(apply(sql, [op, too_much])) == [Code.DONE, Code.SHORT]
    apply(sql, [final_op(Final.SETTLE, op.id, 2, leg_costs=[640])])
    assert balance(sql, WALLET) == (8, 0)
    assert balance(sql, BUDGETS[0]) == (-640, 0)


async def test_a_limit_below_what_is_spent_refuses_holds_and_not_facts(
    sql: psycopg.Connection,
) -> None:
    leg = Leg(AccountId(BUDGETS[0]), 5, 5)
    op = hold_op(5, legs=[leg])
    apply(sql, [transfer_op(100)])
    apply(sql, [op])
    sql.execute("UPDATE account SET debit_limit = 2 WHERE id = %s", [BUDGETS[0]])
    assert codes(apply(sql, [hold_op(5, legs=[leg])])) == [Code.SHORT]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 5)])) == [Code.DONE]
    assert balance(sql, BUDGETS[0]) == (-5, 0)


async def test_exactly_those_holds_pass_that_fit_in_their_order(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(10)])
    found = apply(sql, [hold_op(4), hold_op(7), hold_op(4), hold_op(3, least=1), hold_op(1)])
    assert codes(found) == [Code.DONE, Code.SHORT, Code.DONE, Code.DONE, Code.SHORT]
    assert [outcome.amount for outcome in found] == [4, None, 4, 2, None]


async def test_finals_free_room_for_the_holds_of_their_own_batch(sql: psycopg.Connection) -> None:
    op = hold_op(10)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    assert codes(apply(sql, [hold_op(9), final_op(Final.SETTLE, op.id, 1)])) == [
        Code.DONE,
        Code.DONE,
    ]


async def test_a_missing_account_is_an_error_and_nothing_happens(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(10)])
    with pytest.raises(psycopg.Error) as caught:
        apply(sql, [hold_op(4), hold_op(1, wallet=9_999)])
    assert caught.value.sqlstate == "OM002"
    assert balance(sql, WALLET) == (10, 0)


@pytest.mark.parametrize("is_final", [False, True])
async def test_a_hold_that_appears_while_its_accounts_are_locked_restarts_the_batch(
    is_final: bool, url: str, sql: psycopg.Connection
) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    settle = final_op(Final.SETTLE, op.id, 5)
    async with (
        await psycopg.AsyncConnection.connect(url) as blocker,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as late,
    ):
        await blocker.execute("SELECT FROM account WHERE id = 107 FOR UPDATE")
        waiting = asyncio.create_task(
            late.execute(*statement("other", 1, 7, [settle]), binary=True)
        )
        await until(
            lambda: (
                sql.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'",
                    [late.info.backend_pid],
                ).fetchone()
                is not None
            )
        )
        apply(sql, [op])
        if is_final:
            apply(sql, [final_op(Final.UNRESOLVED, op.id)])
            apply(sql, [resolve_op(Final.VOID, op.id)])
        await blocker.rollback()
        with pytest.raises(psycopg.Error) as caught:
            await waiting
        assert caught.value.sqlstate == "OM001"
        cursor = await late.execute(*statement("other", 1, 7, [settle]), binary=True)
        assert codes(outcomes([settle], await cursor.fetchall())) == [Code.DONE]
    assert balance(sql, WALLET) == (5, 0)


ODD_TEXTS = (
    "", " ", "NULL", "null", '"', "\\", '\\"', "{1,2}", "a,b", "line\nbreak", "é🜂\u200b", "''",
)  # fmt: skip


async def test_texts_arrive_as_they_were_sent(sql: psycopg.Connection) -> None:
    """A batch writes its texts into array literals by itself."""
    grants = [
        dataclasses.replace(
            transfer_op(1, request=RequestKey(1, text, b"", Requested.GRANT)), reference=text
        )
        for text in ODD_TEXTS
    ]
    holds = [dataclasses.replace(hold_op(0), model=text, credential=text) for text in ODD_TEXTS]
    apply(sql, [*grants, *holds])
    for text, grant, hold in zip(ODD_TEXTS, grants, holds, strict=True):
        found = sql.execute(
            "SELECT p.reference, q.request_id, h.model, h.credential"
            " FROM posting p, request q, hold h WHERE (p.id, q.target, h.id) = (%s, %s, %s)",
            [grant.id, grant.id, hold.id],
        ).fetchone()
        assert found == (text, text, text, text)
