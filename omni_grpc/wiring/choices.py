"""Puts together what a worker chooses from, and what chooses: catalog, policies, health, router."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from omni_grpc.administration import sync_audit
from omni_grpc.audit import Actor
from omni_grpc.catalog import (
    Catalog,
    CatalogSnapshot,
    OperatorFileWatch,
    Schedule,
    Syncer,
    parse_sources,
)
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.grpc_api import CatalogSync
from omni_grpc.metrics import Metrics
from omni_grpc.providers import Providers
from omni_grpc.routing import (
    Chooser,
    Health,
    Policies,
    Router,
    SpeedShare,
    SpeedStore,
    Warmth,
    shared_judge,
)
from omni_grpc.settings import Settings
from omni_grpc.storage import Database
from omni_grpc.wiring.configured import configured_policies


@dataclass(frozen=True, slots=True)
class Choices:
    """Catalog and routing of a worker.

    `models_file` is None where the operator has none, `schedule` where nothing is synced by itself.
    """

    catalog: Catalog
    sync: CatalogSync
    models_file: OperatorFileWatch | None
    schedule: Schedule | None
    health: Health
    warmth: Warmth
    speeds: SpeedShare
    policies: Policies
    router: Router

    def snapshot(self) -> CatalogSnapshot:
        """The catalog, for callers.

        Raises:
            LedgerUnavailable: it was never read, which must not look as if it had no model.
        """
        return _known(self.catalog)

    async def load(self) -> None:
        """Reads all that is chosen by.

        Raises:
            OmniError: the database does not answer; the polls go on trying.
        """
        await self.catalog.load()
        if self.models_file is not None:
            await self.models_file.apply()
        await self.policies.load()
        await self.speeds.load()

    def wake(self) -> None:
        """Read the operator's files again, whether they seem changed or not."""
        self.policies.wake()
        if self.models_file is not None:
            self.models_file.wake()

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What runs in each worker, for ever."""
        found = [self.catalog.run(), self.policies.run(), self.speeds.run()]
        if self.models_file is not None:
            found.append(self.models_file.run())
        if self.schedule is not None:
            found.append(self.schedule.run())
        return found


def _known(catalog: Catalog) -> CatalogSnapshot:
    found = catalog.snapshot
    if found.version == 0:
        raise LedgerUnavailable(
            "The database has not answered since this server started, so the catalog is not "
            "known yet; try again shortly.",
            retry_after_s=1.0,
        )
    return found


def choices_of(
    settings: Settings, database: Database, providers: Providers, metrics: Metrics, clock: Clock
) -> Choices:
    """Catalog and routing, as the operator set them."""
    catalog = Catalog(database)
    syncer = Syncer(database, price_change_max_ppm=settings.catalog_price_change_max_ppm)
    sources = parse_sources(settings.catalog_sources)
    schedule = None
    if settings.catalog_sync_hours:
        schedule = Schedule(
            database,
            catalog,
            syncer,
            sources,
            hours=settings.catalog_sync_hours,
            audit=sync_audit(Actor(name="omni-grpc schedule")),
        )
    health = Health(clock, metrics)
    warmth = Warmth(clock)
    policies = configured_policies(settings, database, lambda: catalog.snapshot, clock)
    return Choices(
        catalog=catalog,
        sync=CatalogSync(catalog, syncer, sources),
        models_file=OperatorFileWatch(catalog, settings.models_file)
        if settings.models_file
        else None,
        schedule=schedule,
        health=health,
        warmth=warmth,
        speeds=SpeedShare(health, SpeedStore(database)),
        policies=policies,
        router=Router(
            lambda: _known(catalog),
            providers.ids(),
            providers.refusal,
            chooser=Chooser(shared_judge()),
            policies=policies,
            health=health,
            warmth=warmth,
            premium_model=settings.premium_model,
            markup_ppm=settings.markup_ppm,
        ),
    )
