"""The catalog as a worker holds it: a snapshot in memory that follows the database.

The hot path reads `snapshot` and never waits. A change made elsewhere arrives within a poll; while
the database does not answer the last snapshot stays.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import NoReturn

import structlog

from omni_grpc.catalog.absent import absence
from omni_grpc.catalog.history import ChangePage, list_changes
from omni_grpc.catalog.model import GLOBAL_SCOPE, Alias, Offer
from omni_grpc.catalog.operator_file import (
    OperatorFile,
    OperatorFileError,
    alias_faults,
    hint,
    names_faults,
    unmatched,
)
from omni_grpc.catalog.ratings import stated_ratings
from omni_grpc.catalog.snapshot import CatalogSnapshot
from omni_grpc.catalog.store import CatalogContent, CatalogStore, today
from omni_grpc.catalog.words import Words, faults_of
from omni_grpc.catalog.writing import Audit, unaudited
from omni_grpc.core.errors import FieldInvalid, NotFound, OmniError
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
        self._database = database
        self._store = CatalogStore(database)
        self._poll_s = poll_s
        self._snapshot = CatalogSnapshot()
        self._loading = asyncio.Lock()
        self._day = today()

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
            self._snapshot = await asyncio.to_thread(_snapshot, content)
            self._day = content.day
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
        """Load the catalog if it, or the day, changed; returns whether it did.

        A day may make a model deprecated.

        Raises:
            LedgerUnavailable: the database does not answer; the snapshot stays.
        """
        if await self._store.version() == self._snapshot.version and self._day == today():
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

    async def set_alias(self, alias: Alias, *, actor: str, audit: Audit = unaudited) -> None:
        """Make an alias, or change it; it counts here at once and elsewhere within a poll.

        Raises:
            FieldInvalid: it is malformed, hides an offer, would mean itself, a target names
                nothing, or models.yaml sets it.
            LedgerUnavailable: the database does not answer.
        """
        await self.refresh()
        for field, fault in alias_faults(self._snapshot, alias):
            raise FieldInvalid(fault, field=field)
        await self._store.set_alias(alias, actor=actor, audit=audit)
        await self.load()

    async def delete_alias(
        self,
        name: str,
        *,
        actor: str,
        scope: str = GLOBAL_SCOPE,
        audit: Audit = unaudited,
    ) -> None:
        """Take an alias of a scope away.

        Raises:
            NotFound: there is no such alias.
            FieldInvalid: models.yaml sets it.
            LedgerUnavailable: the database does not answer.
        """
        await self._store.delete_alias(name, actor=actor, scope=scope, audit=audit)
        await self.load()

    async def update_model(
        self,
        offer_id: str,
        words: Words,
        fields: Collection[str],
        *,
        etag: str = "",
        actor: str,
        audit: Audit = unaudited,
    ) -> Offer:
        """Say something of an offer; it counts here at once and elsewhere within a poll.

        Args:
            offer_id: the offer.
            words: what to say. Of `fields`, what it leaves out is taken back.
            fields: which fields of `words` to change, at least one.
            etag: what `etag_of` the offer was when the caller read it; empty: whatever it is.
            actor: who asked for it, for the record of changes.
            audit: is told what was said of it before and after.

        Returns:
            The offer as it is now.

        Raises:
            NotFound: there is no such offer.
            FieldInvalid: a value cannot be, a replacement names nothing or leads back, or
                models.yaml speaks of such a field.
            EtagMismatch: the offer was changed since.
            LedgerUnavailable: the database does not answer.
        """
        for field, fault in faults_of(words):
            raise FieldInvalid(f"{field} {fault}.", field=field)
        await self.refresh()
        if self._snapshot.get(offer_id) is None:
            raise NotFound(absence(self._snapshot, offer_id))
        if words.replacement is not None and not self._snapshot.resolve(words.replacement):
            near = hint(self._snapshot, words.replacement)
            raise FieldInvalid(
                f"The replacement {words.replacement!r} names no model and no alias{near}.",
                field="replacement",
            )
        await self._store.set_words(offer_id, words, fields, etag=etag, actor=actor, audit=audit)
        await self.load()
        offer = self._snapshot.get(offer_id)
        if offer is None:
            raise NotFound(absence(self._snapshot, offer_id))
        return offer

    async def changes(
        self, wanted: Mapping[str, str], *, before: int | None, limit: int
    ) -> ChangePage:
        """A page of the record of changes, as `history.list_changes`."""
        return await list_changes(self._database, wanted, before=before, limit=limit)

    async def apply_file(self, file: OperatorFile, *, actor: str) -> tuple[str, ...]:
        """Make what models.yaml says hold everywhere, whole or not at all.

        Returns:
            The patterns that name nothing now; they will count when a source lists it.

        Raises:
            OperatorFileError: with every fault; what held before goes on holding.
            LedgerUnavailable: the database does not answer.
        """
        await self.refresh()
        # Globs over thousands of offers and hints for wrong names would block the loop.
        faults = await asyncio.to_thread(names_faults, self._snapshot, file)
        if faults:
            raise OperatorFileError(faults)
        try:
            changed = await self._store.set_file(file.rules, file.aliases, actor=actor)
        except FieldInvalid as error:
            raise OperatorFileError([error.message]) from None
        if changed:
            await self.load()
        return await asyncio.to_thread(unmatched, self._snapshot, file)


def _snapshot(content: CatalogContent) -> CatalogSnapshot:
    return CatalogSnapshot(
        content.version,
        content.offers,
        content.aliases,
        stated_ratings(content.words, content.scores),
        content.words,
    )
