"""The SQL of statements. An entry's place in its wallet's order says which month it is of.

Entries are numbered under the wallet's lock, without gaps and for ever: what lies between two
numbers never changes, and adds up to the difference of their balances.
"""

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from psycopg.rows import kwargs_row, tuple_row

from omni_grpc.billing.model import EntryKind
from omni_grpc.billing.statements.model import Booked, Bounds, Charged, Month
from omni_grpc.core.errors import Internal
from omni_grpc.core.ids import AccountId
from omni_grpc.storage import Connection, Database

JITTER_ENTRIES: Final = 2_000
"""How far the order of times may differ from that of entries: more than one batch has."""

ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

NO_JIT: Final = "SET LOCAL jit = off"
"""Compiling would take longer than a slice."""

# Entries are in the order of their times but for what one batch wrote, so the last one before a
# moment is found by halving; then exactly, among its neighbours.
_LAST_BEFORE: Final = """
WITH RECURSIVE s (low, high) AS (
  SELECT 0::bigint, entry_count FROM account WHERE id = %(wallet)s
  UNION ALL
  SELECT CASE WHEN p.create_time < %(moment)s THEN m.middle ELSE s.low END,
         CASE WHEN p.create_time < %(moment)s THEN s.high ELSE m.middle - 1 END
  FROM s
  CROSS JOIN LATERAL (SELECT (s.low + s.high + 1) / 2 AS middle) m
  CROSS JOIN LATERAL (SELECT create_time FROM posting
                      WHERE wallet = %(wallet)s AND entry = m.middle OFFSET 0) p
  WHERE s.low < s.high
), near AS (SELECT low FROM s WHERE low >= high)
SELECT p.entry, p.balance_after, true
FROM near CROSS JOIN LATERAL (
  SELECT entry, balance_after FROM posting
  WHERE wallet = %(wallet)s AND create_time < %(moment)s
    AND entry BETWEEN near.low - %(jitter)s AND near.low + %(jitter)s
  ORDER BY entry DESC LIMIT 1) p
UNION ALL SELECT 0, 0, true FROM near
ORDER BY 1 DESC LIMIT 1
"""
_NOW: Final = "SELECT clock_timestamp()"
_CHARGES: Final = """
SELECT (p.create_time AT TIME ZONE 'UTC')::date AS day, coalesce(u.model, '') AS model, u.key_id,
       count(*) AS count, sum(p.amount) AS amount
FROM posting p LEFT JOIN usage_record u ON u.hold_id = p.id
WHERE p.wallet = %s AND p.entry > %s AND p.entry <= %s AND p.kind = 'S'
GROUP BY 1, 2, 3
"""
_REST: Final = """
SELECT (create_time AT TIME ZONE 'UTC')::date AS day, kind::text, amount,
       coalesce(reference, '') AS reference, entry AS position
FROM posting
WHERE wallet = %s AND entry > %s AND entry <= %s AND kind <> 'S' ORDER BY entry
"""
_KEYS: Final = """
SELECT k.id, 'orgs/' || o.slug || '/apiKeys/' || k.prefix
FROM api_key k JOIN org o ON o.id = k.org_id WHERE k.id = ANY (%(ids)s)
UNION ALL
SELECT -u.id, 'orgs/' || o.slug || '/users/' || u.code
FROM org_user u JOIN org o ON o.id = u.org_id WHERE -u.id = ANY (%(ids)s)
"""


class StatementStore:
    """What statements are made of. Every method raises LedgerUnavailable without a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bounds(self, account_id: AccountId, month: Month) -> Bounds:
        """Which entries are a month's, and the balances before and after them."""

        async def work(connection: Connection) -> Bounds:
            await connection.execute(ONE_SNAPSHOT)
            first, opening = await _last_before(connection, account_id, month.start)
            last, closing = await _last_before(connection, account_id, month.end)
            now = connection.cursor(row_factory=tuple_row)
            found = await (await now.execute(_NOW)).fetchone()
            if found is None:
                raise TypeError("the database tells no time")
            return Bounds(
                first=first, last=last, opening=opening, closing=closing, read_time=found[0]
            )

        return await self._database.transaction(work)

    async def charges(self, account_id: AccountId, after: int, upto: int) -> list[Charged]:
        """Charges of entries above `after` and up to `upto`, together by day, model and key."""

        async def work(connection: Connection) -> list[Charged]:
            await connection.execute(NO_JIT)
            cursor = connection.cursor(row_factory=kwargs_row(_charged))
            return await (await cursor.execute(_CHARGES, (account_id, after, upto))).fetchall()

        return await self._database.transaction(work)

    async def booked(self, account_id: AccountId, after: int, upto: int) -> list[Booked]:
        """Entries above `after` and up to `upto` that are no charges."""
        return await self._database.fetch_all(
            _REST, (account_id, after, upto), row=kwargs_row(_booked)
        )

    async def key_names(self, ids: Collection[int]) -> dict[int, str]:
        """Keys and users by their numbers in the books."""
        rows = await self._database.fetch_all(_KEYS, {"ids": list(ids)}, row=tuple_row)
        return dict(rows)


async def _last_before(
    connection: Connection, account_id: AccountId, moment: datetime
) -> tuple[int, int]:
    cursor = connection.cursor(row_factory=tuple_row)
    found = await (
        await cursor.execute(
            _LAST_BEFORE, {"wallet": account_id, "moment": moment, "jitter": JITTER_ENTRIES}
        )
    ).fetchone()
    if found is None:
        raise Internal("The account's entries have a gap; the operator finds it with `doctor`.")
    return found[0], found[1]


def _charged(*, day: date, model: str, key_id: int | None, count: int, amount: Decimal) -> Charged:
    return Charged(day=day, model=model, key_id=key_id, count=count, amount=int(amount))


def _booked(*, day: date, kind: str, amount: int, reference: str, position: int) -> Booked:
    return Booked(
        day=day, kind=EntryKind(kind), amount=amount, reference=reference, position=position
    )
