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
def in_time(call: Call, clock: Clock) -> Iterator[None]:
    """Stops the block when the call's time is over."""
    stop = _canceller(
        call,
        lambda: Deadline("The call's time is over. What the provider sent until then is charged."),
    )
    timer = asyncio.get_running_loop().call_later(max(0.0, call.due - clock.monotonic()), stop)
    try:
        yield
    finally:
        timer.cancel()


def lease_loser(call: Call) -> Callable[[], None]:
    """What stops the call where this worker may no longer decide about its hold."""
    return _canceller(
        call,
        lambda: LedgerUnavailable(
            "The ledger's database was away for too long while this call ran, so it was stopped; "
            "what was generated until then is charged.",
        ),
    )


def _canceller(call: Call, reason: Callable[[], OmniError]) -> Callable[[], None]:
    task = asyncio.current_task()

    def cancel() -> None:
        call.cancelled_by = reason()
        if task is not None:
            task.cancel()

    return cancel
