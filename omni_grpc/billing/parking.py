"""Rows that another session sits on: what needs them is set aside, and holds up nobody else.

A forgotten transaction that locked a wallet's row, a budget's, a hold's or a request's would stop
every batch that names it. What concerns such a row waits here instead, finals without bound, until
the row is free again. To a budget belong the accounts of its windows, to a hold those of its legs.
"""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

import structlog

from omni_grpc.billing.operations import FinalOp, HoldOp, Operation, RequestEndOp, TransferOp
from omni_grpc.billing.queue import Waiting
from omni_grpc.billing.session import LedgerSession

log = structlog.get_logger(__name__)

PROBE_SECONDS: Final = 0.5
"""How often it is looked whether a parked row is free; statements that wait for nothing."""

Row = int | UUID | tuple[int, str]
"""An account or a budget by its id, which no two of them share; a hold by its id; a request by its
principal and request id."""

_THERE: Final = {
    "account": "SELECT id FROM account WHERE id = ANY (%s::bigint[])"
    " UNION SELECT id FROM budget WHERE id = ANY (%s::bigint[])",
    "hold": "SELECT id FROM hold WHERE id = ANY (%s::uuid[])"
    " UNION SELECT id FROM posting WHERE id = ANY (%s::uuid[]) AND legs IS NOT NULL",
    "request": "SELECT principal, request_id FROM request"
    " WHERE (principal, request_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))",
}
_FREE: Final = {
    "account": """
WITH own AS MATERIALIZED (
  SELECT id FROM account WHERE id = ANY (%s::bigint[]) FOR NO KEY UPDATE SKIP LOCKED),
limits AS MATERIALIZED (
  SELECT id FROM budget WHERE id = ANY (%s::bigint[]) FOR NO KEY UPDATE SKIP LOCKED),
windows AS MATERIALIZED (
  SELECT account_id, budget_id FROM budget_window WHERE budget_id IN (SELECT id FROM limits)),
free AS MATERIALIZED (
  SELECT id FROM account WHERE id IN (SELECT account_id FROM windows)
     FOR NO KEY UPDATE SKIP LOCKED)
SELECT id FROM own WHERE id NOT IN (SELECT id FROM limits)
UNION ALL
SELECT id FROM limits l
 WHERE NOT EXISTS (SELECT FROM windows w
                    WHERE w.budget_id = l.id AND w.account_id NOT IN (SELECT id FROM free))
""",
    "hold": """
WITH own AS MATERIALIZED (
  SELECT id, legs FROM hold WHERE id = ANY (%s::uuid[]) FOR UPDATE SKIP LOCKED),
named AS MATERIALIZED (
  SELECT id, legs FROM own
  UNION ALL
  SELECT id, legs FROM posting WHERE id = ANY (%s::uuid[]) AND legs IS NOT NULL AND n = 0),
free AS MATERIALIZED (
  SELECT id FROM account WHERE id IN (SELECT unnest(legs) FROM named)
     FOR NO KEY UPDATE SKIP LOCKED)
SELECT id FROM named WHERE legs IS NULL OR legs <@ ARRAY(SELECT id FROM free)
""",
    "request": _THERE["request"] + " FOR UPDATE SKIP LOCKED",
}
"""Those that can be locked as the ledger itself locks them."""


def rows_of(op: Operation) -> Iterator[Row]:
    """The rows that an operation names and that a session could sit on."""
    if isinstance(op, RequestEndOp):
        yield (op.ends.principal, op.ends.request_id)
        return
    yield op.id
    if op.wallet is not None:
        yield op.wallet
    if isinstance(op, TransferOp) and op.of is not None:
        yield op.of
    if op.request is not None:
        yield (op.request.principal, op.request.request_id)
    if isinstance(op, FinalOp) and op.ends is not None:
        yield (op.ends.principal, op.ends.request_id)
    hold = op.hold if isinstance(op, FinalOp) else op if isinstance(op, HoldOp) else None
    if hold is not None:
        for leg in hold.legs:
            yield leg.account


class Parking:
    """The parked rows of one lane, and what waits for them."""

    def __init__(self, session: LedgerSession) -> None:
        self._session = session
        self._rows: set[Row] = set()
        self._waiting: list[Waiting] = []

    def __bool__(self) -> bool:
        return bool(self._rows)

    @property
    def count(self) -> int:
        """How many rows are parked."""
        return len(self._rows)

    def concerns(self, op: Operation) -> bool:
        """Whether an operation names a parked row."""
        return bool(self._rows) and not self._rows.isdisjoint(rows_of(op))

    def add(self, waiting: Waiting) -> None:
        """Lets an operation wait for its rows."""
        self._waiting.append(waiting)

    async def park(self, batch: list[Waiting]) -> bool:
        """Parks those rows of a batch that another session has locked; whether there are any.

        Raises:
            psycopg.Error: the database cannot say.
        """
        named = {row for waiting in batch for row in rows_of(waiting.op)}
        locked = await self._found(named) - await self._found(named, free=True)
        for row in locked - self._rows:
            log.error("ledger_row_locked_by_another_session", table=_table(row), row=str(row))
        self._rows |= locked
        return bool(locked)

    async def release(self) -> list[Waiting]:
        """What waited for rows that are free again, or gone, in its order.

        Raises:
            psycopg.Error: the database cannot say.
        """
        there = await self._found(self._rows)
        free = self._rows - (there - await self._found(self._rows, free=True))
        self._rows -= free
        for row in free:
            log.info("ledger_row_free_again", table=_table(row), row=str(row))
        ready = [waiting for waiting in self._waiting if not self.concerns(waiting.op)]
        self._waiting = [waiting for waiting in self._waiting if self.concerns(waiting.op)]
        return ready

    def clear(self) -> list[Waiting]:
        """Everything that waits: a new connection finds out anew what is locked."""
        waiting, self._waiting = self._waiting, []
        self._rows.clear()
        return waiting

    async def _found(self, rows: set[Row], *, free: bool = False) -> set[Row]:
        """Those rows that are there, or only those that are `free`: that nobody else has locked."""
        found: set[Row] = set()
        for table, sql in (_FREE if free else _THERE).items():
            keys = [row for row in rows if _table(row) == table]
            if keys:
                columns = map(list, zip(*keys, strict=True)) if table == "request" else [keys, keys]
                for key in await self._session.execute(sql, [*columns]):
                    found.add(tuple(key) if table == "request" else key[0])
        return found


def _table(row: Row) -> str:
    if isinstance(row, tuple):
        return "request"
    return "hold" if isinstance(row, UUID) else "account"
