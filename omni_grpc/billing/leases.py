"""Leases of the holds under which this worker is calling providers.

A lease is renewed while its call runs. When it is found taken away, or could not be renewed for
too long, the call is cancelled by this worker's own monotonic clock before anybody else decides
about its money (fencing).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from omni_grpc.billing.lane import Lane
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import OmniError
from omni_grpc.core.ids import HoldId
from omni_grpc.core.limits import HOLD_FENCE_SHARE, HOLD_RENEW_SHARE

log = structlog.get_logger(__name__)

TICKS_PER_LEASE = 60
"""How often the leases are looked at: far finer than any of their times."""


@dataclass(slots=True)
class _Lease:
    renewed_at: float
    lost: Callable[[], None]


class Leases:
    """Keeps the leases of running calls alive; run `run()` as a task."""

    def __init__(self, lane: Lane, clock: Clock) -> None:
        self._lane = lane
        self._clock = clock
        self.renew_s = lane.lease_s * HOLD_RENEW_SHARE
        """How old a lease is when it is renewed."""
        self.fence_s = lane.lease_s * HOLD_FENCE_SHARE
        """How old a lease is when its call is stopped."""
        self._held: dict[HoldId, _Lease] = {}

    def keep(self, hold_id: HoldId, asked_at: float, lost: Callable[[], None]) -> None:
        """Keeps a hold whose lease was asked for at the monotonic `asked_at`.

        `lost` is called once, in the event loop, when the worker must stop its provider call.
        """
        self._held[hold_id] = _Lease(asked_at, lost)

    def release(self, hold_id: HoldId) -> None:
        """Forgets a hold that is final, or left to be resolved."""
        self._held.pop(hold_id, None)

    async def run(self) -> None:
        """Renews what is due, fences what cannot be renewed; ends only by cancellation."""
        renewing: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(self._lane.lease_s / TICKS_PER_LEASE)
            self._fence()
            if renewing is None or renewing.done():
                renewing = asyncio.create_task(self._renew())

    def _fence(self) -> None:
        oldest = self._clock.monotonic() - self.fence_s
        for hold_id, lease in list(self._held.items()):
            if lease.renewed_at < oldest:
                self._lose(hold_id, lease, "not_renewed_in_time")

    async def _renew(self) -> None:
        asked_at = self._clock.monotonic()
        due = [
            hold_id
            for hold_id, lease in self._held.items()
            if lease.renewed_at <= asked_at - self.renew_s
        ]
        if not due:
            return
        try:
            owned = await self._lane.renew(list(due))
        except OmniError:
            return  # tried again at the next tick, until the fence
        for hold_id in due:
            lease = self._held.get(hold_id)
            if lease is None:
                continue
            if hold_id not in owned:
                self._lose(hold_id, lease, "taken_away")
            elif owned[hold_id]:
                lease.renewed_at = asked_at

    def _lose(self, hold_id: HoldId, lease: _Lease, why: str) -> None:
        log.warning("hold_lease_lost", hold_id=str(hold_id), why=why)
        self._held.pop(hold_id, None)
        lease.lost()
