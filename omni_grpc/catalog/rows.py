"""Turns rows of the database into offers that share whatever is equal, so that memory stays small.

Thousands of offers repeat a few hundred rates, sets of modalities and names: each is kept once.
"""

import datetime as dt
from typing import TypeVar

from omni_grpc.catalog.model import Modality, Mode, Offer
from omni_grpc.core.money import Price, Rate, Unit

T = TypeVar("T")


class PriceReader:
    """Collects rates, and gives the price of a version once all its rates are there."""

    def __init__(self) -> None:
        self._rates: dict[int, list[Rate]] = {}
        self._shared = Shared()

    def add(self, version: int, unit: str, prompt_tokens_min: int, nanousd_per_mtok: int) -> None:
        """Take one row of `price_rate`."""
        rate = self._shared.one(Rate(Unit(unit), prompt_tokens_min, nanousd_per_mtok))
        self._rates.setdefault(version, []).append(rate)

    def rates(self, version: int | None) -> tuple[Rate, ...]:
        """The sorted rates of a version; none for no version."""
        return self._shared.one(tuple(sorted(self._rates[version]))) if version else ()

    def prices(self) -> dict[int, Price]:
        """Every version that was read."""
        return {version: Price(version, self.rates(version)) for version in self._rates}


class OfferReader:
    """Makes offers from rows."""

    def __init__(self, prices: dict[int, Price]) -> None:
        self._prices = prices
        self._shared = Shared()

    def offer(  # noqa: PLR0917 # the columns of one row, in their order
        self,
        offer_id: str,
        provider: str,
        model: str,
        provider_model: str,
        display_name: str,
        mode: str,
        context_tokens_max: int | None,
        prompt_tokens_max: int | None,
        output_tokens_max: int | None,
        input_modalities: list[str],
        output_modalities: list[str],
        tools: bool,
        structured_output: bool | None,
        reasoning: bool,
        temperature: bool | None,
        free: bool,
        deprecated: bool,
        by_name_only: bool,
        enabled: bool,
        release_date: dt.date | None,
        price_version: int | None,
        unpriced_reason: str,
    ) -> Offer:
        """One row of `offer`, in the order of the store's query."""
        one = self._shared.one
        return Offer(
            id=offer_id,
            provider=one(provider),
            model=one(model),
            provider_model=one(provider_model),
            display_name=one(display_name),
            mode=Mode(mode),
            context_tokens_max=one(context_tokens_max),
            prompt_tokens_max=one(prompt_tokens_max),
            output_tokens_max=one(output_tokens_max),
            input_modalities=one(frozenset(map(Modality, input_modalities))),
            output_modalities=one(frozenset(map(Modality, output_modalities))),
            tools=tools,
            structured_output=structured_output,
            reasoning=reasoning,
            temperature=temperature,
            free=free,
            deprecated=deprecated,
            by_name_only=by_name_only,
            enabled=enabled,
            release_date=one(release_date),
            price=self._prices[price_version] if price_version else None,
            unpriced_reason=one(unpriced_reason),
        )


class Shared:
    """One object for all that are equal. Values of different types are never mixed up."""

    def __init__(self) -> None:
        self._kept: dict[tuple[type, object], object] = {}

    def one(self, value: T) -> T:
        """The first value that was equal to this one."""
        return self._kept.setdefault((type(value), value), value)  # type: ignore[return-value] # equal and of the same type
