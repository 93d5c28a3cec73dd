"""The journal of a worker's calls: what the database does not know yet, kept beside the process.

Each provider call is written down before it is sent, while its usage comes, and when its end is
known; a kill loses none of it, a loss of power at most what the last few milliseconds wrote. What
the database acknowledged is kept for a while longer, since a failover or a restored backup may
lose it. Whoever comes after a worker that died reads its journal: see `recovery`.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final as Constant

import msgspec
import structlog

from omni_grpc.billing.journal_marks import Mark
from omni_grpc.billing.journal_protocol import Journal, NoJournal
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
from omni_grpc.billing.operations import POSTED, Final, FinalOp, HoldOp
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import HoldId
from omni_grpc.core.money import Price
from omni_grpc.core.usage import Usage
from omni_grpc.storage import (
    JournalError,
    JournalFolder,
    Retention,
    SegmentReader,
    SegmentWriter,
    boot_id,
    make_durable,
)

__all__ = ["CallJournal", "Journal", "NoJournal"]

log = structlog.get_logger(__name__)

SYNC_SECONDS: Constant = 0.01
"""How long records gather for one sync; about what a loss of power can take."""

SYNC_RETRY_SECONDS: Constant = 1.0
"""After a sync that failed, until all that is not acknowledged is written and synced anew."""

TIDY_SECONDS: Constant = 1.0
"""How often acknowledgements are written down and old segments are looked for."""

SEGMENT_BYTES_MAX: Constant = 16 * 1024 * 1024
"""What is deleted, and read, at once."""

KEEP_SECONDS: Constant = 600.0
"""How long acknowledged ends are kept: far longer than an asynchronous standby lags behind."""

KEPT_BYTES_MAX: Constant = 256 * 1024 * 1024
"""How much of them is kept; about 280,000 calls without answers [measured]."""

CLOSE_SECONDS_MAX: Constant = 5.0
"""How long a stopping worker waits for its last sync."""

ACKNOWLEDGED_MAX: Constant = 4_096
"""Acknowledgements in one record, so that records stay small."""

READ_ENDS_MAX: Constant = 512
"""Ends that are read at once from one's own journal: a millisecond of the event loop."""

_UNWRITABLE = (JournalError, OverflowError, TypeError, ValueError)


@dataclass(slots=True, eq=False)
class _Live:
    """What the journal must keep of one hold, since the database has not acknowledged its end."""

    segment: int
    """The oldest one with a record of it."""
    dispatched: bytes | None = None
    progress: bytes | None = None
    final: FinalOp | None = None
    is_written: bool = True
    """Whether `final` is."""


class CallJournal:
    """The journal in files: a folder of its own for each worker, below one that all share.

    Run `run()` as a task for the worker's life, then `close()`.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        keep_seconds: float = KEEP_SECONDS,
        kept_bytes_max: int = KEPT_BYTES_MAX,
        durable: Callable[[int], None] = make_durable,
    ) -> None:
        """Makes the worker's folder below `root`.

        Raises:
            JournalError: it cannot be made there.
        """
        self._folder = JournalFolder.create(root)
        self._writer = SegmentWriter(self._folder, durable)
        self._clock = clock
        self._segment_bytes_max = segment_bytes_max
        self._kept = Retention(self._folder, seconds=keep_seconds, bytes_max=kept_bytes_max)
        self._head: Opened | None = None
        self._live: dict[HoldId, _Live] = {}
        self._newest_since = 0.0
        self._acknowledged: list[HoldId] = []
        self._mark = Mark()
        """The last ends of calls of ours that the database has acknowledged; those that we brought
        in for others have marks of their own."""
        self._failure: str | None = None
        self._sync_failed = False
        self._unsynced = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

    # --- for gauges -------------------------------------------------------------------------
    @property
    def is_failing(self) -> bool:
        """Whether the last record could not be written or synced."""
        return self._failure is not None

    @property
    def unacknowledged(self) -> int:
        """Holds whose end the database has not acknowledged."""
        return len(self._live)

    @property
    def kept_bytes(self) -> int:
        """The size of all segments."""
        return self._kept.bytes + self._writer.size

    # --- what calls and the lane say ----------------------------------------------------------
    def opened(self, owner: str, epoch: int, ledger: str) -> None:
        """See `Journal`. What cannot be written now is tried again with the first call."""
        if self._head is None:
            self._head = Opened(owner, epoch, boot_id(), 0, ledger)
            self._try(self._begin_segment)

    def dispatched(self, hold: HoldOp, granted: int, price: Price) -> None:
        """See `Journal`."""
        try:
            record = encode(Dispatched(hold, granted, price))
            if self._sync_failed:
                raise JournalError(self._failure or "the last sync failed")
            self._write(record)
        except _UNWRITABLE as error:
            self._alarm(error)
            raise LedgerUnavailable(
                "This server cannot write its journal, so the provider was not called and nothing "
                "is charged; try again shortly.",
                retry_after_s=1.0,
            ) from error
        self._live[hold.id] = _Live(self._writer.number, record)

    def progress(
        self, hold_id: HoldId, usage: Usage | None, provider_ref: str | None = None
    ) -> None:
        """See `Journal`."""
        live = self._live.get(hold_id)
        if live is None or live.final is not None:
            return
        try:
            record = encode(Progress(hold_id, usage, provider_ref))
            self._write(record)
        except _UNWRITABLE as error:
            self._alarm(error)
        else:
            live.progress = record

    def final(self, op: FinalOp) -> None:
        """See `Journal`. What cannot be written is tried again until it is acknowledged."""
        live = self._live.get(op.id)
        if live is None:
            live = self._live[op.id] = _Live(self._writer.number)
        live.final = op
        try:
            self._write(encode(Ended(op)))
        except _UNWRITABLE as error:
            live.is_written = False
            self._alarm(error)

    def acknowledged(self, hold_id: HoldId) -> None:
        """See `Journal`. Another's word on a hold whose end was not written yet counts nothing."""
        live = self._live.get(hold_id)
        if live is not None and live.final is not None:
            del self._live[hold_id]
            self._acknowledged.append(hold_id)
            if live.dispatched is None:
                return
            if live.final.kind in POSTED:
                self._mark = self._mark._replace(posted=hold_id)
            elif live.final.kind is Final.UNRESOLVED:
                self._mark = self._mark._replace(unresolved=hold_id)

    async def retained(self) -> AsyncIterator[FinalOp]:
        """See `Journal`. What was noted as acknowledged by now is no longer believed."""
        self._note_acknowledged()
        self._try_write(Replayed())
        records = SegmentReader(self._folder).records()
        while some := await asyncio.to_thread(_ends, records):
            for op in some:
                if op.id not in self._live:
                    yield op

    # --- the background -------------------------------------------------------------------------
    async def run(self) -> None:
        """Syncs what is written and deletes what is no longer needed; ends by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sync_for_ever())
            tasks.create_task(self._tidy_for_ever())

    async def close(self) -> None:
        """Called once `run` has ended and nothing is written any more.

        A folder in which every hold is acknowledged is kept for a while, or removed where it holds
        none; else it is left, for whoever comes next, with all that was written.
        """
        self._note_acknowledged()
        if self._live:
            log.warning("journal_left", folder=self._folder.path.name, holds=len(self._live))
            try:
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await self._sync()
            except (JournalError, TimeoutError) as error:
                log.error("journal_not_synced", error=str(error))
        self._thread.shutdown(wait=False)
        self._writer.close()
        if not self._live:
            try:
                if self._mark:
                    self._folder.keep(self._mark.text)
                else:
                    self._folder.remove()
            except OSError as error:
                log.warning("journal_not_removed", error=error.strerror)
        self._folder.release()

    async def _sync_for_ever(self) -> None:
        while True:
            await self._unsynced.wait()
            await asyncio.sleep(SYNC_SECONDS)
            self._unsynced.clear()
            try:
                await self._sync()
            except JournalError as error:
                await self._sync_anew(error)

    async def _sync(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.sync())

    async def _sync_anew(self, error: JournalError) -> None:
        """Writes all that is live into a new segment, until that can be synced.

        A sync that is tried again after it failed may succeed without what it was for.
        """
        self._sync_failed = True
        while self._sync_failed:
            self._alarm(error)
            await asyncio.sleep(SYNC_RETRY_SECONDS)
            try:
                self._begin_segment()
                self._writer.give_up_unsynced()
                for live in self._live.values():
                    self._write_again(live)
                await self._sync()
            except JournalError as again:
                error = again
            else:
                self._sync_failed = False
                self._works_again()

    async def _tidy_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            self.tidy()

    def tidy(self) -> None:
        """What `run` does now and then: notes acknowledgements, deletes segments."""
        if self._failure is not None and not self._sync_failed:
            self._try_write(Acknowledged(b""))  # a probe, where no call comes any more
        for live in self._live.values():
            if live.final is not None and not live.is_written:
                live.is_written = self._try_write(Ended(live.final))
        self._note_acknowledged()
        now = self._clock.monotonic()
        writer = self._writer
        if writer.records > 1 and now - self._newest_since >= self._kept.seconds:
            self._try(self._begin_segment)
        needed = min((live.segment for live in self._live.values()), default=writer.number)
        self._kept.delete(before=needed, now=now, newest_bytes=writer.size)
        if self._kept.is_over(writer.size) and needed < writer.number:
            self._carry_over(needed)

    def _carry_over(self, number: int) -> None:
        """Frees the oldest segment of the few live holds that keep all others from deletion."""
        few = [live for live in self._live.values() if live.segment == number]
        size = sum(len(record) for live in few for record in _records(live))
        if 2 * size <= self._kept.bytes_of(number):
            for live in few:
                self._try(partial(self._write_again, live))

    # --- writing --------------------------------------------------------------------------------
    def _write(self, record: bytes) -> None:
        writer = self._writer
        if writer.size >= self._segment_bytes_max or writer.number == 0:
            self._begin_segment()
        writer.append(record)
        self._unsynced.set()
        if self._failure is not None and not self._sync_failed:
            self._works_again()

    def _write_again(self, live: _Live) -> None:
        number = self._writer.number
        for record in _records(live):
            self._write(record)
        live.segment = number

    def _begin_segment(self) -> None:
        if self._head is None:
            raise JournalError("no hold can have been made yet")
        writer = self._writer
        number, size = writer.number, writer.size
        head = self._head
        if number:
            head = msgspec.structs.replace(head, since_ms=time.time_ns() // 1_000_000)
        writer.begin(encode(head))
        if number:
            self._kept.add(number, size)
        self._newest_since = self._clock.monotonic()
        self._unsynced.set()

    def _note_acknowledged(self) -> None:
        noted = iter(self._acknowledged)
        while ids := list(itertools.islice(noted, ACKNOWLEDGED_MAX)):
            if not self._try_write(Acknowledged(b"".join(hold_id.bytes for hold_id in ids))):
                return  # forgotten: a recovery tells the database again
        self._acknowledged.clear()

    def _try_write(self, record: Record) -> bool:
        return self._try(lambda: self._write(encode(record)))

    def _try(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except _UNWRITABLE as error:
            self._alarm(error)
            return False
        return True

    def _alarm(self, error: Exception) -> None:
        if self._failure is None:
            log.error("journal_write_failed", error=str(error), folder=str(self._folder.path))
        self._failure = str(error)

    def _works_again(self) -> None:
        log.info("journal_writes_again")
        self._failure = None


def _ends(records: Iterator[bytes]) -> list[FinalOp]:
    """The next ends that a journal tells of, READ_ENDS_MAX at most; empty at its end."""
    found: list[FinalOp] = []
    for content in records:
        record = decode(content)
        if isinstance(record, Ended):
            found.append(record.op)
            if len(found) == READ_ENDS_MAX:
                break
    return found


def _records(live: _Live) -> Iterator[bytes]:
    if live.dispatched is not None:
        yield live.dispatched
    if live.progress is not None:
        yield live.progress
    if live.final is not None:
        yield encode(Ended(live.final))
