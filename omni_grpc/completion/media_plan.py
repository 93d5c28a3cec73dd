"""Which offers to try for a request beside chats: those that its model's name means, in order.

A second attempt goes to another seller of the same model only: the vectors, voices and pictures of
another model are no substitute.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from omni_grpc.catalog import RESERVED_PREFIX, CatalogSnapshot, Mode, Offer
from omni_grpc.completion.media_bill import Bill
from omni_grpc.core.errors import FeatureUnsupported, ModelNotFound, ModelUnpriced
from omni_grpc.core.media import MediaRequest
from omni_grpc.core.money import Price
from omni_grpc.core.tenancy import model_matches, not_allowed
from omni_grpc.core.usage import Usage
from omni_grpc.providers import MediaRefusal, Providers

ATTEMPT_COUNT_MAX: Final = 3
"""As for chats: the first choice, its backup, and one more."""

_WORDS: Final = {
    Mode.EMBEDDING: "embeddings",
    Mode.IMAGE: "image generation",
    Mode.SPEECH: "speech",
    Mode.TRANSCRIPTION: "transcription",
    Mode.MODERATION: "moderation",
}


class Choice(msgspec.Struct, frozen=True):
    """One offer to try. `most` is what is held for."""

    offer: Offer
    price: Price
    most: Usage


class MediaRouter:
    """Plans over the current catalog and the configured providers."""

    def __init__(self, snapshot: Callable[[], CatalogSnapshot], providers: Providers) -> None:
        self._snapshot = snapshot
        self._providers = providers

    def plan(
        self,
        request: MediaRequest,
        bill: Bill,
        own: frozenset[str] = frozenset(),
        models: tuple[str, ...] = (),
    ) -> tuple[Choice, ...]:
        """The offers for a request, first to last; at least one.

        Args:
            request: what is asked.
            bill: what it would use.
            own: providers at which the caller has accounts of its own.
            models: the only models that the caller's key may call; all if empty.

        Raises:
            ModelNotFound: the name means nothing that can be called here.
            ModelNotAllowed: the caller's key may not call it.
            FeatureUnsupported: what it means does something else, or not all that is asked.
            ModelUnpriced: it has no price for what the request would use.
        """
        name = request.model
        resolved = () if name.startswith(RESERVED_PREFIX) else self._snapshot().resolve(name)
        callable_at = self._providers.ids() | own
        here = [one for one in resolved if one.enabled and one.provider in callable_at]
        if not here:
            raise self._not_found(name, resolved, bill)
        here = [one for one in here if model_matches(models, one.id)]
        if not here:
            raise not_allowed(name, models)
        fit = [one for one in here if self._fits(one, bill) and bill.lacking(one) is None]
        if not fit:
            raise self._lacking(here, bill)
        refusals = [(one, self._refused(one, request)) for one in fit]
        able = [one for one, refusal in refusals if refusal is None]
        if not able:
            raise _unsupported(*refusals[0])
        choices = [choice for choice in (_choice(one, bill) for one in able) if choice]
        if not choices:
            raise _unpriced(name, able[0], bill)
        same = [one for one in choices if one.offer.model == choices[0].offer.model]
        return tuple(same[:ATTEMPT_COUNT_MAX])

    def _fits(self, offer: Offer, bill: Bill) -> bool:
        """Whether it is sold for this, or is a model of chats that does it in one."""
        media = self._providers.media_dialect(offer.provider)
        if media is None:
            return False
        return offer.mode is bill.mode or (media.hears_in_chats and bill.heard_by(offer))

    def _refused(self, offer: Offer, request: MediaRequest) -> MediaRefusal | None:
        media = self._providers.media_dialect(offer.provider)
        return None if media is None else media.refused(request, offer.provider_model)

    def _lacking(self, here: list[Offer], bill: Bill) -> FeatureUnsupported:
        offer = next((one for one in here if self._fits(one, bill)), here[0])
        feature = bill.lacking(offer) if self._fits(offer, bill) else None
        nobody = self._providers.media_dialect(offer.provider) is None
        return FeatureUnsupported(
            f"{offer.id} does not support {feature or _WORDS[bill.mode]}"
            f"{f': {offer.provider} sells nothing but chats' if nobody else ''}. "
            "Choose another model.",
            field="model",
            metadata={"feature": feature or _WORDS[bill.mode], "model": offer.id},
        )

    def _not_found(self, name: str, resolved: tuple[Offer, ...], bill: Bill) -> ModelNotFound:
        what = _WORDS[bill.mode]
        if resolved:
            sellers = ", ".join(sorted({offer.provider for offer in resolved})[:5])
            return ModelNotFound(
                f"The model {name!r} is known, but none of its providers ({sellers}) is "
                f"configured here for {what}. Configure one, or choose from the list of models.",
                field="model",
            )
        near = self._snapshot().suggestions(name, self._providers.ids())
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return ModelNotFound(
            f"There is no model {name!r} for {what}.{hint} GET /v1/models and ListModels list "
            "what there is.",
            field="model",
        )


def _choice(offer: Offer, bill: Bill) -> Choice | None:
    price = offer.price
    if price is None or bill.unpriced(price) is not None:
        return None
    most = bill.most(price)
    if most.completion is not None and offer.output_tokens_max is not None:
        most = msgspec.structs.replace(
            most, completion=min(most.completion, offer.output_tokens_max)
        )
    return Choice(offer, price, most)


def _unsupported(offer: Offer, refusal: MediaRefusal | None) -> FeatureUnsupported:
    what, field = (refusal.what, refusal.field) if refusal else ("", "model")
    return FeatureUnsupported(
        f"{offer.id} does not support {what}.",
        field=field,
        metadata={"feature": what.partition(":")[0], "model": offer.id},
    )


def _unpriced(name: str, offer: Offer, bill: Bill) -> ModelUnpriced:
    price = offer.price
    why = None if price is None else bill.unpriced(price)
    return ModelUnpriced(
        f"The model {name!r} cannot be called: "
        f"{why or offer.unpriced_reason or 'no price is known'}, and what has no price is "
        "refused, never free.",
        field="model",
    )
