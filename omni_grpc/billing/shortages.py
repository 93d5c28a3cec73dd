"""What a caller is told whose hold found no room: of what it was short, and what helps."""

from typing import Final, Protocol

from omni_grpc.billing.model import WindowUse
from omni_grpc.billing.operations import HoldOp, Outcome
from omni_grpc.core.errors import (
    BudgetExhausted,
    BudgetHeld,
    CreditsExhausted,
    CreditsHeld,
    LedgerUnavailable,
    OmniError,
)
from omni_grpc.core.money import usd_text
from omni_grpc.core.tenancy import BudgetUnit

RETRY_SECONDS: Final = 1.0
"""When to try again where only calls in flight are in the way."""


class WindowReader(Protocol):
    """Finds a budget's window by its account; `LedgerStore` does."""

    async def window(self, account_id: int) -> WindowUse | None:
        """What the window has; None if the account is no window's."""


class Shortages:
    """Words for outcomes that are SHORT."""

    def __init__(self, windows: WindowReader) -> None:
        self._windows = windows

    async def error(self, op: HoldOp, outcome: Outcome) -> OmniError:
        """What to raise for a hold that was refused.

        Raises:
            LedgerUnavailable: the database cannot say which budget it was.
        """
        if outcome.short_account == op.wallet or outcome.short_account is None:
            return _credits_error(outcome, op.amount_min)
        use = await self._windows.window(outcome.short_account)
        if use is None:
            raise LedgerUnavailable(
                "The budget that this call must fit into is gone; try again.",
                retry_after_s=RETRY_SECONDS,
            )
        needed = max(
            (leg.amount_min for leg in op.legs if leg.unit is use.unit), default=op.amount_min
        )
        # As it was when it was decided; the rest may have changed since.
        spent = -(outcome.posted or 0)
        return _budget_error(use, needed, spent, outcome.pending or 0)


def _credits_error(outcome: Outcome, needed: int) -> CreditsExhausted | CreditsHeld:
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
            retry_after_s=RETRY_SECONDS,
        )
    return CreditsExhausted(
        f"This may cost up to {usd_text(needed)} USD; the account has {usd_text(posted)} USD. "
        "Add credits, lower the output limit, or ask for a shortened answer "
        "(short_credits: shorten).",
        metadata=facts,
    )


def _budget_error(
    use: WindowUse, needed: int, spent: int, held: int
) -> BudgetExhausted | BudgetHeld:
    unit = "nanousd" if use.unit is BudgetUnit.NANOUSD else "tokens"
    amount = use.amount or 0
    facts = {
        "budget": use.budget,
        "unit": unit,
        "limit": str(amount),
        "spent": str(spent),
        "held": str(held),
        "needed": str(needed),
    }
    resets = "It never resets"
    if use.end_time is not None:
        facts["reset_time"] = use.end_time.isoformat()
        resets = f"It resets at {use.end_time.isoformat(timespec='seconds')}"
    if amount - spent >= needed:
        return BudgetHeld(
            f"This needs {_shown(needed, use.unit)}; of the budget `{use.budget}` "
            f"{_shown(amount - spent, use.unit)} are left, but calls in flight hold "
            f"{_shown(held, use.unit)} of it. Try again when they end.",
            metadata=facts,
            retry_after_s=RETRY_SECONDS,
        )
    return BudgetExhausted(
        f"This may take up to {_shown(needed, use.unit)}; the budget `{use.budget}` has "
        f"{_shown(max(0, amount - spent), use.unit)} left of {_shown(amount, use.unit)}. "
        f"{resets}. Lower the output limit, ask for a shortened answer "
        "(short_credits: shorten), or have the budget raised.",
        metadata=facts,
    )


def _shown(amount: int, unit: BudgetUnit) -> str:
    return f"{usd_text(amount)} USD" if unit is BudgetUnit.NANOUSD else f"{amount} tokens"
