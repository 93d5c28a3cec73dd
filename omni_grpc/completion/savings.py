"""What an answer saved: its tokens at other models' prices, less what the call cost.

The tokens are those that were charged, as the provider counted them; another model would have
written an answer of another length, which nobody can know. Every amount has the markup and is
rounded as a charge is.
"""

from omni_grpc.core.chat import Savings
from omni_grpc.core.limits import AMOUNT_NANOUSD_MAX
from omni_grpc.core.money import charge
from omni_grpc.core.usage import Usage
from omni_grpc.routing import Baseline, Plan


def savings_of(plan: Plan, usage: Usage, cost_nanousd: int, markup_ppm: int) -> Savings | None:
    """What an answered call saved; None where the plan has no premium model to compare with.

    Args:
        plan: what routing decided, with the models to compare with.
        usage: what the attempt used that was answered.
        cost_nanousd: what the whole call was charged, attempts that brought nothing included.
        markup_ppm: the markup that the call was charged with, in millionths.
    """
    premium = plan.premium
    if premium is None:
        return None
    premium_nanousd = _cost(premium, usage, markup_ppm)
    if premium_nanousd is None:
        return None
    single = plan.best_single
    single_nanousd = None if single is None else _cost(single, usage, markup_ppm)
    return Savings(
        premium_model=premium.model,
        premium_nanousd=premium_nanousd,
        saved_nanousd=premium_nanousd - cost_nanousd,
        single_model="" if single is None or single_nanousd is None else single.model,
        single_nanousd=single_nanousd,
    )


def _cost(baseline: Baseline, usage: Usage, markup_ppm: int) -> int | None:
    """None where something was used that the model does not sell, or that is no sum of money."""
    try:
        cost = charge(usage, baseline.price, markup_ppm)
    except ValueError:
        return None
    return cost if cost <= AMOUNT_NANOUSD_MAX else None
