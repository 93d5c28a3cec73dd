"""The SQL of the outbox: who sends what next, and what came of it.

A sender takes deliveries on a lease: until its time is over nobody else sends them, and after it
somebody does, so that a sender that dies loses nothing. A delivery may so be sent twice, as its
`webhook-id` says.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import kwargs_row, scalar_row

from omni_grpc.core.ids import OrgId
from omni_grpc.notices.model import KEPT_DAYS, Due, Outcome
from omni_grpc.notices.store import GIVE_UP, Record, read_webhook
from omni_grpc.storage import Connection, Database

LEASE_SECONDS: Final = 60
"""Longer than an attempt can last, with the writing of its outcome."""

DELETED_AT_ONCE: Final = 1_000
"""Rows that one statement deletes."""

# Webhooks with pending deliveries take turns, from the one after the last that was looked at:
# `turn` jumps from each to the next in the index, however many deliveries one has.
_TAKE: Final = """
WITH RECURSIVE turn AS (
  (SELECT d.webhook_id, 1 AS n FROM webhook_delivery d
   WHERE d.state = 'P' AND d.webhook_id > %(after)s ORDER BY d.webhook_id LIMIT 1)
  UNION ALL
  SELECT (SELECT d.webhook_id FROM webhook_delivery d
          WHERE d.state = 'P' AND d.webhook_id > turn.webhook_id ORDER BY d.webhook_id LIMIT 1),
         turn.n + 1
  FROM turn WHERE turn.webhook_id IS NOT NULL AND turn.n < %(looked)s
), due AS MATERIALIZED (
  SELECT d.id, w.id AS webhook_id, w.org_id, o.slug AS org_slug, w.slug, w.url, w.sealed_secret
  FROM turn JOIN webhook w ON w.id = turn.webhook_id AND w.active AND w.id <> ALL (%(busy)s)
  JOIN org o ON o.id = w.org_id
  CROSS JOIN LATERAL (
    SELECT id FROM webhook_delivery p
    WHERE p.state = 'P' AND p.webhook_id = w.id AND p.next_attempt_time <= clock_timestamp()
    ORDER BY p.next_attempt_time LIMIT %(each)s FOR UPDATE SKIP LOCKED) d
), taken AS (
  UPDATE webhook_delivery d
  SET attempt_count = d.attempt_count + 1,
      next_attempt_time = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM due WHERE d.id = due.id
  RETURNING d.id, d.body, d.attempt_count, d.next_attempt_time AS lease_time
)
SELECT turn.webhook_id AS turn_id, due.*, taken.body, taken.attempt_count, taken.lease_time
FROM turn LEFT JOIN (due JOIN taken USING (id)) ON due.webhook_id = turn.webhook_id
WHERE turn.webhook_id IS NOT NULL
"""

# Only who still has the lease says what came of it: a replay meanwhile begins anew.
_DELIVERED: Final = """
UPDATE webhook_delivery
SET state = 'D', next_attempt_time = NULL, last_status = %(status)s, last_error = ''
WHERE id = %(id)s AND state = 'P' AND next_attempt_time = %(lease_time)s
"""
_AGAIN: Final = """
UPDATE webhook_delivery
SET next_attempt_time = clock_timestamp() + make_interval(secs => %(seconds)s),
    last_status = %(status)s, last_error = %(error)s
WHERE id = %(id)s AND state = 'P' AND next_attempt_time = %(lease_time)s
"""
_DEAD: Final = """
UPDATE webhook_delivery
SET state = 'X', next_attempt_time = NULL, last_status = %(status)s, last_error = %(error)s
WHERE id = %(id)s AND state = 'P' AND next_attempt_time = %(lease_time)s
"""
_BEFORE: Final = """
SELECT id, org_id, slug, url, events, active, revision, create_time FROM webhook
WHERE id = %s AND url = %s AND active FOR NO KEY UPDATE
"""
_TURN_OFF: Final = """
UPDATE webhook SET active = false, revision = revision + 1 WHERE id = %s
RETURNING id, org_id, slug, url, events, active, revision, create_time
"""

# An id begins with its time, 48 bits of milliseconds.
_FORGET_OLD: Final = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery
  WHERE id < (lpad(to_hex((extract(epoch FROM clock_timestamp() - make_interval(days => %s))
                           * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
  ORDER BY id LIMIT %s)
"""
_FORGET_ORPHANS: Final = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT d.id FROM webhook_delivery d
  WHERE d.state = 'P' AND NOT EXISTS (SELECT FROM webhook w WHERE w.id = d.webhook_id)
  LIMIT %s)
"""


# What was written while its webhook was turned off.
_GIVE_UP_ALL: Final = """
UPDATE webhook_delivery d
SET state = 'X', next_attempt_time = NULL, last_error = 'The webhook was turned off.'
FROM webhook w WHERE w.id = d.webhook_id AND NOT w.active AND d.state = 'P'
"""
_IS_DUE: Final = """
SELECT EXISTS (SELECT FROM webhook_delivery
               WHERE state = 'P' AND next_attempt_time <= clock_timestamp())
"""


class Taken(msgspec.Struct, frozen=True):
    """What a sender took: deliveries to send, and where the next turn begins.

    `last` is a webhook's id, None where the last one with anything pending was looked at.
    """

    due: tuple[Due, ...]
    last: int | None


class OutboxStore:
    """The outbox. Every method raises LedgerUnavailable without a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_due(self) -> bool:
        """Whether anything is to be sent now; one look into an index."""
        found = await self._database.fetch_one(_IS_DUE, row=scalar_row)
        return bool(found)

    async def take(self, *, after: int, looked: int, each: int, busy: list[int]) -> Taken:
        """Takes what is due of webhooks with ids above `after`.

        Args:
            after: where the last turn ended.
            looked: how many webhooks are looked at.
            each: how many deliveries of one are taken.
            busy: webhooks of which none is taken.
        """
        rows: list[tuple[int, Due | None]] = await self._database.fetch_all(
            _TAKE,
            {
                "after": after,
                "looked": looked,
                "each": each,
                "busy": busy,
                "lease": LEASE_SECONDS,
            },
            row=kwargs_row(_due),
        )
        due = tuple(one for _, one in rows if one is not None)
        turns = {turn for turn, _ in rows}
        return Taken(due, max(turns) if len(turns) == looked else None)

    async def delivered(self, due: Due, outcome: Outcome) -> None:
        """It was taken."""
        await self._write(_DELIVERED, due, outcome)

    async def again(self, due: Due, outcome: Outcome, seconds: float) -> None:
        """It is sent again, in so many seconds."""
        await self._write(_AGAIN, due, outcome, seconds)

    async def dead(self, due: Due, outcome: Outcome) -> None:
        """It is given up."""
        await self._write(_DEAD, due, outcome)

    async def gone(self, due: Due, outcome: Outcome, record: Record) -> None:
        """It is given up, and its webhook turned off, unless that leads elsewhere by now."""

        async def work(connection: Connection) -> None:
            await connection.execute(_DEAD, _values(due, outcome, 0))
            cursor = connection.cursor(row_factory=kwargs_row(read_webhook))
            old = await (await cursor.execute(_BEFORE, (due.webhook_id, due.url))).fetchone()
            if old is None:
                return
            new = await (await cursor.execute(_TURN_OFF, (old.id,))).fetchone()
            await connection.execute(GIVE_UP, (old.id,))
            await record(connection, old, new)

        await self._database.transaction(work)

    async def forget(self) -> int:
        """Deletes some of what is old, and of deleted webhooks; returns how many."""
        await self._database.execute(_GIVE_UP_ALL)
        old = await self._database.execute(_FORGET_OLD, (KEPT_DAYS, DELETED_AT_ONCE))
        return old + await self._database.execute(_FORGET_ORPHANS, (DELETED_AT_ONCE,))

    async def _write(self, statement: Any, due: Due, outcome: Outcome, seconds: float = 0) -> None:
        await self._database.execute(statement, _values(due, outcome, seconds))


def _values(due: Due, outcome: Outcome, seconds: float) -> dict[str, object]:
    return {
        "id": due.id,
        "lease_time": due.lease_time,
        "status": outcome.status,
        "error": outcome.error,
        "seconds": seconds,
    }


def _due(
    *,
    turn_id: int,
    id: UUID | None,  # noqa: A002 - the column's name
    webhook_id: int,
    org_id: int,
    org_slug: str,
    slug: str,
    url: str,
    sealed_secret: bytes,
    body: str,
    attempt_count: int,
    lease_time: datetime,
) -> tuple[int, Due | None]:
    if id is None:
        return turn_id, None
    return turn_id, Due(
        id=id,
        webhook_id=webhook_id,
        org_id=OrgId(org_id),
        org_slug=org_slug,
        slug=slug,
        url=url,
        sealed_secret=sealed_secret,
        body=body,
        attempt_count=attempt_count,
        lease_time=lease_time,
    )
