"""The housekeeper: what the ledger owes to time alone.

Grants expire, request ids are forgotten after a day, and each day's first look at the accounts is
kept as a snapshot. Any worker may do any of it, in small steps, beside the traffic; two that do it
at once do not disturb each other.
"""

import asyncio
from typing import Final

import structlog

from omni_grpc.billing.lane import Lane
from omni_grpc.billing.operations import Code, Movement, TransferOp
from omni_grpc.billing.store import LedgerStore
from omni_grpc.core.errors import OmniError
from omni_grpc.core.ids import uuid7
from omni_grpc.core.limits import REQUEST_HOURS

log = structlog.get_logger(__name__)

EXPIRE_SECONDS: Final = 5.0
"""How often a worker looks for grants that expire."""

TIDY_SECONDS: Final = 600.0
"""How often it looks for old request ids, and whether today's snapshot is taken."""

STEP_ROWS: Final = 1_000
"""Rows of one step: a few milliseconds of the database."""

_ALL: Final = 2**63 - 1


class Housekeeper:
    """Run `run()` as a task in each worker."""

    def __init__(self, lane: Lane, store: LedgerStore) -> None:
        self._lane = lane
        self._store = store

    async def run(self) -> None:
        """Keeps house for ever; ends only by cancellation."""
        loop = asyncio.get_running_loop()
        tidy_at = loop.time() + EXPIRE_SECONDS
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            if not self._lane.connected:
                continue
            try:
                await self.expire()
                if loop.time() >= tidy_at:
                    await self.forget()
                    await self.snapshot()
                    tidy_at = loop.time() + TIDY_SECONDS
            except OmniError as error:
                log.warning("housekeeper_paused", reason=error.reason)

    async def expire(self) -> int:
        """Takes back what is left of grants that expired; returns how many lost something."""
        lots = await self._store.due_lots(STEP_ROWS)
        outcomes = await asyncio.gather(
            *[
                self._lane.apply(
                    TransferOp(
                        id=uuid7(),
                        kind=Movement.EXPIRY,
                        wallet=wallet,
                        amount=0,
                        reference="expired",
                        of=lot,
                    )
                )
                for lot, wallet in lots
            ]
        )
        expired = sum(outcome.code is Code.DONE for outcome in outcomes)
        if expired:
            log.info("grants_expired", count=expired)
        return expired

    async def forget(self) -> int:
        """Forgets the request ids of old chats, with their answers; returns how many."""
        count = 0
        while step := await self._store.forget_requests(REQUEST_HOURS, STEP_ROWS):
            count += step
        return count

    async def snapshot(self) -> None:
        """Takes today's snapshot of all accounts, unless it is taken."""
        if await self._store.has_snapshot_of_today():
            return
        before: int | None = _ALL
        while before is not None:
            before = await self._store.snapshot(before, STEP_ROWS)
        log.info("snapshot_taken")
