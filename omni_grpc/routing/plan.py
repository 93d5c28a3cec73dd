"""What routing decides for one request: the attempts, and on what that rests.

Pure values; `router` makes them, `completion` runs them, reports and explanations read them.
"""

import msgspec

from omni_grpc.catalog import Offer
from omni_grpc.core.money import Price
from omni_grpc.core.task import Analysis
from omni_grpc.routing.breakers import OpenBreaker


class OwnAccess(msgspec.Struct, frozen=True):
    """A provider at which the caller has accounts of its own, which alone are called for it.

    `markup_ppm` is what its calls cost on top of the price, in millionths, by the dearest of them:
    below 0 for a fee in the price's place; None is what everybody pays.
    """

    provider: str
    markup_ppm: int | None = None


class RouteContext(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as far as routing cares.

    Attributes:
        scopes: whose policies and aliases hold, the nearest first: `orgs/acme/teams/web`,
            `orgs/acme`, `global`.
        unit: what keeps its arm in an experiment: the caller's end user, or its key.
        seed: the call's own name: what is drawn by chance follows from it.
        analysis: what an operator's classifier said of the request; None leaves it to this machine.
        models: the only models that may be called, as `core.tenancy.model_matches` reads them; all
            if empty.
        own: where the caller has accounts of its own; what is known of offers there from calls
            with the service's account says nothing of those.
    """

    scopes: tuple[str, ...] = ("global",)
    unit: str = ""
    seed: str = ""
    analysis: Analysis | None = None
    models: tuple[str, ...] = ()
    own: tuple[OwnAccess, ...] = ()

    def callable_at(self, providers: frozenset[str]) -> frozenset[str]:
        """The providers that can be called for the caller, of which the service has `providers`."""
        return providers.union(one.provider for one in self.own) if self.own else providers

    def own_at(self, provider: str) -> OwnAccess | None:
        """The caller's own access to a provider, where it has one."""
        for one in self.own:
            if one.provider == provider:
                return one
        return None


class Attempt(msgspec.Struct, frozen=True):
    """One offer to try. `prompt_tokens_max` and `output_tokens_max` are what is held for.

    `own` is set where it is called with an account of the caller's own.
    """

    offer: Offer
    price: Price
    prompt_tokens_max: int
    output_tokens_max: int
    reason: str
    own: OwnAccess | None = None


class Baseline(msgspec.Struct, frozen=True):
    """A model that a call is compared with: the same tokens at this price."""

    model: str
    price: Price


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts for one request, first to last; at least one, but in an explanation of none.

    Attributes:
        attempts: what to try, in order.
        asked: the model that the request named.
        analysis: what the request is about; None where a named model made that needless.
        premium: what the operator's premium model costs; None if none is configured or priced.
        best_single: what the best single model for the task costs; None if none is rated.
        policy: the name of the policy that decided; empty for the named model.
        experiment: the experiment that the call is part of; empty for none.
        arm: its arm there.
        warnings: what the caller should know, such as a deprecated model that was replaced.
        prompt_tokens: about how many tokens the prompt has; None where nobody had to know.
        output_tokens: about how many the answer will have; None likewise.
    """

    attempts: tuple[Attempt, ...]
    asked: str
    analysis: Analysis | None = None
    premium: Baseline | None = None
    best_single: Baseline | None = None
    policy: str = ""
    experiment: str = ""
    arm: str = ""
    warnings: tuple[str, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class ScorePart(msgspec.Struct, frozen=True):
    """A term of a score: its weight times its value, which is 0 to 1."""

    name: str
    value: float
    weight: float


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """One offer that was looked at: its score, or why it was left out.

    `breaker` is set where it is open: also of an offer that is tried all the same, since nothing
    else is left or since the request names it.
    """

    offer: str
    excluded: str = ""
    score: float | None = None
    parts: tuple[ScorePart, ...] = ()
    quality: float | None = None
    cost_nanousd: int | None = None
    latency_ms: int | None = None
    breaker: OpenBreaker | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and all that it was chosen from: the best first, then what was left out by name.

    Where every offer is left out, the plan has no attempt, and `reason` says why and what to do.
    """

    plan: Plan
    reason: str
    considered: tuple[Considered, ...]
