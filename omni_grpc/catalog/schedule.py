"""Syncs the catalog every so many hours, in one worker of all that share the database.

It never takes what needs an operator's word: that is logged, and `catalog validate` tells it. A
worker that dies in a sync keeps the others from it until its lease ends, and no longer.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final, NoReturn

import structlog

from omni_grpc.catalog.catalog import Catalog
from omni_grpc.catalog.sources.registry import Source
from omni_grpc.catalog.sources.store import SourceStore
from omni_grpc.catalog.sync import Syncer, SyncReport
from omni_grpc.catalog.writing import Audit, unaudited
from omni_grpc.core.errors import OmniError
from omni_grpc.storage import Database

POLL_SECONDS: Final = 30.0
"""How often a worker looks whether a sync is due: one short statement."""

LEASE_SECONDS: Final = 900.0
"""Longest sync: sixteen sources, four at a time, a minute each, and the reading."""

RETRY_SECONDS: Final = 900.0
"""How soon a sync in which a source failed is tried again."""

ACTOR: Final = "schedule"

_SECONDS_PER_HOUR: Final = 3_600

log = structlog.get_logger(__name__)


class Schedule:
    """Scheduled syncs of one catalog. For one event loop.

    Args:
        database: where the catalog is.
        catalog: this worker's, in which a change counts at once.
        syncer: what syncs.
        sources: whom to ask.
        hours: how long from one sync to the next.
        poll_s: how often to look whether one is due.
        audit: is told of what a sync changed.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        syncer: Syncer,
        sources: Sequence[Source],
        *,
        hours: float,
        poll_s: float = POLL_SECONDS,
        audit: Audit = unaudited,
    ) -> None:
        self._store = SourceStore(database)
        self._catalog = catalog
        self._syncer = syncer
        self._sources = tuple(sources)
        self._interval_s = hours * _SECONDS_PER_HOUR
        self._poll_s = poll_s
        self._audit = audit
        self._holder = secrets.token_hex(8)

    async def run(self) -> NoReturn:
        """Sync when it is time, until cancelled. No failure ends it."""
        while True:
            try:
                await self.turn()
            except OmniError as error:
                log.warning("catalog_sync_failed", reason=error.reason, message=error.message)
            except Exception:
                log.exception("catalog_sync_failed")
            await asyncio.sleep(self._poll_s)

    async def turn(self) -> SyncReport | None:
        """Sync if it is time and nobody else does; None if not.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        if not await self._store.take_turn(self._holder, LEASE_SECONDS):
            return None
        next_in_s = min(RETRY_SECONDS, self._interval_s)
        try:
            report = await self._syncer.sync(self._sources, actor=ACTOR, audit=self._audit)
            if not report.failed:
                next_in_s = self._interval_s
        finally:
            await self._store.end_turn(self._holder, next_in_s)
        if report.needs_acceptance:
            log.warning(
                "catalog_needs_acceptance",
                prices=len(report.waiting),
                sources=[one.source for one in report.sources if one.failure],
                help="See `omni-grpc catalog validate`, then `omni-grpc catalog sync --accept`.",
            )
        await self._catalog.refresh()
        return report
