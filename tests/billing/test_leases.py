"""Leases and the reaper: a running call keeps its hold, a lost one never frees money by itself."""

import asyncio
from uuid import UUID

import psycopg
import pytest
from cut_proxy import CutProxy
from ledger_rig import WALLETS, HandClock, Rig, Worker, hold_op, until

from omni_grpc.billing import LedgerStore, Reaper
from omni_grpc.billing.operations import Code, HoldOp, Origin
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import AccountId
from omni_grpc.core.limits import HOLD_FENCE_SHARE, HOLD_LEASE_SECONDS, HOLD_RENEW_SHARE

HOLD_RENEW_SECONDS = HOLD_LEASE_SECONDS * HOLD_RENEW_SHARE
HOLD_FENCE_SECONDS = HOLD_LEASE_SECONDS * HOLD_FENCE_SHARE


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def worker(rig: Rig, clock: HandClock) -> Worker:
    worker = await rig.worker(clock=clock)
    await worker.grant(100)
    return worker


class Call:
    """A running call that counts how often it is told to stop."""

    def __init__(self, worker: Worker, hold: HoldOp) -> None:
        self.id = hold.id
        self.lost = 0
        worker.leases.keep(hold.id, worker.clock.monotonic(), self._lose)

    def _lose(self) -> None:
        self.lost += 1


async def running(worker: Worker, seconds: int = 60) -> Call:
    op = hold_op(5, seconds=seconds)
    assert (await worker.lane.hold(op)).code is Code.DONE
    return Call(worker, op)


def state(sql: psycopg.Connection, hold_id: UUID) -> tuple[str, bool] | None:
    """Its state, and whether its lease goes on."""
    return sql.execute(
        "SELECT state::text, lease_until > clock_timestamp() FROM hold WHERE id = %s", [hold_id]
    ).fetchone()


# --- renewal and fence --------------------------------------------------------------------------
async def test_a_lease_is_renewed_when_it_is_due_and_not_before(
    worker: Worker, clock: HandClock, sql: psycopg.Connection
) -> None:
    call = await running(worker, seconds=-1)
    clock.seconds += HOLD_RENEW_SECONDS - 0.1
    await worker.leases._renew()
    assert state(sql, call.id) == ("O", False)
    clock.seconds += 0.1
    await worker.leases._renew()
    assert state(sql, call.id) == ("O", True)
    assert call.lost == 0


async def test_a_call_whose_lease_cannot_be_renewed_is_stopped_before_the_lease_ends(
    rig: Rig, url: str, clock: HandClock
) -> None:
    async with CutProxy(url) as proxy:
        worker = await rig.worker(url=proxy.url, clock=clock)
        await worker.grant(100)
        call, ended = await running(worker), await running(worker)
        proxy.down()
        worker.leases.release(ended.id)
        started = clock.seconds
        clock.seconds += HOLD_RENEW_SECONDS
        await worker.leases._renew()
        while not call.lost:
            clock.seconds += 1
            worker.leases._fence()
        assert HOLD_FENCE_SECONDS < clock.seconds - started < HOLD_LEASE_SECONDS
        clock.seconds += 100
        worker.leases._fence()
        assert (call.lost, ended.lost) == (1, 0)
    await rig.close()


async def test_a_call_whose_hold_was_taken_away_is_stopped_at_the_next_renewal(
    worker: Worker, clock: HandClock, rig: Rig
) -> None:
    call, other = await running(worker, seconds=-1), await running(worker)
    assert await (await rig.worker()).reaper.reap() == 1
    clock.seconds += HOLD_RENEW_SECONDS
    await worker.leases._renew()
    assert (call.lost, other.lost) == (1, 0)


async def test_the_fence_works_while_a_renewal_hangs(rig: Rig, clock: HandClock) -> None:
    worker = await rig.worker(url="postgresql://nobody@127.0.0.1:1/none", clock=clock, wait=False)
    op = hold_op(5)
    call = Call(worker, op)
    rig.start(worker.leases.run())
    clock.seconds += HOLD_FENCE_SECONDS + 0.1
    await until(lambda: call.lost == 1)


# --- the reaper ---------------------------------------------------------------------------------
async def test_a_teams_hold_is_voided_at_its_own_time_and_a_routers_is_kept_unresolved(
    worker: Worker, rig: Rig, sql: psycopg.Connection
) -> None:
    router = hold_op(5, seconds=-1)
    team = hold_op(7, seconds=-1, origin=Origin.API)
    alive = hold_op(9)
    for op in (router, team, alive):
        await worker.lane.hold(op)
    assert await worker.reaper.reap() == 2
    assert state(sql, router.id) == ("U", False)
    assert state(sql, team.id) is None
    assert state(sql, alive.id) == ("O", True)
    found = await worker.ledger.balance(AccountId(WALLETS[0]))
    assert (found.posted, found.held, found.unresolved) == (100, 9, 5)
    assert await worker.reaper.reap() == 0


class SlowStore(LedgerStore):
    """Between a reaper's look and its act the owner renews."""

    worker: Worker

    async def lapsed_holds(self, grace_seconds: float, limit: int) -> list[tuple[UUID, str, int]]:
        found = await super().lapsed_holds(grace_seconds, limit)
        assert await self.worker.lane.renew([hold_id for hold_id, *_ in found])
        return found


async def test_a_renewal_between_the_reapers_look_and_its_act_wins(
    worker: Worker, rig: Rig, sql: psycopg.Connection
) -> None:
    call = await running(worker, seconds=-1)
    store = SlowStore(rig.database)
    store.worker = worker
    other = await rig.worker()
    assert await Reaper(other.lane, store, other.clock).reap() == 0
    assert state(sql, call.id) == ("O", True)


async def test_two_reapers_end_each_lease_once(rig: Rig, worker: Worker) -> None:
    for _ in range(40):
        await worker.lane.hold(hold_op(1, seconds=-1))
    others = [await rig.worker() for _ in range(2)]
    ended = await asyncio.gather(*[other.reaper.reap() for other in others])
    assert sum(ended) == 40
    assert await rig.store.hold_counts() == (0, 40)


async def test_after_an_outage_the_reaper_leaves_the_routers_holds_to_their_owners(
    rig: Rig, url: str, clock: HandClock, sql: psycopg.Connection
) -> None:
    async with CutProxy(url) as proxy:
        worker = await rig.worker(url=proxy.url, clock=clock)
        await worker.grant(100)
        router = hold_op(5, seconds=-5)
        team = hold_op(7, seconds=-5, origin=Origin.API)
        for op in (router, team):
            await worker.lane.hold(op)
        proxy.down()
        proxy.up()
        with pytest.raises(LedgerUnavailable):
            await worker.lane.renew([router.id])
        await until(lambda: worker.lane.connected)
        assert await worker.reaper.reap() == 1
        assert state(sql, team.id) is None
        assert state(sql, router.id) == ("O", False)
        clock.seconds += HOLD_LEASE_SECONDS
        assert await worker.reaper.reap() == 1
        assert state(sql, router.id) == ("U", False)
        await rig.close()
