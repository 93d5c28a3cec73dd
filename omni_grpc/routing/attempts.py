"""One offer as an attempt of a plan: what is held for it, and within which cost."""

from typing import Final

from omni_grpc.catalog import Offer
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import ModelUnpriced
from omni_grpc.core.limits import OUTPUT_TOKENS_DEFAULT
from omni_grpc.core.money import PPM, NanoUsd, output_tokens_covered, worst_case
from omni_grpc.routing.offer_table import window_of
from omni_grpc.routing.plan import Attempt, OwnAccess, RouteContext
from omni_grpc.routing.prompts import PromptSize

ATTEMPT_COUNT_MAX: Final = 3
"""Offers in a plan: the first choice, its backup, and one more."""


class Terms:
    """On which terms one request is sent to an offer. `markup_ppm` is what callers pay on top."""

    def __init__(
        self, request: ChatRequest, size: PromptSize, context: RouteContext, *, markup_ppm: int
    ) -> None:
        self.size = size
        self._request = request
        self._context = context
        self._markup_ppm = markup_ppm

    @property
    def has_cost_max(self) -> bool:
        """Whether the request sets a cost that no attempt may exceed."""
        return self._request.preferences.cost_max_nanousd is not None

    def attempt(self, offer: Offer, reason: str) -> Attempt:
        """An offer as an attempt.

        Raises:
            ModelUnpriced: it has no price.
        """
        if offer.price is None:
            raise ModelUnpriced(f"{offer.id} has no price.", field="model")
        own = self._context.own_at(offer.provider)
        return Attempt(
            offer=offer,
            price=offer.price,
            prompt_tokens_max=self.prompt_tokens_max(offer),
            output_tokens_max=self.output_tokens_max(offer),
            reason=reason if own is None else f"{reason}; {_words(own)}",
            own=own,
        )

    def prompt_tokens_max(self, offer: Offer) -> int:
        """What is held for the prompt: its bound, or the window where that is smaller."""
        window = window_of(offer)
        return self.size.bound if window is None else min(self.size.bound, window)

    def output_tokens_max(self, offer: Offer) -> int:
        """The output limit: the request's own, else the service's or the model's.

        Where the request sets a cost that no attempt may exceed, it is what this covers at the
        price that holds are made at; 0 where it does not even cover the prompt.
        """
        limit = self._request.output_tokens_max
        if limit is None:
            limit = min(OUTPUT_TOKENS_DEFAULT, offer.output_tokens_max or OUTPUT_TOKENS_DEFAULT)
        most = self._request.preferences.cost_max_nanousd
        if most is None or offer.price is None:
            return limit
        choices = self._request.sampling.choice_count or 1
        prompt = self.prompt_tokens_max(offer)
        covered = output_tokens_covered(
            NanoUsd(most),
            prompt,
            limit * choices,
            offer.hold_price or offer.price,
            markup_of(self._context.own_at(offer.provider), self._markup_ppm),
        )
        return covered // choices

    def cost_min(self, offer: Offer) -> NanoUsd:
        """The least that a request may set as its highest cost, so that an offer is tried.

        Raises:
            ModelUnpriced: it has no price.
        """
        if offer.price is None:
            raise ModelUnpriced(f"{offer.id} has no price.", field="model")
        return worst_case(
            self.prompt_tokens_max(offer),
            self._request.sampling.choice_count or 1,
            offer.hold_price or offer.price,
            markup_of(self._context.own_at(offer.provider), self._markup_ppm),
        )


def markup_of(own: OwnAccess | None, markup_ppm: int) -> int:
    """What is paid on top of the price: with an account of the caller's own, by its terms."""
    return markup_ppm if own is None or own.markup_ppm is None else own.markup_ppm


def _words(own: OwnAccess) -> str:
    if own.markup_ppm is None:
        return "with the caller's own credential there"
    return f"with the caller's own credential there, at {fee_text(own.markup_ppm)} of the price"


def fee_text(markup_ppm: int) -> str:
    """What a markup leaves of a price, in words: -950000 is `5 %`."""
    percent = f"{(PPM + markup_ppm) // 10_000}.{(PPM + markup_ppm) % 10_000:04d}"
    return f"{percent.rstrip('0').rstrip('.')} %"
