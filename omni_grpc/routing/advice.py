"""Why no offer is left to choose from, and what the caller can do about it, in words.

Each preference is named as the contract names it, with values that would do; nothing is said of
what no caller can change.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from omni_grpc.catalog import Offer
from omni_grpc.core.errors import NoCapableModel
from omni_grpc.core.money import usd_text
from omni_grpc.routing.narrowing import (
    ALLOWED_MODELS,
    ALLOWED_PROVIDERS,
    DATA_REGION,
    DENIED_MODELS,
    DENIED_PROVIDERS,
    Fault,
)
from omni_grpc.routing.policy import Ready

MAX_COST: Final = "max_cost_nanousd"
"""The preference that bounds a call's cost, as errors name it."""

TOO_DEAR: Final = Fault("it may cost more than the request's max_cost allows", MAX_COST)

CUT_SHORT: Final = "the request's max_cost would probably cut its answer short"
"""Of offers that are left out only where others are not dear enough for that."""

NAMES_SHOWN_MAX: Final = 5
"""Names that advice lists: enough to choose from, short enough to read."""

CAUSES_SHOWN_MAX: Final = 5
"""Reasons that an error lists; an explanation has all."""

LeftOut = tuple[Offer, Fault]


def incapable(left_out: Sequence[LeftOut], cost_min: Callable[[Offer], int]) -> NoCapableModel:
    """That nothing is left: for what the caller can change, where there is any such thing."""
    left_out = [one for one in left_out if not one[1].is_given] or left_out
    counts = Counter(fault.text for _, fault in left_out)
    reasons = "; ".join(
        f"{count} left out because {why}"
        for why, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    )
    wanted, field = advice(left_out, cost_min)
    return NoCapableModel(
        "No callable model can do what this request needs"
        + (f": {reasons}." if reasons else ": none is configured and priced.")
        + (f" {wanted}" if wanted else ""),
        field=field,
    )


def none_let_through(policy: Ready, dropped: dict[str, str]) -> NoCapableModel:
    """That a policy leaves out all that could do it, and for which causes."""
    causes = "; ".join(sorted(set(dropped.values()))[:CAUSES_SHOWN_MAX])
    return NoCapableModel(
        f"The routing policy {policy.name} lets none of the capable models through: {causes}. "
        "Ask its administrator, or name a model.",
        field="model",
    )


def advice(left_out: Sequence[LeftOut], cost_min: Callable[[Offer], int]) -> tuple[str, str]:
    """What to change, as sentences, and the field that an error names.

    Args:
        left_out: offers, and why each is left out.
        cost_min: nano-USD that the shortest answer of an offer may cost.

    Returns:
        "" and `model` where no preference leaves one out; `model` too where several do.
    """
    by_field: dict[str, list[Offer]] = {}
    for offer, fault in left_out:
        if fault.field:
            by_field.setdefault(fault.field, []).append(offer)
    found = [_advice(field, offers, cost_min) for field, offers in sorted(by_field.items())]
    return " Or: ".join(found), next(iter(by_field)) if len(by_field) == 1 else "model"


def raise_cost(offers: Sequence[Offer], cost_min: Callable[[Offer], int]) -> str:
    """To which amount the highest cost must be raised, at the cheapest of some offers."""
    least, name = min((cost_min(one), one.id) for one in offers)
    return (
        f"Raise max_cost to at least {usd_text(least)} USD ({least} nano-USD), which covers the "
        f"prompt and the shortest answer at {name}; a longer answer needs more."
    )


def _advice(field: str, offers: Sequence[Offer], cost_min: Callable[[Offer], int]) -> str:
    if field == MAX_COST:
        return raise_cost(offers, cost_min)
    if field == DATA_REGION:
        regions = {region for offer in offers for region in offer.regions}
        if not regions:
            return "Leave data_region out: no region is known of any model that can do this."
        return f"Leave data_region out, or set it to {_names(regions)}."
    providers, models = {one.provider for one in offers}, {one.id for one in offers}
    return {
        ALLOWED_PROVIDERS: f"Put {_names(providers)} on allowed_providers.",
        DENIED_PROVIDERS: f"Take {_names(providers)} off denied_providers.",
        ALLOWED_MODELS: f"Put {_names(models)} on allowed_models.",
        DENIED_MODELS: f"Take {_names(models)} off denied_models.",
    }[field]


def _names(found: set[str]) -> str:
    more = len(found) - NAMES_SHOWN_MAX
    shown = " or ".join(sorted(found)[:NAMES_SHOWN_MAX])
    return f"{shown} or one of {more} more" if more > 0 else shown
