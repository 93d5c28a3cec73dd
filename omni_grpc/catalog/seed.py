"""Fills the catalog from facts that need no network, and brings it up to date with newer ones."""

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog

from omni_grpc.catalog.changes import Changes, SeedReport, report
from omni_grpc.catalog.decision import Brought, NewWord, Rules, State, decide, digest_of
from omni_grpc.catalog.difference import SEED
from omni_grpc.catalog.facts import OfferFacts, fault_of
from omni_grpc.catalog.sources.store import SourceStore
from omni_grpc.core.limits import CATALOG_PRICE_CHANGE_MAX_PPM
from omni_grpc.storage import Database

SYSTEM: Final = "system"

log = structlog.get_logger(__name__)


async def seed(
    database: Database, facts: Sequence[OfferFacts], *, source: str = SEED, actor: str = SYSTEM
) -> SeedReport:
    """Make what a source says of offers what its facts say, in one transaction.

    Facts that agree with the catalog change nothing. A changed price becomes a new version; an
    offer that no source lists any more is marked, never deleted; what more trusted sources and
    the operator say is left alone. Any number of processes may seed at once.

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
    twice = [name for name, count in Counter(one.id for one in facts).items() if count > 1]
    if twice:
        raise ValueError(f"{source} lists offers twice: {', '.join(twice)}")
    began_s = time.monotonic()
    found = await _bring(database, facts, source, actor)
    log.info(
        "catalog_seeded",
        source=source,
        version=found.version,
        offers=found.offers,
        priced=found.priced,
        changes=found.changes,
        duration_ms=round(1e3 * (time.monotonic() - began_s)),
    )
    return found


async def _bring(
    database: Database, facts: Sequence[OfferFacts], source: str, actor: str
) -> SeedReport:
    store = SourceStore(database)
    digest = await asyncio.to_thread(digest_of, sorted(facts, key=lambda one: one.id))
    version = await store.version_if(source, digest)
    if version is not None:
        return report(version, facts, Changes())
    word = NewWord(source=source, facts={one.id: one for one in facts}, digest=digest)
    # A release is believed as it is: whoever installed it has accepted its prices.
    rules = Rules(price_change_max_ppm=CATALOG_PRICE_CHANGE_MAX_PPM, accepted=frozenset({source}))
    at = dt.datetime.now(dt.UTC)
    changes = Changes()

    async def chosen(state: State) -> Brought:
        nonlocal changes
        decision = await asyncio.to_thread(decide, state, (word,), rules, at)
        changes = decision.brought.changes
        return decision.brought

    version = await store.bring(chosen, actor=actor)
    return report(version, facts, changes)
