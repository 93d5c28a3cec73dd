"""Which changes nobody should believe without an operator's word.

A price that moves far is kept as it was until it is accepted, also where there was none in between;
a source that suddenly lacks a large part of what it had is not taken at all, since it is probably
half a file. Pure.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.core.money import PPM, Price, Rate

VANISHED_MAX_PPM: Final = 200_000
"""Share of a source's offers that may vanish, or lose their price, at once: a fifth."""

VANISHED_COUNT_MIN: Final = 5
"""Fewer offers than this are an edit, however short the list is."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A price that would move so far that it needs an operator's word."""

    offer: str
    source: str
    old: tuple[Rate, ...]
    new: tuple[Rate, ...]
    change_ppm: int | None
    """By how much the rate that moves furthest changes; None: from nothing, or to nothing."""


def waiting(
    offer: str,
    accepted: tuple[Rate, ...],
    new: tuple[Rate, ...],
    source: str,
    *,
    change_max_ppm: int,
) -> Waiting | None:
    """The price that needs an operator's word; None if it may move by itself.

    A first price, of an offer or of a unit, and the loss of a price need none: nothing was charged
    by the one, and nothing will be by the other. A price that was lost and comes back is judged
    against the last one that was charged: else any price could move in two steps.

    Args:
        offer: the offer's id.
        accepted: its price; where it has none, the last that it had.
        new: the price that it would have.
        source: whose price that is.
        change_max_ppm: how far it may move by itself, in millionths of what it was.
    """
    if not accepted or not new or accepted == new:
        return None
    furthest: int | None = 0
    before, after = Price(0, accepted), Price(0, new)
    added = (rate for rate in new if before.priced(rate.unit))
    for rate in {*accepted, *added}:
        moved = _moved(before, after, rate)
        if moved is None:
            furthest = None
            break
        furthest = max(furthest or 0, moved)
    if furthest is not None and furthest <= change_max_ppm:
        return None
    return Waiting(offer=offer, source=source, old=accepted, new=new, change_ppm=furthest)


def refusal(old: Mapping[str, OfferFacts], new: Mapping[str, OfferFacts]) -> str | None:
    """Why a source's new facts are not taken without an operator's word; None if they are."""
    vanished = sum(offer_id not in new for offer_id in old)
    priced = {offer_id for offer_id, facts in old.items() if facts.quote.rates}
    lost = sum(offer_id in new and not new[offer_id].quote.rates for offer_id in priced)
    for count, total, what in (
        (vanished, len(old), "offers are not in it any more"),
        (lost, len(priced), "offers have no price in it any more"),
    ):
        if count >= VANISHED_COUNT_MIN and count * PPM > total * VANISHED_MAX_PPM:
            return f"{count:,} of its {total:,} {what}"
    return None


def _moved(before: Price, after: Price, rate: Rate) -> int | None:
    """By how many millionths of the old a rate moved; None: to or from nothing."""
    try:
        old = before.rate(rate.unit, rate.prompt_tokens_min)
        new = after.rate(rate.unit, rate.prompt_tokens_min)
    except ValueError:  # sold by another measure altogether
        return None
    if old == new:
        return 0
    return abs(new - old) * PPM // old if old and new else None
