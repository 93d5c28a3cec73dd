"""What a meter writes down before others may rely on it."""

import psycopg
import pytest
from cut_proxy import CutProxy
from ledger_rig import UNIT_PRICE, WALLETS, Rig, Worker, final_op, hold_op, until
from ledger_sql import balance

from omni_grpc.billing import AttemptCharge, AttemptOutcome, CallJournal
from omni_grpc.billing.journal_records import Dispatched, Ended, Progress, Record, decode
from omni_grpc.billing.operations import Code, Final
from omni_grpc.core.chat import ShortCredits
from omni_grpc.core.usage import Usage
from omni_grpc.storage import SegmentReader

USED = Usage(prompt=3, completion=2)


async def attempt(worker: Worker) -> AttemptCharge:
    return await worker.meter().hold(
        model="sim/one",
        credential="house",
        price=UNIT_PRICE,
        prompt_tokens_max=100,
        output_tokens_max=50,
        choice_count=1,
        short_credits=ShortCredits.REFUSE,
        lease_lost=lambda: None,
    )


def written(worker: Worker) -> list[Record]:
    """What whoever came after this worker would read."""
    journal = worker.lane._journal
    assert isinstance(journal, CallJournal)
    records = [decode(content) for content in SegmentReader(journal._folder).records()]
    return [one for one in records if isinstance(one, Dispatched | Progress | Ended)]


@pytest.fixture
async def worker(rig: Rig) -> Worker:
    worker = await rig.worker()
    await worker.grant(1_000)
    return worker


async def test_an_attempt_is_written_down_with_its_price_before_it_may_be_sent(
    worker: Worker,
) -> None:
    held = await attempt(worker)
    assert written(worker) == []
    held.dispatched()
    held.dispatched()
    (record,) = written(worker)
    assert isinstance(record, Dispatched)
    assert (record.hold.id, record.granted, record.price) == (held._hold_id, 200, UNIT_PRICE)
    held.void(AttemptOutcome.REFUSED)


async def test_an_end_is_written_down_before_its_caller_hears_of_it(rig: Rig, url: str) -> None:
    """Here the database is away when the end is stated; a kill now would lose nothing."""
    async with CutProxy(url) as proxy:
        worker = await rig.worker(url=proxy.url)
        await worker.grant(1_000)
        held = await attempt(worker)
        held.dispatched()
        held.provider_id("gen-1")
        held.progress(USED)
        proxy.down()
        assert held.settle(USED, AttemptOutcome.ANSWERED) == 7
        *_, progress, end = written(worker)
        assert isinstance(progress, Progress)
        assert (progress.usage, progress.provider_ref) == (USED, "gen-1")
        assert isinstance(end, Ended)
        assert (end.op.kind, end.op.cost, end.op.usage) == (Final.SETTLE, 7, USED)
        assert end.op.provider_ref == "gen-1"
        assert end.op.hold is not None  # a database that lost the hold can be given it back
        proxy.up()
        await until(lambda: worker.lane.depth == 0)
        await rig.close()


async def test_what_was_never_sent_needs_no_word_in_the_journal(
    worker: Worker, sql: psycopg.Connection
) -> None:
    held = await attempt(worker)
    held.void(AttemptOutcome.CANCELLED)
    await until(lambda: worker.lane.depth == 0)
    assert written(worker) == []
    assert sql.execute("SELECT kind::text FROM posting WHERE kind <> 'G'").fetchall() == [("V",)]


async def test_anothers_word_on_a_hold_leaves_its_owners_in_the_journal(
    worker: Worker, sql: psycopg.Connection
) -> None:
    """Its reaper says first that the lease is over; the charge still stands in the journal."""
    op = hold_op(10, seconds=-1)
    await worker.lane.hold(op)
    journal = worker.lane._journal
    assert isinstance(journal, CallJournal)
    journal.dispatched(op, 10, UNIT_PRICE)
    settle = final_op(Final.SETTLE, op.id, 7)
    journal.final(settle)
    assert await worker.reaper.reap() == 1
    assert journal.unacknowledged == 1
    assert (await worker.lane.apply(settle)).code is Code.DONE
    assert journal.unacknowledged == 0
    assert balance(sql, WALLETS[0]) == (993, 0)
