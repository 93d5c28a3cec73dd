"""The reaper: ends the leases of holds whose owners are gone, and what nobody resolved in time.

A team's own hold is voided when its time to live is over; a router's becomes UNRESOLVED, and its
money stays reserved. The database's clock decides, under the row's lock, so a renewal between the
reaper's look and its act wins. After an outage the reaper waits one lease for owners to come back.

What is unresolved for longer than the operator's policy allows is written off: the customer gets
the hold back, and the operator bears it as a loss.
"""

import asyncio

import structlog

from omni_grpc.billing.lane import Lane
from omni_grpc.billing.operations import (
    AttemptOutcome,
    Code,
    Decider,
    Final,
    FinalOp,
    Origin,
)
from omni_grpc.billing.store import LedgerStore
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import OmniError
from omni_grpc.core.ids import AccountId, HoldId
from omni_grpc.core.limits import UNRESOLVED_HOURS

log = structlog.get_logger(__name__)

REAP_SECONDS = 1.0
"""How often a worker looks for ended leases."""

REAP_BATCH_MAX = 200
"""Holds ended in one look: a share of one ledger batch, so that live calls are not held up."""


class Reaper:
    """Run `run()` as a task in each worker; several reapers do not disturb each other."""

    def __init__(
        self,
        lane: Lane,
        store: LedgerStore,
        clock: Clock,
        *,
        unresolved_hours: float = UNRESOLVED_HOURS,
    ) -> None:
        self._lane = lane
        self._store = store
        self._clock = clock
        self._unresolved_hours = unresolved_hours

    async def run(self) -> None:
        """Reaps for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(REAP_SECONDS)
            try:
                await self.reap()
                await self.write_off()
            except OmniError as error:
                log.warning("reaper_paused", reason=error.reason)

    async def reap(self) -> int:
        """Ends the leases that are over; returns how many holds were voided or unresolved."""
        grace = self._grace_seconds()
        if grace is None:
            return 0
        lapsed = await self._store.lapsed_holds(grace, REAP_BATCH_MAX)
        return await self._end(
            [
                FinalOp(
                    id=HoldId(hold_id),
                    kind=Final.LEASE_END,
                    origin=Origin(origin),
                    decider=Decider.TIME,
                    wallet=AccountId(wallet),
                )
                for hold_id, origin, wallet in lapsed
            ],
            "leases_ended",
        )

    async def write_off(self) -> int:
        """Writes off what is unresolved for too long; returns how many. 0 hours: never."""
        if not self._unresolved_hours or not self._lane.connected:
            return 0
        old = await self._store.unresolved_since(self._unresolved_hours, REAP_BATCH_MAX)
        return await self._end(
            [
                FinalOp(
                    id=attempt.hold_id,
                    kind=Final.WRITE_OFF,
                    origin=Origin.ROUTER,
                    decider=Decider.TIME,
                    wallet=attempt.account_id,
                    cost=attempt.amount,
                    outcome=AttemptOutcome.UNKNOWN,
                )
                for attempt in old
            ],
            "unresolved_written_off",
        )

    async def _end(self, finals: list[FinalOp], event: str) -> int:
        outcomes = await asyncio.gather(*[self._lane.apply(final) for final in finals])
        ended = sum(outcome.code is Code.DONE for outcome in outcomes)
        if ended:
            log.info(event, count=ended)
        return ended

    def _grace_seconds(self) -> float | None:
        """How long past its lease a router's hold is left alone; None while the lane is down."""
        connected_at = self._lane.connected_at
        if connected_at is None:
            return None
        if not self._lane.was_cut:
            return 0.0
        return max(0.0, self._lane.lease_s - (self._clock.monotonic() - connected_at))
