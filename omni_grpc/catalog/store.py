"""The SQL of offers, price versions and aliases.

Every write happens in one transaction that begins by locking the one row of `catalog_state` and,
if anything changed, ends by raising its version (`writing`). Every method raises LedgerUnavailable
while the database does not answer.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec
from psycopg.rows import args_row, scalar_row

from omni_grpc.catalog.aliases import check_alias, subject_of
from omni_grpc.catalog.benchmarks import Score
from omni_grpc.catalog.changes import ALIAS, Change
from omni_grpc.catalog.model import GLOBAL_SCOPE, Alias, Offer
from omni_grpc.catalog.operator_store import (
    aliases_of,
    set_file,
    set_words,
    words_of,
)
from omni_grpc.catalog.rows import OfferReader, PriceReader, etag_of
from omni_grpc.catalog.words import FILE, LAYER_NAMES, Expanded, Rule, Words
from omni_grpc.catalog.writing import (
    OPERATOR,
    VERSION,
    Audit,
    each,
    lock,
    raise_version,
    record,
    scalar,
    unaudited,
)
from omni_grpc.core.errors import EtagMismatch, FieldInvalid, NotFound
from omni_grpc.core.likeness import did_you_mean
from omni_grpc.core.money import Price
from omni_grpc.storage import Connection, Database

ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

CURRENT_OFFERS: Final = """
SELECT id, provider, model, provider_model, display_name, mode,
       context_tokens_max, prompt_tokens_max, output_tokens_max,
       input_modalities, output_modalities, tools, structured_output, reasoning, temperature,
       free, deprecated OR delist_time IS NOT NULL, by_name_only, release_date,
       price_version, unpriced_reason, own_price_version, hold_price_version,
       regions, deprecation_date, source
FROM offer
"""
CURRENT_OFFER: Final = CURRENT_OFFERS + "WHERE id = %s"
HOLDING_RATES: Final = """
SELECT r.price_version, r.unit, r.prompt_tokens_min, r.nanousd_per_mtok
FROM offer o CROSS JOIN LATERAL (
  VALUES (coalesce(o.own_price_version, o.price_version)), (o.hold_price_version)
) AS v (version) JOIN price_rate r ON r.price_version = v.version
"""
HOLDING_RATES_OF_OFFER: Final = HOLDING_RATES + "WHERE o.id = %s"
ORIGINS_OF_OFFER: Final = "SELECT origins FROM offer WHERE id = %s"
BENCHMARK_SCORES: Final = """
SELECT model, benchmark, score::float8, source, score_date FROM benchmark_score
"""
RATES_OF_VERSIONS: Final = """
SELECT price_version, unit, prompt_tokens_min, nanousd_per_mtok
FROM price_rate WHERE price_version = ANY(%s)
"""

SET_ALIAS: Final = """
INSERT INTO alias (scope, name, targets) VALUES (%s, %s, %s)
ON CONFLICT (scope, name, layer) DO UPDATE
SET targets = excluded.targets, update_time = clock_timestamp()
"""
DELETE_ALIAS: Final = """
DELETE FROM alias WHERE scope = %s AND name = %s AND layer = 'call' RETURNING targets
"""


class CatalogContent(msgspec.Struct, frozen=True):
    """Everything that a snapshot is made of, at one version."""

    version: int
    offers: tuple[Offer, ...]
    aliases: tuple[Alias, ...]
    words: Expanded
    scores: tuple[Score, ...]
    day: dt.date
    """What was taken for today, in UTC."""


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
            await each(connection, HOLDING_RATES, prices.add)
            words = await words_of(connection)
            day = today()
            reader = OfferReader(prices.prices(), words, day)
            offers: list[Offer] = []
            await each(connection, CURRENT_OFFERS, lambda *row: offers.append(reader.offer(*row)))
            aliases = tuple(alias for alias, _ in await aliases_of(connection))
            scores = await _scores(connection)
            return CatalogContent(version, tuple(offers), aliases, words, scores, day)

        return await self._database.transaction(work)

    async def prices(self, versions: Sequence[int]) -> dict[int, Price]:
        """Price versions, current or not; what does not exist is left out."""
        reader = PriceReader()
        await self._database.fetch_all(
            RATES_OF_VERSIONS, (list(versions),), row=args_row(reader.add)
        )
        return reader.prices()

    async def origins(self, offer_id: str) -> dict[str, str]:
        """The sources of an offer's facts, by field; what is not named is of the offer's own."""
        found = await self._database.fetch_one(ORIGINS_OF_OFFER, (offer_id,), row=scalar_row)
        return {field: str(source) for field, source in (found or {}).items()}

    async def aliases(self) -> tuple[Alias, ...]:
        """Every alias of every scope, ordered by scope and name; the winning one comes later."""
        held = await self._database.transaction(aliases_of)
        return tuple(alias for alias, _ in held)

    async def set_alias(self, alias: Alias, *, actor: str, audit: Audit = unaudited) -> None:
        """Make an alias, or change it.

        Raises:
            FieldInvalid: it is malformed, reserved, would mean itself, or models.yaml sets it.
        """

        async def work(connection: Connection) -> None:
            await lock(connection)
            held = await aliases_of(connection)
            _refuse_alias_of_file(held, alias.scope, alias.name)
            place = (alias.scope, alias.name)
            others = [one for one, _ in held if (one.scope, one.name) != place]
            old = next((one.targets for one, _ in held if (one.scope, one.name) == place), None)
            check_alias(alias, others)
            if old == alias.targets:
                return
            await connection.execute(SET_ALIAS, (*place, list(alias.targets)))
            subject = subject_of(*place)
            change = Change(subject, ALIAS, _targets(old), _targets(alias.targets))
            await record(connection, (change,), OPERATOR, actor)
            await raise_version(connection)
            before = None if old is None else msgspec.structs.replace(alias, targets=old)
            await audit(connection, before, alias)

        await self._database.transaction(work)

    async def delete_alias(
        self,
        name: str,
        *,
        actor: str,
        scope: str = GLOBAL_SCOPE,
        audit: Audit = unaudited,
    ) -> None:
        """Take an alias away.

        Raises:
            NotFound: there is no such alias.
            FieldInvalid: models.yaml sets it.
        """

        async def work(connection: Connection) -> None:
            await lock(connection)
            held = await aliases_of(connection)
            _refuse_alias_of_file(held, scope, name)
            cursor = connection.cursor(row_factory=scalar_row)
            old = await (await cursor.execute(DELETE_ALIAS, (scope, name))).fetchone()
            if old is None:
                others = [alias.name for alias, _ in held if alias.scope == scope]
                raise NotFound(
                    f"There is no alias {name!r} in {scope}.{did_you_mean(name, others)} "
                    f"ListAliases and `omni-grpc catalog alias list --scope {scope}` show what "
                    "there is."
                )
            change = Change(subject_of(scope, name), ALIAS, _targets(old), None)
            await record(connection, (change,), OPERATOR, actor)
            await raise_version(connection)
            gone = Alias(name=name, scope=scope, targets=tuple(old))
            await audit(connection, gone, None)

        await self._database.transaction(work)

    async def set_file(
        self, rules: Sequence[Rule], aliases: Sequence[Alias], *, actor: str
    ) -> bool:
        """Make what models.yaml says hold, whole or not at all; returns whether it was news.

        Raises:
            FieldInvalid: an alias would mean itself, or a replacement lead back to its model.
        """

        async def work(connection: Connection) -> bool:
            await lock(connection)
            changed = await set_file(connection, rules, aliases, actor=actor)
            if changed:
                await raise_version(connection)
            return changed

        return await self._database.transaction(work)

    async def set_words(
        self,
        offer_id: str,
        words: Words,
        fields: Collection[str],
        *,
        etag: str,
        actor: str,
        audit: Audit = unaudited,
    ) -> None:
        """Say something of an offer, in some fields; one that `words` leave out is taken back.

        Args:
            offer_id: the offer.
            words: what to say.
            fields: which of `words.OFFER_FIELDS` to change.
            etag: what the caller saw, `etag_of` an offer; empty changes it whatever it is.
            actor: who asked for it, for the record of changes.
            audit: is told what was said of it before and after.

        Raises:
            NotFound: there is no such offer.
            EtagMismatch: it is not what the caller saw.
            FieldInvalid: models.yaml speaks of such a field, or a replacement would lead back.
        """

        async def work(connection: Connection) -> None:
            await lock(connection)
            offer = await _offer(connection, offer_id)
            if offer is None:
                raise NotFound(f"There is no model {offer_id!r} any more.")
            if etag and etag != etag_of(offer):
                raise EtagMismatch(
                    f"{offer_id} was changed since you read it. Read it again, and decide anew.",
                    field="etag",
                )
            said = await set_words(connection, offer_id, words, fields, actor=actor)
            if said is not None:
                await raise_version(connection)
                await audit(connection, *said)

        await self._database.transaction(work)


async def _offer(connection: Connection, offer_id: str) -> Offer | None:
    """One offer as a snapshot would have it."""
    prices = PriceReader()
    cursor = connection.cursor(row_factory=args_row(prices.add))
    await (await cursor.execute(HOLDING_RATES_OF_OFFER, (offer_id,))).fetchall()
    reader = OfferReader(prices.prices(), await words_of(connection), today())
    found = connection.cursor(row_factory=args_row(reader.offer))
    return await (await found.execute(CURRENT_OFFER, (offer_id,))).fetchone()


async def _scores(connection: Connection) -> tuple[Score, ...]:
    def read(model: str, benchmark: str, score: float, source: str, date: dt.date | None) -> Score:
        return Score(model=model, benchmark=benchmark, score=score, source=source, date=date)

    cursor = connection.cursor(row_factory=args_row(read))
    return tuple(await (await cursor.execute(BENCHMARK_SCORES)).fetchall())


def _refuse_alias_of_file(held: Iterable[tuple[Alias, str]], scope: str, name: str) -> None:
    if any((one.scope, one.name, layer) == (scope, name, FILE) for one, layer in held):
        raise FieldInvalid(
            f"{LAYER_NAMES[FILE]} sets the alias {name!r} of {scope}, and it goes before calls. "
            "Change it there.",
            field="name",
        )


def today() -> dt.date:
    """The date in UTC, by which a model is deprecated or not yet."""
    return dt.datetime.now(dt.UTC).date()


def _targets(targets: Sequence[str] | None) -> str | None:
    return None if targets is None else ", ".join(targets)
