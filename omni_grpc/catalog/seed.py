"""Fills the catalog from facts that need no network, and brings it up to date with newer ones."""

import time
from collections.abc import Sequence
from typing import Final

import structlog

from omni_grpc.catalog.changes import SeedReport
from omni_grpc.catalog.facts import OfferFacts, fault_of
from omni_grpc.catalog.store import CatalogStore
from omni_grpc.storage import Database

SEED: Final = "seed"
SYSTEM: Final = "system"

log = structlog.get_logger(__name__)


async def seed(
    database: Database, facts: Sequence[OfferFacts], *, source: str = SEED, actor: str = SYSTEM
) -> SeedReport:
    """Make the offers of a source what its facts say, in one transaction.

    Facts that agree with the catalog change nothing. A changed price becomes a new version; an
    offer that the facts do not list any more is marked, never deleted; offers of other sources
    and the operator's switches are left alone. Any number of processes may seed at once.

    Args:
        database: where the catalog is.
        facts: all offers of the source: the packages' and the simulator's together.
        source: whose facts these are.
        actor: who asked for it, for the record of changes.

    Raises:
        LedgerUnavailable: the database does not answer; the catalog stays as it was.
        ValueError: the facts list one offer twice, or one that the catalog cannot take.
    """
    faults = [fault for fault in map(fault_of, facts) if fault]
    if faults:
        raise ValueError(f"{source} has facts that cannot be: {'; '.join(faults)}")
    began_s = time.monotonic()
    report = await CatalogStore(database).apply(facts, source=source, actor=actor)
    log.info(
        "catalog_seeded",
        source=source,
        version=report.version,
        offers=report.offers,
        priced=report.priced,
        changes=report.changes,
        duration_ms=round(1e3 * (time.monotonic() - began_s)),
    )
    return report
