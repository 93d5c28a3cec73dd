"""Charges that were lost on their way to the books, as users of other gateways reported it; see
docs/peers.md."""

import asyncio
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from cut_proxy import Break, CutProxy
from gateway import Gateway, SimulatorThread, running, soon
from ledger_rig import UNIT_PRICE, WALLETS, RealClock, Rig, Worker, final_op, hold_op, until
from ledger_sql import balance
from left_chats import RestChat, marked, reached
from structlog.testing import capture_logs

from omni_grpc.billing import AttemptCharge, AttemptOutcome, CallJournal, Ledger, Meter, NoJournal
from omni_grpc.billing.operations import Code, Final, HoldOp
from omni_grpc.catalog import Mode, Offer
from omni_grpc.completion import Call, Repeats
from omni_grpc.completion.attempts import HeldAttempt
from omni_grpc.completion.endings import Endings
from omni_grpc.completion.plain import PlainAttempt
from omni_grpc.completion.stops import LeaseStop
from omni_grpc.completion.watch import ChatWatch
from omni_grpc.core.chat import ChatRequest, Message, ShortCredits
from omni_grpc.core.errors import Internal, LedgerUnavailable
from omni_grpc.core.ids import AccountId, KeyId, new_call_id
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Providers, ProviderSettings
from omni_grpc.routing import Attempt, Health, Warmth
from omni_grpc.storage import JournalError

WALLET = WALLETS[0]


async def held(worker: Worker, count: int, amount: int = 10) -> list[HoldOp]:
    ops = [hold_op(amount) for _ in range(count)]
    for result in [worker.lane.hold(op) for op in ops]:
        assert (await result).code is Code.DONE
    return ops


async def idle(worker: Worker) -> None:
    await until(lambda: worker.lane.depth == 0 and worker.lane.connected)


async def test_litellm_38157_34805_a_stopping_server_posts_what_it_still_knows(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    """BerriAI/litellm#38157, #34805: a deploy or a recycled worker dropped the spend that waited in
    memory for its next write, without a word.

    Here a server that is told to stop while settles wait for the database ends only when they are
    posted; nobody waits for them any more, their callers have gone.
    """
    with running(own_gateway), psycopg.connect(own_gateway.database_url) as other:
        tenant = own_gateway.tenant()
        process = own_gateway.process
        assert process is not None
        chats, records = [], []
        for _ in range(6):
            prompt, mark = marked("tokens=9,hang_after=5")
            chats.append(await RestChat.send(own_gateway, tenant, prompt, stream=True))
            await chats[-1].read(5)
            records.append(await reached(simulator, mark, 5))
        other.execute(
            "SELECT FROM account a JOIN org o ON o.account_id = a.id"
            " WHERE o.slug = %s FOR UPDATE OF a",
            [tenant.org],
        )
        for chat in chats:
            await chat.leave()
        assert await soon(lambda: all(record.outcome == "cancelled" for record in records))
        process.send_signal(signal.SIGTERM)
        assert await soon(lambda: '"event": "stopping"' in own_gateway.log())
        assert process.poll() is None
        other.rollback()
        assert await soon(lambda: process.poll() is not None)
        assert process.returncode == 0
        charges = other.execute("SELECT amount FROM posting WHERE kind = 'S'").fetchall()
        costs = [record.prompt_tokens * 150 + 5 * 600 for record in records]
        assert sorted(row[0] for row in charges) == sorted(costs)
        assert other.execute("SELECT count(*) FROM hold").fetchone() == (0,)


async def test_litellm_33872_a_charge_leaves_its_queue_when_it_is_committed_and_not_before(
    rig: Rig, url: str, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#33872: spend was taken from its buffer, then written; a write that failed
    lost it.

    Here a settle stays with the lane, and with the journal on disk, until the database has
    acknowledged it, however often its write fails.
    """
    async with CutProxy(url) as proxy:
        worker = await rig.worker(url=proxy.url)
        await worker.grant(100)
        journal = worker.lane._journal
        assert isinstance(journal, CallJournal)
        (op,) = await held(worker, 1)
        journal.dispatched(op, 10, UNIT_PRICE)
        settle = final_op(Final.SETTLE, op.id, 7)
        journal.final(settle)
        proxy.arm(Break.CUT_REQUEST, Break.RESET, Break.CUT_REQUEST)
        result = worker.lane.apply(settle)
        await until(lambda: proxy.broken == 1)
        proxy.down()
        assert (worker.lane.depth, journal.unacknowledged) == (1, 1)
        proxy.up()
        assert (await result).code in (Code.DONE, Code.ALREADY)
        assert (worker.lane.depth, journal.unacknowledged) == (0, 0)
        assert balance(sql, WALLET) == (93, 0)
        await rig.close()


async def test_litellm_19163_without_its_journal_a_server_calls_no_provider(
    rig: Rig, own_gateway: Gateway, tmp_path: Path
) -> None:
    """BerriAI/litellm#19163: with its buffer configured and not there, a proxy served on and wrote
    no spend, silently.

    Here a server whose journal cannot be made does not start; one whose journal cannot be written
    refuses the call before its provider is asked, and frees the hold.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError):
        CallJournal(tmp_path / "file" / "journal", RealClock())
    own_gateway.environment["OMNI_JOURNAL_DIR"] = str(tmp_path / "file" / "journal")
    with pytest.raises(AssertionError, match="journal"):
        own_gateway.start()
    worker = await rig.worker()
    await worker.grant(100)
    ledger = Ledger(
        lane=worker.lane,
        leases=worker.leases,
        journal=NoJournal(),
        store=rig.store,
        clock=worker.clock,
        markup_ppm=0,
    )
    meter = ledger.meter(new_call_id(), AccountId(WALLET), KeyId(7))
    attempt = await _attempt(meter)
    with pytest.raises(LedgerUnavailable):
        attempt.dispatched()
    assert not attempt.was_dispatched
    meter.close()
    await idle(worker)
    assert await worker.available() == 100


async def _attempt(meter: Meter, prompt: int = 10) -> AttemptCharge:
    return await meter.hold(
        model="sim/one",
        credential="house",
        price=UNIT_PRICE,
        prompt_tokens_max=prompt,
        output_tokens_max=10,
        choice_count=1,
        short_credits=ShortCredits.REFUSE,
        lease_lost=lambda: None,
    )


async def test_litellm_34887_a_charge_that_meets_a_deadlock_is_sent_again(
    rig: Rig, url: str, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm PR#34887: a deadlock with another writer dropped a whole flush of spend.

    Here the database makes the lane the victim of a real deadlock, and the settle is posted
    nevertheless, once.
    """
    sql.execute(f'ALTER DATABASE "{sql.info.dbname}" SET deadlock_timeout = 400')
    worker = await rig.worker()
    await worker.grant(100)
    (op,) = await held(worker, 1)
    with capture_logs() as logs:
        async with await psycopg.AsyncConnection.connect(url) as rival:
            await rival.execute("SET LOCAL deadlock_timeout = '5s'")
            await rival.execute("SELECT FROM account WHERE id = %s FOR UPDATE", [WALLET])
            settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 7))
            await until(lambda: _lane_waits(sql))
            # The lane has its revenue account and waits for the wallet: the wrong way round.
            revenue = 100 + worker.lane._number
            await rival.execute("SELECT FROM account WHERE id = %s FOR UPDATE", [revenue])
            await rival.rollback()
        assert (await settle).code is Code.DONE
    sent_again = [one for one in logs if one["event"] == "ledger_batch_sent_again"]
    assert {one["sqlstate"] for one in sent_again} == {"40P01"}
    assert balance(sql, WALLET) == (93, 0)


def _lane_waits(sql: psycopg.Connection) -> bool:
    query = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'lane' AND wait_event_type = 'Lock'"
    )
    return sql.execute(query).fetchone() is not None


# --- one fault that stops all ---------------------------------------------------------------------
async def test_llmgateway_3759_a_charge_that_can_never_apply_stops_no_other_and_is_kept(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """theopenco/llmgateway PR#3759: one row that could not be read rolled back its batch again and
    again, so nobody was charged any more; the mend skips it, and its charge is lost.

    Here a batch is parted until the one operation stands alone; it is kept as a dead letter with
    its cause, and sent again when the cause is mended.
    """
    worker = await rig.worker()
    await worker.grant(1_000)
    good, (bad,) = await held(worker, 60), await held(worker, 1)
    sql.execute(f"ALTER TABLE usage_record ADD CONSTRAINT poison CHECK (hold_id <> '{bad.id}')")
    ops = [final_op(Final.SETTLE, op.id, 3) for op in (*good[:30], bad, *good[30:])]
    results = [worker.lane.apply(op) for op in ops]
    found = await asyncio.gather(*results, return_exceptions=True)
    assert [isinstance(one, Internal) for one in found] == [op.id == bad.id for op in ops]
    assert balance(sql, WALLET) == (1_000 - 60 * 3, 10)
    (letter,) = await worker.ledger.dead_letters(0, 10)
    assert letter.target == bad.id
    assert "poison" in letter.cause
    with pytest.raises(Internal):  # not mended yet
        await worker.ledger.replay(letter)
    assert [again.id for again in await worker.ledger.dead_letters(0, 10)] == [letter.id]
    sql.execute("ALTER TABLE usage_record DROP CONSTRAINT poison")
    assert (await worker.ledger.replay(letter)).code is Code.DONE
    assert balance(sql, WALLET) == (1_000 - 61 * 3, 0)
    assert await worker.ledger.dead_letters(0, 10) == []


async def test_llmgateway_2656_charges_are_posted_as_they_come_without_a_pause_between_batches(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """theopenco/llmgateway PR#2656: 100 rows, then 5 seconds of sleep: 20 charges a second at most,
    however far behind the books were.

    Here a batch goes out as soon as the one before it is in; there is no timer. (What it reaches
    is measured by `make bench-ledger`; this only tells it from a ceiling.)
    """
    worker = await rig.worker()
    await worker.grant(20_000)
    ops = await held(worker, 1_000)
    started = time.monotonic()
    results = [worker.lane.apply(final_op(Final.SETTLE, op.id, 1)) for op in ops]
    for result in results:
        assert (await result).code is Code.DONE
    assert len(ops) / (time.monotonic() - started) > 500
    assert balance(sql, WALLET) == (19_000, 0)


async def test_llmgateway_614_two_workers_that_post_the_same_charges_post_them_once(
    rig: Rig, url: str, sql: psycopg.Connection
) -> None:
    """theopenco/llmgateway PR#614: one worker at a time deducted credits, under a lock of one
    minute that another took while the first still worked.

    Here there is no such lock. Two workers may end the same attempts at the same time, as after a
    stall, and a wallet on which a forgotten session sits holds up nobody else.
    """
    workers = [await rig.worker() for _ in range(2)]
    await workers[0].grant(1_000)
    await workers[0].grant(1_000, WALLETS[1])
    ops = await held(workers[0], 50)
    settles = [final_op(Final.SETTLE, op.id, 3, wallet=WALLET) for op in ops]
    results = [worker.lane.apply(op) for op in settles for worker in workers]
    found = [(await result).code for result in results]
    assert (found.count(Code.DONE), found.count(Code.ALREADY)) == (50, 50)
    assert balance(sql, WALLET) == (850, 0)
    async with await psycopg.AsyncConnection.connect(url) as forgotten:
        await forgotten.execute("SELECT FROM account WHERE id = %s FOR UPDATE", [WALLET])
        (op,) = [hold_op(10, wallet=WALLETS[1])]
        assert (await workers[1].lane.hold(op)).code is Code.DONE
        settle = final_op(Final.SETTLE, op.id, 4, wallet=WALLETS[1])
        async with asyncio.timeout(0.5):
            assert (await workers[0].lane.apply(settle)).code is Code.DONE


async def test_tensorzero_3751_a_dropped_connection_gives_back_what_it_borrowed(rig: Rig) -> None:
    """tensorzero/tensorzero PR#3751: the tickets of a request were not given back when its
    connection was dropped.

    Here a caller who goes away, at any step, leaves a hold that is voided, or settled by a task
    that does not belong to the caller.
    """
    worker = await rig.worker()
    await worker.grant(100)
    steps: list[str] = []

    async def call(stop_at: str) -> None:
        meter = worker.meter()
        try:
            attempt = await _attempt(meter)
            if stop_at == "held":
                await asyncio.Event().wait()
            attempt.dispatched()
            attempt.settle(Usage(prompt=3), AttemptOutcome.CANCELLED)
            steps.append(stop_at)
            await asyncio.Event().wait()
        finally:
            meter.close()

    asked = asyncio.create_task(call("asked"))
    await asyncio.sleep(0)
    asked.cancel()
    held_only = asyncio.create_task(call("held"))
    settled = asyncio.create_task(call("settled"))
    await until(lambda: steps == ["settled"] and worker.lane._gathering.open_calls <= 1)
    held_only.cancel()
    settled.cancel()
    await asyncio.gather(asked, held_only, settled, return_exceptions=True)
    await idle(worker)
    found = await worker.ledger.balance(AccountId(WALLET))
    assert (found.posted, found.held, found.unresolved) == (97, 0, 0)


LONG = "The quick brown fox jumps over the lazy dog. " * 4_000
"""So long that a thread counts it, beside the event loop."""


async def test_tensorzero_3751_a_caller_who_leaves_while_its_answer_is_counted_takes_nothing_along(
    rig: Rig, simulator: SimulatorThread, sql: psycopg.Connection
) -> None:
    """tensorzero/tensorzero PR#3751, at the last moment: all is there but the count, which the
    provider left to us."""
    worker = await rig.worker()
    await worker.grant(10**7)
    asked, mark = marked("tokens=7,usage=none")
    request = ChatRequest(model="sim/fast", messages=(Message(role="user", content=LONG + asked),))
    providers = Providers({"sim": ProviderSettings(base_url=simulator.base_url)})
    await providers.open()
    meter = worker.meter()
    call = Call(id=meter.call_id, create_time=0, due=worker.clock.monotonic() + 60, meter=meter)
    endings = Endings(lease_s=60)
    running = PlainAttempt(
        HeldAttempt(
            call=call,
            request=request,
            attempt=Attempt(
                offer=OFFER,
                price=UNIT_PRICE,
                prompt_tokens_max=len(LONG),
                output_tokens_max=10,
                reason="",
            ),
            charge=await _attempt(meter, prompt=len(LONG)),
            watch=ChatWatch(
                Health(worker.clock), Warmth(worker.clock), worker.clock, OFFER, call, request
            ),
            provider=providers.get("sim"),
            lease=LeaseStop(call),
            endings=endings,
            repeats=Repeats(worker.ledger, None),
            request_key=None,
            is_last=True,
            is_at_fee=False,
            clock=worker.clock,
        )
    )
    threads, is_busy = ThreadPoolExecutor(1), threading.Event()
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(is_busy.wait)  # the count waits for its turn
    try:
        task = asyncio.create_task(running.complete())
        await until(lambda: bool(endings._tasks))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running.held.final
    finally:
        is_busy.set()
    await endings.close(10)
    meter.close()
    await idle(worker)
    await providers.close()
    record = simulator.record_asked(mark)
    assert record is not None
    charged = record.prompt_tokens + 2 * record.completion_tokens
    assert balance(sql, WALLET) == (10**7 - charged, 0)


OFFER = Offer(
    id="sim/fast",
    provider="sim",
    model="sim/fast",
    provider_model="fast",
    display_name="",
    mode=Mode.CHAT,
    context_tokens_max=None,
    prompt_tokens_max=None,
    output_tokens_max=None,
    input_modalities=frozenset(),
    output_modalities=frozenset(),
    tools=True,
    structured_output=None,
    reasoning=False,
    temperature=None,
    free=False,
    deprecated=False,
    by_name_only=False,
    enabled=True,
    release_date=None,
    price=UNIT_PRICE,
)
