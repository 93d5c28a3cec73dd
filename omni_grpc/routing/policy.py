"""How a routing policy orders the candidates of a call, and what it leaves out.

Pure. A policy only ever reorders or leaves out what it is given: an offer that was found incapable,
and so is not among the candidates, is never brought back by it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol, TypeVar

from omni_grpc.core.money import usd_text
from omni_grpc.routing.policy_model import (
    ANY_MODEL,
    COLLECTION,
    GLOBAL_SCOPE,
    NO_POLICY,
    ROUTED_PREFIX,
    Cost,
    Deterministic,
    Hybrid,
    Limits,
    Performance,
    Policy,
    Prefer,
    Ready,
    Region,
    Rule,
    Score,
    Weighted,
    WeightedModel,
    When,
)

__all__ = [
    "ANY_MODEL",
    "COLLECTION",
    "GLOBAL_SCOPE",
    "NO_POLICY",
    "ROUTED_PREFIX",
    "Candidate",
    "Cost",
    "Deterministic",
    "Hybrid",
    "Limits",
    "Performance",
    "Policy",
    "Prefer",
    "Ready",
    "Region",
    "Rule",
    "Score",
    "Weighted",
    "WeightedModel",
    "When",
    "order",
    "unit_interval",
]


class Candidate(Protocol):
    """What a policy looks at. Costs and qualities are predictions; a higher score is better."""

    @property
    def offer_id(self) -> str:
        """`provider/provider_model`."""
        ...

    @property
    def model(self) -> str:
        """The canonical id of the model."""
        ...

    @property
    def provider(self) -> str:
        """Who sells it."""
        ...

    @property
    def regions(self) -> Collection[str]:
        """Where it is served; empty if not known."""
        ...

    @property
    def cost_nanousd(self) -> int:
        """What the call is predicted to cost."""
        ...

    @property
    def quality(self) -> float:
        """The predicted chance of a good answer, 0 to 1."""
        ...

    @property
    def latency_ms(self) -> float | None:
        """How long the call is predicted to take; None if nobody knows."""
        ...

    @property
    def score(self) -> float:
        """The score of the scoring formula."""
        ...


S = TypeVar("S", bound=Candidate)


def order(
    policy: Ready,
    scored: Sequence[S],
    unit: str,
    call_seed: str,
    dropped: dict[str, str] | None = None,
) -> list[S]:
    """The candidates that the policy lets through, in its order.

    Args:
        policy: what decides.
        scored: the capable candidates, each offer once, in the order of the service's own choice,
            which is that of the scores but for its guards.
        unit: what a sticky draw is by; the call's seed stands in for an empty one.
        call_seed: different for every call, such as its id.
        dropped: takes the reason of each that is left out, by offer id.
    """
    dropped = {} if dropped is None else dropped
    let_through = list(scored)
    ready: Ready | None = policy
    while ready is not None:
        if ready.limited:
            let_through = _within(ready, let_through, dropped)
        ready = ready.base
    return _ordered(policy, let_through, unit, call_seed, dropped)


def _ordered(
    ready: Ready, scored: list[S], unit: str, call_seed: str, dropped: dict[str, str]
) -> list[S]:
    """The rule's order, with the fallbacks in their place."""
    ruled = _ruled(ready, scored, unit, call_seed, dropped)
    fallbacks = _chain(ready, ready.policy.fallbacks, scored)
    if not fallbacks:
        return ruled
    first = len(ruled) if isinstance(ready.policy.rule, Deterministic) else 1
    found = {one.offer_id: one for one in (*ruled[:first], *fallbacks, *ruled[first:])}
    for offer_id in found:
        dropped.pop(offer_id, None)
    return list(found.values())


def _ruled(
    ready: Ready, scored: list[S], unit: str, call_seed: str, dropped: dict[str, str]
) -> list[S]:
    policy = ready.policy
    match policy.rule:
        case Deterministic(models=models):
            found = _chain(ready, models, scored)
            _drop_others(policy, scored, found, "is not in the chain", dropped)
            return found
        case Weighted(models=models, sticky=sticky):
            seed = f"{policy.full_name}\0{unit if sticky and unit else call_seed}"
            found = _lots(ready, models, scored, seed)
            _drop_others(policy, scored, found, "has no weight in the lot", dropped)
            return found
        case Cost(min_quality=least):
            return sorted(
                scored,
                key=lambda one: (
                    (0, one.cost_nanousd, -one.quality, one.offer_id)
                    if one.quality >= least
                    else (1, -one.quality, one.cost_nanousd, one.offer_id)
                ),
            )
        case Performance(prefer=Prefer.QUALITY):
            return sorted(scored, key=lambda one: (-one.quality, one.cost_nanousd, one.offer_id))
        case Performance():
            return sorted(
                scored,
                key=lambda one: (
                    math.inf if one.latency_ms is None else one.latency_ms,
                    -one.score,
                    one.offer_id,
                ),
            )
        case Hybrid() | Score():
            return scored
        case Region():
            if ready.base is not None:
                return _ordered(ready.base, scored, unit, call_seed, dropped)
            return scored


def _within(ready: Ready, scored: list[S], dropped: dict[str, str]) -> list[S]:
    """Those that a policy's limits, or its region rule, do not leave out."""
    limits, rule = ready.policy.limits, ready.policy.rule
    providers, no_providers = limits.allow_providers, limits.deny_providers
    models = _meant(ready, limits.allow_models)
    # The names too: an offer that a sync has just brought is denied before names are looked up.
    no_models = _meant(ready, limits.deny_models).union(limits.deny_models)
    regions = rule.regions if isinstance(rule, Region) else ()
    most = limits.max_cost_nanousd
    found: list[S] = []
    for one in scored:
        if providers and one.provider not in providers:
            why = f"provider {one.provider} is not allowed"
        elif one.provider in no_providers:
            why = f"provider {one.provider} is denied"
        elif limits.allow_models and one.offer_id not in models and one.model not in models:
            why = "the model is not allowed"
        elif one.offer_id in no_models or one.model in no_models:
            why = "the model is denied"
        elif regions and not any(name in one.regions for name in regions):
            why = f"is not known to be served in {' or '.join(regions)}"
        elif most is not None and one.cost_nanousd > most:
            cost = usd_text(one.cost_nanousd)
            why = f"its predicted cost, {cost} USD, is above {usd_text(most)}"
        else:
            found.append(one)
            continue
        dropped[one.offer_id] = f"{why} (policy {ready.name})"
    return found


def _meant(ready: Ready, names: Sequence[str]) -> frozenset[str]:
    """The ids of the offers that names mean; of those the catalog does not know, the names."""
    return frozenset(one for name in names for one in ready.meanings.get(name, (name,)))


def _chain(ready: Ready, names: Sequence[str], scored: Sequence[S]) -> list[S]:
    """The candidates that the names mean, in the names' order, each once."""
    used: set[str] = set()
    by_id = {one.offer_id: one for one in scored}
    found: list[S] = []
    for name in names:
        ids = ready.meanings.get(name)
        if ids is not None:
            group = [by_id[offer_id] for offer_id in ids if offer_id in by_id]
        else:
            group = [one for one in scored if name in (one.offer_id, one.model)]
        for one in group:
            if one.offer_id not in used:
                used.add(one.offer_id)
                found.append(one)
    return found


def _lots(ready: Ready, models: Sequence[WeightedModel], scored: Sequence[S], seed: str) -> list[S]:
    """The candidates in the order of the draw: each model is first with the chance of its share."""
    groups = {entry.model: _chain(ready, (entry.model,), scored) for entry in models}
    weights = {entry.model: entry.weight for entry in models if groups[entry.model]}
    found: dict[str, S] = {}
    for name in _drawn(weights, seed):
        group = groups[name]
        if ready.shares and len(group) > 1:
            of_id = {one.offer_id: one for one in group}
            shares = {offer_id: ready.shares.get(offer_id, 1) for offer_id in of_id}
            group = [of_id[offer_id] for offer_id in _drawn(shares, f"{seed}\0{name}")]
        for one in group:
            found.setdefault(one.offer_id, one)
    return list(found.values())


def _drawn(weights: Mapping[str, int], seed: str) -> list[str]:
    """Names in the order of a draw without putting back.

    Weighted rendezvous hashing: each name has a lot of its own, so that taking one away, or
    changing its weight, moves only what goes to it or comes from it.
    """
    lots = [
        (-math.log(unit_interval(f"{seed}\0{name}")) / weight, name)
        for name, weight in weights.items()
        if weight > 0
    ]
    return [name for _, name in sorted(lots)]


def unit_interval(text: str) -> float:
    """A number in (0, 1), evenly spread over texts; the same in every process."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    return ((number >> 11) + 0.5) / 2**53


def _drop_others(
    policy: Policy, scored: Sequence[S], found: Sequence[S], why: str, dropped: dict[str, str]
) -> None:
    kept = {one.offer_id for one in found}
    for one in scored:
        if one.offer_id not in kept:
            dropped[one.offer_id] = f"{why} of policy {policy.full_name}"
