"""Waiting for the lane, for a bounded time, and what a caller is told who waited in vain."""

import asyncio

from omni_grpc.billing.operations import Outcome
from omni_grpc.core.errors import CreditsExhausted, CreditsHeld, LedgerUnavailable
from omni_grpc.core.limits import LEDGER_WAIT_SECONDS_MAX
from omni_grpc.core.money import usd_text


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


def short_error(outcome: Outcome, needed: int) -> CreditsExhausted | CreditsHeld:
    """Says what is needed, what is there, and whether waiting can help."""
    posted, pending = outcome.posted or 0, outcome.pending or 0
    facts = {
        "needed_nanousd": str(needed),
        "posted_nanousd": str(posted),
        "held_nanousd": str(pending),
        "available_nanousd": str(posted - pending),
    }
    if posted >= needed:
        return CreditsHeld(
            f"This needs {usd_text(needed)} USD; the account has {usd_text(posted)} USD, but "
            f"calls in flight hold {usd_text(pending)} USD of it. Try again when they end.",
            metadata=facts,
            retry_after_s=1.0,
        )
    return CreditsExhausted(
        f"This may cost up to {usd_text(needed)} USD; the account has {usd_text(posted)} USD. "
        "Add credits, lower the output limit, or ask for a shortened answer "
        "(short_credits: shorten).",
        metadata=facts,
    )
