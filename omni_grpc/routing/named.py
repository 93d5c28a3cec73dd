"""The plan of a request that names its model: that model, at whoever sells it.

A provider's offer means that offer alone. A bare model or an alias means several offers: the first
that can do the request is asked, the others stand behind it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from omni_grpc.catalog import CatalogSnapshot, Offer
from omni_grpc.catalog.replacement import replaced
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import (
    ContextTooLong,
    FeatureUnsupported,
    FieldInvalid,
    ModelNotFound,
    ModelUnpriced,
    NoCapableModel,
    OmniError,
)
from omni_grpc.core.tenancy import model_matches, not_allowed
from omni_grpc.routing.advice import MAX_COST, TOO_DEAR, advice, raise_cost
from omni_grpc.routing.attempts import ATTEMPT_COUNT_MAX, Terms
from omni_grpc.routing.breakers import OpenBreaker
from omni_grpc.routing.health import Health
from omni_grpc.routing.narrowing import Limits, Refusal
from omni_grpc.routing.needs import Needs
from omni_grpc.routing.offer_table import window_of
from omni_grpc.routing.plan import Attempt, Considered, Plan, RouteContext
from omni_grpc.routing.prompts import PromptSize

PROVIDERS_NAMED_MAX: Final = 5
"""Providers that an error names."""


class NamedPlanner:
    """Plans requests that name their model."""

    def __init__(
        self,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        refusal: Refusal,
        health: Health,
        *,
        markup_ppm: int,
    ) -> None:
        self._snapshot = snapshot
        self._providers = providers
        self._refusal = refusal
        self._health = health
        self._markup_ppm = markup_ppm

    def plan(self, request: ChatRequest, context: RouteContext) -> Plan:
        """What to try for a request.

        Raises:
            ModelNotFound, ModelUnpriced: the named model cannot be called here.
            ModelNotAllowed: the caller's key may not call it.
            FeatureUnsupported, ContextTooLong, FieldInvalid: it cannot do what is asked.
            NoCapableModel: the request's own preferences rule it out.
        """
        offers, warning = self.offers(request.model, context)
        needs, size = Needs.of(request), PromptSize(request)
        terms = Terms(request, size, context, markup_ppm=self._markup_ppm)
        able = self._able(offers, request, context, needs, size, ATTEMPT_COUNT_MAX)
        if not able:
            raise self._unable(offers, request, needs, terms)
        attempts = [
            terms.attempt(offer, self._reason(request.model, place, offer, context))
            for place, offer in enumerate(able)
        ]
        wished = request.preferences.fallbacks
        if wished:
            named = self.fallbacks(request, context, needs, size, {able[0].id})
            attempts = attempts[:1] + [
                terms.attempt(offer, "a fallback that the request names") for offer in named
            ]
        return Plan(
            attempts=_affordable(attempts, terms),
            asked=request.model,
            warnings=() if warning is None else (warning,),
        )

    def offers(self, name: str, context: RouteContext) -> tuple[list[Offer], str | None]:
        """The offers that a name means and that can be called here, at least one; and a warning.

        Raises:
            ModelNotFound: there is none.
            ModelNotAllowed: there are, and the caller's key may call none of them.
        """
        snapshot = self._snapshot()
        providers = context.callable_at(self._providers)
        resolved = snapshot.resolve(name, context.scopes)
        meant, warning = replaced(snapshot, resolved, providers=providers, scopes=context.scopes)
        here = [one for one in meant if one.provider in providers and one.enabled]
        if not here:
            raise self._not_found(name, resolved)
        allowed = [one for one in here if model_matches(context.models, one.id)]
        if not allowed:
            raise not_allowed(name, context.models)
        return allowed, warning

    def considered(
        self, request: ChatRequest, context: RouteContext, plan: Plan
    ) -> tuple[Considered, ...]:
        """What a plan was chosen from: its attempts, then the others that the name means."""
        tried = [one.offer for one in plan.attempts]
        needs, size = Needs.of(request), PromptSize(request)
        terms = Terms(request, size, context, markup_ppm=self._markup_ppm)
        meant, _ = self.offers(request.model, context)
        kept = {one.id for one in tried}
        others = sorted((one for one in meant if one.id not in kept), key=lambda one: one.id)
        faults = [self._fault(one, request, context, needs, terms) for one in others]
        return tuple(
            Considered(
                offer=one.id,
                excluded=why,
                breaker=self.breaker(one.id, one.provider, context),
            )
            for one, why in [*((one, "") for one in tried), *zip(others, faults, strict=True)]
        )

    def breaker(self, offer: str, provider: str, context: RouteContext) -> OpenBreaker | None:
        """An offer's open breaker, which tells nothing of accounts of the caller's own."""
        return None if context.own_at(provider) is not None else self._health.opening(offer)

    def fallbacks(
        self,
        request: ChatRequest,
        context: RouteContext,
        needs: Needs,
        size: PromptSize,
        tried: set[str],
    ) -> list[Offer]:
        """Of each fallback that the request names, the first offer that can do it."""
        found: list[Offer] = []
        for name in request.preferences.fallbacks:
            offers = [one for one in self.offers(name, context)[0] if one.id not in tried]
            able = self._able(offers, request, context, needs, size, 1)
            found += able
            tried = tried | {one.id for one in able}
        return found

    def _able(
        self,
        offers: Iterable[Offer],
        request: ChatRequest,
        context: RouteContext,
        needs: Needs,
        size: PromptSize,
        count: int,
    ) -> list[Offer]:
        """The first `count` offers that can do a request, those that failed lately last."""
        limits = Limits.of(request.preferences)
        found: list[Offer] = []
        for offer in sorted(offers, key=lambda one: self._away(one, context) is not None):
            if limits.fault(offer) is None and self._can(offer, request, needs, size):
                found.append(offer)
                if len(found) == count:
                    break
        return found

    def _away(self, offer: Offer, context: RouteContext) -> str | None:
        """Why an offer comes last; None if it does not."""
        return None if context.own_at(offer.provider) is not None else self._health.fault(offer.id)

    def _reason(self, name: str, place: int, offer: Offer, context: RouteContext) -> str:
        reason = f"{name!r} names it"
        if place:
            reason = f"{name!r} means it too, where the offers before it fail"
        away = self._away(offer, context)
        return reason if away is None else f"{reason}; {away}"

    def _fault(
        self,
        offer: Offer,
        request: ChatRequest,
        context: RouteContext,
        needs: Needs,
        terms: Terms,
    ) -> str:
        """Why an offer that the name means is not tried."""
        limits, lacking = Limits.of(request.preferences).fault(offer), needs.lacking(offer)
        refused = self._refusal(offer.provider, request)
        unpriced, away = needs.unpriced(offer), self._away(offer, context)
        faults = (
            None if limits is None else limits.text,
            None if unpriced is None else f"it is not priced for this: {unpriced}",
            None if lacking is None else f"it lacks {lacking}",
            None if refused is None else f"its provider does not take {refused[0]}",
            None
            if terms.size.fits(window_of(offer))
            else "the prompt does not fit its context window",
            None if terms.output_tokens_max(offer) > 0 else TOO_DEAR.text,
            away,
        )
        enough = "the offers before it are enough for a plan"
        return next((one for one in faults if one is not None), enough)

    def _can(self, offer: Offer, request: ChatRequest, needs: Needs, size: PromptSize) -> bool:
        return (
            needs.unpriced(offer) is None
            and needs.lacking(offer) is None
            and self._refusal(offer.provider, request) is None
            and size.fits(window_of(offer))
        )

    def _unable(
        self, offers: Sequence[Offer], request: ChatRequest, needs: Needs, terms: Terms
    ) -> OmniError:
        """Why none of the offers that a name means can do the request: the first one's reason."""
        priced = [offer for offer in offers if needs.unpriced(offer) is None]
        if not priced:
            return ModelUnpriced(
                f"The model {request.model!r} cannot be called: {needs.unpriced(offers[0])}, and "
                "what has no price is refused, never free.",
                field="model",
            )
        offer = priced[0]
        if not terms.size.fits(window_of(offer)):
            return ContextTooLong(
                f"The prompt has more tokens than the context window of {offer.id}, "
                f"{window_of(offer)}. Shorten it, or choose a model with a larger window.",
                field="messages",
            )
        lacking = _lacking(offer, needs) or self._refused(offer, request)
        if lacking is not None:
            return lacking
        limits = Limits.of(request.preferences)
        faults = [(one, fault) for one in priced if (fault := limits.fault(one)) is not None]
        wanted, field = advice(faults, terms.cost_min)
        causes = "; ".join(sorted({fault.text for _, fault in faults}))
        return NoCapableModel(
            f"{offer.id} is ruled out by the request's own routing preferences: {causes}. "
            f"{wanted} Or name another model.",
            field=field,
        )

    def _refused(self, offer: Offer, request: ChatRequest) -> FeatureUnsupported | None:
        refused = self._refusal(offer.provider, request)
        if refused is None:
            return None
        feature, field = refused
        return FeatureUnsupported(
            f"{field}: the provider {offer.provider!r} does not take {feature}. Leave it out, "
            "choose a model of another provider, or declare it optional where it is a setting.",
            field=field,
            metadata={"feature": feature, "model": offer.id},
        )

    def _not_found(self, name: str, resolved: tuple[Offer, ...]) -> ModelNotFound:
        if resolved:
            providers = sorted({offer.provider for offer in resolved})[:PROVIDERS_NAMED_MAX]
            return ModelNotFound(
                f"The model {name!r} is known, but no provider of it is configured here "
                f"({', '.join(providers)}). Configure one, or choose from the list of models.",
                field="model",
            )
        near = self._snapshot().suggestions(name, self._providers)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return ModelNotFound(
            f"There is no model {name!r}.{hint} GET /v1/models and ListModels list what there is.",
            field="model",
        )


def _affordable(attempts: list[Attempt], terms: Terms) -> tuple[Attempt, ...]:
    """The attempts of which at least a token is within the cost that the request sets."""
    found = tuple(one for one in attempts if one.output_tokens_max > 0)
    if not found:
        raise NoCapableModel(
            f"The prompt alone may cost more at {attempts[0].offer.id} than the request's "
            f"highest cost allows. {raise_cost([one.offer for one in attempts], terms.cost_min)} "
            "Or shorten the prompt, or choose a cheaper model.",
            field=MAX_COST,
        )
    return found


def _lacking(offer: Offer, needs: Needs) -> FieldInvalid | None:
    limit = offer.output_tokens_max
    if needs.output_tokens is not None and limit is not None and needs.output_tokens > limit:
        return FieldInvalid(
            f"The output limit of {needs.output_tokens} tokens is above what {offer.id} can "
            f"generate, {limit}. Ask for at most that.",
            field="max_output_token_count",
        )
    lacking = needs.lacking(offer)
    if lacking is None:
        return None
    return FeatureUnsupported(
        f"{offer.id} does not support {lacking}. Choose another model, or 'omni/auto'.",
        field="model",
        metadata={"feature": lacking, "model": offer.id},
    )
