"""What goes on after a call has ended: stating its attempts' ends, and reading providers on.

Where a provider bills a call to its end whoever leaves it, leaving early would only lose the bill:
its answer is read on, unseen, until the provider says what it used, within a cap. Nothing here
waits for a caller, and a stopping worker waits for all of it.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from omni_grpc.billing import AttemptCharge, AttemptOutcome
from omni_grpc.completion.stops import LeaseStop

log = structlog.get_logger(__name__)

DRAIN_SECONDS_MAX: Final = 30.0
"""How long a provider is read on: most answers end sooner."""

DRAIN_LEASE_SHARE: Final = 0.5
"""Nor longer than this part of a lease, which is renewed when a third of it is over: so a hold
outlives the reading also where its renewals fail from then on."""

DRAINS_AT_ONCE_MAX: Final = 256
"""Providers read on at once in one worker, a sixteenth of its calls: whoever opens and leaves long
calls again and again fills no more of it, and pays by our count of what came."""


class Endings:
    """The endings of all calls of a worker."""

    def __init__(self, lease_s: float) -> None:
        self.drain_s = min(DRAIN_SECONDS_MAX, lease_s * DRAIN_LEASE_SHARE)
        """How long a provider is read on at most."""
        self._tasks: dict[asyncio.Task[None], AttemptCharge] = {}
        self._readings: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    @property
    def has_room(self) -> bool:
        """Whether one more provider may be read on."""
        return not self._is_closed and len(self._readings) < DRAINS_AT_ONCE_MAX

    def start(self, held: AttemptCharge, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Ends a hold in a task of its own, since the caller's may be cancelled at any await."""
        held.hand_over()
        task = asyncio.create_task(_ended(held, work))
        self._tasks[task] = held
        task.add_done_callback(self._tasks.pop)
        return task

    def running(self, charges: Sequence[AttemptCharge]) -> "tuple[asyncio.Task[None], ...]":
        """The tasks that still have to end some of these."""
        return tuple(task for task, held in self._tasks.items() if held in charges)

    async def read_on(self, reading: "asyncio.Task[Any]", lease: LeaseStop) -> bool:
        """Waits for a reading; whether it came to its end, by itself, in time.

        It is cancelled when the cap is over, when the worker stops, or when the lease is lost.
        """
        self._readings.add(reading)
        lease.hand_over(reading.cancel)
        await asyncio.wait({reading}, timeout=self.drain_s)
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})
        self._readings.discard(reading)
        return not reading.cancelled()

    async def close(self, seconds: float) -> None:
        """Waits for everything, but only so long for providers; those are then left."""
        self._is_closed = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for reading in self._readings:
            reading.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks))


async def _ended(held: AttemptCharge, work: Coroutine[Any, Any, None]) -> None:
    """Whatever goes wrong in an ending, the hold has an end."""
    try:
        await work
    except Exception:
        log.exception("ending_failed", model=held.model)
        if not held.final and held.was_dispatched:
            held.leave_unresolved()
        elif not held.final:
            held.void(AttemptOutcome.FAILED)
