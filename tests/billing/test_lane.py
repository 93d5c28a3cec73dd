"""The lane: batches that decide rightly whatever meets in them, and lanes beside each other."""

import asyncio
import random

import psycopg
import pytest
from ledger_rig import BUDGETS, WALLETS, Rig, Worker, final_op, hold_op, transfer_op, until

from omni_grpc.billing.operations import Code, Final, Leg, Origin, Requested, RequestKey
from omni_grpc.core.errors import Busy, Internal
from omni_grpc.core.ids import AccountId, hold_id_of, new_call_id
from omni_grpc.core.limits import LANE_QUEUE_MAX


@pytest.fixture
async def worker(rig: Rig) -> Worker:
    worker = await rig.worker()
    await worker.grant(100)
    return worker


async def balance(worker: Worker, wallet: int = WALLETS[0]) -> tuple[int, int]:
    found = await worker.ledger.balance(AccountId(wallet))
    return found.posted, found.held + found.unresolved


# --- what meets in one batch --------------------------------------------------------------------
async def test_a_hold_and_its_void_in_one_batch_leave_no_money_stuck(worker: Worker) -> None:
    op = hold_op(5)
    hold, void = worker.lane.hold(op), worker.lane.apply(final_op(Final.VOID, op.id))
    assert (await hold).code is Code.DONE
    assert (await void).code is Code.DONE
    assert await balance(worker) == (100, 0)


async def test_a_final_waits_for_the_acknowledgement_of_its_hold(worker: Worker) -> None:
    op = hold_op(5)
    hold, settle = worker.lane.hold(op), worker.lane.apply(final_op(Final.SETTLE, op.id, 3))
    assert (await settle).code is Code.DONE
    assert hold.done()
    assert await balance(worker) == (97, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_a_settle_beats_a_void_beats_a_lease_end(seed: int, worker: Worker) -> None:
    op = hold_op(5, seconds=-1)
    await worker.lane.hold(op)
    kinds = [Final.LEASE_END, Final.VOID, Final.SETTLE, Final.UNRESOLVED]
    random.Random(seed).shuffle(kinds)
    results = {kind: worker.lane.apply(final_op(kind, op.id, 3)) for kind in kinds}
    found = {kind: (await result).code for kind, result in results.items()}
    assert found[Final.SETTLE] is Code.DONE
    assert found[Final.VOID] is Code.DECIDED
    assert found[Final.LEASE_END] is Code.ALREADY
    assert await balance(worker) == (97, 0)


async def test_a_void_beats_a_lease_end(worker: Worker) -> None:
    op = hold_op(5, seconds=-1)
    await worker.lane.hold(op)
    end = worker.lane.apply(final_op(Final.LEASE_END, op.id))
    void = worker.lane.apply(final_op(Final.VOID, op.id))
    assert ((await void).code, (await end).code) == (Code.DONE, Code.ALREADY)
    assert await balance(worker) == (100, 0)


async def test_one_request_id_twice_in_the_queue_is_done_once(worker: Worker) -> None:
    request = RequestKey(1, "mine", b"5", Requested.GRANT)
    results = [
        worker.lane.apply(transfer_op(5, request=request)),
        worker.lane.apply(transfer_op(5, request=request)),
    ]
    first, second = [await result for result in results]
    assert (first.code, second.code) == (Code.DONE, Code.REQUEST_REPEATED)
    assert second.target == first.target
    assert await balance(worker) == (105, 0)


# --- operations that cannot be applied ----------------------------------------------------------
@pytest.mark.parametrize(
    "poison",
    [
        final_op(Final.SETTLE, hold_id_of(new_call_id(), 1), 2**63),
        hold_op(1, wallet=9_999),
        hold_op(-1, least=-1),
        transfer_op(1, request=RequestKey(1, "a\0b", b"", Requested.GRANT)),
        transfer_op(1, request=RequestKey(1, "a\ud800b", b"", Requested.GRANT)),
        transfer_op(2**63 - 1),
    ],
    ids=["beyond int64", "unknown account", "negative", "NUL", "surrogate", "overflow"],
)
async def test_a_poison_operation_fails_alone(poison: object, worker: Worker) -> None:
    good = [worker.lane.hold(hold_op(1)) for _ in range(3)]
    bad = worker.lane.apply(poison)
    good += [worker.lane.hold(hold_op(1)) for _ in range(3)]
    with pytest.raises(Internal):
        await bad
    assert [(await result).code for result in good] == [Code.DONE] * 6
    assert await balance(worker) == (100, 6)
    assert worker.watch.connected == [True]


# --- callers who go away ------------------------------------------------------------------------
async def test_a_hold_whose_caller_has_gone_is_voided_by_the_lane(rig: Rig, worker: Worker) -> None:
    result = worker.lane.hold(hold_op(5))
    result.cancel()
    await until(lambda: worker.lane.depth == 0)
    assert await balance(worker) == (100, 0)
    assert await rig.store.hold_counts() == (0, 0)


async def test_a_hold_made_through_the_api_stays_when_its_caller_has_gone(worker: Worker) -> None:
    """Its caller finds it again by the request id."""
    result = worker.lane.hold(hold_op(5, origin=Origin.API))
    result.cancel()
    await until(lambda: worker.lane.depth == 0)
    assert await balance(worker) == (100, 5)


# --- bounds -------------------------------------------------------------------------------------
async def test_a_full_lane_refuses_holds_and_takes_finals(worker: Worker) -> None:
    op = hold_op(0)
    await worker.lane.hold(op)
    holds = [worker.lane.hold(hold_op(0)) for _ in range(LANE_QUEUE_MAX)]
    with pytest.raises(Busy):
        worker.lane.hold(hold_op(0))
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 0))
    assert (await settle).code is Code.DONE
    for result in holds:
        assert (await result).code is Code.DONE


async def test_a_closing_lane_refuses_holds_and_finishes_what_is_queued(worker: Worker) -> None:
    op = hold_op(5)
    await worker.lane.hold(op)
    settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 5))
    assert await worker.lane.close(5.0)
    assert settle.done()
    with pytest.raises(Busy):
        worker.lane.hold(hold_op(1))
    assert await balance(worker) == (95, 0)


# --- lanes beside each other --------------------------------------------------------------------
async def test_two_lanes_grant_exactly_what_there_is_room_for(rig: Rig) -> None:
    workers = [await rig.worker() for _ in range(2)]
    await workers[0].grant(50 * 7 + 6)
    results = [workers[n % 2].lane.hold(hold_op(7)) for n in range(200)]
    found = [(await result).code for result in results]
    assert (found.count(Code.DONE), found.count(Code.SHORT)) == (50, 150)
    assert await balance(workers[0]) == (356, 350)


async def test_three_lanes_on_the_same_accounts_never_wait_for_each_other_in_a_circle(
    rig: Rig, sql: psycopg.Connection
) -> None:
    workers = [await rig.worker() for _ in range(3)]
    for wallet in WALLETS[:3]:
        await workers[0].grant(1_000, wallet)
    sql.execute("UPDATE account SET debit_limit = 900 WHERE id = %s", [BUDGETS[0]])
    chance = random.Random(7)

    async def call(worker: Worker) -> int:
        legs = [Leg(AccountId(b), 0, 9) for b in chance.sample(BUDGETS, chance.randrange(4))]
        op = hold_op(9, least=0, wallet=chance.choice(WALLETS[:3]), legs=legs)
        outcome = await worker.lane.hold(op)
        if outcome.code is not Code.DONE:
            return 0
        assert outcome.amount is not None
        cost = chance.randrange(outcome.amount + 1)
        # Another worker ends it, as a reaper or a replacement would.
        done = await chance.choice(workers).lane.apply(final_op(Final.SETTLE, op.id, cost))
        assert done.code is Code.DONE
        return cost

    async def caller(worker: Worker) -> int:
        return sum([await call(worker) for _ in range(12)])

    async with asyncio.timeout(60):
        costs = await asyncio.gather(*[caller(worker) for worker in workers for _ in range(30)])
    spent = 3_000 - sum([(await balance(workers[0], wallet))[0] for wallet in WALLETS[:3]])
    assert spent == sum(costs)
    row = sql.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row == (0,)


async def test_a_hold_goes_out_at_once_when_the_lane_is_idle(worker: Worker) -> None:
    before = len(worker.watch.batches)
    await worker.lane.hold(hold_op(1))
    assert worker.watch.batches[before:] == [1]


async def test_holds_that_end_by_time_do_not_count_as_open_calls_for_ever(worker: Worker) -> None:
    """Else every batch of a quiet worker would wait to fill."""
    for _ in range(30):
        await worker.lane.hold(hold_op(1, origin=Origin.API, seconds=-1))
    assert await worker.reaper.reap() == 30
    op = hold_op(1)
    await worker.lane.hold(op)
    assert worker.lane._gathering.open_calls == 1
    await worker.lane.apply(final_op(Final.SETTLE, op.id, 1))
    assert worker.lane._gathering.open_calls == 0
