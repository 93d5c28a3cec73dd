"""What a call reserves on its budgets, and what it then counts there: in dollars or in tokens.

Tokens are all of the prompt and of the answer, whatever they cost; images, seconds of audio and
characters are none.
"""

from collections.abc import Sequence

from omni_grpc.billing.operations import HoldOp, Leg
from omni_grpc.core.tenancy import BudgetRef, BudgetUnit
from omni_grpc.core.usage import Usage

Bounds = tuple[int, int]
"""The least and the most."""


def legs_of(
    budgets: Sequence[BudgetRef], cost: Bounds, tokens: Bounds | None = None
) -> tuple[Leg, ...]:
    """A hold's legs, those in tokens first.

    Args:
        budgets: those that the call must fit into.
        cost: what the hold itself asks for, nano-USD.
        tokens: the same in tokens; None for what has none, which no budget in tokens counts.
    """
    if not budgets:
        return ()
    in_tokens = [
        Leg(budget.id, *tokens, BudgetUnit.TOKENS)
        for budget in budgets
        if tokens is not None and budget.unit is BudgetUnit.TOKENS
    ]
    in_dollars = [Leg(budget.id, *cost) for budget in budgets if budget.unit is BudgetUnit.NANOUSD]
    return (*in_tokens, *in_dollars)


def tokens_of(usage: Usage) -> int:
    """All tokens of the prompt and of the answer."""
    return (usage.prompt or 0) + (usage.completion or 0)


def leg_costs(hold: HoldOp | None, usage: Usage | None) -> tuple[int, ...]:
    """What a settle counts in those legs that count tokens; the others count what is charged."""
    if hold is None or not hold.legs or usage is None:
        return ()
    return (tokens_of(usage),) * sum(leg.unit is BudgetUnit.TOKENS for leg in hold.legs)


def granted_legs(hold: HoldOp, granted: int) -> tuple[Leg, ...]:
    """The legs of a hold that was granted less than its most: at most what each has reserved.

    The ledger cuts them in proportion and rounds down, as here; its share is known to a nano-USD.
    """
    least, most = hold.amount_min, hold.amount_max
    if granted == most:
        return hold.legs
    return tuple(
        Leg(
            leg.account,
            leg.amount_min,
            leg.amount_min
            + (leg.amount_max - leg.amount_min) * (granted - least) // (most - least),
            leg.unit,
        )
        for leg in hold.legs
    )
