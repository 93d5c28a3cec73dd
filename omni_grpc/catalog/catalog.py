"""The catalog as a worker holds it: a snapshot in memory that follows the database.

The hot path reads `snapshot` and never waits. A change made elsewhere arrives within a poll; while
the database does not answer the last snapshot stays.
"""

import asyncio
import time
from typing import NoReturn

import structlog

from omni_grpc.catalog.model import Alias
from omni_grpc.catalog.snapshot import CatalogSnapshot
from omni_grpc.catalog.store import CatalogStore
from omni_grpc.core.errors import FieldInvalid, OmniError
from omni_grpc.core.limits import CATALOG_POLL_SECONDS
from omni_grpc.storage import Database

log = structlog.get_logger(__name__)


class Catalog:
    """The current snapshot, kept current. For one event loop.

    Args:
        database: where the catalog is.
        poll_s: how often `run` looks for a change.
    """

    def __init__(self, database: Database, *, poll_s: float = CATALOG_POLL_SECONDS) -> None:
        self._store = CatalogStore(database)
        self._poll_s = poll_s
        self._snapshot = CatalogSnapshot()
        self._loading = asyncio.Lock()

    @property
    def snapshot(self) -> CatalogSnapshot:
        """The newest version that was read; empty before the first `load`."""
        return self._snapshot

    async def load(self) -> None:
        """Read the catalog, whatever version is held.

        Raises:
            LedgerUnavailable: the database does not answer; the snapshot stays.
        """
        async with self._loading:
            began_s = time.monotonic()
            content = await self._store.read()
            # Sorting and indexing would block the loop for some 50 ms.
            self._snapshot = await asyncio.to_thread(
                CatalogSnapshot, content.version, content.offers, content.aliases
            )
        duration_ms = round(1e3 * (time.monotonic() - began_s))
        if not content.offers:
            log.warning(
                "catalog_empty",
                version=content.version,
                help="No model can be called until the catalog is seeded.",
            )
        log.info(
            "catalog_loaded",
            version=content.version,
            offers=len(content.offers),
            aliases=len(content.aliases),
            duration_ms=duration_ms,
        )

    async def refresh(self) -> bool:
        """Load the catalog if it changed; returns whether it did.

        Raises:
            LedgerUnavailable: the database does not answer; the snapshot stays.
        """
        if await self._store.version() == self._snapshot.version:
            return False
        await self.load()
        return True

    async def run(self) -> NoReturn:
        """Follow the catalog until cancelled. No failure ends it, and none touches the snapshot."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.refresh()
            except OmniError as error:
                log.warning("catalog_poll_failed", reason=error.reason, message=error.message)
            except Exception:
                log.exception("catalog_poll_failed")

    async def set_alias(self, alias: Alias, *, actor: str) -> None:
        """Make an alias, or change it; it counts here at once and elsewhere within a poll.

        Raises:
            FieldInvalid: it is malformed, hides an offer, would mean itself, or a target names
                nothing.
            LedgerUnavailable: the database does not answer.
        """
        await self.refresh()
        if self._snapshot.get(alias.name) is not None:
            raise FieldInvalid(
                f"{alias.name!r} is the name of an offer. Choose another.", field="name"
            )
        for target in alias.targets:
            if target != alias.name and not self._snapshot.resolve(target):
                raise FieldInvalid(
                    f"{target!r} names no model and no alias{self._hint(target)}.", field="targets"
                )
        await self._store.set_alias(alias, actor=actor)
        await self.load()

    async def delete_alias(self, name: str, *, actor: str) -> None:
        """Take a global alias away.

        Raises:
            NotFound: there is no such alias.
            LedgerUnavailable: the database does not answer.
        """
        await self._store.delete_alias(name, actor=actor)
        await self.load()

    def _hint(self, name: str) -> str:
        near = self._snapshot.suggestions(name)
        return f"; did you mean {' or '.join(near)}?" if near else ""
