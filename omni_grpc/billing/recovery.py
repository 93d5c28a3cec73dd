"""Recovery: what a worker knew when it died becomes true in the ledger.

Each worker looks for journals whose processes are gone, takes them one by one, and ends every hold
in them as far as the journal tells: exactly, by an estimate, or as unresolved. All it does may be
done twice. A journal of which the database has all is kept for a while under a mark, since a
failover or a restored backup may lose it again; the marks are looked for whenever the database
comes back. One that is damaged, or of which something could not be applied, is set aside.
"""

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final as Constant
from typing import Protocol

import structlog

from omni_grpc.billing.journal import KEEP_SECONDS, KEPT_BYTES_MAX, Journal
from omni_grpc.billing.journal_content import JournalContent, ledger_of, read_journal
from omni_grpc.billing.journal_ends import End, Told, end_of, silent_end
from omni_grpc.billing.journal_marks import Mark, marks_in, text_of
from omni_grpc.billing.lane import Lane
from omni_grpc.billing.operations import (
    Code,
    FinalOp,
    RequestEnd,
    RequestEndOp,
)
from omni_grpc.billing.store import LedgerStore
from omni_grpc.core.errors import Internal, OmniError
from omni_grpc.core.ids import HoldId
from omni_grpc.storage import JournalFolder, abandoned, kept, take

log = structlog.get_logger(__name__)

RECOVER_SECONDS: Constant = 2.0
"""How often a worker looks for journals of workers that died beside it."""

RECOVER_BATCH_MAX: Constant = 128
"""Ends that wait in the lane at once: half a batch, so that live calls are not held up."""

LATE_SECONDS: Constant = 1.0
"""A server process of the database may commit the last batch of a worker that is dead already;
after this long, two hundred times what a batch takes, its open holds are looked at again."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one dead worker's journal: how many holds ended in which way."""

    owner: str
    settled: int = 0
    """As their provider had reported."""
    estimated: int = 0
    """By what was known when the worker died."""
    voided: int = 0
    unresolved: int = 0
    known: int = 0
    """Decided in the database before."""
    refused: int = 0
    """Could not be applied; see the dead letters, and the folder that was set aside."""
    is_damaged: bool = False


class RecoveryObserver(Protocol):
    """What wants to know of recovered journals; the metrics do."""

    def journal_recovered(self, found: Recovered) -> None:
        """A dead worker's journal was brought into the ledger."""


class Recovery:
    """Run `run()` as a task in each worker; several do not disturb each other."""

    def __init__(
        self,
        root: Path,
        lane: Lane,
        store: LedgerStore,
        journal: Journal,
        observer: RecoveryObserver,
        *,
        late_s: float = LATE_SECONDS,
    ) -> None:
        self._root = root
        self._lane = lane
        self._store = store
        self._journal = journal
        self._observer = observer
        self._late_s = late_s
        self._foreign: set[str] = set()
        """Folders whose holds are in another ledger."""
        self._compared: set[str] = set()
        """Journals that are kept, by their names, whose mark the database has."""
        self._connected_at: float | None = None
        """Since when the database answered in which they were looked for."""

    async def run(self) -> None:
        """Recovers for ever; ends only by cancellation."""
        while True:
            if self._lane.connected:
                await self.recover()
                await asyncio.sleep(RECOVER_SECONDS)
            else:
                await asyncio.sleep(RECOVER_SECONDS / 20)

    async def recover(self) -> list[Recovered]:
        """Takes every journal whose worker is gone; what cannot be brought in now is left."""
        found = await asyncio.gather(*map(self._try, abandoned(self._root)))
        await self._look_back()
        return [one for one in found if one is not None]

    async def _look_back(self) -> None:
        """Brings what is kept into the ledger again where that has lost it.

        Each kept journal is compared once a connection: a database that goes back to an older state
        ends all of them. One that is kept only now, by whoever had it while the database went back,
        is compared then, also where that worker dies over it.
        """
        connected_at = self._lane.connected_at
        if connected_at is None:
            return
        if connected_at != self._connected_at:
            self._compared.clear()
            self._connected_at = connected_at
        found = await asyncio.to_thread(
            kept, self._root, seconds=KEEP_SECONDS, bytes_max=KEPT_BYTES_MAX
        )
        self._compared &= {path.name for path in found}
        marks_of = {
            path: marks_in(text) for path, text in found.items() if path.name not in self._compared
        }
        wanted = list({mark for marks in marks_of.values() for mark in marks})
        try:
            lost = set(await self._store.lost(wanted)) if wanted else set()
            for path, marks in marks_of.items():
                if marks and (lost.isdisjoint(marks) or await self._bring_back(path)):
                    self._compared.add(path.name)
        except (OmniError, OSError) as error:
            log.warning("journals_not_compared", error=str(error))

    async def _bring_back(self, path: Path) -> bool:
        """Brings a journal in again; whether nothing is left to do about it under this name."""
        folder = take(path)
        if folder is None:
            return False  # another worker has it, and may die over it
        try:
            if not await self._is_foreign(folder):
                log.error("acknowledged_ends_lost", folder=path.name)
                await self._recover(folder, believe=False)
        finally:
            folder.release()
        return True

    async def _try(self, folder: JournalFolder) -> Recovered | None:
        try:
            if await self._is_foreign(folder):
                return None
            found = await self._recover(folder, believe=True)
        except (OmniError, OSError) as error:
            log.warning("journal_recovery_paused", folder=folder.path.name, error=str(error))
            return None
        finally:
            folder.release()
        self._observer.journal_recovered(found)
        return found

    async def _is_foreign(self, folder: JournalFolder) -> bool:
        """Whether a journal is of another ledger, whose own workers will find it.

        Services with different databases may share the journal's place by mistake or by default.
        """
        name = folder.path.name
        if name not in self._foreign:
            ledger = await asyncio.to_thread(ledger_of, folder)
            if ledger is None or ledger == self._lane.ledger:
                return False
            self._foreign.add(name)
            log.warning("journal_of_another_ledger", folder=name)
        return True

    async def _recover(self, folder: JournalFolder, *, believe: bool) -> Recovered:
        """Brings one journal in, keeps it for a while, and says what became of its holds.

        Meanwhile the database may go back to an older state, once or more often. What this worker
        ended itself it then tells again (see `Lane`). What it found ended, or believed to be, is
        told by this journal alone, so all of that is looked for at the end; if any of it is gone,
        or the database was away, which may have taken what was not looked for, all is told again.
        A loss after that look is found by the mark under which the journal is kept.
        """
        words: dict[HoldId, str] = {}
        while True:
            told = Told(words)
            connected_at = self._lane.connected_at
            read = await asyncio.to_thread(read_journal, folder, believe=believe)
            if believe and read.last_acknowledged is not None:
                believe = not await self._was_lost(read.last_acknowledged)
                if not believe:
                    log.error("acknowledged_ends_lost", folder=folder.path.name)
                    continue
            await self._bring_in(folder, read, told)
            missing, marks = await self._store.standing(told.there, told.believed)
            if not missing and self._lane.connected_at == connected_at:
                break
            log.error("ledger_went_back_meanwhile", folder=folder.path.name, missing=missing)
            believe = False
        owner = "" if read.opened is None else read.opened.owner
        counts = Counter(words.values())
        found = Recovered(owner, is_damaged=read.is_damaged, **counts)
        await self._dispose(folder, read, found, marks)
        log.info("journal_recovered", folder=folder.path.name, **asdict(found))
        return found

    async def _bring_in(self, folder: JournalFolder, read: JournalContent, told: Told) -> None:
        ends = [end_of(hold_id, one) for hold_id, one in read.attempts.items()]
        told.believe(read)
        if read.opened is None:
            # Which ledger it is of is not known, so none is given a hold that it does not have.
            ends = [end._replace(op=replace(end.op, hold=None)) for end in ends]
        await self._apply(ends, told)
        if read.opened is not None:
            owner = read.opened.owner
            others = await self._others(folder, read, owner)
            await self._apply(others, told)
            await asyncio.sleep(self._late_s)
            seen = {end.op.id for end in others}
            late = await self._others(folder, read, owner)
            await self._apply([end for end in late if end.op.id not in seen], told)
            await self._free(list(read.requests.values()))

    async def _free(self, requests: list[RequestEnd]) -> None:
        """Ends the requests of calls that ended with their worker.

        Those that cost nothing are free for a new attempt; a repeat of any other is told at once
        how it ended.
        """
        for start in range(0, len(requests), RECOVER_BATCH_MAX):
            some = requests[start : start + RECOVER_BATCH_MAX]
            await asyncio.gather(
                *[self._lane.apply(RequestEndOp(ends.call_id, ends)) for ends in some]
            )

    async def _was_lost(self, op: FinalOp) -> bool:
        """Whether the database no longer knows an end that it had acknowledged.

        It loses commits from the end, so if it has the last one it has all.
        """
        outcome = await self._lane.apply(op)
        return outcome.code in (Code.DONE, Code.UNKNOWN)

    async def _others(self, folder: JournalFolder, read: JournalContent, owner: str) -> list[End]:
        """The ends of the worker's other holds that are not final, some of them unresolved."""
        held = await self._store.open_router_holds(owner)
        left = {one.hold_id: one for one in held if one.hold_id not in read.attempts}
        if not left:
            return []
        # An end that was acknowledged, and passed over, may be one that the database has lost.
        known = await asyncio.to_thread(read_journal, folder, believe=False, only=left.keys())
        return [
            end_of(hold_id, known.attempts[hold_id])
            if hold_id in known.attempts
            else silent_end(one, is_free=read.was_never_dispatched(hold_id))
            for hold_id, one in left.items()
        ]

    async def _apply(self, ends: list[End], told: Told) -> None:
        """Ends holds, a few at a time, by way of this worker's own journal."""
        for start in range(0, len(ends), RECOVER_BATCH_MAX):
            batch = ends[start : start + RECOVER_BATCH_MAX]
            for end in batch:
                self._journal.final(end.op)
            outcomes = await asyncio.gather(
                *[self._lane.apply(end.op) for end in batch], return_exceptions=True
            )
            for end, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, Internal):
                    raise outcome
                told.note(end, outcome)

    async def _dispose(
        self, folder: JournalFolder, read: JournalContent, found: Recovered, marks: list[Mark]
    ) -> None:
        if not (found.is_damaged or found.refused):
            if marks:
                folder.keep(text_of(marks))
            else:  # nothing came of it that the database could lose
                await asyncio.to_thread(folder.remove)
            return
        aside = folder.set_aside()
        log.error(
            "journal_set_aside",
            folder=aside.name,
            refused=found.refused,
            skipped_bytes=read.damage.skipped_bytes,
            records_missing=read.damage.records_missing,
            records_unreadable=read.unreadable,
        )
