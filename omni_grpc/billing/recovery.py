"""Recovery: what a worker knew when it died becomes true in the ledger.

Each worker looks for journals whose processes are gone, takes them one by one, and ends every hold
in them as far as the journal tells: exactly, by an estimate, or as unresolved. All it does may be
done twice. A journal of which the database has all is kept for a while, since a failover or a
restored backup may lose it again; that is looked at whenever the database comes back. One that is
damaged, or of which something could not be applied, is set aside for people.
"""

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final as Constant
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from omni_grpc.billing.journal import KEEP_SECONDS, KEPT_BYTES_MAX, Journal
from omni_grpc.billing.journal_content import (
    Attempt,
    JournalContent,
    ledger_of,
    read_journal,
)
from omni_grpc.billing.lane import Lane
from omni_grpc.billing.operations import POSTED, AttemptOutcome, Code, Final, FinalOp, Origin
from omni_grpc.billing.store import LedgerStore
from omni_grpc.core.errors import Internal, OmniError
from omni_grpc.core.ids import AccountId, HoldId
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
        self._connected_at: float | None = None
        """Since when the database answered when what is kept was last compared with it."""

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
        """Brings what is kept into the ledger again where that has lost it; once a connection."""
        connected_at = self._lane.connected_at
        if connected_at is None or connected_at == self._connected_at:
            return
        folders = await asyncio.to_thread(
            kept, self._root, seconds=KEEP_SECONDS, bytes_max=KEPT_BYTES_MAX
        )
        by_hold = {UUID(mark): path for mark, path in folders.items()}
        try:
            for hold_id in await self._store.without_posting(by_hold) if by_hold else ():
                await self._bring_back(by_hold[hold_id])
        except (OmniError, OSError) as error:
            log.warning("journals_not_compared", error=str(error))
        else:
            self._connected_at = connected_at

    async def _bring_back(self, path: Path) -> None:
        folder = take(path)
        if folder is None:  # another worker has it
            return
        try:
            if not await self._is_foreign(folder):
                log.error("acknowledged_ends_lost", folder=path.name)
                read = await asyncio.to_thread(read_journal, folder, believe=False)
                counts: Counter[str] = Counter()
                await self._apply([_end(*one) for one in read.attempts.items()], counts)
                log.info("journal_brought_back", folder=path.name, **counts)
        finally:
            folder.release()

    async def _try(self, folder: JournalFolder) -> Recovered | None:
        try:
            if await self._is_foreign(folder):
                return None
            found = await self._recover(folder)
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

    async def _recover(self, folder: JournalFolder) -> Recovered:
        read = await asyncio.to_thread(read_journal, folder, believe=True)
        if read.last_acknowledged is not None and await self._was_lost(read.last_acknowledged):
            log.error("acknowledged_ends_lost", folder=folder.path.name)
            read = await asyncio.to_thread(read_journal, folder, believe=False)
        counts: Counter[str] = Counter()
        posted = set() if read.last_posted is None else {read.last_posted}
        ends = [_end(hold_id, one) for hold_id, one in read.attempts.items()]
        if read.opened is None:
            # Which ledger it is of is not known, so none is given a hold that it does not have.
            ends = [end._replace(op=replace(end.op, hold=None)) for end in ends]
        posted |= await self._apply(ends, counts)
        owner = ""
        if read.opened is not None:
            owner = read.opened.owner
            others = await self._others(folder, read, owner)
            await self._apply(others, counts)
            await asyncio.sleep(self._late_s)
            seen = {end.op.id for end in others}
            late = await self._others(folder, read, owner)
            await self._apply([end for end in late if end.op.id not in seen], counts)
        found = Recovered(owner, is_damaged=read.is_damaged, **counts)
        await self._dispose(folder, read, found, posted)
        log.info("journal_recovered", folder=folder.path.name, **asdict(found))
        return found

    async def _was_lost(self, op: FinalOp) -> bool:
        """Whether the database no longer knows an end that it had acknowledged.

        It loses commits from the end, so if it has the last one it has all.
        """
        outcome = await self._lane.apply(op)
        return outcome.code in (Code.DONE, Code.UNKNOWN)

    async def _others(
        self, folder: JournalFolder, read: JournalContent, owner: str
    ) -> "list[_End]":
        """The ends of the worker's other holds that are not final, some of them unresolved."""
        held = await self._store.open_router_holds(owner)
        left = {hold_id: wallet for hold_id, wallet in held if hold_id not in read.attempts}
        if not left:
            return []
        # An end that was acknowledged, and passed over, may be one that the database has lost.
        known = await asyncio.to_thread(read_journal, folder, believe=False, only=left.keys())
        return [
            _end(hold_id, known.attempts[hold_id])
            if hold_id in known.attempts
            else _silent_end(hold_id, wallet, is_free=read.was_never_dispatched(hold_id))
            for hold_id, wallet in left.items()
        ]

    async def _apply(self, ends: "list[_End]", counts: Counter[str]) -> set[HoldId]:
        """Ends holds, a few at a time, by way of this worker's own journal.

        Returns those that had been posted before: this worker's own ends tell nothing of them.
        """
        posted: set[HoldId] = set()
        for start in range(0, len(ends), RECOVER_BATCH_MAX):
            batch = ends[start : start + RECOVER_BATCH_MAX]
            for end in batch:
                self._journal.final(end.op)
            outcomes = await asyncio.gather(
                *[self._lane.apply(end.op) for end in batch], return_exceptions=True
            )
            for end, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Internal):
                    counts["refused"] += 1
                elif isinstance(outcome, BaseException):
                    raise outcome
                elif outcome.code is Code.DONE:
                    counts[end.word] += 1
                elif outcome.code is Code.UNKNOWN and end.op.kind is Final.SETTLE:
                    counts["refused"] += 1
                else:
                    counts["known"] += 1
                    if outcome.code is Code.ALREADY and end.op.kind in POSTED:
                        posted.add(end.op.id)
        return posted

    async def _dispose(
        self, folder: JournalFolder, read: JournalContent, found: Recovered, posted: set[HoldId]
    ) -> None:
        if not (found.is_damaged or found.refused):
            last = await self._store.last_posted(posted) if posted else None
            if last is None:  # all that it told is in our own journal by now
                await asyncio.to_thread(folder.remove)
            else:
                folder.keep(last.hex)
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


# --- how holds end --------------------------------------------------------------------------------
class _End(NamedTuple):
    """How a hold ends, and the field of `Recovered` that counts it."""

    op: FinalOp
    word: str


_WORDS: Constant = {
    Final.SETTLE: "settled",
    Final.VOID: "voided",
    Final.UNRESOLVED: "unresolved",
}


def _end(hold_id: HoldId, attempt: Attempt) -> _End:
    """How a hold ends of which the journal tells."""
    op = attempt.end(hold_id)
    is_estimate = attempt.final is None and op.kind is Final.SETTLE
    return _End(op, "estimated" if is_estimate else _WORDS.get(op.kind, "known"))


def _silent_end(hold_id: HoldId, wallet: AccountId, *, is_free: bool) -> _End:
    """How a hold ends of which the journal tells nothing."""
    kind = Final.VOID if is_free else Final.UNRESOLVED
    outcome = AttemptOutcome.FAILED if is_free else None
    op = FinalOp(id=hold_id, kind=kind, origin=Origin.ROUTER, wallet=wallet, outcome=outcome)
    return _End(op, _WORDS[kind])
