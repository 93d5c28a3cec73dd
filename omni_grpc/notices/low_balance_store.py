"""Warnings of low balances: told once when available credits fall below an organisation's line.

It is told again only after they were above it. One of all workers looks, at a slow pace, over all
organisations in slices.
"""

import asyncio
from typing import Final

import msgspec
import structlog
from psycopg.rows import class_row, scalar_row

from omni_grpc.core.errors import OmniError
from omni_grpc.core.ids import OrgId
from omni_grpc.notices.store import enqueue
from omni_grpc.storage import Connection, Database

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 15.0
"""How often somebody looks."""

SLICE_ORGS: Final = 100_000
"""Organisations that one statement looks at: some 100 ms of the database."""

# Whoever moves the time on looks; the others see that it was moved.
_MY_TURN: Final = """
UPDATE low_balance_look SET look_time = clock_timestamp()
WHERE look_time < clock_timestamp() - make_interval(secs => %s)
RETURNING true
"""
_END_OF_SLICE: Final = """
SELECT max(id) FROM (SELECT id FROM org WHERE id > %s ORDER BY id LIMIT %s) s
"""
_NO_JIT: Final = "SET LOCAL jit = off"  # it would take longer than the look
_LOOK: Final = """
WITH seen AS MATERIALIZED (
  SELECT o.id AS org_id, o.slug, o.account_id, o.low_balance_nanousd AS line,
         a.credits_posted - a.debits_posted - a.debits_pending AS available,
         b.org_id IS NOT NULL AS told
  FROM org o
  JOIN account a ON a.id = o.account_id
  LEFT JOIN low_balance b ON b.org_id = o.id
  WHERE o.id > %(after)s AND o.id <= %(last)s
    AND (o.low_balance_nanousd IS NOT NULL OR b.org_id IS NOT NULL)
), over AS (
  DELETE FROM low_balance b USING seen s
  WHERE b.org_id = s.org_id AND s.told AND (s.line IS NULL OR s.available >= s.line)
), told AS (
  INSERT INTO low_balance (org_id, tell_time)
  SELECT org_id, clock_timestamp() FROM seen WHERE available < line AND NOT told
  ON CONFLICT DO NOTHING RETURNING org_id
)
SELECT s.org_id, s.slug, s.available, s.line FROM told JOIN seen s USING (org_id)
"""


class LowBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The data of `balance.low`."""

    account: str
    available_nanousd: int
    low_balance_nanousd: int


class LowRow(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation that is to be told."""

    org_id: OrgId
    slug: str
    available: int
    line: int


class LowBalanceWatch:
    """Looks for low balances; run `run()` as a task in every worker."""

    def __init__(self, database: Database, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._database = database
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            try:
                if await self.is_my_turn():
                    await self.look()
            except OmniError as error:  # the database is away; the next look finds what is low
                log.warning("low_balances_not_looked_for", reason=error.reason)
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> int:
        """Looks at all organisations once; how many were told.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        told, after = 0, 0
        while True:
            last = await self._database.fetch_one(
                _END_OF_SLICE, (after, SLICE_ORGS), row=scalar_row
            )
            if last is None:
                return told
            told += await self._look_at(after, last)
            after = last

    async def _look_at(self, after: int, last: int) -> int:
        async def work(connection: Connection) -> int:
            await connection.execute(_NO_JIT)
            cursor = connection.cursor(row_factory=class_row(LowRow))
            rows = await (await cursor.execute(_LOOK, {"after": after, "last": last})).fetchall()
            for row in rows:
                found = LowBalance(
                    account=f"accounts/{row.slug}",
                    available_nanousd=row.available,
                    low_balance_nanousd=row.line,
                )
                await enqueue(connection, row.org_id, "balance.low", found)
            return len(rows)

        return await self._database.transaction(work)

    async def is_my_turn(self) -> bool:
        """Whether this worker shall look now: one of all of them, once in `look_seconds`."""
        # A little less than the pace, so that a look is not missed by a hair.
        found = await self._database.fetch_one(
            _MY_TURN, (0.9 * self._look_seconds,), row=scalar_row
        )
        return bool(found)
