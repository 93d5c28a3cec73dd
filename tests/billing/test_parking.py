"""A row on which another session sits: what needs it waits or is refused, all others go on."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from ledger_rig import BUDGETS, WALLETS, Rig, Worker, final_op, hold_op, until
from ledger_sql import balance

from omni_grpc.billing.operations import (
    ChatEnd,
    Code,
    Final,
    HoldOp,
    Leg,
    Requested,
    RequestEnd,
    RequestKey,
)
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import AccountId, CallId

MINE, THEIRS = WALLETS[:2]
OTHERS_SECONDS_MAX = 0.9
"""How long others may wait once the wallet is parked; the lane's own lock_timeout is 1 s."""


@pytest.fixture
async def worker(rig: Rig) -> Worker:
    worker = await rig.worker()
    for wallet in (MINE, THEIRS):
        await worker.grant(100, wallet)
    return worker


@pytest.fixture
async def forgotten(url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A session that locks rows and does nothing more."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield connection
        await connection.rollback()


async def lock(connection: psycopg.AsyncConnection, account: int) -> None:
    await connection.execute("SELECT FROM account WHERE id = %s FOR UPDATE", [account])


async def test_a_locked_wallet_holds_up_nobody_else_and_loses_no_charge(
    worker: Worker, forgotten: psycopg.AsyncConnection, sql: psycopg.Connection
) -> None:
    mine, theirs = hold_op(10, wallet=MINE), hold_op(10, wallet=THEIRS)
    for op in (mine, theirs):
        await worker.lane.hold(op)
    await lock(forgotten, MINE)
    settle = worker.lane.apply(final_op(Final.SETTLE, mine.id, 4, wallet=MINE))
    await until(lambda: worker.watch.parked[-1:] == [1])
    with pytest.raises(LedgerUnavailable):
        worker.lane.hold(hold_op(1, wallet=MINE))
    async with asyncio.timeout(OTHERS_SECONDS_MAX):
        done = await worker.lane.apply(final_op(Final.SETTLE, theirs.id, 3, wallet=THEIRS))
        assert done.code is Code.DONE
        assert (await worker.lane.hold(hold_op(1, wallet=THEIRS))).code is Code.DONE
    assert not settle.done()
    await forgotten.rollback()
    assert (await settle).code is Code.DONE
    assert worker.watch.parked[-1] == 0
    assert balance(sql, MINE) == (96, 0)
    assert balance(sql, THEIRS) == (97, 1)
    assert (await worker.lane.hold(hold_op(1, wallet=MINE))).code is Code.DONE


async def test_a_hold_that_waits_when_its_wallet_is_parked_is_refused(
    worker: Worker, forgotten: psycopg.AsyncConnection, sql: psycopg.Connection
) -> None:
    await lock(forgotten, MINE)
    with pytest.raises(LedgerUnavailable):
        await worker.lane.hold(hold_op(1, wallet=MINE))
    assert worker.lane.connected
    await forgotten.rollback()
    await until(lambda: worker.watch.parked[-1] == 0)
    assert balance(sql, MINE) == (100, 0)


async def test_a_locked_budget_is_parked_like_a_wallet(
    worker: Worker, forgotten: psycopg.AsyncConnection
) -> None:
    budgeted = hold_op(5, wallet=MINE, legs=[Leg(AccountId(BUDGETS[0]), 5, 5)])
    await lock(forgotten, BUDGETS[0])
    with pytest.raises(LedgerUnavailable):
        await worker.lane.hold(budgeted)
    async with asyncio.timeout(OTHERS_SECONDS_MAX):
        assert (await worker.lane.hold(hold_op(5, wallet=MINE))).code is Code.DONE


async def test_what_was_parked_is_applied_in_its_order_when_the_connection_was_lost_meanwhile(
    worker: Worker, forgotten: psycopg.AsyncConnection, sql: psycopg.Connection
) -> None:
    op = hold_op(10, wallet=MINE)
    await worker.lane.hold(op)
    await lock(forgotten, MINE)
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 4, wallet=MINE))
    await until(lambda: worker.watch.parked[-1:] == [1])
    sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'lane'"
    )
    await until(lambda: False in worker.watch.connected)
    await forgotten.rollback()
    assert (await settle).code is Code.DONE
    assert balance(sql, MINE) == (96, 0)


async def test_a_locked_hold_holds_up_nobody_else_and_loses_no_charge(
    worker: Worker, forgotten: psycopg.AsyncConnection, sql: psycopg.Connection
) -> None:
    mine, other = hold_op(10, wallet=MINE), hold_op(10, wallet=MINE)
    for op in (mine, other):
        await worker.lane.hold(op)
    await forgotten.execute("SELECT FROM hold WHERE id = %s FOR UPDATE", [mine.id])
    settle = worker.lane.apply(final_op(Final.SETTLE, mine.id, 4, wallet=MINE))
    await until(lambda: worker.watch.parked[-1:] == [1])
    async with asyncio.timeout(OTHERS_SECONDS_MAX):
        done = await worker.lane.apply(final_op(Final.SETTLE, other.id, 3, wallet=MINE))
        assert done.code is Code.DONE
        assert (await worker.lane.hold(hold_op(1, wallet=MINE))).code is Code.DONE
    assert not settle.done()
    await forgotten.rollback()
    assert (await settle).code is Code.DONE
    assert worker.watch.parked[-1] == 0
    assert balance(sql, MINE) == (93, 1)


async def test_a_locked_hold_keeps_no_other_lease_from_being_renewed(
    worker: Worker, forgotten: psycopg.AsyncConnection
) -> None:
    mine, other = hold_op(10, wallet=MINE), hold_op(10, wallet=MINE)
    for op in (mine, other):
        await worker.lane.hold(op)
    await forgotten.execute("SELECT FROM hold WHERE id = %s FOR UPDATE", [mine.id])
    async with asyncio.timeout(OTHERS_SECONDS_MAX):
        renewed = await worker.lane.renew([mine.id, other.id])
    assert renewed == {mine.id: False, other.id: True}
    await forgotten.rollback()
    assert await worker.lane.renew([mine.id]) == {mine.id: True}


async def test_a_locked_request_holds_up_nobody_else(
    worker: Worker, forgotten: psycopg.AsyncConnection, sql: psycopg.Connection
) -> None:
    def asked() -> HoldOp:
        request = RequestKey(7, "locked", b"same", Requested.CHAT)
        return hold_op(5, wallet=MINE, request=request)

    first = asked()
    await worker.lane.hold(first)
    await forgotten.execute("SELECT FROM request WHERE request_id = 'locked' FOR UPDATE")
    with pytest.raises(LedgerUnavailable):
        await worker.lane.hold(asked())
    end = RequestEnd(7, "locked", CallId(first.id), ChatEnd.DONE)
    settle = worker.lane.apply(final_op(Final.SETTLE, first.id, 4, wallet=MINE, ends=end))
    async with asyncio.timeout(OTHERS_SECONDS_MAX):
        assert (await worker.lane.hold(hold_op(1, wallet=MINE))).code is Code.DONE
    assert not settle.done()
    await forgotten.rollback()
    assert (await settle).code is Code.DONE
    assert balance(sql, MINE) == (96, 1)
