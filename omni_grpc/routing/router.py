"""Which offers to try for a request, in order, each with its reason.

A name under `omni/` leaves the choice to the router; every other name means what the catalog
resolves it to. A policy of the operator's may order the first, and take over the second.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from omni_grpc.catalog import RESERVED_PREFIX, CatalogSnapshot
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import ModelNotFound, NoCapableModel
from omni_grpc.core.task import Analysis
from omni_grpc.routing.choosing import AUTO, ROUTED, Chooser
from omni_grpc.routing.health import Health
from omni_grpc.routing.named import NamedPlanner
from omni_grpc.routing.narrowing import Refusal
from omni_grpc.routing.plan import Explanation, Plan, RouteContext
from omni_grpc.routing.policies import Chosen
from omni_grpc.routing.routed import RoutedPlanner
from omni_grpc.routing.warmth import Warmth

__all__ = ["AUTO", "PolicySource", "Router"]


class PolicySource(Protocol):
    """Where the policy of a call comes from."""

    def for_call(
        self,
        context: RouteContext,
        request_model: str,
        analysis: Analysis | None,
        tags: Mapping[str, str],
    ) -> Chosen | None:
        """The policy that decides, and the experiment that the call is part of; None for none."""
        ...

    @property
    def takes_named(self) -> bool:
        """Whether some policy may take over requests that name their model."""
        ...


class Router:
    """Plans requests over the current catalog and the configured providers."""

    def __init__(
        self,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        refusal: Refusal,
        *,
        chooser: Chooser,
        policies: PolicySource,
        health: Health,
        warmth: Warmth,
        premium_model: str,
        markup_ppm: int,
    ) -> None:
        """Plan with all that is known.

        Args:
            snapshot: the current catalog.
            providers: the configured ones.
            refusal: what a provider cannot do for a request, whatever its model can.
            chooser: predicts and scores.
            policies: the operator's.
            health: what is known of offers from calls.
            warmth: which conversations are warm where.
            premium_model: what savings are counted against; empty for the best rated.
            markup_ppm: what callers pay on top of prices.
        """
        self._snapshot = snapshot
        self._chooser = chooser
        self._health = health
        self._policies = policies
        self._named = NamedPlanner(snapshot, providers, refusal, health, markup_ppm=markup_ppm)
        self._routed = RoutedPlanner(
            snapshot,
            providers,
            refusal,
            chooser=chooser,
            named=self._named,
            health=health,
            warmth=warmth,
            premium_model=premium_model,
            markup_ppm=markup_ppm,
        )

    @property
    def version(self) -> int:
        """The version of the catalog that requests are planned over now."""
        return self._snapshot().version

    def plan(self, request: ChatRequest, context: RouteContext) -> Plan:
        """What to try for a request.

        Raises:
            ModelNotFound, ModelUnpriced: the named model cannot be called here.
            FeatureUnsupported, ContextTooLong, FieldInvalid: it cannot do what is asked.
            NoCapableModel: none of the models that may be chosen can.
        """
        return self._decide(request, context, explain=False).plan

    def explain(self, request: ChatRequest, context: RouteContext) -> Explanation:
        """What to try, and all that it was chosen from; no attempt where nothing is left of it.

        Raises:
            OmniError: as `plan` does, but for NoCapableModel, which is the explanation's reason.
        """
        return self._decide(request, context, explain=True)

    def output_tokens(self, request: ChatRequest, context: RouteContext, plan: Plan) -> int:
        """About how many tokens the first attempt's output will have.

        Where the request names its model nobody looked at its prompt, so that is done here: by the
        same predictions as a choice rests on.
        """
        first = plan.attempts[0]
        if plan.output_tokens is not None:
            return min(plan.output_tokens, first.output_tokens_max)
        look = self._chooser.look(request, context.analysis)
        found = self._chooser.length(look, first.offer, request, self._health.speeds)
        return min(int(found), first.output_tokens_max)

    def _decide(self, request: ChatRequest, context: RouteContext, *, explain: bool) -> Explanation:
        is_routed = request.model in ROUTED
        if not is_routed and request.model.startswith(RESERVED_PREFIX):
            raise ModelNotFound(
                f"There is no model {request.model!r}. Of the names under {RESERVED_PREFIX} this "
                f"server knows {', '.join(ROUTED)}.",
                field="model",
            )
        look = chosen = None
        if is_routed or self._policies.takes_named:
            look = self._chooser.look(request, context.analysis)
        if look is not None:
            chosen = self._policies.for_call(context, request.model, look.analysis, request.tags)
        if look is not None and (is_routed or chosen is not None):
            return self._routed.decide(request, context, look, chosen, explain=explain)
        try:
            plan = self._named.plan(request, context)
        except NoCapableModel as fault:
            if not explain:
                raise
            plan, reason = Plan(attempts=(), asked=request.model), fault.message
        else:
            reason = plan.attempts[0].reason
        considered = self._named.considered(request, context, plan) if explain else ()
        return Explanation(plan=plan, reason=reason, considered=considered)
