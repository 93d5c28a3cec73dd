"""Policies and experiments as a worker holds them: in memory, following the database and a file.

The hot path asks `for_call` and never waits. A change made elsewhere arrives within a poll. While
the database is away, or the file is wrong, what was read last stays. Where both have something of
the same scope and name, the database's holds: the file's is hidden until that is deleted.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog

from omni_grpc.catalog import CatalogSnapshot
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import LedgerUnavailable, OmniError
from omni_grpc.core.limits import CATALOG_POLL_SECONDS
from omni_grpc.core.task import Analysis
from omni_grpc.core.waking import woken
from omni_grpc.routing.experiment import Experiment
from omni_grpc.routing.plan import RouteContext
from omni_grpc.routing.policy_file import FileContent, PolicyFileError, read_policy_file
from omni_grpc.routing.policy_model import Policy
from omni_grpc.routing.policy_set import Chosen, PolicySet
from omni_grpc.routing.store import Content, Item, Kind, PolicyStore, Stored
from omni_grpc.storage import Database, file_signature

__all__ = ["Chosen", "Entry", "Policies", "Source", "entry_of", "set_of"]

log = structlog.get_logger(__name__)


class Source(StrEnum):
    """Where a policy or an experiment stands."""

    DATABASE = "database"
    FILE = "file"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A policy or an experiment, and what is known about it.

    Attributes:
        item: the policy or the experiment.
        source: where it stands.
        hidden: it is the file's, and the database has one of the same scope and name.
        fault: why it cannot be used; empty if it can.
        etag: of a row of the database; empty for the file's.
        create_time: likewise.
        update_time: likewise.
        update_by: who changed it last: a key's prefix, or a tool's name.
    """

    item: Item
    source: Source
    hidden: bool = False
    fault: str = ""
    etag: str = ""
    create_time: datetime | None = None
    update_time: datetime | None = None
    update_by: str = ""


class Policies:
    """What holds for calls, kept current. For one event loop.

    Args:
        database: where policies are set.
        snapshot: the catalog, which says what models' names mean; may be empty yet.
        clock: says which experiments run.
        file: the operator's file, if there is one.
        poll_s: how often `run` looks for a change.

    Raises:
        PolicyFileError: the file cannot be used; nothing was read before that could stay.
    """

    def __init__(
        self,
        database: Database,
        snapshot: Callable[[], CatalogSnapshot],
        clock: Clock,
        *,
        file: Path | None = None,
        poll_s: float = CATALOG_POLL_SECONDS,
    ) -> None:
        self.store = PolicyStore(database)
        self._snapshot = snapshot
        self._clock = clock
        self._path = file
        self._poll_s = poll_s
        self._signature = file_signature(file)
        self._file = FileContent() if file is None else read_policy_file(file)
        self._content = Content()
        self._wake = asyncio.Event()
        self._make()

    def for_call(
        self,
        context: RouteContext,
        request_model: str,
        analysis: Analysis | None,
        tags: Mapping[str, str],
    ) -> Chosen | None:
        """What holds for a call; None where nothing does.

        Args:
            context: whose call, and its unit.
            request_model: the model that the request names, as written.
            analysis: what the request is about; without it nothing that asks for a task holds.
            tags: the request's.

        Raises:
            LedgerUnavailable: the database was never read, which must not look as if nothing held.
        """
        if self._content.version == 0:
            raise LedgerUnavailable(
                "The database has not answered since this server started, so its routing policies "
                "are not known yet; try again shortly.",
                retry_after_s=1.0,
            )
        if self._set.empty:
            return None
        return self._set.choose(context, request_model, analysis, tags, self._clock.now())

    @property
    def takes_named(self) -> bool:
        """Whether a policy may take over requests that name their model."""
        return self._content.version == 0 or self._set.takes_named

    @property
    def file(self) -> FileContent:
        """What the file says."""
        return self._file

    @property
    def snapshot(self) -> CatalogSnapshot:
        """The catalog as it is now."""
        return self._snapshot()

    def now(self) -> datetime:
        """The wall clock."""
        return self._clock.now()

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """All of a kind, ordered by full name, the database's before the file's."""
        return listed(kind, self._content, self._file, self._set)

    async def load(self) -> None:
        """Read the database, whatever version is held.

        Raises:
            LedgerUnavailable: the database does not answer; what is held stays.
        """
        self._content = await self.store.read()
        self._make()
        log.info("policies_loaded", version=self._content.version, rules=len(self._content.rows))

    async def refresh(self) -> bool:
        """Read what changed: the database, or what the catalog means by names.

        Returns whether anything had.

        Raises:
            LedgerUnavailable: the database does not answer; what is held stays.
        """
        if self._snapshot().version != self._set.catalog_version:
            self._make()
        if await self.store.version() == self._content.version:
            return False
        await self.load()
        return True

    async def read_file(self) -> bool:
        """Read the file again; returns whether it could be used. A wrong one changes nothing."""
        if self._path is None:
            return True
        self._signature = file_signature(self._path)
        try:
            found = await asyncio.to_thread(read_policy_file, self._path)
        except PolicyFileError as error:
            log.error("policies_file_refused", faults=error.faults, kept="what was read before")
            return False
        self._file = found
        self._make()
        log.info(
            "policies_file_read", policies=len(found.policies), experiments=len(found.experiments)
        )
        return True

    def wake(self) -> None:
        """Look now, the file first, whether it seems changed or not: what SIGHUP asks for."""
        self._wake.set()

    async def run(self) -> NoReturn:
        """Follow database and file until cancelled. No failure ends it, or changes what holds."""
        while True:
            try:
                if self._wake.is_set() or file_signature(self._path) != self._signature:
                    self._wake.clear()
                    await self.read_file()
                await self.refresh()
            except OmniError as error:
                log.warning("policies_poll_failed", reason=error.reason, message=error.message)
            except Exception:
                log.exception("policies_poll_failed")
            await woken(self._wake, self._poll_s)

    def _make(self) -> None:
        self._set = set_of(self._content, self._file, self._snapshot())
        for fault in self._set.faults:
            log.error("policy_unusable", name=fault.path, why=fault.message)


def set_of(content: Content, file: FileContent, snapshot: CatalogSnapshot) -> PolicySet:
    """What holds, of the database and a file: the database's where both have the same name."""
    items = {item.full_name: item for item in file.items}
    items.update({row.item.full_name: row.item for row in content.rows})
    return PolicySet(
        [item for item in items.values() if isinstance(item, Policy)],
        [item for item in items.values() if isinstance(item, Experiment)],
        snapshot,
    )


def entry_of(row: Stored, fault: str = "") -> Entry:
    """What is known about a row of the database."""
    return Entry(
        item=row.item,
        source=Source.DATABASE,
        fault=fault,
        etag=str(row.revision),
        create_time=row.create_time,
        update_time=row.update_time,
        update_by=row.update_by,
    )


def listed(
    kind: Kind, content: Content, file: FileContent, policies: PolicySet
) -> tuple[Entry, ...]:
    """All of a kind, ordered by full name, the database's before the file's."""
    faults = {fault.path: fault.message for fault in policies.faults}
    stored = {row.item.full_name for row in content.rows}
    found = [entry_of(row, faults.get(row.item.full_name, "")) for row in content.rows]
    for item in file.items:
        hidden = item.full_name in stored
        fault = "" if hidden else faults.get(item.full_name, "")
        found.append(Entry(item=item, source=Source.FILE, hidden=hidden, fault=fault))
    return tuple(
        sorted(
            (entry for entry in found if Kind.of(entry.item) is kind),
            key=lambda entry: (entry.item.full_name, entry.source is Source.FILE),
        )
    )
