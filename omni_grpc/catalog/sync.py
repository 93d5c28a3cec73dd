"""Brings the catalog to what its sources say now, all of them in one transaction.

Documents are fetched side by side and read in a thread. A source that fails keeps what it brought
before; the others count. A dry run goes the same way and writes nothing.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec
import structlog

from omni_grpc.catalog.acceptance import Waiting
from omni_grpc.catalog.changes import Change, Changes
from omni_grpc.catalog.decision import (
    READER_VERSION,
    Brought,
    Decision,
    NewWord,
    Rules,
    SourceState,
    State,
    decide,
    digest_of,
)
from omni_grpc.catalog.model import Mode
from omni_grpc.catalog.sources.collector import collector_paused
from omni_grpc.catalog.sources.document import SourceError
from omni_grpc.catalog.sources.fees import honest
from omni_grpc.catalog.sources.fetch import Fetched, Stamp, fetch
from omni_grpc.catalog.sources.reading import Reading, Surroundings
from omni_grpc.catalog.sources.registry import Source
from omni_grpc.catalog.sources.store import SourceStore
from omni_grpc.catalog.writing import Audit, unaudited
from omni_grpc.core.errors import Busy
from omni_grpc.storage import Database

FETCHES_AT_ONCE: Final = 4

log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """Where a source is in a sync."""

    FETCHING = "fetching"
    READING = "reading"
    READ = "read"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    REFUSED = "refused"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one source."""

    source: str
    stage: Stage
    received_bytes: int = 0
    expected_bytes: int | None = None
    offers: int = 0
    failure: str = ""


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one source. `stage` is READ, UNCHANGED, FAILED or REFUSED."""

    source: str
    location: str
    stage: Stage
    offers: int = 0
    unpriced: dict[str, int] = {}
    """How many of its offers have no price, by the reason."""

    left_out: dict[str, int] = {}
    """How many of its entries are no offers here, by the reason."""

    faults: tuple[str, ...] = ()
    """Models that cannot be read, one line each."""

    failure: str = ""


class SourcedChange(msgspec.Struct, frozen=True):
    """One changed fact, and whose word it is."""

    source: str
    change: Change


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync did, or would do; counts are of offers."""

    version: int
    dry_run: bool
    sources: tuple[SourceReport, ...]
    added: int
    updated: int
    repriced: int
    delisted: int
    relisted: int
    changes: tuple[SourcedChange, ...]
    waiting: tuple[Waiting, ...]
    """Prices that stay as they were until somebody accepts them."""

    duration_ms: int

    @property
    def failed(self) -> bool:
        """Whether a source brought nothing that should have."""
        return any(one.stage is Stage.FAILED for one in self.sources)

    @property
    def needs_acceptance(self) -> bool:
        """Whether something waits for an operator's word."""
        return bool(self.waiting) or any(one.stage is Stage.REFUSED for one in self.sources)


OnProgress = Callable[[Progress], None]


class Syncer:
    """Syncs one catalog; one at a time, so that memory is bounded.

    Args:
        database: where the catalog is.
        price_change_max_ppm: how far a price may move without an operator's word, in millionths.
    """

    def __init__(self, database: Database, *, price_change_max_ppm: int) -> None:
        self._store = SourceStore(database)
        self._price_change_max_ppm = price_change_max_ppm
        self._running = False

    async def sync(
        self,
        sources: Sequence[Source],
        *,
        actor: str,
        accept: bool = False,
        dry_run: bool = False,
        on_progress: OnProgress = lambda _: None,
        audit: Audit = unaudited,
    ) -> SyncReport:
        """Ask the sources, and make the catalog what all of them say together.

        Args:
            sources: whom to ask, the most trusted first.
            actor: who asked for it, for the record of changes.
            accept: whether everything is believed, however far it moves.
            dry_run: whether nothing is written.
            on_progress: is told of each step.
            audit: is told of what changed, where anything did.

        Raises:
            Busy: a sync is running here already.
            LedgerUnavailable: the database does not answer; the catalog stays as it was.
        """
        if self._running:
            raise Busy(
                "A catalog sync is running here already; try again shortly.", retry_after_s=5
            )
        self._running = True
        try:
            with collector_paused():
                return await self._sync(sources, actor, accept, dry_run, on_progress, audit)
        finally:
            self._running = False

    async def _sync(
        self,
        sources: Sequence[Source],
        actor: str,
        accept: bool,
        dry_run: bool,
        on_progress: OnProgress,
        audit: Audit,
    ) -> SyncReport:
        began_s = time.monotonic()
        at = dt.datetime.now(dt.UTC)
        states = await self._store.sources()
        known = await self._store.known()
        fetched = await _fetch_all(sources, states, at, on_progress)
        words, reports = await self._read_all(sources, fetched, known, at, on_progress)
        rules = Rules(
            price_change_max_ppm=self._price_change_max_ppm,
            accepted=None if accept else frozenset(),
        )
        decision: Decision | None = None

        async def chosen(state: State) -> Brought:
            nonlocal decision
            decision = await asyncio.to_thread(decide, state, words, rules, at)
            return decision.brought

        version = await self._store.bring(chosen, actor=actor, write=not dry_run, audit=audit)
        if decision is None:
            raise AssertionError("the store did not ask what to write")
        report = _report(version, decision, reports, dry_run=dry_run, began_s=began_s)
        for one in report.sources:
            if one.stage is Stage.REFUSED:
                on_progress(Progress(source=one.source, stage=one.stage, failure=one.failure))
        log.info(
            "catalog_synced",
            actor=actor,
            dry_run=dry_run,
            version=version,
            sources={one.source: one.stage.value for one in report.sources},
            changes=len(report.changes),
            waiting=len(report.waiting),
            duration_ms=report.duration_ms,
        )
        return report

    async def _read_all(
        self,
        sources: Sequence[Source],
        fetched: Sequence[Fetched | SourceError],
        known: Sequence[tuple[str, str, Mode]],
        at: dt.datetime,
        on_progress: OnProgress,
    ) -> tuple[list[NewWord], list[SourceReport]]:
        """Read one after the other, so that supplements know what those before them list."""
        words: list[NewWord] = []
        reports: list[SourceReport] = []
        offers = {(provider, name): mode for provider, name, mode in known}
        for source, document in zip(sources, fetched, strict=True):
            around = Surroundings(at, [(*place, mode) for place, mode in offers.items()])
            word, report = await _read(source, document, around, on_progress)
            words.append(word)
            reports.append(report)
            for one in (word.facts or {}).values():
                offers.setdefault((one.provider, one.provider_model), one.mode)
        return words, reports


async def _fetch_all(
    sources: Sequence[Source],
    states: dict[str, SourceState],
    at: dt.datetime,
    on_progress: OnProgress,
) -> list[Fetched | SourceError]:
    lane = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def one(source: Source) -> Fetched | SourceError:
        def came(received: int, expected: int | None) -> None:
            on_progress(
                Progress(
                    source=source.name,
                    stage=Stage.FETCHING,
                    received_bytes=received,
                    expected_bytes=expected,
                )
            )

        async with lane:
            came(0, None)
            try:
                stamp = _stamp(states.get(source.name), source, at)
                return await fetch(source.location, stamp, came)
            except SourceError as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(source)) for source in sources]
    return [task.result() for task in tasks]


def _stamp(state: SourceState | None, source: Source, at: dt.datetime) -> Stamp:
    """What is held of a source already.

    Nothing where it came from elsewhere, by another reader, or on another day: prices of some
    sources depend on the date.
    """
    if (
        state is None
        or state.read_time is None
        or state.location != source.location
        or state.read_time.astimezone(dt.UTC).date() != at.date()
        or not state.digest.startswith(f"{READER_VERSION}:")
    ):
        return Stamp()
    return state.stamp


async def _read(
    source: Source,
    document: Fetched | SourceError,
    around: Surroundings,
    on_progress: OnProgress,
) -> tuple[NewWord, SourceReport]:
    def told(stage: Stage, failure: str = "", offers: int = 0) -> None:
        on_progress(Progress(source=source.name, stage=stage, failure=failure, offers=offers))

    base = SourceReport(source=source.name, location=source.location, stage=Stage.UNCHANGED)
    word = NewWord(source=source.name, location=source.location)
    if isinstance(document, Fetched) and document.document is None:
        told(Stage.UNCHANGED)
        return word, base
    try:
        if isinstance(document, SourceError):
            raise document
        told(Stage.READING)
        reading, digest = await asyncio.to_thread(_read_here, source, document.document, around)
    except Exception as error:  # a fault of a reader harms its source, and no other
        if not isinstance(error, SourceError):
            log.exception("catalog_reader_failed", source=source.name)
        failure = str(error) if isinstance(error, SourceError) else "its reader failed; see the log"
        told(Stage.FAILED, failure)
        log.warning("catalog_source_failed", source=source.name, failure=failure)
        return (
            msgspec.structs.replace(word, failure=failure),
            msgspec.structs.replace(base, stage=Stage.FAILED, failure=failure),
        )
    told(Stage.READ, offers=len(reading.offers))
    unpriced: dict[str, int] = {}
    for one in reading.offers:
        if one.quote.refusal:
            unpriced[one.quote.refusal] = unpriced.get(one.quote.refusal, 0) + 1
    return (
        msgspec.structs.replace(
            word,
            facts={one.id: one for one in reading.offers},
            digest=digest,
            stamp=document.stamp,
            faults=reading.faults,
        ),
        msgspec.structs.replace(
            base,
            stage=Stage.READ,
            offers=len(reading.offers),
            unpriced=unpriced,
            left_out=dict(reading.left_out),
            faults=reading.faults,
        ),
    )


def _read_here(source: Source, document: object, around: Surroundings) -> tuple[Reading, str]:
    """Read a document, and what its facts are known by."""
    reading = source.reader(document, around)
    if not source.own:
        offers = tuple(map(honest, reading.offers))
        reading = msgspec.structs.replace(reading, offers=offers)
    return reading, digest_of(sorted(reading.offers, key=lambda one: one.id))


def _report(
    version: int,
    decision: Decision,
    reports: Sequence[SourceReport],
    *,
    dry_run: bool,
    began_s: float,
) -> SyncReport:
    changes: Changes = decision.brought.changes
    return SyncReport(
        version=version,
        dry_run=dry_run,
        sources=tuple(
            msgspec.structs.replace(one, stage=Stage.REFUSED, failure=decision.refused[one.source])
            if one.source in decision.refused
            else one
            for one in reports
        ),
        added=len(changes.added),
        updated=len(changes.updated),
        repriced=len(changes.repriced),
        delisted=len(changes.delisted),
        relisted=len(changes.relisted),
        changes=tuple(
            SourcedChange(source, change)
            for source, rows in changes.rows.items()
            for change in rows
        ),
        waiting=decision.waiting,
        duration_ms=round(1e3 * (time.monotonic() - began_s)),
    )
