"""Which offers a request may be sent to at all, and why the others may not.

The mask is made from columns, since it is made for every request; the reasons are made from the
offers, one by one, where somebody asks for them: for a refusal or for an explanation. Both look at
the same things in the same order.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec
import numpy as np

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Offer
from omni_grpc.core.chat import NO_PREFERENCES, ChatRequest, Preferences
from omni_grpc.core.tenancy import model_matches, models_text
from omni_grpc.routing.needs import Needs
from omni_grpc.routing.offer_table import Mask, OfferTable, electable, window_of
from omni_grpc.routing.prompts import PromptSize

Refusal = Callable[[str, ChatRequest], tuple[str, str] | None]
"""By provider and request: a feature, in words, and the field that asks for it."""


ALLOWED_PROVIDERS: Final = "routing.allowed_providers"
DENIED_PROVIDERS: Final = "routing.denied_providers"
ALLOWED_MODELS: Final = "routing.allowed_models"
DENIED_MODELS: Final = "routing.denied_models"
DATA_REGION: Final = "routing.data_region"
"""Preferences of a request, as errors name them."""


class Fault(msgspec.Struct, frozen=True):
    """Why an offer is left out.

    `field` is the preference that does, where one does. `is_given` says that it holds whatever
    the request says.
    """

    text: str
    field: str = ""
    is_given: bool = False


class Limits(msgspec.Struct, frozen=True):
    """What a caller and the operator's policy allow for one request; empty collections are all."""

    providers: frozenset[str] = frozenset()
    providers_denied: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    models_denied: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()

    @classmethod
    def of(cls, wished: Preferences) -> "Limits":
        """A caller's."""
        if wished is NO_PREFERENCES:
            return NO_LIMITS
        return cls(
            providers=frozenset(wished.providers),
            providers_denied=frozenset(wished.providers_denied),
            models=frozenset(wished.models),
            models_denied=frozenset(wished.models_denied),
            regions=frozenset((wished.region,)) if wished.region else frozenset(),
        )

    def fault(self, offer: Offer) -> Fault | None:
        """Why an offer is not allowed; None if it is."""
        if self.providers and offer.provider not in self.providers:
            return Fault("its provider is not among the allowed ones", ALLOWED_PROVIDERS)
        if offer.provider in self.providers_denied:
            return Fault("its provider is denied", DENIED_PROVIDERS)
        names = (offer.id, offer.model)
        if self.models and not any(name in self.models for name in names):
            return Fault("its model is not among the allowed ones", ALLOWED_MODELS)
        if any(name in self.models_denied for name in names):
            return Fault("its model is denied", DENIED_MODELS)
        if self.regions and not offer.regions & self.regions:
            regions = " or ".join(sorted(self.regions))
            return Fault(f"it is not known to keep data in {regions}", DATA_REGION)
        return None


NO_LIMITS = Limits()


class Narrowing:
    """What one request leaves of all offers. `allowed` are the models of its caller's key."""

    def __init__(
        self,
        request: ChatRequest,
        *,
        needs: Needs,
        size: PromptSize,
        limits: Collection[Limits],
        refusal: Refusal,
        allowed: tuple[str, ...] = (),
    ) -> None:
        self._request = request
        self._needs = needs
        self._size = size
        self._limits = [one for one in limits if one != NO_LIMITS]
        self._refusal = refusal
        self._allowed = allowed

    def mask(self, table: OfferTable) -> Mask:
        """Which rows of the table may be chosen, models that the caller's key lacks among them."""
        sure, possible = self.bounds(table)
        return sure if sure is possible else possible & (table.windows >= self._size.tokens)

    def bounds(self, table: OfferTable) -> tuple[Mask, Mask]:
        """Which rows surely may be chosen, and which may if the prompt fits their windows.

        They differ where only a count of the prompt's tokens tells; where nothing does, both are
        one and the same array.
        """
        possible = self._possible(table)
        if self._size.bound <= table.window_min:
            return possible, possible
        sure = possible & (table.windows >= self._size.bound)
        return (sure, possible) if (sure != possible).any() else (possible, possible)

    def _possible(self, table: OfferTable) -> Mask:
        if self._needs.surcharge is not None:
            return np.zeros(len(table), dtype=np.bool_)
        mask = table.capable(self._needs)
        for provider, rows in table.provider_rows.items():
            if self._refusal(provider, self._request) is not None:
                mask[rows] = False
        for limits in self._limits:
            for row in np.flatnonzero(mask):
                if limits.fault(table.offers[row]) is not None:
                    mask[row] = False
        return mask

    def faults(
        self, snapshot: CatalogSnapshot, providers: Collection[str]
    ) -> Iterator[tuple[Offer, Fault | None]]:
        """Every offer of the configured providers that completes chats, with why it is left out.

        None stands for an offer that may be chosen.
        """
        for provider in sorted(providers):
            refused = self._refusal(provider, self._request)
            for offer in snapshot.offers_of(provider):
                if offer.mode is Mode.CHAT and Modality.TEXT in offer.output_modalities:
                    yield offer, self._fault(offer, refused)

    def _fault(self, offer: Offer, refused: tuple[str, str] | None) -> Fault | None:
        if not electable(offer):
            return Fault(_unelectable(offer), is_given=True)
        lacking = self._needs.lacking(offer)
        if lacking is not None:
            return Fault(f"it lacks {lacking}")
        unpriced = self._needs.unpriced(offer)
        if unpriced is not None:
            return Fault(f"it is not priced for this: {unpriced}", is_given=offer.price is None)
        if refused is not None:
            return Fault(f"its provider does not take {refused[0]}")
        if not self._size.fits(window_of(offer)):
            window = window_of(offer)
            return Fault(f"the prompt does not fit its context window of {window} tokens")
        for limits in self._limits:
            fault = limits.fault(offer)
            if fault is not None:
                return fault
        if not model_matches(self._allowed, offer.id):
            text = f"the API key may call {models_text(self._allowed)} alone"
            return Fault(text, is_given=True)
        return None


def _unelectable(offer: Offer) -> str:
    if not offer.enabled:
        return "it is switched off"
    if offer.deprecated:
        return "it is deprecated"
    if offer.free:
        return "it is a free tier, which is chosen by name only"
    return "it is chosen by name only"
