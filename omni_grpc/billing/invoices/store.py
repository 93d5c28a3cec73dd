"""An invoice in a table of the session's own, and our records beside it, slice by slice.

The session is in autocommit mode: no statement runs long, and none holds back the vacuum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from psycopg.rows import args_row

from omni_grpc.billing.invoices.model import Billed, InvoiceRow
from omni_grpc.core.usage import Usage, usage_of
from omni_grpc.storage import Connection

_CREATE: Final = """
CREATE TEMPORARY TABLE invoice_row (
  n bigint PRIMARY KEY, id text NOT NULL, model text NOT NULL, time timestamptz,
  prompt bigint, completion bigint, cost numeric, seen boolean NOT NULL DEFAULT false)
"""
_COPY: Final = "COPY invoice_row (n, id, model, time, prompt, completion, cost) FROM STDIN"
_INDEX: Final = "CREATE INDEX ON invoice_row (id)"
_TIMES: Final = "SELECT min(time), max(time), count(*), coalesce(sum(cost), 0) FROM invoice_row"
_SLICE_END: Final = """
SELECT max(hold_id::text)::uuid FROM (
  SELECT hold_id FROM usage_record WHERE hold_id > %s AND hold_id <= %s
   ORDER BY hold_id LIMIT %s) slice
"""
_SLICE: Final = """
SELECT u.hold_id, u.provider_ref, u.model, u.price_version, u.prompt, u.cached_read, u.cached_write,
       u.prompt_audio, u.completion, u.reasoning, u.completion_audio, u.rare_counts,
       array_agg(r.n ORDER BY r.n) FILTER (WHERE r.n IS NOT NULL)
  FROM usage_record u LEFT JOIN invoice_row r ON r.id = u.provider_ref
 WHERE u.hold_id > %s AND u.hold_id <= %s AND starts_with(u.model, %s)
   -- What was called with a caller's own credential is billed to that caller.
   AND NOT EXISTS (SELECT FROM own_attempt o WHERE o.hold_id = u.hold_id)
 GROUP BY u.hold_id ORDER BY u.hold_id
"""
_ROW_COLUMNS: Final = "n, id, model, time, prompt, completion, cost"
_ROWS: Final = f"SELECT {_ROW_COLUMNS} FROM invoice_row WHERE n = ANY (%s) ORDER BY n"  # noqa: S608 - columns of ours
_MARK: Final = "UPDATE invoice_row SET seen = true WHERE n = ANY (%s)"
_UNSEEN: Final = f"""
SELECT {_ROW_COLUMNS} FROM invoice_row WHERE NOT seen AND n > %s ORDER BY n LIMIT %s
"""  # noqa: S608 - columns of ours
_UNRESOLVED: Final = """
SELECT h.id, array_agg(r.n ORDER BY r.n) FROM hold h JOIN invoice_row r ON r.id = h.provider_ref
 WHERE h.state = 'U' AND h.credential = 'house' AND starts_with(h.model, %s)
 GROUP BY h.id ORDER BY h.id
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One of our attempts that ended, and the numbers of the invoice's rows with its id."""

    hold_id: UUID
    id: str | None
    model: str
    price_version: int
    usage: Usage
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the table has: how many rows, of which times, costing how many nano-USD."""

    rows: int
    first: datetime | None
    last: datetime | None
    cost: Decimal


class InvoiceStore:
    """One invoice on one connection, which forgets it when it is closed."""

    def __init__(self, connection: Connection, slice_rows: int = 2_000) -> None:
        self._connection = connection
        self._slice_rows = slice_rows

    async def create(self) -> None:
        """Makes the table. Once, first."""
        await self._connection.execute(_CREATE)

    async def add(self, rows: Sequence[InvoiceRow]) -> None:
        """Puts rows into it: some thousands at a time."""
        async with self._connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                billed = row.billed
                await copy.write_row(
                    (
                        row.number,
                        row.id,
                        row.model,
                        row.time,
                        billed.prompt,
                        billed.completion,
                        billed.cost,
                    )
                )

    async def loaded(self) -> Loaded:
        """Called after the last row: readies the table, and tells what it has."""
        await self._connection.execute(_INDEX)
        await self._connection.execute("ANALYZE invoice_row")
        cursor = await self._connection.execute(_TIMES)
        row = await cursor.fetchone()
        first, last, count, cost = row or (None, None, 0, Decimal(0))
        return Loaded(rows=count, first=first, last=last, cost=Decimal(cost))

    async def slice_end(self, after: UUID, upto: UUID) -> UUID | None:
        """The last of the next records after `after`, up to `upto`; None where there is none."""
        cursor = await self._connection.execute(_SLICE_END, [after, upto, self._slice_rows])
        row = await cursor.fetchone()
        return None if row is None else row[0]

    async def records(self, after: UUID, upto: UUID, provider: str) -> list[Record]:
        """Our records of a provider after `after`, up to `upto`, in their order."""
        cursor = await self._connection.execute(_SLICE, [after, upto, f"{provider}/"])
        return [
            Record(
                hold_id=row[0],
                id=row[1],
                model=row[2],
                price_version=row[3],
                usage=usage_of(row[4:11], row[11]),
                rows=tuple(row[12] or ()),
            )
            for row in await cursor.fetchall()
        ]

    async def unresolved(self, provider: str) -> list[tuple[UUID, tuple[int, ...]]]:
        """Attempts that wait to be resolved, each with the rows that have its id."""
        cursor = await self._connection.execute(_UNRESOLVED, [f"{provider}/"])
        return [(row[0], tuple(row[1])) for row in await cursor.fetchall()]

    async def rows(self, numbers: Sequence[int]) -> dict[int, InvoiceRow]:
        """Rows by their numbers."""
        async with self._connection.cursor(row_factory=args_row(_row)) as cursor:
            await cursor.execute(_ROWS, [list(numbers)])
            return {row.number: row for row in await cursor.fetchall()}

    async def mark(self, numbers: Sequence[int]) -> None:
        """Notes that these rows have their record here."""
        await self._connection.execute(_MARK, [list(numbers)])

    async def unseen(self, after: int) -> list[InvoiceRow]:
        """The next rows after number `after` that were never marked."""
        async with self._connection.cursor(row_factory=args_row(_row)) as cursor:
            await cursor.execute(_UNSEEN, [after, self._slice_rows])
            return await cursor.fetchall()


def _row(
    number: int,
    row_id: str,
    model: str,
    time: datetime | None,
    prompt: int | None,
    completion: int | None,
    cost: Decimal | None,
) -> InvoiceRow:
    return InvoiceRow(number, row_id, model, time, Billed(prompt, completion, cost))
