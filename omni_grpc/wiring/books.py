"""Puts together the ledger, and what keeps it true while a worker runs."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from omni_grpc.billing import (
    CallJournal,
    Housekeeper,
    Lane,
    Leases,
    Ledger,
    LedgerStore,
    Reaper,
    Recovery,
)
from omni_grpc.billing.budgets import BudgetStore, BudgetWatch
from omni_grpc.core.clock import Clock
from omni_grpc.metrics import Metrics
from omni_grpc.settings import Settings
from omni_grpc.storage import Connection, Database, connect


@dataclass(frozen=True, slots=True)
class Books:
    """A worker's share of the ledger. `lane` runs first, and closes when nothing settles more."""

    ledger: Ledger
    lane: Lane
    journal: CallJournal
    store: LedgerStore
    leases: Leases
    reaper: Reaper
    housekeeper: Housekeeper
    recovery: Recovery
    budgets: BudgetWatch

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What runs in each worker, for ever, beside the lane."""
        return [
            self.leases.run(),
            self.reaper.run(),
            self.housekeeper.run(),
            self.journal.run(),
            self.recovery.run(),
            self.budgets.run(),
        ]


def books_of(settings: Settings, database: Database, metrics: Metrics, clock: Clock) -> Books:
    """The ledger of a worker.

    Raises:
        ValueError: the settings name no database or no folder for the journal.
    """
    if settings.database_url is None or settings.journal_dir is None:
        raise ValueError("the ledger needs a database_url and a journal_dir")
    url = settings.database_url.get_secret_value()

    async def lane_connection() -> Connection:
        return await connect(url, application_name="omni-grpc ledger")

    journal = CallJournal(settings.journal_dir, clock)
    lane = Lane(lane_connection, clock, metrics, journal, lease_s=settings.hold_lease_s)
    leases = Leases(lane, clock)
    store = LedgerStore(database)
    return Books(
        ledger=Ledger(
            lane=lane,
            leases=leases,
            journal=journal,
            store=store,
            clock=clock,
            markup_ppm=settings.markup_ppm,
        ),
        lane=lane,
        journal=journal,
        store=store,
        leases=leases,
        reaper=Reaper(lane, store, clock, unresolved_hours=settings.unresolved_hours),
        housekeeper=Housekeeper(lane, store),
        recovery=Recovery(settings.journal_dir, lane, store, journal, metrics),
        budgets=BudgetWatch(BudgetStore(database), lane),
    )
