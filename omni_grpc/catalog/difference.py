"""What several sources together say of one offer, and where they contradict each other.

Sources are trusted in one order; of each fact the first one that states it is believed. A price is
taken whole from one source, so that it can be pinned and settled; where others ask more for the
same unit, holds are made at the dearest. Pure: nothing here reads or writes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from omni_grpc.catalog.facts import FACTS, OfferFacts
from omni_grpc.catalog.prices import Quote
from omni_grpc.core.money import COMPLETION_UNITS, PPM, Price, Rate, Unit

SEED: Final = "seed"
MODELS_DEV: Final = "models.dev"
OPENROUTER: Final = "openrouter"
LITELLM: Final = "litellm"
GENAI_PRICES: Final = "genai-prices"

_TRUST: Final = (MODELS_DEV, OPENROUTER, LITELLM, GENAI_PRICES, SEED)
"""From the most trusted on. Sources of an operator's own stand before all of them, and the seed,
which is as old as this release, after all that was ever read anew."""

SUPPLEMENTS: Final = frozenset({GENAI_PRICES})
"""Sources that only add to what others list: they never make an offer."""

HOLD_RATIO_MAX: Final = 4
"""A rate above this many times the chosen one is a mistake of the unit rather than another list:
it is reported, and no hold is made at it."""

TOLERANCE_PPM: Final = 10_000
"""Rates that differ by less than 1 % do not count as different: sources round."""

_FILLED: Final = (
    Unit.PROMPT_AUDIO,
    Unit.COMPLETION_AUDIO,
    Unit.CACHED_WRITE_1H,
    Unit.PROMPT_IMAGE,
    Unit.COMPLETION_IMAGE,
)
"""Units that some sources leave out without meaning that they cost as much as the whole."""


class Said(msgspec.Struct, frozen=True):
    """One source's word on an offer."""

    source: str
    facts: OfferFacts


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What is believed of an offer.

    Attributes:
        facts: the facts, each from the most trusted source that states it.
        source: the most trusted source that lists the offer.
        price_source: whose price it is, or whose refusal.
        origins: where a fact comes from that is not from `source`, by field.
        hold_rates: the rates to hold at where a believable source asks more; empty where none does.
    """

    facts: OfferFacts
    source: str
    price_source: str
    origins: Mapping[str, str]
    hold_rates: tuple[Rate, ...]


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Two sources that contradict each other about one unit's price of one offer."""

    offer: str
    unit: str
    prompt_tokens_min: int
    chosen_source: str
    chosen_nanousd_per_mtok: int | None
    other_source: str
    other_nanousd_per_mtok: int | None
    held: bool
    """Whether holds are made at the other rate."""

    note: str = ""


def rank(source: str) -> int:
    """The place of a source in the order of trust; 0 is first."""
    return 1 + _TRUST.index(source) if source in _TRUST else 0


def in_order(said: Iterable[Said]) -> list[Said]:
    """The words on one offer, the most trusted first."""
    return sorted(said, key=lambda one: (not one.facts.own, rank(one.source), one.source))


def merge(said: Iterable[Said]) -> Merged | None:
    """What is believed of an offer; None where only supplements speak of it."""
    ordered = in_order(said)
    listing = [one for one in ordered if one.source not in SUPPLEMENTS]
    if not listing:
        return None
    first = listing[0]
    if len(ordered) == 1:
        return Merged(
            facts=first.facts,
            source=first.source,
            price_source=first.source,
            origins={},
            hold_rates=(),
        )
    found: dict[str, object] = {}
    origins: dict[str, str] = {}
    for field in FACTS:
        teller = _teller(listing, field)
        if teller is not None and teller is not first:
            found[field] = getattr(teller.facts, field)
            if teller.source != first.source:
                origins[field] = teller.source
    chosen, quote = _quote(ordered, listing)
    if chosen.source != first.source:
        origins["price"] = chosen.source
    facts = msgspec.structs.replace(first.facts, **found, quote=quote)
    return Merged(
        facts=facts,
        source=first.source,
        price_source=chosen.source,
        origins=origins,
        hold_rates=_dearest(chosen, quote, ordered),
    )


def disagreements(
    offer: str, said: Iterable[Said], tolerance_ppm: int = TOLERANCE_PPM
) -> list[Disagreement]:
    """Where other sources' prices of an offer differ from the chosen one by more than a share."""
    ordered = in_order(said)
    listing = [one for one in ordered if one.source not in SUPPLEMENTS]
    if not listing:
        return []
    chosen, quote = _quote(ordered, listing)
    if not quote.rates:
        return []
    found: list[Disagreement] = []
    for other in _speakers(chosen, ordered):
        if other.facts.quote.beyond:
            found.append(
                Disagreement(
                    offer=offer,
                    unit="",
                    prompt_tokens_min=0,
                    chosen_source=chosen.source,
                    chosen_nanousd_per_mtok=None,
                    other_source=other.source,
                    other_nanousd_per_mtok=None,
                    held=False,
                    note=other.facts.quote.refusal,
                )
            )
        found += _differing(offer, chosen, quote, other, tolerance_ppm)
    return found


def _teller(listing: Sequence[Said], field: str) -> Said | None:
    """The most trusted source that states a fact; None if none does."""
    for one in listing:
        value = getattr(one.facts, field)
        if field not in one.facts.unsaid and value is not None and value != frozenset():
            return one
    return None


def _quote(ordered: Sequence[Said], listing: Sequence[Said]) -> tuple[Said, Quote]:
    """Whose price is believed, and that price with what it leaves out."""
    for one in listing:
        if rank(one.source) > 0 and not one.facts.own:
            blocking = next(filter(_seller_asks_more, listing), None)
            if blocking is not None:
                return blocking, blocking.facts.quote
        quote = one.facts.quote
        if quote.rates:
            return one, quote if quote.free else _filled(one, ordered)
        if quote.beyond:
            return one, quote
    return listing[0], listing[0].facts.quote


def _seller_asks_more(said: Said) -> bool:
    """Whether who sells an offer says that no price by the unit is its whole price."""
    return said.source == OPENROUTER and said.facts.quote.beyond


def _filled(chosen: Said, ordered: Sequence[Said]) -> Quote:
    """The price with the parts that it leaves out, from sources that have the same base prices."""
    quote = chosen.facts.quote
    base = _base(quote.rates)
    rates = list(quote.rates)
    units = {rate.unit for rate in rates}
    tiered = any(rate.prompt_tokens_min for rate in rates)
    for other in ordered:
        if other is chosen or _base(other.facts.quote.rates) != base:
            continue
        theirs = other.facts.quote.rates
        if not tiered and any(rate.prompt_tokens_min for rate in theirs):
            # A tier reprices every unit at once, so that it is taken whole or not at all.
            rates += [rate for rate in theirs if rate.prompt_tokens_min]
            tiered = True
        added = [
            rate
            for rate in theirs
            if rate.unit in _FILLED and rate.unit not in units and not rate.prompt_tokens_min
        ]
        rates += added
        units |= {rate.unit for rate in added}
    if len(rates) == len(quote.rates):
        return quote
    return Quote(rates=_completed(rates))


def _completed(rates: Sequence[Rate]) -> tuple[Rate, ...]:
    """Rates in which a tier reprices every unit: those that it does not name, as their whole."""
    known = {(rate.unit, rate.prompt_tokens_min): rate.nanousd_per_mtok for rate in rates}
    starts = sorted({rate.prompt_tokens_min for rate in rates if rate.prompt_tokens_min})
    for (unit, start), price in list(known.items()):
        whole = Unit.COMPLETION if unit in COMPLETION_UNITS else Unit.PROMPT
        base = known[whole, 0]
        for tier in starts if start == 0 and base else ():
            known.setdefault((unit, tier), -(-price * known.get((whole, tier), base) // base))
    return tuple(sorted(Rate(unit, start, price) for (unit, start), price in known.items()))


def _base(rates: Sequence[Rate]) -> tuple[int | None, int | None]:
    """The prices of prompt and completion without a tier: by them two lists are known as one."""
    found = {rate.unit: rate.nanousd_per_mtok for rate in rates if not rate.prompt_tokens_min}
    return found.get(Unit.PROMPT), found.get(Unit.COMPLETION)


def _speakers(chosen: Said, ordered: Sequence[Said]) -> list[Said]:
    """Those whose price can stand beside the chosen one.

    An old seed cannot, nor can anyone's beside the operator's own.
    """
    if chosen.facts.own or rank(chosen.source) == 0:
        return []
    return [one for one in ordered if one is not chosen and one.source != SEED]


def _dearest(chosen: Said, quote: Quote, ordered: Sequence[Said]) -> tuple[Rate, ...]:
    """The rates of the price, each raised to the dearest that is believable; empty: none is."""
    if quote.free:
        return ()
    return dearest(
        quote.rates,
        [one.facts.quote.rates for one in _speakers(chosen, ordered) if not one.facts.quote.free],
    )


def dearest(rates: tuple[Rate, ...], others: Iterable[Sequence[Rate]]) -> tuple[Rate, ...]:
    """The rates, each raised to the dearest believable one of others; empty: none is raised."""
    prices = [Price(0, tuple(held)) for held in others if held]
    raised = tuple(_raised(rate, prices) for rate in rates)
    return raised if raised != rates else ()


def _raised(rate: Rate, others: Sequence[Price]) -> Rate:
    most = rate.nanousd_per_mtok * HOLD_RATIO_MAX
    asked = [
        theirs
        for price in others
        if price.priced(rate.unit)
        and (theirs := price.rate(rate.unit, rate.prompt_tokens_min)) <= most
    ]
    return msgspec.structs.replace(rate, nanousd_per_mtok=max((rate.nanousd_per_mtok, *asked)))


def _differing(
    offer: str, chosen: Said, quote: Quote, other: Said, tolerance_ppm: int
) -> list[Disagreement]:
    theirs = Price(0, other.facts.quote.rates)
    found: list[Disagreement] = []
    for rate in quote.rates:
        tiered = any(one.prompt_tokens_min for one in theirs.rates)
        if not theirs.priced(rate.unit) or (rate.prompt_tokens_min and not tiered):
            continue
        asked = theirs.rate(rate.unit, rate.prompt_tokens_min)
        if abs(rate.nanousd_per_mtok - asked) * PPM <= rate.nanousd_per_mtok * tolerance_ppm:
            continue
        held = rate.nanousd_per_mtok < asked <= HOLD_RATIO_MAX * rate.nanousd_per_mtok
        found.append(
            Disagreement(
                offer=offer,
                unit=rate.unit.value,
                prompt_tokens_min=rate.prompt_tokens_min,
                chosen_source=chosen.source,
                chosen_nanousd_per_mtok=rate.nanousd_per_mtok,
                other_source=other.source,
                other_nanousd_per_mtok=asked,
                held=held and not quote.free,
            )
        )
    return found
