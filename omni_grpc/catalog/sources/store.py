"""All SQL of the catalog's sources: what each of them said last, and what is believed of it.

`bring` is one transaction that begins with its turn to write: the sources' new facts, the offers,
their price versions and the record of changes are written together, or nothing is.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from psycopg.rows import scalar_row

from omni_grpc.catalog.changes import (
    Changes,
    StoredOffer,
    Value,
    fact_values,
)
from omni_grpc.catalog.decision import Brought, Said, SourceState, State, encoded
from omni_grpc.catalog.difference import Merged
from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.model import Mode
from omni_grpc.catalog.operator_store import settle
from omni_grpc.catalog.rows import PriceReader
from omni_grpc.catalog.sources.fetch import Stamp
from omni_grpc.catalog.writing import (
    ROWS_AT_ONCE,
    VERSION,
    Audit,
    add_prices,
    copy,
    each,
    lock,
    raise_version,
    record,
    scalar,
    unaudited,
)
from omni_grpc.core.money import Rate
from omni_grpc.storage import Connection, Database

HOLD: Final = "dearest"
"""The source of price versions that holds are made at: the dearest of several."""

ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

SOURCES: Final = """
SELECT name, location, etag, last_modified, digest, offer_count, faults, failure, read_time,
       check_time
FROM catalog_source ORDER BY name
"""
SET_SOURCE: Final = """
INSERT INTO catalog_source
  (name, location, etag, last_modified, digest, offer_count, faults, failure, read_time, check_time)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET
  location = excluded.location, etag = excluded.etag, last_modified = excluded.last_modified,
  digest = excluded.digest, offer_count = excluded.offer_count, faults = excluded.faults,
  failure = excluded.failure, read_time = excluded.read_time, check_time = excluded.check_time
"""
SAID: Final = "SELECT source, offer, facts FROM source_offer"
FORGET_SAID: Final = "DELETE FROM source_offer WHERE source = %s AND offer = ANY(%s)"
COPY_SAID: Final = "COPY source_offer (source, offer, facts) FROM STDIN"

STORED_OFFERS: Final = """
SELECT id, source, origins, delist_time IS NULL, price_version, hold_price_version,
       model, display_name, mode, context_tokens_max, prompt_tokens_max, output_tokens_max,
       input_modalities, output_modalities, tools, structured_output, reasoning, temperature,
       deprecated, by_name_only, release_date, deprecation_date, regions, free, unpriced_reason
FROM offer
"""
# Of what an operator said, and of what holds were made at, no source's price is judged by.
LAST_RATES: Final = """
SELECT l.offer, r.price_version, r.unit, r.prompt_tokens_min, r.nanousd_per_mtok
FROM (SELECT o.id, max(v.id) FROM offer o JOIN price_version v ON v.offer = o.id
      WHERE o.price_version IS NULL AND v.source NOT IN ('dearest', 'operator', 'models.yaml')
      GROUP BY o.id) AS l (offer, version)
JOIN price_rate r ON r.price_version = l.version
"""
CURRENT_RATES: Final = """
SELECT r.price_version, r.unit, r.prompt_tokens_min, r.nanousd_per_mtok
FROM offer o JOIN price_rate r ON r.price_version = o.price_version
UNION ALL
SELECT r.price_version, r.unit, r.prompt_tokens_min, r.nanousd_per_mtok
FROM offer o JOIN price_rate r ON r.price_version = o.hold_price_version
"""
COPY_OFFERS: Final = """
COPY offer (id, provider, provider_model, source, origins, price_version, hold_price_version,
            model, display_name, mode, context_tokens_max, prompt_tokens_max, output_tokens_max,
            input_modalities, output_modalities, tools, structured_output, reasoning, temperature,
            deprecated, by_name_only, release_date, deprecation_date, regions, free,
            unpriced_reason)
FROM STDIN
"""
UPDATE_OFFER: Final = """
UPDATE offer SET source = %s, origins = %s, price_version = %s, hold_price_version = %s,
       model = %s, display_name = %s, mode = %s, context_tokens_max = %s, prompt_tokens_max = %s,
       output_tokens_max = %s, input_modalities = %s, output_modalities = %s, tools = %s,
       structured_output = %s, reasoning = %s, temperature = %s, deprecated = %s,
       by_name_only = %s, release_date = %s, deprecation_date = %s, regions = %s, free = %s,
       unpriced_reason = %s, update_time = clock_timestamp()
WHERE id = %s
"""
DELIST: Final = "UPDATE offer SET delist_time = clock_timestamp() WHERE id = ANY(%s)"
RELIST: Final = "UPDATE offer SET delist_time = NULL WHERE id = ANY(%s)"
VERSION_IF: Final = """
SELECT version FROM catalog_state, catalog_source WHERE name = %s AND digest = %s
"""
TAKE_TURN: Final = """
UPDATE catalog_schedule
SET holder = %s, lease_time = clock_timestamp() + make_interval(secs => %s)
WHERE due_time <= clock_timestamp() AND lease_time <= clock_timestamp()
RETURNING 1
"""
END_TURN: Final = """
UPDATE catalog_schedule
SET holder = '', lease_time = '-infinity',
    due_time = clock_timestamp() + make_interval(secs => %s)
WHERE holder = %s
RETURNING 1
"""
KNOWN: Final = "SELECT provider, provider_model, mode FROM offer"


class SourceStore:
    """The sources in PostgreSQL. Every method raises LedgerUnavailable while it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sources(self) -> dict[str, SourceState]:
        """Every source that was ever asked, by name."""
        return await self._database.transaction(_sources)

    async def known(self) -> list[tuple[str, str, Mode]]:
        """Provider, provider's name and mode of every offer."""
        found: list[tuple[str, str, Mode]] = []

        async def work(connection: Connection) -> None:
            found.clear()
            await each(connection, KNOWN, lambda p, name, mode: found.append((p, name, Mode(mode))))

        await self._database.transaction(work)
        return found

    async def view(self) -> State:
        """Everything at one version, to look at."""

        async def work(connection: Connection) -> State:
            await connection.execute(ONE_SNAPSHOT)
            return await _state(connection, await scalar(connection, VERSION))

        return await self._database.transaction(work)

    async def bring(
        self,
        decide: Callable[[State], Awaitable[Brought]],
        *,
        actor: str,
        write: bool = True,
        audit: Audit = unaudited,
    ) -> int:
        """Let `decide` look at everything, and write what it says; returns the version.

        Args:
            decide: runs inside the transaction, while no other can write.
            actor: who asked for it, for the record of changes.
            write: False writes nothing.
            audit: is told of what changed, where anything did.
        """

        async def work(connection: Connection) -> int:
            version = await lock(connection)
            state = await _state(connection, version)
            brought = await decide(state)
            if not write:
                return version
            for source in brought.sources:
                await _set_source(connection, source)
            for name, facts in brought.facts.items():
                await _keep(connection, name, state.said.get(name, {}), facts)
            written = await _write(connection, brought.changes, state, actor)
            if written != version:
                await audit(connection, None, _summary(written, brought.changes))
            return written

        return await self._database.transaction(work)

    async def take_turn(self, holder: str, lease_s: float) -> bool:
        """Take the next scheduled sync, if one is due and nobody has it."""
        found = await self._database.fetch_one(TAKE_TURN, (holder, lease_s), row=scalar_row)
        return found is not None

    async def end_turn(self, holder: str, next_in_s: float) -> None:
        """Give the turn back, and say when the next sync is due; nothing if it was lost."""
        await self._database.fetch_one(END_TURN, (next_in_s, holder), row=scalar_row)

    async def version_if(self, source: str, digest: str) -> int | None:
        """The catalog's version if a source's facts are already those of a digest; else None."""
        found = await self._database.fetch_one(VERSION_IF, (source, digest), row=scalar_row)
        return None if found is None else int(found)


class SyncSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync changed, in numbers of offers; the record of changes has each."""

    version: int
    added: int
    updated: int
    repriced: int
    delisted: int
    relisted: int


def _summary(version: int, changes: Changes) -> SyncSummary:
    return SyncSummary(
        version=version,
        added=len(changes.added),
        updated=len(changes.updated),
        repriced=len(changes.repriced),
        delisted=len(changes.delisted),
        relisted=len(changes.relisted),
    )


async def _write(connection: Connection, changes: Changes, state: State, actor: str) -> int:
    """Write what changes; returns the version from then on."""
    if not changes:
        return state.version
    await _write_offers(connection, changes, state.offers)
    for source, rows in changes.rows.items():
        await record(connection, rows, source, actor)
    await settle(connection, actor)
    return await raise_version(connection)


async def _sources(connection: Connection) -> dict[str, SourceState]:
    found: dict[str, SourceState] = {}

    def keep(  # noqa: PLR0917 # the columns of one row, in their order
        name: str,
        location: str,
        etag: str,
        last_modified: str,
        digest: str,
        offer_count: int,
        faults: list[str],
        failure: str,
        read_time: dt.datetime | None,
        check_time: dt.datetime,
    ) -> None:
        found[name] = SourceState(
            name=name,
            location=location,
            stamp=Stamp(etag, last_modified),
            digest=digest,
            offer_count=offer_count,
            faults=tuple(faults),
            failure=failure,
            read_time=read_time,
            check_time=check_time,
        )

    await each(connection, SOURCES, keep)
    return found


async def _set_source(connection: Connection, source: SourceState) -> None:
    await connection.execute(
        SET_SOURCE,
        (
            source.name,
            source.location,
            source.stamp.etag,
            source.stamp.last_modified,
            source.digest,
            source.offer_count,
            list(source.faults),
            source.failure,
            source.read_time,
        ),
    )


async def _state(connection: Connection, version: int) -> State:
    said: Said = {}
    decoder = msgspec.json.Decoder(OfferFacts)

    def keep(source: str, offer: str, facts: str) -> None:
        said.setdefault(source, {})[offer] = decoder.decode(facts)

    sources = await _sources(connection)
    await each(connection, SAID, keep)
    return State(
        version=version, sources=sources, said=said, offers=await _stored_offers(connection)
    )


async def _stored_offers(connection: Connection) -> dict[str, StoredOffer]:
    prices = PriceReader()
    await each(connection, CURRENT_RATES, prices.add)
    last: dict[str, int] = {}

    def keep_last(
        offer_id: str, version: int, unit: str, prompt_tokens_min: int, nanousd_per_mtok: int
    ) -> None:
        last[offer_id] = version
        prices.add(version, unit, prompt_tokens_min, nanousd_per_mtok)

    await each(connection, LAST_RATES, keep_last)
    stored: dict[str, StoredOffer] = {}

    def keep(  # the columns of one row, in their order
        offer_id: str,
        source: str,
        origins: dict[str, str],
        listed: bool,
        price_version: int | None,
        hold_price_version: int | None,
        *values: Value,
    ) -> None:
        stored[offer_id] = StoredOffer(
            values=values,
            price_version=price_version,
            rates=prices.rates(price_version),
            last_rates=prices.rates(last.get(offer_id)),
            hold_price_version=hold_price_version,
            hold_rates=prices.rates(hold_price_version),
            source=source,
            origins=origins,
            listed=listed,
        )

    await each(connection, STORED_OFFERS, keep)
    return stored


async def _keep(
    connection: Connection,
    source: str,
    old: Mapping[str, OfferFacts],
    new: Mapping[str, OfferFacts],
) -> None:
    """Make a source's word what it says now; only what differs is written."""
    changed = {offer: facts for offer, facts in new.items() if old.get(offer) != facts}
    gone = [offer for offer in old if offer not in new or offer in changed]
    await connection.execute(FORGET_SAID, (source, gone))
    await copy(
        connection,
        COPY_SAID,
        ((source, offer, encoded(facts).decode()) for offer, facts in changed.items()),
    )


async def _write_offers(
    connection: Connection, changes: Changes, stored: Mapping[str, StoredOffer]
) -> None:
    versions = await _new_prices(connection, (*changes.added, *changes.repriced))
    holds = await _new_holds(connection, (*changes.added, *changes.reheld))
    await copy(
        connection,
        COPY_OFFERS,
        (
            (
                one.facts.id,
                one.facts.provider,
                one.facts.provider_model,
                one.source,
                _json(one.origins),
                versions.get(one.facts.id),
                holds.get(one.facts.id),
                *fact_values(one.facts),
            )
            for one in changes.added
        ),
    )
    repriced = {one.facts.id for one in changes.repriced}
    reheld = {one.facts.id for one in changes.reheld}
    changed = {one.facts.id: one for one in (*changes.updated, *changes.repriced, *changes.reheld)}
    rows = [
        (
            one.source,
            _json(one.origins),
            versions.get(offer_id) if offer_id in repriced else stored[offer_id].price_version,
            holds.get(offer_id) if offer_id in reheld else stored[offer_id].hold_price_version,
            *fact_values(one.facts),
            offer_id,
        )
        for offer_id, one in changed.items()
    ]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        await connection.cursor().executemany(UPDATE_OFFER, rows[start : start + ROWS_AT_ONCE])
        await asyncio.sleep(0)
    await connection.execute(DELIST, (list(changes.delisted),))
    await connection.execute(RELIST, (list(changes.relisted),))


async def _new_prices(connection: Connection, priced: Iterable[Merged]) -> dict[str, int]:
    """A new price version for each that has a price, by the offer's id."""
    of_source: dict[str, dict[str, Sequence[Rate]]] = {}
    for one in priced:
        if one.facts.quote.rates:
            held = of_source.setdefault(one.price_source, {})
            held[one.facts.id] = one.facts.quote.rates
    versions: dict[str, int] = {}
    for source, rates in of_source.items():
        versions |= await add_prices(connection, rates, source)
    return versions


async def _new_holds(connection: Connection, held: Iterable[Merged]) -> dict[str, int]:
    """A new price version for each that holds are made dearer for, by the offer's id."""
    rates = {one.facts.id: one.hold_rates for one in held if one.hold_rates}
    return await add_prices(connection, rates, HOLD)


def _json(origins: Mapping[str, str]) -> str:
    return msgspec.json.encode(origins, order="deterministic").decode()
