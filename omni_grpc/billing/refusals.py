"""What the lane tells those whose operation it cannot bring to an end now."""

import asyncio
from typing import Any

from omni_grpc.core.errors import LedgerUnavailable, OmniError


def unavailable() -> LedgerUnavailable:
    """Nothing was started."""
    return LedgerUnavailable(
        "The ledger's database does not answer, so nothing was started or charged; "
        "try again shortly.",
        retry_after_s=1.0,
    )


def unknown() -> LedgerUnavailable:
    """It may have been done."""
    return LedgerUnavailable(
        "The ledger's database went away before it answered; the outcome is not known yet. "
        "The same call with the same request_id finds it out.",
        retry_after_s=1.0,
    )


def locked() -> LedgerUnavailable:
    """A row that it needs is parked."""
    return LedgerUnavailable(
        "What this call needs is locked by another session of the ledger's database, so nothing "
        "was started or charged; try again shortly.",
        retry_after_s=1.0,
    )


def fail(result: "asyncio.Future[Any]", error: OmniError) -> None:
    """Fails a future that may have nobody who waits for it."""
    if not result.done():
        result.set_exception(error)
        result.exception()  # marks it as seen
