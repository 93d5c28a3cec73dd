"""A routing policy: for which calls it holds, how it orders their candidates, what it forbids.

Pure values and pure rules. A policy only ever reorders or leaves out what it is given: an offer
that was found incapable, and so is not among the candidates, is never brought back by it.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Final, Protocol, TypeAlias, TypeVar

import msgspec

from omni_grpc.core.money import usd_text
from omni_grpc.core.task import Analysis, Complexity, Task

GLOBAL_SCOPE: Final = "global"
"""The scope of whoever runs the service; every caller's last one."""

COLLECTION: Final = "routingPolicies"

ANY_MODEL: Final = "*"
"""In `When.models`: whatever the request names, a single model too."""

ROUTED_PREFIX: Final = "omni/"
"""What a request names that leaves the choice to the service, such as `omni/auto`."""


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For which calls a policy holds: all that is named must be so; what is empty is always so.

    Attributes:
        tasks: one of these was found.
        complexities: one of these was found.
        models: the request names one of these, as written; empty is every name below `omni/`, and
            `*` is every name. So whoever names a model gets it, unless a policy says otherwise.
        tags: the request has all of these, with these values.
    """

    tasks: frozenset[Task] = frozenset()
    complexities: frozenset[Complexity] = frozenset()
    models: frozenset[str] = frozenset()
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)

    def holds(self, model: str, analysis: Analysis | None, tags: Mapping[str, str]) -> bool:
        """Whether it is so for a request that names `model`; without analysis no task is so."""
        if not self.models:
            if not model.startswith(ROUTED_PREFIX):
                return False
        elif model not in self.models and ANY_MODEL not in self.models:
            return False
        if self.tasks and (analysis is None or analysis.task not in self.tasks):
            return False
        if self.complexities and (analysis is None or analysis.complexity not in self.complexities):
            return False
        return not self.tags or all(tags.get(name) == value for name, value in self.tags.items())


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy never lets through, fallbacks included. Models are named as in requests.

    Attributes:
        allow_models: only these, where any is named.
        deny_models: none of these, whatever is allowed.
        allow_providers: only theirs, where any is named.
        deny_providers: none of theirs.
        cost_max_nanousd: no candidate whose predicted cost is above this; None for no limit.
    """

    allow_models: tuple[str, ...] = ()
    deny_models: tuple[str, ...] = ()
    allow_providers: tuple[str, ...] = ()
    deny_providers: tuple[str, ...] = ()
    cost_max_nanousd: int | None = None


class _Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """How candidates are put in order."""


class Deterministic(_Rule, frozen=True, tag="deterministic"):
    """These models in this order, and no others."""

    models: tuple[str, ...]


class WeightedModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model and its share: the weight over the sum of the weights of those that can serve."""

    model: str
    weight: int


class Weighted(_Rule, frozen=True, tag="weighted"):
    """These models by lot: one is drawn first, then from the rest, and so on.

    The lot is a stable hash, by call, or by unit where `sticky`, and then a unit keeps its model
    while that can serve; a weight of 0 is never drawn.
    """

    models: tuple[WeightedModel, ...]
    sticky: bool = False


class Cost(_Rule, frozen=True, tag="cost"):
    """The cheapest whose predicted quality is at least `quality_min` (0 to 1).

    Those below it come after, the best first: they are tried only if the others fail.
    """

    quality_min: float


class Prefer(StrEnum):
    """What a performance policy wants most."""

    QUALITY = "quality"
    SPEED = "speed"


class Performance(_Rule, frozen=True, tag="performance"):
    """The best, or the fastest; `Limits.cost_max_nanousd` is its ceiling.

    What has no known latency comes last of the fastest.
    """

    prefer: Prefer = Prefer.QUALITY


class Hybrid(_Rule, frozen=True, tag="hybrid"):
    """By the score, with these weights of its terms; at least one is above 0."""

    cost: float = 0.0
    latency: float = 0.0
    task: float = 0.0
    quality: float = 0.0


class Region(_Rule, frozen=True, tag="region"):
    """Only offers of these regions; in the order of `policy`, or by the score if that is empty.

    The other policy's rule, limits and fallbacks hold; its conditions are not asked. An offer
    whose regions are not known is in none.
    """

    regions: tuple[str, ...]
    policy: str = ""


Rule: TypeAlias = Deterministic | Weighted | Cost | Performance | Hybrid | Region


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A routing policy, as an operator writes it.

    Attributes:
        name: its id within the scope.
        scope: whose calls: `global`, `orgs/{org}`, `orgs/{org}/teams/{team}`.
        rule: how candidates are put in order.
        order: of several of one scope that hold, the smallest decides; then the name.
        active: whether it decides by itself; otherwise only where an experiment or a region
            policy names it.
        when: for which calls.
        limits: what it never lets through.
        fallbacks: models to try next when the first choice fails; after the whole chain of a
            deterministic rule. They are subject to the limits, as all is.
        description: for people.
    """

    name: str
    rule: Rule
    scope: str = GLOBAL_SCOPE
    order: int = 0
    active: bool = True
    when: When = When()
    limits: Limits = Limits()
    fallbacks: tuple[str, ...] = ()
    description: str = ""

    @property
    def full_name(self) -> str:
        """`{scope}/routingPolicies/{name}`, unique."""
        return f"{self.scope}/{COLLECTION}/{self.name}"


class Ready(msgspec.Struct, frozen=True):
    """A policy as it is applied.

    Attributes:
        policy: as it was written.
        base: the policy that a region policy hands on to.
        meanings: the offers that the catalog means by a name, in its order; a name that is not
            there means the offer of this id, or all offers of this model.
    """

    policy: Policy
    base: "Ready | None" = None
    meanings: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The policy's full name."""
        return self.policy.full_name

    @property
    def kind(self) -> str:
        """The kind of the rule that orders: `cost`, `weighted` …; a region's is its base's."""
        if self.base is not None:
            return self.base.kind
        return str(self.policy.rule.__struct_config__.tag)

    @property
    def weights(self) -> Hybrid | None:
        """The weights that the score shall have; None leaves the service's own."""
        if self.base is not None:
            return self.base.weights
        return self.policy.rule if isinstance(self.policy.rule, Hybrid) else None


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
        scored: the capable candidates, each offer once, in any order.
        unit: what a sticky draw is by; the call's seed stands in for an empty one.
        call_seed: different for every call, such as its id.
        dropped: takes the reason of each that is left out, by offer id.
    """
    dropped = {} if dropped is None else dropped
    let_through = []
    for one in scored:
        why = _forbidden(policy, one)
        if why is None:
            let_through.append(one)
        else:
            dropped[one.offer_id] = why
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
            drawn = _drawn(models, seed, lambda name: bool(_chain(ready, (name,), scored)))
            found = _chain(ready, drawn, scored)
            _drop_others(policy, scored, found, "has no weight in the lot", dropped)
            return found
        case Cost(quality_min=least):
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
        case Hybrid():
            return _by_score(scored)
        case Region():
            if ready.base is not None:
                return _ordered(ready.base, scored, unit, call_seed, dropped)
            return _by_score(scored)


def _forbidden(ready: Ready, one: Candidate) -> str | None:
    """Why a policy's limits, or those of the one it hands on to, leave a candidate out."""
    why = _beyond(ready, one)
    if why is not None:
        return f"{why} (policy {ready.name})"
    return None if ready.base is None else _forbidden(ready.base, one)


def _beyond(ready: Ready, one: Candidate) -> str | None:
    limits, rule = ready.policy.limits, ready.policy.rule
    if limits.allow_providers and one.provider not in limits.allow_providers:
        return f"provider {one.provider} is not allowed"
    if one.provider in limits.deny_providers:
        return f"provider {one.provider} is denied"
    if limits.allow_models and not any(_means(ready, name, one) for name in limits.allow_models):
        return "the model is not allowed"
    if any(_means(ready, name, one) for name in limits.deny_models):
        return "the model is denied"
    if isinstance(rule, Region) and not any(name in one.regions for name in rule.regions):
        return f"is not known to be served in {' or '.join(rule.regions)}"
    most = limits.cost_max_nanousd
    if most is not None and one.cost_nanousd > most:
        return f"its predicted cost, {usd_text(one.cost_nanousd)} USD, is above {usd_text(most)}"
    return None


def _means(ready: Ready, name: str, one: Candidate) -> bool:
    ids = ready.meanings.get(name)
    return name in (one.offer_id, one.model) if ids is None else one.offer_id in ids


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
            group = _by_score([one for one in scored if name in (one.offer_id, one.model)])
        for one in group:
            if one.offer_id not in used:
                used.add(one.offer_id)
                found.append(one)
    return found


def _drawn(
    models: Sequence[WeightedModel], seed: str, can_serve: Callable[[str], bool]
) -> list[str]:
    """Names in the order of the draw: each is first with the chance of its share of the weights.

    Weighted rendezvous hashing: each name has a lot of its own, so that taking one away, or
    changing its weight, moves only the calls that go to it or come from it.
    """
    lots = [
        (-math.log(unit_interval(f"{seed}\0{entry.model}")) / entry.weight, entry.model)
        for entry in models
        if entry.weight > 0 and can_serve(entry.model)
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


def _by_score(scored: Sequence[S]) -> list[S]:
    return sorted(scored, key=lambda one: (-one.score, one.cost_nanousd, one.offer_id))
