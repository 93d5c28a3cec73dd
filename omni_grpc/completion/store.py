"""The SQL of stored responses and of agents' runs (migrations 0005, and 0012 with 0020).

Each method is one statement. The account is part of every condition, so that no other tenant's
response is ever read or deleted. Every method raises LedgerUnavailable while the database does not
answer.
"""

from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row, tuple_row

from omni_grpc.core.ids import AccountId, CallId, OrgId
from omni_grpc.storage import Database

_INSERT: Final = """
INSERT INTO stored_response (id, account_id, previous_id, expire_time, sealed)
VALUES (%(id)s, %(account)s, %(previous)s, clock_timestamp() + make_interval(secs => %(seconds)s),
        %(sealed)s)
ON CONFLICT (id) DO NOTHING
"""

# The newest first; ends where one is missing, or where the bounds are passed.
_SELECT_CHAIN: Final = """
WITH RECURSIVE chain AS (
  SELECT id, previous_id, sealed, 1 AS depth, octet_length(sealed)::bigint AS size
    FROM stored_response
   WHERE id = %(id)s AND account_id = %(account)s AND expire_time > clock_timestamp()
  UNION ALL
  SELECT r.id, r.previous_id, r.sealed, c.depth + 1, c.size + octet_length(r.sealed)
    FROM chain c JOIN stored_response r ON r.id = c.previous_id
   WHERE r.account_id = %(account)s AND r.expire_time > clock_timestamp()
     AND c.depth < %(count_max)s AND c.size < %(bytes_max)s
)
SELECT id, previous_id, sealed FROM chain ORDER BY depth
"""

_DELETE: Final = "DELETE FROM stored_response WHERE id = %s AND account_id = %s"

_DELETE_EXPIRED: Final = """
DELETE FROM stored_response WHERE id IN (
  SELECT id FROM stored_response WHERE expire_time <= clock_timestamp()
   ORDER BY expire_time LIMIT %s FOR UPDATE SKIP LOCKED)
"""

_BEGIN_STEP: Final = """
INSERT INTO agent_step (org_id, run_id, call_id, cost_nanousd, answered)
VALUES (%s, %s, %s, 0, false) ON CONFLICT DO NOTHING
"""

# The statement's own snapshot has the step as it was before, so it is left out there. Of a step
# that was told before, what was told first stays. Of those that were not answered counts what their
# attempts were charged by now.
_ADD_STEP: Final = """
WITH added AS (
  INSERT INTO agent_step AS s (org_id, run_id, call_id, cost_nanousd, saved_nanousd, answered)
  VALUES (%(org)s, %(run)s, %(call)s, %(cost)s, %(saved)s, true)
  ON CONFLICT (org_id, run_id, call_id) DO UPDATE
    SET answered = true,
        cost_nanousd = CASE WHEN s.answered THEN s.cost_nanousd ELSE EXCLUDED.cost_nanousd END,
        saved_nanousd = CASE WHEN s.answered THEN s.saved_nanousd ELSE EXCLUDED.saved_nanousd END
  RETURNING cost_nanousd, saved_nanousd),
others AS (
  SELECT call_id, cost_nanousd, saved_nanousd, answered FROM agent_step
   WHERE org_id = %(org)s AND run_id = %(run)s AND call_id <> %(call)s),
step AS (
  SELECT true AS answered, * FROM added
  UNION ALL
  SELECT true, cost_nanousd, saved_nanousd FROM others WHERE answered
  UNION ALL
  SELECT false, p.charged, NULL
    FROM (SELECT call_id FROM others WHERE NOT answered) o
    CROSS JOIN LATERAL (
      SELECT sum(amount)::bigint AS charged FROM posting
       WHERE id BETWEEN o.call_id AND ledger_last_attempt(o.call_id) AND kind = 'S' OFFSET 0) p
   WHERE p.charged > 0)
SELECT count(*) FILTER (WHERE answered), count(*) FILTER (WHERE NOT answered),
       sum(cost_nanousd)::bigint, sum(saved_nanousd)::bigint
  FROM step
"""
_FORGET_STEPS: Final = """
DELETE FROM agent_step WHERE (org_id, run_id, call_id) IN (
  SELECT org_id, run_id, call_id FROM agent_step
   WHERE create_time < clock_timestamp() - make_interval(days => %s)
   ORDER BY create_time LIMIT %s FOR UPDATE SKIP LOCKED)
"""


class StoredRow(msgspec.Struct, frozen=True, kw_only=True):
    """A response as it rests."""

    id: UUID
    previous_id: UUID | None
    sealed: bytes


class ResponseStore:
    """The table of stored responses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self,
        account_id: AccountId,
        call_id: CallId,
        previous: CallId | None,
        sealed: bytes,
        seconds: float,
    ) -> None:
        """Keeps a response for so long; of a call whose response is kept, nothing changes."""
        await self._database.execute(
            _INSERT,
            {
                "id": call_id,
                "account": account_id,
                "previous": previous,
                "sealed": sealed,
                "seconds": seconds,
            },
        )

    async def chain(
        self, account_id: AccountId, call_id: CallId, *, count_max: int, bytes_max: int
    ) -> list[StoredRow]:
        """A response and those that it continues, the newest first; empty if there is none."""
        return await self._database.fetch_all(
            _SELECT_CHAIN,
            {
                "id": call_id,
                "account": account_id,
                "count_max": count_max,
                "bytes_max": bytes_max,
            },
            row=class_row(StoredRow),
        )

    async def delete(self, account_id: AccountId, call_id: CallId) -> bool:
        """Deletes a response; whether there was one."""
        return await self._database.execute(_DELETE, (call_id, account_id)) > 0

    async def delete_expired(self, limit: int) -> int:
        """Deletes some of those whose time is over; how many."""
        return await self._database.execute(_DELETE_EXPIRED, (limit,))


class AgentRunStore:
    """The table of agents' steps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_step(self, org_id: OrgId, run_id: str, call_id: CallId) -> None:
        """Notes that a call is a step of a run, before it can cost anything."""
        await self._database.execute(_BEGIN_STEP, (org_id, run_id, call_id))

    async def add_step(
        self, org_id: OrgId, run_id: str, call_id: CallId, cost: int, saved: int | None
    ) -> tuple[int, int, int, int | None]:
        """Counts an answered step in, once.

        Returns the run's answered steps, those that were charged without an answer, the cost of
        both, and the savings of the answered ones, by now.
        """
        given = {"org": org_id, "run": run_id, "call": call_id, "cost": cost, "saved": saved}
        row = await self._database.fetch_one(_ADD_STEP, given, row=tuple_row)
        if row is None:
            raise RuntimeError("an aggregate has a row")
        return row[0], row[1], row[2], row[3]

    async def forget_steps(self, days: int, limit: int) -> int:
        """Deletes some of the steps that are older; how many."""
        return await self._database.execute(_FORGET_STEPS, (days, limit))
