"""Which offers to try for a request, in order, each with its reason.

For now `omni/auto` means the cheapest callable offers that can do what the request needs; every
other name means what the catalog resolves it to.
"""

from collections.abc import Callable
from typing import Final

from omni_grpc.catalog import CatalogSnapshot, Offer
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import (
    ContextTooLong,
    FeatureUnsupported,
    FieldInvalid,
    ModelNotFound,
    ModelUnpriced,
    NoCapableModel,
)
from omni_grpc.core.limits import OUTPUT_TOKENS_DEFAULT
from omni_grpc.core.money import worst_case
from omni_grpc.routing.needs import Needs
from omni_grpc.routing.plan import Attempt, Plan, RouteContext
from omni_grpc.routing.prompts import PromptSize

AUTO: Final = "omni/auto"

ATTEMPT_COUNT_MAX: Final = 3
"""Offers in a plan: the first choice, its backup, and one more."""

_TYPICAL_CHARS_PER_TOKEN: Final = 4
_TYPICAL_OUTPUT_TOKENS: Final = 500


Refusal = Callable[[str, ChatRequest], tuple[str, str] | None]
"""By provider and request: a feature, in words, and the field that asks for it."""


class Router:
    """Plans requests over the current catalog and the configured providers."""

    def __init__(
        self,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        refusal: Refusal,
    ) -> None:
        """`refusal` says what a provider cannot do for a request, whatever its model can."""
        self._snapshot = snapshot
        self._providers = providers
        self._refusal = refusal

    def plan(self, request: ChatRequest, context: RouteContext) -> Plan:  # noqa: ARG002
        """What to try for a request.

        Raises:
            ModelNotFound, ModelUnpriced: the named model cannot be called here.
            FeatureUnsupported, ContextTooLong, FieldInvalid: it cannot do what is asked.
            NoCapableModel: none of the models that may be chosen can.
        """
        needs = Needs.of(request)
        size = PromptSize(request)
        if request.model == AUTO:
            return Plan(attempts=self._cheapest(request, needs, size), asked=request.model)
        if request.model.startswith("omni/"):
            raise ModelNotFound(
                f"There is no model {request.model!r}. Of the names under omni/ this server "
                f"knows {AUTO!r}.",
                field="model",
            )
        offer = self._named(request.model, needs)
        _refuse_lacking(offer, needs)
        refused = self._refusal(offer.provider, request)
        if refused is not None:
            feature, field = refused
            raise FeatureUnsupported(
                f"{field}: the provider {offer.provider!r} does not take {feature}. Leave it out, "
                "choose a model of another provider, or declare it optional where it is a setting.",
                field=field,
                metadata={"feature": feature, "model": offer.id},
            )
        attempt = _attempt(request, offer, size, f"{request.model!r} names it")
        return Plan(attempts=(attempt,), asked=request.model)

    def _named(self, name: str, needs: Needs) -> Offer:
        snapshot = self._snapshot()
        resolved = snapshot.resolve(name)
        here = [offer for offer in resolved if offer.provider in self._providers and offer.enabled]
        if not here:
            raise self._not_found(name, resolved)
        for offer in here:
            if needs.unpriced(offer) is None:
                return offer
        raise ModelUnpriced(
            f"The model {name!r} cannot be called: {needs.unpriced(here[0])}, and what has no "
            "price is refused, never free.",
            field="model",
        )

    def _not_found(self, name: str, resolved: tuple[Offer, ...]) -> ModelNotFound:
        if resolved:
            providers = ", ".join(sorted({offer.provider for offer in resolved})[:5])
            return ModelNotFound(
                f"The model {name!r} is known, but no provider of it is configured here "
                f"({providers}). Configure one, or choose from the list of models.",
                field="model",
            )
        near = self._snapshot().suggestions(name, self._providers)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return ModelNotFound(
            f"There is no model {name!r}.{hint} GET /v1/models and ListModels list what there is.",
            field="model",
        )

    def _cheapest(
        self, request: ChatRequest, needs: Needs, size: PromptSize
    ) -> tuple[Attempt, ...]:
        lacking: dict[str, int] = {}
        capable: list[tuple[int, str, Offer]] = []
        typical = size.bound // _TYPICAL_CHARS_PER_TOKEN
        output = min(request.output_tokens_max or _TYPICAL_OUTPUT_TOKENS, _TYPICAL_OUTPUT_TOKENS)
        snapshot = self._snapshot()
        for provider in self._providers:
            refused = self._refusal(provider, request)
            for offer in snapshot.offers_of(provider):
                price = offer.price
                if price is None or not _electable(offer):
                    continue
                why = needs.lacking(offer) or needs.unpriced(offer)
                if why is None and refused is not None:
                    why = refused[0]
                if why is None and not size.fits(_window(offer)):
                    why = "a context window this large"
                if why is not None:
                    lacking[why] = lacking.get(why, 0) + 1
                    continue
                capable.append((worst_case(typical, output, price, 0), offer.id, offer))
        if not capable:
            reasons = "; ".join(
                f"{count} lack {why}" for why, count in sorted(lacking.items(), key=lambda x: -x[1])
            )
            raise NoCapableModel(
                "No callable model can do what this request needs"
                + (f": {reasons}." if reasons else ": none is configured and priced."),
                field="model",
            )
        capable.sort()
        return tuple(
            _attempt(request, offer, size, f"number {rank} by price of {len(capable)} capable")
            for rank, (_, _, offer) in enumerate(capable[:ATTEMPT_COUNT_MAX], 1)
        )


def _electable(offer: Offer) -> bool:
    """Whether an offer may be chosen for somebody who did not name it."""
    return offer.enabled and not (offer.deprecated or offer.free or offer.by_name_only)


def _refuse_lacking(offer: Offer, needs: Needs) -> None:
    limit = offer.output_tokens_max
    if needs.output_tokens is not None and limit is not None and needs.output_tokens > limit:
        raise FieldInvalid(
            f"The output limit of {needs.output_tokens} tokens is above what {offer.id} can "
            f"generate, {limit}. Ask for at most that.",
            field="max_output_token_count",
        )
    lacking = needs.lacking(offer)
    if lacking is not None:
        raise FeatureUnsupported(
            f"{offer.id} does not support {lacking}. Choose another model, or {AUTO!r}.",
            field="model",
            metadata={"feature": lacking, "model": offer.id},
        )


def _attempt(request: ChatRequest, offer: Offer, size: PromptSize, reason: str) -> Attempt:
    price = offer.price
    if price is None:
        raise ModelUnpriced(f"{offer.id} has no price.", field="model")
    if not size.fits(_window(offer)):
        raise ContextTooLong(
            f"The prompt has more tokens than the context window of {offer.id}, "
            f"{_window(offer)}. Shorten it, or choose a model with a larger window.",
            field="messages",
        )
    window = _window(offer)
    output = request.output_tokens_max
    if output is None:
        output = min(OUTPUT_TOKENS_DEFAULT, offer.output_tokens_max or OUTPUT_TOKENS_DEFAULT)
    return Attempt(
        offer=offer,
        price=price,
        prompt_tokens_max=size.bound if window is None else min(size.bound, window),
        output_tokens_max=output,
        reason=reason,
    )


def _window(offer: Offer) -> int | None:
    return offer.prompt_tokens_max or offer.context_tokens_max
