"""The lane when its database fails: nothing is charged twice, no final is lost, no hold leaks."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest
from cut_proxy import Break, CutProxy
from ledger_rig import WALLETS, Rig, Worker, final_op, hold_op, transfer_op, until

from omni_grpc.billing.operations import Code, Final, Origin, Requested, RequestKey
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import AccountId

STATEMENT_S = 0.4
AT_ONCE_S = 5.0
"""For two hundred refusals, of which each would else wait for the time of a statement."""


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[CutProxy]:
    async with CutProxy(url) as proxy:
        yield proxy


@pytest.fixture
async def worker(rig: Rig, proxy: CutProxy) -> Worker:
    """A worker whose lane goes through the proxy, a wallet with 100."""
    worker = await rig.worker(url=proxy.url, statement_s=STATEMENT_S)
    await worker.grant(100)
    return worker


async def balance(worker: Worker) -> tuple[int, int]:
    found = await worker.ledger.balance(AccountId(WALLETS[0]))
    return found.posted, found.held + found.unresolved


async def settled(worker: Worker) -> None:
    """Waits until the lane has nothing to do."""
    await until(lambda: worker.lane.depth == 0 and worker.lane.connected)


# --- one connection broken at the worst moment --------------------------------------------------
@pytest.mark.parametrize("how", list(Break))
async def test_a_settle_is_charged_once_wherever_its_connection_breaks(
    how: Break, worker: Worker, proxy: CutProxy
) -> None:
    op = hold_op(5)
    await worker.lane.hold(op)
    proxy.arm(how)
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 3))
    assert (await settle).code in (Code.DONE, Code.ALREADY)
    assert proxy.broken == 1
    assert await balance(worker) == (97, 0)


@pytest.mark.parametrize("how", list(Break))
async def test_a_grant_is_made_once_wherever_its_connection_breaks(
    how: Break, worker: Worker, proxy: CutProxy
) -> None:
    proxy.arm(how)
    request = RequestKey(1, "mine", b"5", Requested.GRANT)
    with pytest.raises(LedgerUnavailable):
        await worker.lane.apply(transfer_op(5, request=request))
    await settled(worker)
    again = await worker.lane.apply(transfer_op(5, request=request))
    assert again.code is Code.REQUEST_REPEATED
    assert await balance(worker) == (105, 0)


@pytest.mark.parametrize("how", list(Break))
async def test_a_hold_whose_answer_is_lost_is_refused_and_leaves_nothing_reserved(
    how: Break, worker: Worker, proxy: CutProxy
) -> None:
    proxy.arm(how)
    with pytest.raises(LedgerUnavailable):
        await worker.lane.hold(hold_op(5))
    await settled(worker)
    assert await balance(worker) == (100, 0)


@pytest.mark.parametrize("how", [Break.DROP_ANSWER, Break.CUT_REQUEST])
async def test_a_hold_of_a_team_is_found_again_by_its_request_id(
    how: Break, worker: Worker, proxy: CutProxy
) -> None:
    request = RequestKey(1, "mine", b"5", Requested.HOLD)
    proxy.arm(how)
    with pytest.raises(LedgerUnavailable):
        await worker.lane.hold(hold_op(5, origin=Origin.API, request=request))
    await settled(worker)
    again = await worker.lane.hold(hold_op(5, origin=Origin.API, request=request))
    assert again.code is Code.REQUEST_REPEATED
    assert await balance(worker) == (100, 5)


async def test_a_batch_that_is_broken_again_and_again_is_applied_once(
    worker: Worker, proxy: CutProxy
) -> None:
    ops = [hold_op(5) for _ in range(8)]
    for op in ops:
        await worker.lane.hold(op)
    proxy.arm(Break.RESET, Break.DROP_ANSWER, Break.CUT_REQUEST, Break.DROP_ANSWER)
    settles = [worker.lane.apply(final_op(Final.SETTLE, op.id, 2)) for op in ops]
    for settle in settles:
        assert (await settle).code in (Code.DONE, Code.ALREADY)
    assert proxy.broken == 4
    assert await balance(worker) == (84, 0)


async def test_a_server_that_hangs_while_the_lane_comes_back_is_given_up(
    worker: Worker, proxy: CutProxy
) -> None:
    op = hold_op(5)
    await worker.lane.hold(op)
    proxy.arm(Break.RESET, Break.HANG, Break.HANG)
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 3))
    async with asyncio.timeout(40 * STATEMENT_S):
        assert (await settle).code in (Code.DONE, Code.ALREADY)
    assert await balance(worker) == (97, 0)


async def test_a_renewal_that_hangs_is_an_error_and_the_lane_goes_on(
    worker: Worker, proxy: CutProxy
) -> None:
    op = hold_op(5)
    await worker.lane.hold(op)
    proxy.arm(Break.HANG)
    with pytest.raises(LedgerUnavailable):
        await worker.lane.renew([op.id])
    await settled(worker)
    assert await worker.lane.renew([op.id]) == {op.id: True}


# --- an outage ----------------------------------------------------------------------------------
async def test_in_an_outage_holds_are_refused_at_once_and_finals_wait(
    worker: Worker, proxy: CutProxy
) -> None:
    op, waiting = hold_op(5), hold_op(4)
    await worker.lane.hold(op)
    proxy.down()
    hold = worker.lane.hold(waiting)  # the lane does not know yet
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 3))
    with pytest.raises(LedgerUnavailable):
        await hold
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(LedgerUnavailable):
            worker.lane.hold(hold_op(1))
        with pytest.raises(LedgerUnavailable):
            await worker.grant(1)
    assert time.monotonic() - started < AT_ONCE_S
    await asyncio.sleep(0.2)
    assert not settle.done()
    proxy.up()
    assert (await settle).code is Code.DONE
    await settled(worker)
    assert await balance(worker) == (97, 0)


async def test_a_hold_that_nobody_dispatched_is_voided_though_its_lease_ended_in_the_outage(
    rig: Rig, worker: Worker, proxy: CutProxy
) -> None:
    """Its acknowledgement was lost, and the reaper came before the lane was back."""
    other = await rig.worker()
    proxy.arm(Break.DROP_ANSWER)
    hold = worker.lane.hold(hold_op(5, seconds=-1))
    await until(lambda: proxy.broken == 1)
    proxy.down()
    with pytest.raises(LedgerUnavailable):
        await hold
    async with asyncio.timeout(20):  # its commit may still be under way
        while await rig.store.hold_counts() != (1, 0):
            await asyncio.sleep(0.01)
    assert await other.reaper.reap() == 1
    assert await rig.store.hold_counts() == (0, 1)
    proxy.up()
    await settled(worker)
    await until(lambda: worker.lane.depth == 0)
    assert await balance(worker) == (100, 0)


async def test_a_worker_keeps_its_epoch_over_an_outage_and_its_holds_stay_its_own(
    worker: Worker, proxy: CutProxy
) -> None:
    op, epoch = hold_op(5), worker.lane.epoch
    await worker.lane.hold(op)
    proxy.down()
    await until(lambda: not worker.lane.connected or worker.lane.depth == 0)
    proxy.up()
    proxy.arm(Break.RESET)
    with pytest.raises(LedgerUnavailable):
        await worker.lane.renew([op.id])
    await settled(worker)
    assert worker.lane.epoch == epoch
    assert await worker.lane.renew([op.id]) == {op.id: True}


# --- a database that answers but cannot ---------------------------------------------------------
def rename_function(sql: psycopg.Connection, before: str, after: str) -> None:
    """With all its signatures."""
    rows = sql.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proname = %s", [before])
    for (signature,) in rows.fetchall():
        sql.execute(f"ALTER FUNCTION {signature} RENAME TO {after}")


async def test_finals_wait_for_a_schema_that_does_not_fit(
    worker: Worker, sql: psycopg.Connection
) -> None:
    """Old code on a new schema, or rights taken away: no fault of an operation's data."""
    op = hold_op(5)
    await worker.lane.hold(op)
    rename_function(sql, "ledger_apply", "ledger_apply_gone")
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 3))
    with pytest.raises(LedgerUnavailable):
        await worker.lane.hold(hold_op(5))
    assert not settle.done()
    rename_function(sql, "ledger_apply_gone", "ledger_apply")
    assert (await settle).code is Code.DONE
    await settled(worker)
    assert await balance(worker) == (97, 0)


async def test_a_server_that_refuses_to_write_is_not_asked_in_a_hot_loop(
    worker: Worker, sql: psycopg.Connection
) -> None:
    """As after a failover to a server that is still a standby."""
    op = hold_op(5)
    await worker.lane.hold(op)
    name = sql.info.dbname
    sql.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'lane'"
    )
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 3))
    await until(lambda: False in worker.watch.connected)
    await asyncio.sleep(0.5)
    assert len(worker.watch.connected) < 14
    sql.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    assert (await settle).code is Code.DONE
    assert await balance(worker) == (97, 0)
