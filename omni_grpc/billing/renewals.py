"""Renewals of leases that wait for the lane: they go between its batches, not in them."""

import asyncio
from typing import Final
from uuid import UUID

import psycopg

from omni_grpc.billing.refusals import fail, unavailable
from omni_grpc.billing.session import LedgerSession

_RENEW: Final = """
WITH asked AS (SELECT %s::text AS owner, %s::bigint AS epoch, %s::uuid[] AS ids),
     renewed AS MATERIALIZED (
       SELECT ledger_renew(a.owner, a.epoch, %s::integer, a.ids) AS id FROM asked a)
SELECT h.id, h.id IN (SELECT id FROM renewed)
  FROM hold h JOIN asked a ON h.id = ANY (a.ids) AND h.owner = a.owner AND h.epoch = a.epoch
 WHERE h.state = 'O'
"""


class Renewals:
    """First in, first out; none is ever sent twice, since each is asked for anew in time."""

    def __init__(self, session: LedgerSession) -> None:
        self._session = session
        self._waiting: list[tuple[list[UUID], asyncio.Future[dict[UUID, bool]]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def ask(self, ids: list[UUID]) -> "asyncio.Future[dict[UUID, bool]]":
        """Queues the renewal of these holds; by hold, of those still owned, whether it was done."""
        result: asyncio.Future[dict[UUID, bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((ids, result))
        return result

    async def send_next(self, owner: str, epoch: int, lease_s: float) -> None:
        """Sends the first; whoever asked for one that could not be sent is told LedgerUnavailable.

        Raises:
            psycopg.Error: it could not be sent.
        """
        ids, result = self._waiting.pop(0)
        try:
            rows = await self._session.execute(_RENEW, [owner, epoch, ids, round(lease_s)])
        except psycopg.Error:
            fail(result, unavailable())
            raise
        if not result.done():
            result.set_result(dict(rows))

    def fail_all(self) -> None:
        """Refuses all that wait: the database does not answer."""
        while self._waiting:
            _, result = self._waiting.pop(0)
            fail(result, unavailable())
