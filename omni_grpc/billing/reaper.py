"""The reaper: ends the leases of holds whose owners are gone.

A team's own hold is voided when its time to live is over; a router's becomes UNRESOLVED, and its
money stays reserved. The database's clock decides, under the row's lock, so a renewal between the
reaper's look and its act wins. After an outage the reaper waits one lease for owners to come back.
"""

import asyncio

import structlog

from omni_grpc.billing.lane import Lane
from omni_grpc.billing.operations import Code, Decider, Final, FinalOp, Origin
from omni_grpc.billing.store import LedgerStore
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import OmniError
from omni_grpc.core.ids import HoldId
from omni_grpc.core.limits import HOLD_LEASE_SECONDS

log = structlog.get_logger(__name__)

REAP_SECONDS = 2.0
"""How often a worker looks for ended leases."""

REAP_BATCH_MAX = 200
"""Holds ended in one look: a share of one ledger batch, so that live calls are not held up."""


class Reaper:
    """Run `run()` as a task in each worker; several reapers do not disturb each other."""

    def __init__(self, lane: Lane, store: LedgerStore, clock: Clock) -> None:
        self._lane = lane
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Reaps for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(REAP_SECONDS)
            try:
                await self.reap()
            except OmniError as error:
                log.warning("reaper_paused", reason=error.reason)

    async def reap(self) -> int:
        """Ends the leases that are over; returns how many holds were voided or unresolved."""
        grace = self._grace_seconds()
        if grace is None:
            return 0
        lapsed = await self._store.lapsed_holds(grace, REAP_BATCH_MAX)
        results = [
            self._lane.apply(
                FinalOp(
                    id=HoldId(hold_id),
                    kind=Final.LEASE_END,
                    origin=Origin(origin),
                    decider=Decider.TIME,
                )
            )
            for hold_id, origin in lapsed
        ]
        outcomes = await asyncio.gather(*results)
        ended = sum(outcome.code is Code.DONE for outcome in outcomes)
        if ended:
            log.info("leases_ended", count=ended)
        return ended

    def _grace_seconds(self) -> float | None:
        """How long past its lease a router's hold is left alone; None while the lane is down."""
        connected_at = self._lane.connected_at
        if connected_at is None:
            return None
        if not self._lane.was_cut:
            return 0.0
        return max(0.0, HOLD_LEASE_SECONDS - (self._clock.monotonic() - connected_at))
