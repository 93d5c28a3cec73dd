"""Wallets that another session sits on: set aside, so that they hold up nobody else.

A forgotten transaction that locked one account's row would stop every batch that names it. What
concerns such an account waits here instead, finals without bound, until the row is free again.
"""

from typing import Final

import structlog

from omni_grpc.billing.operations import Operation
from omni_grpc.billing.queue import Waiting, accounts_of
from omni_grpc.billing.session import LedgerSession

log = structlog.get_logger(__name__)

PROBE_SECONDS: Final = 0.5
"""How often it is looked whether a parked account is free; one statement that waits for nothing."""

_KNOWN = "SELECT id FROM account WHERE id = ANY (%s::bigint[])"
_FREE = "SELECT id FROM account WHERE id = ANY (%s::bigint[]) FOR NO KEY UPDATE SKIP LOCKED"


class Parking:
    """The parked accounts of one lane, and what waits for them."""

    def __init__(self, session: LedgerSession) -> None:
        self._session = session
        self._accounts: set[int] = set()
        self._waiting: list[Waiting] = []

    def __bool__(self) -> bool:
        return bool(self._accounts)

    @property
    def count(self) -> int:
        """How many accounts are parked."""
        return len(self._accounts)

    def concerns(self, op: Operation) -> bool:
        """Whether an operation names a parked account."""
        return bool(self._accounts) and not self._accounts.isdisjoint(accounts_of(op))

    def add(self, waiting: Waiting) -> None:
        """Lets an operation wait for its account."""
        self._waiting.append(waiting)

    async def park(self, batch: list[Waiting]) -> bool:
        """Parks those accounts of a batch that another session has locked; whether there are any.

        Raises:
            psycopg.Error: the database cannot say.
        """
        named = {account for waiting in batch for account in accounts_of(waiting.op)}
        locked = await self._ids(_KNOWN, named) - await self._ids(_FREE, named)
        for account in locked - self._accounts:
            log.error("ledger_account_locked_by_another_session", account=account)
        self._accounts |= locked
        return bool(locked)

    async def release(self) -> list[Waiting]:
        """What waited for accounts that are free again, in its order.

        Raises:
            psycopg.Error: the database cannot say.
        """
        free = await self._ids(_FREE, self._accounts)
        self._accounts -= free
        for account in free:
            log.info("ledger_account_free_again", account=account)
        ready = [waiting for waiting in self._waiting if not self.concerns(waiting.op)]
        self._waiting = [waiting for waiting in self._waiting if self.concerns(waiting.op)]
        return ready

    def clear(self) -> list[Waiting]:
        """Everything that waits: a new connection finds out anew what is locked."""
        waiting, self._waiting = self._waiting, []
        self._accounts.clear()
        return waiting

    async def _ids(self, sql: str, accounts: set[int]) -> set[int]:
        rows = await self._session.execute(sql, ["{" + ",".join(map(str, accounts)) + "}"])
        return {row[0] for row in rows}
