"""Trouble with the database that users of other gateways reported; see docs/peers.md."""

import asyncio
import contextlib
import time
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import psycopg
import pytest
from cut_proxy import Break, CutProxy
from gateway import Gateway, SimulatorThread, Tenant, asking, soon
from ledger_rig import WALLETS, Rig, Worker, final_op, hold_op, transfer_op, until
from ledger_sql import apply, balance
from omni_grpc_client import AsyncOmni

from omni_grpc.billing import Housekeeper
from omni_grpc.billing.batch import statement
from omni_grpc.billing.housekeeper import STEP_ROWS
from omni_grpc.billing.operations import Code, Final
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.storage.database import POOL_SIZE_MAX

WALLET = WALLETS[0]
LANES_OF_A_WORKER = 1
STALL_SECONDS_MAX = 0.5
"""How long the event loop may do nothing else; a busy machine stalls it for a tenth of that."""


@pytest.mark.parametrize("lanes", [(0, 1), (0, 2), (1, 2), (2, 3), (3, 5)])
async def test_litellm_6895_27989_writers_of_the_same_accounts_never_deadlock(
    lanes: tuple[int, int], url: str, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#6895, #27989: replicas raised the spend of users, keys and teams in whatever
    order a dictionary gave; the database found deadlocks daily, and under load all the time.

    Here every batch locks all its accounts in one statement and in one order. Two batches name the
    same wallets, each in another order, and are stopped in the middle of locking: whichever order
    is not the common one, the two would now wait for each other.
    """
    one, other = WALLETS[:2]
    apply(sql, [transfer_op(100, wallet=wallet) for wallet in (one, other)])
    batches = [[hold_op(1, wallet=w) for w in order] for order in ((one, other), (other, one))]
    async with contextlib.AsyncExitStack() as stack:
        first, last = [await locked(stack, url, account) for account in (one, other)]
        applying = []
        for lane, batch in zip(lanes, batches, strict=True):
            connection = await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(url, autocommit=True)
            )
            await connection.execute("SET deadlock_timeout = '50ms'")
            call = connection.execute(*statement("replica", 1, lane, batch))
            applying.append(asyncio.create_task(call))
            await until(lambda: waiting(sql) == len(applying))
        await last.rollback()
        await until(lambda: waiting(sql) == 2)
        await first.rollback()
        await asyncio.gather(*applying)
    assert [balance(sql, wallet) for wallet in (one, other)] == [(100, 2)] * 2


async def locked(
    stack: contextlib.AsyncExitStack, url: str, account: int
) -> psycopg.AsyncConnection:
    connection = await stack.enter_async_context(await psycopg.AsyncConnection.connect(url))
    await connection.execute("SELECT FROM account WHERE id = %s FOR UPDATE", [account])
    return connection


def waiting(sql: psycopg.Connection) -> int:
    row = sql.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert row
    return int(row[0])


async def test_litellm_18708_many_calls_at_once_need_no_more_connections(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """BerriAI/litellm#18708: "sorry, too many clients already"; calls took connections until the
    server had none, and keys were refused.

    Here a worker has one connection for its lane and a small pool for all else, however many calls
    it runs: these 150 all wait at their provider, each under its hold.
    """
    gate = "many-clients"
    simulator.close_gate(gate)
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        calls = [
            asyncio.create_task(
                omni.chat("sim/fast", asking(f"tokens=2,gate={gate}"), max_output_tokens=8)
            )
            for _ in range(150)
        ]
        assert await soon(lambda: simulator.waiting(gate) == len(calls), 30)
        with psycopg.connect(gateway.database_url) as connection:
            row = connection.execute(
                "SELECT count(*), (SELECT count(*) FROM hold WHERE state = 'O')"
                "  FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'omni-grpc%'"
            ).fetchone()
        assert row
        assert row[0] <= POOL_SIZE_MAX + LANES_OF_A_WORKER
        assert row[1] == len(calls)
        simulator.open_gate(gate)
        assert len({answer.call_id for answer in await asyncio.gather(*calls)}) == len(calls)


async def test_litellm_38312_a_burst_of_calls_is_booked_whole_and_in_time(rig: Rig) -> None:
    """BerriAI/litellm#38312: at 500 requests a second a fifth failed, and 3,437 writes of spend ran
    into their timeouts on a lock inside the client of the database.

    Here 1,000 calls that begin at the same moment are held and charged, none refused and none too
    late, since a batch takes as many as wait.
    """
    worker = await rig.worker()
    await worker.grant(10_000)

    async def call() -> None:
        op = hold_op(10)
        assert (await worker.lane.hold(op)).code is Code.DONE
        assert (await worker.lane.apply(final_op(Final.SETTLE, op.id, 3))).code is Code.DONE

    async with asyncio.timeout(5):
        await asyncio.gather(*[call() for _ in range(1_000)])
    assert await worker.available() == 7_000
    assert max(worker.watch.batches) > 100


# --- a database that goes away --------------------------------------------------------------------
@dataclass
class Stalls:
    """The longest time in which the event loop did nothing else."""

    longest_s: float = 0.0
    ticks: int = field(default=0)


@contextlib.asynccontextmanager
async def watched_loop() -> AsyncIterator[Stalls]:
    stalls = Stalls()

    async def tick() -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            stalls.longest_s = max(stalls.longest_s, now - before)
            stalls.ticks += 1
            before = now

    task = asyncio.create_task(tick())
    try:
        yield stalls
    finally:
        task.cancel()


@pytest.mark.parametrize("is_silent", [False, True])
async def test_litellm_26191_26886_a_lost_database_stops_no_stream_and_is_found_again(
    is_silent: bool, rig: Rig, url: str
) -> None:
    """BerriAI/litellm#26191: a disconnect blocked the event loop for 30 to 120 seconds, so probes
    failed and the process was killed; #26886: the client never connected again until a restart.

    Here the loop goes on while the connection breaks, or falls silent, and is made anew; calls are
    refused at once meanwhile, and pass by themselves afterwards.
    """
    async with CutProxy(url) as proxy, watched_loop() as stalls:
        worker = await rig.worker(url=proxy.url, statement_s=0.4)
        await worker.grant(1_000)
        for _ in range(3):
            (op,) = [hold_op(5)]
            assert (await worker.lane.hold(op)).code is Code.DONE
            if is_silent:
                proxy.arm(Break.HANG)
            else:
                proxy.down()
            settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 5))
            await until(lambda: not worker.lane.connected)
            with pytest.raises(LedgerUnavailable):
                worker.lane.hold(hold_op(5))
            proxy.up()
            assert (await settle).code in (Code.DONE, Code.ALREADY)
        assert await worker.available() == 985
        assert stalls.ticks > 20
        assert stalls.longest_s < STALL_SECONDS_MAX
        await rig.close()


# --- cleaning up ----------------------------------------------------------------------------------
ANSWER_BYTES = 4_096


async def test_litellm_21908_cleaning_up_takes_the_same_memory_however_much_there_is(
    rig: Rig, worker_of_old_answers: Worker, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#21908: the daily cleanup of old logs loaded them, and the process was killed
    for its memory.

    Here what is old is deleted inside the database, in small steps; nothing of it is fetched.
    """
    rig.books_are_clean = False  # its request ids are of no calls
    keeper = Housekeeper(worker_of_old_answers.lane, rig.store)
    tracemalloc.start()
    try:
        assert await keeper.forget() == 5 * STEP_ROWS
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < ANSWER_BYTES * STEP_ROWS / 4
    left = sql.execute(
        "SELECT (SELECT count(*) FROM request), (SELECT count(*) FROM request_answer)"
    ).fetchone()
    assert left == (1, 1)
    assert balance(sql, WALLET) == (0, 0)


@pytest.fixture
async def worker_of_old_answers(rig: Rig, sql: psycopg.Connection) -> Worker:
    """Beside five steps of old answers there is one of today."""
    sql.execute(
        "INSERT INTO request (principal, request_id, fingerprint, operation, target, create_time)"
        " SELECT 1, n::text, '', 'C', md5(n::text)::uuid,"
        "        now() - CASE n WHEN 0 THEN interval '1 h' ELSE interval '2 d' END"
        "   FROM generate_series(0, %s) n",
        [5 * STEP_ROWS],
    )
    sql.execute(
        "INSERT INTO request_answer (call_id, sealed)"
        " SELECT target, decode(repeat('00', %s), 'hex') FROM request",
        [ANSWER_BYTES],
    )
    return await rig.worker()
