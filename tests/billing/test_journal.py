"""The call journal on real files: what it keeps, for how long, and what it does without room."""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_rig import UNIT_PRICE, WALLETS, HandClock, final_op, hold_op, until

from omni_grpc.billing.journal import CallJournal, Journal, NoJournal
from omni_grpc.billing.journal_marks import Mark
from omni_grpc.billing.journal_records import (
    Acknowledged,
    Dispatched,
    Ended,
    Opened,
    Progress,
    Record,
    Replayed,
    decode,
    encode,
)
from omni_grpc.billing.operations import (
    ChatEnd,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Requested,
    RequestEnd,
    RequestKey,
)
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import AccountId, HoldId, call_id_of
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.storage import JournalFolder, SegmentReader, abandoned, boot_id, kept

KEEP_S = 600.0


class Rig:
    """Makes journals below one folder and closes them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = HandClock()
        self._journals: list[CallJournal] = []

    def journal(self, *, opened: bool = True, **settings: object) -> CallJournal:
        made = CallJournal(self.root, self.clock, **settings)  # type: ignore[arg-type]
        self._journals.append(made)
        if opened:
            made.opened("host:1:7", 7, "42")
        return made

    def folder(self) -> JournalFolder:
        """The one folder there is, without its lock."""
        (path,) = self.root.glob("w-*")
        return JournalFolder(path, -1)

    def records(self) -> list[Record]:
        reader = SegmentReader(self.folder())
        records = [decode(content) for content in reader.records()]
        assert not reader.damage
        return records

    def tells_of(self) -> set[HoldId]:
        """The holds of which a record is there."""
        found = set()
        for record in self.records():
            if isinstance(record, Dispatched):
                found.add(record.hold.id)
            elif isinstance(record, Ended):
                found.add(record.op.id)
        return found

    async def close(self) -> None:
        for journal in self._journals:
            journal._live.clear()
            await journal.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "journal")
    yield rig
    await rig.close()


def call(journal: Journal, *, acknowledged: bool = True, size: int = 0) -> FinalOp:
    """A whole call, with an answer of `size` bytes."""
    hold = hold_op(10)
    journal.dispatched(hold, 10, UNIT_PRICE)
    key = RequestKey(1, "mine", b"hello", Requested.CHAT)
    ends = RequestEnd(1, key.request_id, call_id_of(hold.id), ChatEnd.DONE, bytes(size))
    op = replace(final_op(Final.SETTLE, hold.id, 3), hold=hold, ends=ends if size else None)
    journal.final(op)
    if acknowledged:
        journal.acknowledged(hold.id)
    return op


def full_disk(rig: Rig, journal: CallJournal) -> "contextlib.AbstractContextManager[None]":
    """Makes every write of the journal fail, by taking its file away from it."""

    @contextlib.contextmanager
    def taken() -> "contextlib.Iterator[None]":  # type: ignore[name-defined]
        writer = journal._writer
        kept, writer._file = writer._file, os.open("/dev/full", os.O_WRONLY)
        try:
            yield
        finally:
            os.close(writer._file)
            writer._file = kept

    return taken()


# --- records --------------------------------------------------------------------------------------
def test_every_record_comes_back_as_it_was() -> None:
    request = RequestKey(1, "my \N{SNOWMAN} id", b"\xff\x00", Requested.CHAT)
    hold = hold_op(2**62, request=request, legs=[Leg(AccountId(2001), 0, 5)])
    usage = Usage(prompt=0, completion=2**40, source=UsageSource.ESTIMATE)
    ends = RequestEnd(1, "mine", call_id_of(hold.id), ChatEnd.DONE, os.urandom(1000))
    final = final_op(Final.SETTLE, hold.id, 5, leg_costs=[1], provider_ref="gen-1", ends=ends)
    records: list[Record] = [
        Opened("host:1:7", 7, boot_id(), 0, "42"),
        Dispatched(hold, 2**62, UNIT_PRICE),
        Progress(hold.id, usage, "gen-1"),
        Progress(hold.id),
        Ended(replace(final, hold=hold)),
        Acknowledged(hold.id.bytes * 2),
        Replayed(),
    ]
    assert [decode(encode(record)) for record in records] == records
    assert list(Acknowledged(hold.id.bytes * 2)) == [hold.id, hold.id]


def test_a_journal_tells_of_a_call_in_the_order_in_which_it_went(rig: Rig) -> None:
    journal = rig.journal()
    hold = hold_op(10)
    journal.dispatched(hold, 8, UNIT_PRICE)
    journal.progress(hold.id, Usage(prompt=2), "gen-1")
    final = final_op(Final.SETTLE, hold.id, 3)
    journal.final(final)
    assert rig.records() == [
        Opened("host:1:7", 7, boot_id(), 0, "42"),
        Dispatched(hold, 8, UNIT_PRICE),
        Progress(hold.id, Usage(prompt=2), "gen-1"),
        Ended(final),
    ]


def test_progress_of_a_call_that_ended_or_never_began_is_not_written(rig: Rig) -> None:
    journal = rig.journal()
    op = call(journal, acknowledged=False)
    before = rig.records()
    journal.progress(op.id, Usage(prompt=9))
    journal.progress(hold_op(1).id, Usage(prompt=9))
    assert rig.records() == before


# --- acknowledgements -----------------------------------------------------------------------------
def test_only_what_the_journal_was_told_the_end_of_can_be_acknowledged(rig: Rig) -> None:
    """The end of a lease, told by others, is no word of this worker."""
    journal = rig.journal()
    hold = hold_op(10)
    journal.dispatched(hold, 10, UNIT_PRICE)
    journal.acknowledged(hold.id)
    journal.acknowledged(hold_op(1).id)
    assert journal.unacknowledged == 1
    journal.final(final_op(Final.SETTLE, hold.id, 3))
    journal.acknowledged(hold.id)
    assert journal.unacknowledged == 0


def test_acknowledgements_are_noted_in_their_order(rig: Rig) -> None:
    journal = rig.journal()
    ops = [call(journal, acknowledged=False) for _ in range(5)]
    for op in reversed(ops):
        journal.acknowledged(op.id)
    journal.tidy()
    journal.tidy()
    (noted,) = [record for record in rig.records() if isinstance(record, Acknowledged)]
    assert list(noted) == [op.id for op in reversed(ops)]


async def test_what_was_acknowledged_is_retained_and_asking_for_it_is_remembered(rig: Rig) -> None:
    journal = rig.journal()
    first, second = call(journal), call(journal)
    call(journal, acknowledged=False)
    assert [op async for op in journal.retained()] == [first, second]
    assert isinstance(rig.records()[-1], Replayed)
    assert isinstance(rig.records()[-2], Acknowledged)


# --- what is deleted, and when --------------------------------------------------------------------
async def test_acknowledged_calls_are_kept_for_a_while_and_then_deleted(rig: Rig) -> None:
    journal = rig.journal()
    old = call(journal)
    rig.clock.seconds += KEEP_S
    journal.tidy()  # a new segment is begun
    young = call(journal)
    rig.clock.seconds += KEEP_S - 1
    journal.tidy()
    assert rig.tells_of() == {old.id, young.id}
    rig.clock.seconds += 1
    journal.tidy()
    assert rig.tells_of() == {young.id}
    assert [op async for op in journal.retained()] == [young]


def test_what_the_database_has_not_acknowledged_is_kept_for_ever(rig: Rig) -> None:
    journal = rig.journal()
    waiting = call(journal, acknowledged=False)
    for _ in range(5):
        rig.clock.seconds += 10 * KEEP_S
        call(journal)
        journal.tidy()
    assert waiting.id in rig.tells_of()
    journal.acknowledged(waiting.id)
    journal.tidy()
    rig.clock.seconds += KEEP_S - 1
    journal.tidy()
    assert waiting.id in rig.tells_of()
    rig.clock.seconds += 1
    journal.tidy()
    assert waiting.id not in rig.tells_of()


def test_the_kept_calls_are_bounded_by_bytes(rig: Rig) -> None:
    journal = rig.journal(segment_bytes_max=10_000, kept_bytes_max=50_000)
    for _ in range(500):
        last = call(journal)
        journal.tidy()
        assert journal.kept_bytes <= 50_000
    assert last.id in rig.tells_of()
    assert journal.kept_bytes == sum(
        path.stat().st_size for path in rig.folder().path.glob("*.log")
    )


def test_one_stuck_call_does_not_keep_all_others_from_deletion(rig: Rig) -> None:
    journal = rig.journal(segment_bytes_max=10_000, kept_bytes_max=50_000)
    running = hold_op(10)
    journal.dispatched(running, 10, UNIT_PRICE)
    journal.progress(running.id, Usage(prompt=1))
    journal.progress(running.id, Usage(prompt=2))
    stuck = call(journal, acknowledged=False, size=500)
    for _ in range(500):
        call(journal)
        journal.tidy()
        assert journal.kept_bytes <= 70_000
    kept = rig.records()
    assert Ended(stuck) in kept
    assert Dispatched(running, 10, UNIT_PRICE) in kept
    progress = [record for record in kept if isinstance(record, Progress)]
    assert progress[-1] == Progress(running.id, Usage(prompt=2))


def test_many_unacknowledged_calls_may_be_more_than_the_bound(rig: Rig) -> None:
    """The database is down: nothing is dropped, and nothing is copied round and round."""
    journal = rig.journal(segment_bytes_max=10_000, kept_bytes_max=50_000)
    ops = [call(journal, acknowledged=False, size=1000) for _ in range(100)]
    size = journal.kept_bytes
    for _ in range(20):
        journal.tidy()
    assert journal.kept_bytes <= size + 1_000
    assert rig.tells_of() == {op.id for op in ops}


def test_each_segment_says_whose_it_is_and_since_when_it_tells_everything(rig: Rig) -> None:
    journal = rig.journal(segment_bytes_max=2_000)
    for _ in range(20):
        call(journal)
    heads = [record for record in rig.records() if isinstance(record, Opened)]
    assert len(heads) > 3
    assert {(head.owner, head.epoch, head.boot_id, head.ledger) for head in heads} == {
        ("host:1:7", 7, boot_id(), "42")
    }
    since = [head.since_ms for head in heads]
    assert since[0] == 0
    assert since[1] > 0
    assert since == sorted(since)


# --- no room, a broken disk -----------------------------------------------------------------------
def test_no_provider_is_called_while_the_journal_cannot_be_written(rig: Rig) -> None:
    journal = rig.journal()
    hold = hold_op(10)
    with full_disk(rig, journal), pytest.raises(LedgerUnavailable) as refused:
        journal.dispatched(hold, 10, UNIT_PRICE)
    assert refused.value.retry_after_s
    assert journal.is_failing
    assert journal.unacknowledged == 0
    journal.dispatched(hold, 10, UNIT_PRICE)
    assert not journal.is_failing
    assert rig.tells_of() == {hold.id}


async def test_an_end_that_could_not_be_written_is_written_when_there_is_room(rig: Rig) -> None:
    journal = rig.journal()
    hold = hold_op(10)
    journal.dispatched(hold, 10, UNIT_PRICE)
    final = final_op(Final.SETTLE, hold.id, 3)
    with full_disk(rig, journal):
        journal.progress(hold.id, Usage(prompt=1))
        journal.final(final)
        journal.tidy()
        assert [op async for op in journal.retained()] == []
        assert journal.is_failing
    assert rig.records()[1:] == [Dispatched(hold, 10, UNIT_PRICE)]
    journal.tidy()
    assert not journal.is_failing
    assert Ended(final) in rig.records()


def test_a_worker_that_takes_no_more_calls_finds_out_that_there_is_room(rig: Rig) -> None:
    """Its readiness may hang on the journal, so no call comes that would try."""
    journal = rig.journal()
    with full_disk(rig, journal), pytest.raises(LedgerUnavailable):
        journal.dispatched(hold_op(10), 10, UNIT_PRICE)
    journal.tidy()
    assert not journal.is_failing


def test_a_number_that_no_record_can_hold_harms_no_other_call(rig: Rig) -> None:
    journal = rig.journal()
    hold = hold_op(10)
    journal.dispatched(hold, 10, UNIT_PRICE)
    journal.progress(hold.id, Usage(prompt=2**70))
    journal.final(final_op(Final.SETTLE, hold.id, 2**70))
    call(journal)
    with pytest.raises(LedgerUnavailable):
        journal.dispatched(hold_op(2**70), 1, UNIT_PRICE)


async def test_after_a_failed_sync_nothing_is_dispatched_until_all_is_synced_anew(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_grpc.billing.journal.SYNC_RETRY_SECONDS", 0.05)
    broken = threading.Event()
    synced: dict[int, int] = {}

    def sync(file: int) -> None:
        if broken.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        synced[os.fstat(file).st_ino] = os.fstat(file).st_size

    journal = rig.journal(durable=sync)
    running = asyncio.create_task(journal.run())
    waiting = call(journal, acknowledged=False)
    hold = hold_op(10)
    journal.dispatched(hold, 10, UNIT_PRICE)
    broken.set()
    await until(lambda: journal.is_failing)
    with pytest.raises(LedgerUnavailable):
        journal.dispatched(hold_op(10), 10, UNIT_PRICE)
    late = final_op(Final.SETTLE, hold.id, 3)
    journal.final(late)
    assert journal.is_failing
    synced.clear()
    broken.clear()
    await until(lambda: not journal.is_failing)
    call(journal, acknowledged=False)
    newest = rig.folder().segments()[-1]
    assert newest.stat().st_ino in synced
    again = newest.read_bytes()[: synced[newest.stat().st_ino]]
    for record in (Ended(waiting), Dispatched(hold, 10, UNIT_PRICE), Ended(late)):
        assert encode(record) in again
    running.cancel()
    await asyncio.wait([running])


# --- its life -------------------------------------------------------------------------------------
def test_nothing_is_dispatched_before_the_worker_has_its_name(rig: Rig) -> None:
    journal = rig.journal(opened=False)
    with pytest.raises(LedgerUnavailable):
        journal.dispatched(hold_op(10), 10, UNIT_PRICE)
    journal.final(final_op(Final.VOID, hold_op(10).id))
    assert rig.records() == []


def test_a_worker_keeps_its_first_name(rig: Rig) -> None:
    journal = rig.journal()
    journal.opened("host:1:8", 8, "42")
    assert rig.records() == [Opened("host:1:7", 7, boot_id(), 0, "42")]


async def test_what_is_written_is_synced_soon_and_together(rig: Rig) -> None:
    sizes: list[int] = []
    journal = rig.journal(durable=lambda file: sizes.append(os.fstat(file).st_size))
    running = asyncio.create_task(journal.run())
    for _ in range(50):
        call(journal)
    size = journal.kept_bytes
    await until(lambda: bool(sizes))
    assert sizes == [size]
    call(journal)
    await until(lambda: len(sizes) > 1)
    assert sizes == [size, journal.kept_bytes]
    running.cancel()
    await asyncio.wait([running])


async def test_a_journal_whose_calls_are_all_acknowledged_is_kept_by_the_last_of_them(
    rig: Rig,
) -> None:
    journal = rig.journal()
    running = asyncio.create_task(journal.run())
    *_, last = [call(journal) for _ in range(3)]
    running.cancel()
    await asyncio.wait([running])
    await journal.close()
    (path,) = rig.root.iterdir()
    assert kept(rig.root, seconds=KEEP_S, bytes_max=10**6) == {path: Mark(last.id).text}
    assert list(abandoned(rig.root)) == []
    assert kept(rig.root, seconds=KEEP_S, bytes_max=10) == {}
    assert list(rig.root.iterdir()) == []


async def test_a_journal_without_calls_leaves_nothing(rig: Rig) -> None:
    await rig.journal().close()
    assert list(rig.root.iterdir()) == []


async def test_a_journal_with_calls_that_are_not_is_left_synced_for_others(rig: Rig) -> None:
    synced: list[int] = []
    journal = rig.journal(durable=lambda file: synced.append(os.fstat(file).st_size))
    done = call(journal)
    waiting = call(journal, acknowledged=False)
    await journal.close()
    (folder,) = abandoned(rig.root)
    (segment,) = folder.segments()
    assert synced == [segment.stat().st_size]
    ends = [decode(content) for content in SegmentReader(folder).records()]
    assert Ended(waiting) in ends
    assert Acknowledged(done.id.bytes) in ends
    folder.release()


async def test_a_disk_that_hangs_does_not_hang_the_stop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_grpc.billing.journal.CLOSE_SECONDS_MAX", 0.05)
    ended = threading.Event()
    journal = rig.journal(durable=lambda _file: ended.wait(30))  # type: ignore[arg-type, return-value]
    waiting = call(journal, acknowledged=False)
    await journal.close()
    ended.set()
    (folder,) = abandoned(rig.root)
    assert any(encode(Ended(waiting)) == record for record in SegmentReader(folder).records())
    folder.release()


async def test_a_process_without_a_journal_may_call_no_provider() -> None:
    journal: Journal = NoJournal()
    hold: HoldOp = hold_op(10, wallet=WALLETS[1])
    journal.opened("host:1:7", 7, "42")
    with pytest.raises(LedgerUnavailable):
        journal.dispatched(hold, 10, UNIT_PRICE)
    journal.progress(hold.id, Usage())
    journal.final(final_op(Final.VOID, hold.id))
    journal.acknowledged(hold.id)
    assert [op async for op in journal.retained()] == []
