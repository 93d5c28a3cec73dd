"""What a routing policy says: for which calls it holds, its rule, its limits. Pure values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

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
        max_cost_nanousd: no candidate whose predicted cost is above this; None for no limit.
    """

    allow_models: tuple[str, ...] = ()
    deny_models: tuple[str, ...] = ()
    allow_providers: tuple[str, ...] = ()
    deny_providers: tuple[str, ...] = ()
    max_cost_nanousd: int | None = None


NO_LIMITS: Final = Limits()


class _Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """How candidates are put in order."""


class Score(_Rule, frozen=True, tag="score"):
    """By the service's own score: for policies that only set limits."""


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
    while that can serve; a weight of 0 is never drawn. Of several offers of one model the catalog's
    order decides, or a second draw where the operator gave them routing weights.
    """

    models: tuple[WeightedModel, ...]
    sticky: bool = False


class Cost(_Rule, frozen=True, tag="cost"):
    """The cheapest whose predicted quality is at least `min_quality` (0 to 1).

    Those below it come after, the best first: they are tried only if the others fail.
    """

    min_quality: float


class Prefer(StrEnum):
    """What a performance policy wants most."""

    QUALITY = "quality"
    SPEED = "speed"


class Performance(_Rule, frozen=True, tag="performance"):
    """The best, or the fastest; `Limits.max_cost_nanousd` is its ceiling.

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


Rule: TypeAlias = Score | Deterministic | Weighted | Cost | Performance | Hybrid | Region


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
        shares: the operator's routing weights of offers, where they are not all the same.
    """

    policy: Policy
    base: "Ready | None" = None
    meanings: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    shares: Mapping[str, int] = msgspec.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The policy's full name; empty for `NO_POLICY`."""
        return self.policy.full_name if self.policy.name else ""

    @property
    def limited(self) -> bool:
        """Whether it has any limit or region of its own."""
        return self.policy.limits != NO_LIMITS or isinstance(self.policy.rule, Region)

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


NO_POLICY: Final = Ready(Policy(name="", rule=Score()))
"""What orders the calls of a control arm where no policy holds."""
