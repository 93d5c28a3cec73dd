"""Turns rows of the database into offers that share whatever is equal, so that memory stays small.

Thousands of offers repeat a few hundred rates, sets of modalities and names: each is kept once.
Operators' words are laid over the rows here, so that everything else sees one offer.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from omni_grpc.catalog.model import Modality, Mode, Offer
from omni_grpc.catalog.words import PRICE, RATING, Expanded, Word, Words
from omni_grpc.core.money import Price, Rate, Unit

T = TypeVar("T")

_DECODERS: Final = {
    field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(Words)
}
_SETS: Final = ("tags", "regions")
_ETAG_CHARS: Final = 16


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

    def __init__(self, prices: dict[int, Price], words: Expanded, today: dt.date) -> None:
        """Take the price versions that rows name, what operators say, and the date in UTC."""
        self._prices = prices
        self._today = today
        self._shared = Shared()
        self._words: dict[str, dict[str, Word]] = {}
        for (subject, field), word in words.items():
            if not field.startswith(RATING):
                self._words.setdefault(subject, {})[field] = word

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
        release_date: dt.date | None,
        price_version: int | None,
        unpriced_reason: str,
        own_price_version: int | None,
        hold_price_version: int | None,
        regions: list[str],
        deprecation_date: dt.date | None,
        source: str,
    ) -> Offer:
        """One row of `offer`, in the order of the store's query."""
        one = self._shared.one
        version = own_price_version or price_version
        price = self._prices[version] if version else None
        if own_price_version and price is not None:
            free = not any(rate.nanousd_per_mtok for rate in price.rates)
            unpriced_reason = ""
        found = Offer(
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
            deprecated=deprecated or self._is_past(deprecation_date),
            by_name_only=by_name_only,
            enabled=True,
            release_date=one(release_date),
            price=price,
            # An operator's own price is the only one there is to charge by.
            hold_price=None
            if own_price_version or not hold_price_version
            else self._prices[hold_price_version],
            unpriced_reason=one(unpriced_reason),
            regions=one(frozenset(regions)),
            deprecation_date=one(deprecation_date),
            source=one(source),
        )
        words = self._words.get(offer_id)
        return found if words is None else self._said(found, words)

    def _said(self, offer: Offer, words: Mapping[str, Word]) -> Offer:
        """The offer with an operator's words over it; its price is there already."""
        changed: dict[str, object] = {}
        for field, word in words.items():
            if field == PRICE:
                continue
            value = _DECODERS[field].decode(word.value)
            changed[field] = self._shared.one(frozenset(value) if field in _SETS else value)
        date = changed.get("deprecation_date")
        if isinstance(date, dt.date):
            changed["deprecated"] = self._is_past(date)
        return msgspec.structs.replace(offer, **changed)

    def _is_past(self, date: dt.date | None) -> bool:
        return date is not None and date <= self._today


def etag_of(offer: Offer) -> str:
    """Changes whenever anything of an offer does."""
    text = msgspec.json.encode(offer, order="deterministic")
    return hashlib.sha256(text).hexdigest()[:_ETAG_CHARS]


class Shared:
    """One object for all that are equal. Values of different types are never mixed up."""

    def __init__(self) -> None:
        self._kept: dict[tuple[type, object], object] = {}

    def one(self, value: T) -> T:
        """The first value that was equal to this one."""
        return self._kept.setdefault((type(value), value), value)  # type: ignore[return-value] # equal and of the same type
