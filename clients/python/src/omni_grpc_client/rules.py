"""The parts of policies and experiments: rules, conditions and limits; frozen values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc_client.calls import count_of, listed

_PREFERENCES: Mapping[str, pb.PerformancePreference] = {
    "quality": pb.PERFORMANCE_PREFERENCE_QUALITY,
    "speed": pb.PERFORMANCE_PREFERENCE_SPEED,
}


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """The service's own score: for policies that only set limits."""


@dataclass(frozen=True, slots=True)
class DeterministicRule:
    """These models in this order, and no others; 1 to 64."""

    models: Sequence[str]


@dataclass(frozen=True, slots=True)
class WeightedRule:
    """Models by lot, each with its weight, 0 to 1000000; 0 is never drawn.

    `sticky` draws by end user, or by key, which then keeps its model; otherwise by call.
    """

    weights: Mapping[str, int]
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class CostRule:
    """The cheapest whose predicted chance of a good answer is at least `min_quality`, 0 to 1."""

    min_quality: float


@dataclass(frozen=True, slots=True)
class PerformanceRule:
    """The best, or the fastest; the limit `max_cost_nanousd` is its ceiling."""

    prefer: Literal["quality", "speed"] = "quality"


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridRule:
    """The scoring formula with these weights of its terms: each 0 to 1000000, one above 0."""

    cost: float = 0.0
    latency: float = 0.0
    task: float = 0.0
    quality: float = 0.0


@dataclass(frozen=True, slots=True)
class RegionRule:
    """Only offers that are known to be served in one of these regions, such as `eu`.

    `policy` is the one whose rule, limits and fallbacks then hold; if empty, the service's score
    decides.
    """

    regions: Sequence[str]
    policy: str = ""


Rule: TypeAlias = (
    ScoreRule
    | DeterministicRule
    | WeightedRule
    | CostRule
    | PerformanceRule
    | HybridRule
    | RegionRule
)
"""How the models that can serve a call are put in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCondition:
    """For which calls something holds: all that is named must be so; what is empty always is.

    Attributes:
        tasks: one of these was found: `chat`, `coding`, `reasoning`, …
        complexities: one of these was found: `simple`, `medium`, `hard`.
        models: the request names one of these, as written. Empty is every name below `omni/`; `*`
            is every name, so that also who names a model is routed.
        tags: the request has all of these, with these values.
    """

    tasks: Sequence[str] = ()
    complexities: Sequence[str] = ()
    models: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLimits:
    """What a policy never lets through, fallbacks included. Models are named as in requests.

    Attributes:
        allow_models: only these, where any is named.
        deny_models: none of these, whatever is allowed.
        allow_providers: only their models, where any is named.
        deny_providers: none of theirs.
        max_cost_nanousd: the most that a call may be predicted to cost; None: no limit.
    """

    allow_models: Sequence[str] = ()
    deny_models: Sequence[str] = ()
    allow_providers: Sequence[str] = ()
    deny_providers: Sequence[str] = ()
    max_cost_nanousd: int | None = None


def raw_policy_with(rule: Rule) -> pb.RoutingPolicy:
    """A policy of the contract that has this rule and nothing else.

    Raises:
        TypeError: it is no rule, or has a value of another type.
        ValueError: a value that the contract cannot say.
    """
    match rule:
        case ScoreRule():
            return pb.RoutingPolicy(score=pb.ScoreRule())
        case DeterministicRule():
            models = listed(rule.models, "models")
            return pb.RoutingPolicy(deterministic=pb.DeterministicRule(models=models))
        case WeightedRule():
            shares = [
                pb.WeightedModel(model=model, weight=weight)
                for model, weight in rule.weights.items()
            ]
            weighted = pb.WeightedRule(models=shares, sticky=rule.sticky)
            return pb.RoutingPolicy(weighted=weighted)
        case CostRule():
            return pb.RoutingPolicy(cost=pb.CostRule(min_quality=rule.min_quality))
        case PerformanceRule():
            if rule.prefer not in _PREFERENCES:
                raise ValueError(f"{rule.prefer!r} is neither quality nor speed")
            performance = pb.PerformanceRule(prefer=_PREFERENCES[rule.prefer])
            return pb.RoutingPolicy(performance=performance)
        case HybridRule():
            hybrid = pb.HybridRule(
                cost=rule.cost, latency=rule.latency, task=rule.task, quality=rule.quality
            )
            return pb.RoutingPolicy(hybrid=hybrid)
        case RegionRule():
            regions = listed(rule.regions, "regions")
            return pb.RoutingPolicy(region=pb.RegionRule(regions=regions, policy=rule.policy))
    raise TypeError(f"{rule!r} is no rule")


def rule_of(raw: pb.RoutingPolicy) -> Rule | None:
    """A policy's rule; None for one that this client does not know."""
    match raw.WhichOneof("rule"):
        case "score":
            return ScoreRule()
        case "deterministic":
            return DeterministicRule(tuple(raw.deterministic.models))
        case "weighted":
            weights = {one.model: one.weight for one in raw.weighted.models}
            return WeightedRule(weights, sticky=raw.weighted.sticky)
        case "cost":
            return CostRule(raw.cost.min_quality)
        case "performance":
            match raw.performance.prefer:
                case pb.PERFORMANCE_PREFERENCE_UNSPECIFIED | pb.PERFORMANCE_PREFERENCE_QUALITY:
                    return PerformanceRule("quality")
                case pb.PERFORMANCE_PREFERENCE_SPEED:
                    return PerformanceRule("speed")
        case "hybrid":
            terms = raw.hybrid
            return HybridRule(
                cost=terms.cost, latency=terms.latency, task=terms.task, quality=terms.quality
            )
        case "region":
            return RegionRule(tuple(raw.region.regions), raw.region.policy)
    return None


def raw_condition(condition: PolicyCondition | None) -> pb.PolicyCondition | None:
    """A condition as the contract has it.

    Raises:
        TypeError: a value of another type.
    """
    if condition is None:
        return None
    return pb.PolicyCondition(
        tasks=listed(condition.tasks, "tasks"),
        complexities=listed(condition.complexities, "complexities"),
        models=listed(condition.models, "models"),
        tags=condition.tags,
    )


def condition_of(raw: pb.PolicyCondition) -> PolicyCondition:
    """Reads the contract's message."""
    return PolicyCondition(
        tasks=tuple(raw.tasks),
        complexities=tuple(raw.complexities),
        models=tuple(raw.models),
        tags=dict(raw.tags),
    )


def raw_limits(limits: PolicyLimits | None) -> pb.PolicyLimits | None:
    """Limits as the contract has them.

    Raises:
        TypeError: a value of another type.
    """
    if limits is None:
        return None
    return pb.PolicyLimits(
        allow_models=listed(limits.allow_models, "allow_models"),
        deny_models=listed(limits.deny_models, "deny_models"),
        allow_providers=listed(limits.allow_providers, "allow_providers"),
        deny_providers=listed(limits.deny_providers, "deny_providers"),
        max_cost_nanousd=limits.max_cost_nanousd,
    )


def limits_of(raw: pb.PolicyLimits) -> PolicyLimits:
    """Reads the contract's message."""
    return PolicyLimits(
        allow_models=tuple(raw.allow_models),
        deny_models=tuple(raw.deny_models),
        allow_providers=tuple(raw.allow_providers),
        deny_providers=tuple(raw.deny_providers),
        max_cost_nanousd=count_of(raw, "max_cost_nanousd"),
    )
