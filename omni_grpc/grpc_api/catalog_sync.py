"""SyncCatalog: asks the catalog's sources, and tells what comes of it while it happens.

Callers name configured sources and no addresses, so that no key can make the server fetch what its
operator did not name.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

from omni.catalog.v1 import catalog_service_pb2 as pb

from omni_grpc.administration import sync_audit
from omni_grpc.audit import Actor
from omni_grpc.catalog import Catalog, Progress, Source, Stage, Syncer, SyncReport, rates_text
from omni_grpc.core.errors import FieldInvalid

CHANGES_TOLD_MAX: Final = 1_000
"""Most changes of a report: a first sync has thousands, and clients take 4 MB a message."""

FAULTS_TOLD_MAX: Final = 100
_TOLD_EVERY_BYTES: Final = 512 * 1024
"""How much more must have come before a transfer is told again."""

_PRICE: Final = "price"

_STAGES: Final = {
    Stage.FETCHING: pb.SYNC_STAGE_FETCHING,
    Stage.READING: pb.SYNC_STAGE_READING,
    Stage.READ: pb.SYNC_STAGE_READ,
    Stage.UNCHANGED: pb.SYNC_STAGE_UNCHANGED,
    Stage.FAILED: pb.SYNC_STAGE_FAILED,
    Stage.REFUSED: pb.SYNC_STAGE_REFUSED,
}


class CatalogSync:
    """Syncs a worker's catalog for callers.

    Args:
        catalog: the worker's, in which a change counts at once.
        syncer: what syncs; the schedule's too, so that one runs at a time.
        sources: the configured ones.
    """

    def __init__(self, catalog: Catalog, syncer: Syncer, sources: Sequence[Source]) -> None:
        self._catalog = catalog
        self._syncer = syncer
        self._sources = {source.name: source for source in sources}

    async def sync(
        self, request: pb.SyncCatalogRequest, *, actor: Actor
    ) -> AsyncGenerator[pb.SyncCatalogResponse, None]:
        """Progress, then one report.

        A caller that goes away ends it: nothing is written then, unless it was being written.

        Raises:
            FieldInvalid: a source is not configured here.
            Busy: a sync is running here already.
            LedgerUnavailable: the database does not answer.
        """
        sources = self._chosen(request.sources)
        events: asyncio.Queue[Progress | None] = asyncio.Queue()
        telling = _Telling(events)
        work = asyncio.create_task(
            self._syncer.sync(
                sources,
                actor=actor.name,
                audit=sync_audit(actor),
                accept=request.accept,
                dry_run=request.dry_run,
                on_progress=telling,
            )
        )
        work.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield pb.SyncCatalogResponse(progress=_progress(event))
            report = await work
            await self._catalog.refresh()
            yield pb.SyncCatalogResponse(report=report_message(report))
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work

    def _chosen(self, names: Sequence[str]) -> tuple[Source, ...]:
        unknown = [name for name in names if name not in self._sources]
        if unknown:
            raise FieldInvalid(
                f"{unknown[0][:80]!r} is no source that is configured here; there are "
                f"{', '.join(self._sources)}.",
                field="sources",
            )
        return tuple(source for name, source in self._sources.items() if not names or name in names)


class _Telling:
    """Puts steps into a queue: of a transfer only what is worth a message."""

    def __init__(self, events: "asyncio.Queue[Progress | None]") -> None:
        self._events = events
        self._told: dict[str, int] = {}

    def __call__(self, step: Progress) -> None:
        if step.stage is Stage.FETCHING:
            told = self._told.get(step.source)
            if told is not None and step.received_bytes < told + _TOLD_EVERY_BYTES:
                return
            self._told[step.source] = step.received_bytes
        self._events.put_nowait(step)


def report_message(report: SyncReport) -> pb.SyncReport:
    """What a sync did, within the bounds of a message."""
    changes = sorted(report.changes, key=lambda one: one.change.field != _PRICE)
    return pb.SyncReport(
        version=report.version,
        dry_run=report.dry_run,
        sources=[
            pb.SourceOutcome(
                source=one.source,
                stage=_STAGES[one.stage],
                offer_count=one.offers,
                unpriced_count=_total(one.unpriced),
                faults=one.faults[:FAULTS_TOLD_MAX],
                failure=one.failure,
            )
            for one in report.sources
        ],
        added_count=report.added,
        updated_count=report.updated,
        repriced_count=report.repriced,
        delisted_count=report.delisted,
        relisted_count=report.relisted,
        changes=[
            pb.SyncedChange(
                model=one.change.subject,
                field=one.change.field,
                old_value=one.change.old,
                new_value=one.change.new,
                source=one.source,
            )
            for one in changes[:CHANGES_TOLD_MAX]
        ],
        change_count=len(changes),
        waiting_prices=[
            pb.WaitingPrice(
                model=one.offer,
                source=one.source,
                old_value=rates_text(one.old),
                new_value=rates_text(one.new),
                change_ppm=one.change_ppm,
            )
            for one in report.waiting[:CHANGES_TOLD_MAX]
        ],
        waiting_price_count=len(report.waiting),
        duration_ms=report.duration_ms,
    )


def _progress(step: Progress) -> pb.SyncProgress:
    return pb.SyncProgress(
        source=step.source,
        stage=_STAGES[step.stage],
        received_byte_count=step.received_bytes,
        expected_byte_count=step.expected_bytes,
        offer_count=step.offers,
        failure=step.failure,
    )


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.values())
