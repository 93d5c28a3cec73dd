"""Stops that the service itself makes of a call: at its deadline, and when its lease is lost.

Both cancel the task that runs the call, so that they take the one way of a caller who goes away, in
which nothing is lost that a provider had sent. The reason stays with the call; the errors gate of
each transport tells it.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from omni_grpc.completion.call import Call
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Deadline, LedgerUnavailable, OmniError


@contextmanager
def in_time(call: Call, clock: Clock, *, bills_on: bool) -> Iterator[None]:
    """Stops the block when the call's time is over.

    `bills_on` says that its provider bills the call to its end, whoever stops it.
    """
    cost = "What the provider bills for it" if bills_on else "What the provider sent until then"
    stop = _canceller(call, lambda: Deadline(f"The call's time is over. {cost} is charged."))
    timer = asyncio.get_running_loop().call_later(max(0.0, call.due - clock.monotonic()), stop)
    try:
        yield
    finally:
        timer.cancel()


class LeaseStop:
    """What an attempt is stopped by where this worker may no longer decide about its hold."""

    __slots__ = ("_cancel", "_is_lost")

    def __init__(self, call: Call) -> None:
        self._is_lost = False
        self._cancel: Callable[[], object] = _canceller(
            call,
            lambda: LedgerUnavailable(
                "The ledger's database was away for too long while this call ran, so it was "
                "stopped; what was generated until then is charged.",
            ),
        )

    def __call__(self) -> None:
        """The lease is lost: stops the attempt, whoever runs it now."""
        self._is_lost = True
        self._cancel()

    def hand_over(self, cancel: Callable[[], object]) -> None:
        """The call has ended and its attempt goes on: from now on `cancel` stops it."""
        self._cancel = cancel
        if self._is_lost:
            cancel()


def _canceller(call: Call, reason: Callable[[], OmniError]) -> Callable[[], None]:
    task = asyncio.current_task()

    def cancel() -> None:
        call.cancelled_by = reason()
        if task is not None:
            task.cancel()

    return cancel
