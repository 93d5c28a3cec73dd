"""What every write of the catalog shares: its turn, new price versions, the record of changes.

For use inside one transaction that began with `lock` and ends, if anything changed, with
`raise_version`: writers take turns, and a reader sees a whole version or none of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, LiteralString, TypeAlias

import msgspec
from psycopg.rows import args_row, scalar_row

from omni_grpc.catalog.changes import Change
from omni_grpc.core.money import Rate
from omni_grpc.storage import Connection

ROWS_AT_ONCE: Final = 250
"""Rows decoded before other tasks have a turn: one to two milliseconds."""

OPERATOR: Final = "operator"
"""The source of what people set by hand, aliases first of all."""

VERSION: Final = "SELECT version FROM catalog_state"
# A first seed takes about a second; who waits for it must not give up sooner.
WAIT_LONGER: Final = "SET LOCAL lock_timeout = '4s'"
LOCK_VERSION: Final = "SELECT version FROM catalog_state FOR UPDATE"
RAISE_VERSION: Final = """
UPDATE catalog_state SET version = version + 1, update_time = clock_timestamp() RETURNING version
"""

NEXT_PRICE_VERSIONS: Final = """
SELECT nextval('price_version_id') FROM generate_series(1, %s)
"""
COPY_PRICE_VERSIONS: Final = "COPY price_version (id, offer, source) FROM STDIN"
COPY_RATES: Final = """
COPY price_rate (price_version, unit, prompt_tokens_min, nanousd_per_mtok) FROM STDIN
"""
COPY_CHANGES: Final = """
COPY model_change (subject, field, old_value, new_value, source, actor) FROM STDIN
"""


Audit: TypeAlias = Callable[
    [Connection, msgspec.Struct | None, msgspec.Struct | None], Awaitable[None]
]
"""Called last in the transaction that writes what somebody said, with what was said before and what
is said now, None for nothing: the audit log's entry."""


async def unaudited(_: Connection, __: msgspec.Struct | None, ___: msgspec.Struct | None) -> None:
    """For what no caller asked for: the record of changes has it."""


async def lock(connection: Connection) -> int:
    """Take the turn to write; returns the version as it is."""
    await connection.execute(WAIT_LONGER)
    return await scalar(connection, LOCK_VERSION)


async def raise_version(connection: Connection) -> int:
    """The version from now on: every worker will read the catalog again."""
    return await scalar(connection, RAISE_VERSION)


async def scalar(connection: Connection, statement: LiteralString) -> int:
    """The one number that a statement about `catalog_state` returns."""
    cursor = connection.cursor(row_factory=scalar_row)
    value = await (await cursor.execute(statement)).fetchone()
    if not isinstance(value, int):
        raise TypeError("the table catalog_state has lost its row")
    return value


async def each(connection: Connection, query: LiteralString, use: Callable[..., object]) -> None:
    """Call `use` with the columns of every row, a slice at a time."""
    cursor = connection.cursor(row_factory=args_row(use))
    await cursor.execute(query)
    while True:
        if not await cursor.fetchmany(ROWS_AT_ONCE):
            return
        await asyncio.sleep(0)


async def add_prices(
    connection: Connection, priced: Mapping[str, Sequence[Rate]], source: str
) -> dict[str, int]:
    """A new price version for each offer, by the offer's id.

    Args:
        connection: inside the transaction.
        priced: rates by the offer's id.
        source: whose prices these are.
    """
    cursor = connection.cursor(row_factory=scalar_row)
    ids = await (await cursor.execute(NEXT_PRICE_VERSIONS, (len(priced),))).fetchall()
    versions = {offer_id: int(version) for offer_id, version in zip(priced, ids, strict=True)}
    await copy(
        connection,
        COPY_PRICE_VERSIONS,
        ((version, offer_id, source) for offer_id, version in versions.items()),
    )
    await copy(
        connection,
        COPY_RATES,
        (
            (versions[offer_id], rate.unit.value, rate.prompt_tokens_min, rate.nanousd_per_mtok)
            for offer_id, rates in priced.items()
            for rate in rates
        ),
    )
    return versions


async def record(connection: Connection, rows: Iterable[Change], source: str, actor: str) -> None:
    """Write changes down for good: whose facts, and who asked."""
    await copy(
        connection,
        COPY_CHANGES,
        ((row.subject, row.field, row.old, row.new, source, actor) for row in rows),
    )


async def copy(
    connection: Connection, statement: LiteralString, rows: Iterable[Sequence[object]]
) -> None:
    """Send rows with COPY, a slice at a time."""
    async with connection.cursor().copy(statement) as sending:
        for number, row in enumerate(rows, start=1):
            await sending.write_row(row)
            if not number % ROWS_AT_ONCE:
                await asyncio.sleep(0)
