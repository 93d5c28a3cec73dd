"""All SQL of the catalog.

Every write happens in one transaction that begins by locking the one row of `catalog_state` and,
if anything changed, ends by raising its version (`writing`). Every method raises LedgerUnavailable
while the database does not answer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from psycopg.rows import args_row, scalar_row

from omni_grpc.catalog.aliases import check_alias
from omni_grpc.catalog.changes import (
    ALIAS,
    Change,
    Changes,
    SeedReport,
    StoredOffer,
    Value,
    changes_between,
    fact_values,
    report,
)
from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.model import GLOBAL_SCOPE, Alias, Offer
from omni_grpc.catalog.rows import OfferReader, PriceReader
from omni_grpc.catalog.writing import (
    OPERATOR,
    VERSION,
    add_prices,
    copy,
    each,
    lock,
    raise_version,
    record,
    scalar,
)
from omni_grpc.core.errors import NotFound
from omni_grpc.core.money import Price
from omni_grpc.storage import Connection, Database

ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
STORED_OFFERS: Final = """
SELECT id, source, delist_time IS NULL, price_version,
       model, display_name, mode, context_tokens_max, prompt_tokens_max, output_tokens_max,
       input_modalities, output_modalities, tools, structured_output, reasoning, temperature,
       free, deprecated, by_name_only, release_date, unpriced_reason
FROM offer
"""
COPY_OFFERS: Final = """
COPY offer (id, provider, provider_model, source, price_version,
            model, display_name, mode, context_tokens_max, prompt_tokens_max, output_tokens_max,
            input_modalities, output_modalities, tools, structured_output, reasoning, temperature,
            free, deprecated, by_name_only, release_date, unpriced_reason)
FROM STDIN
"""
UPDATE_OFFER: Final = """
UPDATE offer SET price_version = %s,
       model = %s, display_name = %s, mode = %s, context_tokens_max = %s, prompt_tokens_max = %s,
       output_tokens_max = %s, input_modalities = %s, output_modalities = %s, tools = %s,
       structured_output = %s, reasoning = %s, temperature = %s, free = %s, deprecated = %s,
       by_name_only = %s, release_date = %s, unpriced_reason = %s, update_time = clock_timestamp()
WHERE id = %s
"""
DELIST: Final = "UPDATE offer SET delist_time = clock_timestamp() WHERE id = ANY(%s)"
RELIST: Final = "UPDATE offer SET delist_time = NULL WHERE id = ANY(%s)"

CURRENT_OFFERS: Final = """
SELECT id, provider, model, provider_model, display_name, mode,
       context_tokens_max, prompt_tokens_max, output_tokens_max,
       input_modalities, output_modalities, tools, structured_output, reasoning, temperature,
       free, deprecated OR delist_time IS NOT NULL, by_name_only, enabled, release_date,
       price_version, unpriced_reason
FROM offer
"""
CURRENT_RATES: Final = """
SELECT r.price_version, r.unit, r.prompt_tokens_min, r.nanousd_per_mtok
FROM offer o JOIN price_rate r ON r.price_version = o.price_version
"""
RATES_OF_VERSIONS: Final = """
SELECT price_version, unit, prompt_tokens_min, nanousd_per_mtok
FROM price_rate WHERE price_version = ANY(%s)
"""

ALIASES: Final = "SELECT scope, name, targets FROM alias ORDER BY scope, name"
SET_ALIAS: Final = """
INSERT INTO alias (scope, name, targets) VALUES (%s, %s, %s)
ON CONFLICT (scope, name) DO UPDATE
SET targets = excluded.targets, update_time = clock_timestamp()
"""
DELETE_ALIAS: Final = "DELETE FROM alias WHERE scope = %s AND name = %s RETURNING targets"


class CatalogContent(msgspec.Struct, frozen=True):
    """Everything that a snapshot is made of, at one version."""

    version: int
    offers: tuple[Offer, ...]
    aliases: tuple[Alias, ...]


class CatalogStore:
    """The catalog in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """The catalog's version now."""
        found = await self._database.fetch_one(VERSION, row=scalar_row)
        return int(found or 0)

    async def read(self) -> CatalogContent:
        """The whole catalog at one version, decoded in slices so that other tasks have turns."""

        async def work(connection: Connection) -> CatalogContent:
            await connection.execute(ONE_SNAPSHOT)
            version = await scalar(connection, VERSION)
            prices = PriceReader()
            await each(connection, CURRENT_RATES, prices.add)
            reader = OfferReader(prices.prices())
            offers: list[Offer] = []
            await each(connection, CURRENT_OFFERS, lambda *row: offers.append(reader.offer(*row)))
            return CatalogContent(version, tuple(offers), await _aliases(connection))

        return await self._database.transaction(work)

    async def apply(self, facts: Sequence[OfferFacts], *, source: str, actor: str) -> SeedReport:
        """Make the offers of a source what its facts say; nothing is written if they agree.

        Raises:
            ValueError: the facts list one offer twice.
        """

        async def work(connection: Connection) -> SeedReport:
            version = await lock(connection)
            stored = await _stored_offers(connection)
            # Some 50 ms of CPU: the connection waits for it, the loop does not.
            changes = await asyncio.to_thread(changes_between, stored, facts, source)
            if changes.rows:
                await _write(connection, changes, stored, source)
                await record(connection, changes.rows, source, actor)
                version = await raise_version(connection)
            return report(version, facts, changes)

        return await self._database.transaction(work)

    async def prices(self, versions: Sequence[int]) -> dict[int, Price]:
        """Price versions, current or not; what does not exist is left out."""
        reader = PriceReader()
        await self._database.fetch_all(
            RATES_OF_VERSIONS, (list(versions),), row=args_row(reader.add)
        )
        return reader.prices()

    async def aliases(self) -> tuple[Alias, ...]:
        """Every alias of every scope, ordered by scope and name."""
        return await self._database.transaction(_aliases)

    async def set_alias(self, alias: Alias, *, actor: str) -> None:
        """Make an alias, or change it.

        Raises:
            FieldInvalid: it is malformed, reserved, or would mean itself.
        """

        async def work(connection: Connection) -> None:
            await lock(connection)
            others = {
                one.name: one.targets
                for one in await _aliases(connection)
                if one.scope == alias.scope
            }
            old = others.pop(alias.name, None)
            check_alias(alias.name, alias.targets, others)
            if old == alias.targets:
                return
            await connection.execute(SET_ALIAS, (alias.scope, alias.name, list(alias.targets)))
            change = Change(alias.name, ALIAS, _targets(old), _targets(alias.targets))
            await record(connection, (change,), OPERATOR, actor)
            await raise_version(connection)

        await self._database.transaction(work)

    async def delete_alias(self, name: str, *, actor: str, scope: str = GLOBAL_SCOPE) -> None:
        """Take an alias away.

        Raises:
            NotFound: there is no such alias.
        """

        async def work(connection: Connection) -> None:
            await lock(connection)
            cursor = connection.cursor(row_factory=scalar_row)
            old = await (await cursor.execute(DELETE_ALIAS, (scope, name))).fetchone()
            if old is None:
                raise NotFound(f"There is no alias {name!r}. Look at the list of aliases.")
            await record(connection, (Change(name, ALIAS, _targets(old), None),), OPERATOR, actor)
            await raise_version(connection)

        await self._database.transaction(work)


async def _aliases(connection: Connection) -> tuple[Alias, ...]:
    cursor = connection.cursor(row_factory=args_row(_alias))
    return tuple(await (await cursor.execute(ALIASES)).fetchall())


def _alias(scope: str, name: str, targets: list[str]) -> Alias:
    return Alias(scope=scope, name=name, targets=tuple(targets))


async def _stored_offers(connection: Connection) -> dict[str, StoredOffer]:
    prices = PriceReader()
    await each(connection, CURRENT_RATES, prices.add)
    stored: dict[str, StoredOffer] = {}

    def keep(
        offer_id: str, source: str, listed: bool, price_version: int | None, *values: Value
    ) -> None:
        stored[offer_id] = StoredOffer(
            values=values,
            price_version=price_version,
            rates=prices.rates(price_version),
            source=source,
            listed=listed,
        )

    await each(connection, STORED_OFFERS, keep)
    return stored


async def _write(
    connection: Connection, changes: Changes, stored: Mapping[str, StoredOffer], source: str
) -> None:
    priced = {one.id: one.quote.rates for one in (*changes.added, *changes.repriced)}
    versions = await add_prices(
        connection, {offer_id: rates for offer_id, rates in priced.items() if rates}, source
    )
    await copy(
        connection,
        COPY_OFFERS,
        (
            (
                one.id,
                one.provider,
                one.provider_model,
                source,
                versions.get(one.id),
                *fact_values(one),
            )
            for one in changes.added
        ),
    )
    repriced = {one.id for one in changes.repriced}
    await connection.cursor().executemany(
        UPDATE_OFFER,
        [
            (
                versions.get(one.id) if one.id in repriced else stored[one.id].price_version,
                *fact_values(one),
                one.id,
            )
            for one in changes.updated
        ],
    )
    await connection.execute(DELIST, (list(changes.delisted),))
    await connection.execute(RELIST, (list(changes.relisted),))


def _targets(targets: Sequence[str] | None) -> str | None:
    return None if targets is None else ", ".join(targets)
