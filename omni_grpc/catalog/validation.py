"""Looks at the catalog for what a person should see: it changes nothing.

Prices that wait for an operator's word, sources that fail or have long said nothing, models that
cannot be read, sources that contradict each other, and offers without a price.
"""

import datetime as dt
from collections import Counter
from typing import Final

import msgspec

from omni_grpc.catalog.acceptance import Waiting
from omni_grpc.catalog.decision import Rules, SourceState, State, decide, words_of
from omni_grpc.catalog.difference import (
    SEED,
    SUPPLEMENTS,
    TOLERANCE_PPM,
    Disagreement,
    Said,
    disagreements,
    in_order,
)

STALE_DAYS: Final = 7
"""After so many days without a word a source counts as silent: prices change about weekly."""


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the catalog found.

    Attributes:
        version: the catalog's version.
        offers: how many offers are listed.
        waiting: prices that stay as they were until somebody accepts them.
        failing: sources that brought nothing when they were last asked.
        stale: sources that were last read longer ago than STALE_DAYS.
        sources: every source that was ever asked, by name.
        disagreements: where sources contradict the price that is charged, by offer.
        unpriced: how many listed offers have no price, by the reason.
    """

    version: int
    offers: int
    waiting: tuple[Waiting, ...]
    failing: tuple[SourceState, ...]
    stale: tuple[SourceState, ...]
    sources: tuple[SourceState, ...]
    disagreements: tuple[Disagreement, ...]
    unpriced: dict[str, int]

    @property
    def problems(self) -> int:
        """How many findings need a person; disagreements and missing prices do not."""
        return len(self.waiting) + len(self.failing) + len(self.stale)


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """One source's word on an offer, and whether its price is the one that counts."""

    said: Said
    price_counts: bool
    adds_only: bool


def validate(
    state: State,
    at: dt.datetime,
    *,
    price_change_max_ppm: int,
    tolerance_ppm: int = TOLERANCE_PPM,
) -> Validation:
    """Everything that a person should see. Takes some hundred milliseconds of CPU.

    Args:
        state: everything as it is.
        at: now.
        price_change_max_ppm: how far a price may move by itself, in millionths.
        tolerance_ppm: by how much rates may differ before that is a contradiction.
    """
    decision = decide(state, (), Rules(price_change_max_ppm=price_change_max_ppm), at)
    sources = tuple(state.sources.values())
    found = [
        one
        for offer, words in sorted(words_of(state.said).items())
        for one in disagreements(offer, words, tolerance_ppm)
    ]
    listed = [one for one in state.offers.values() if one.listed]
    oldest = at - dt.timedelta(days=STALE_DAYS)
    return Validation(
        version=state.version,
        offers=len(listed),
        waiting=decision.waiting,
        failing=tuple(one for one in sources if one.failure),
        stale=tuple(
            one
            for one in sources
            if one.name != SEED and not one.failure and (one.read_time or oldest) <= oldest
        ),
        sources=sources,
        disagreements=tuple(found),
        unpriced=dict(Counter(one.quote.refusal for one in listed if one.quote.refusal)),
    )


def opinions(state: State, offer: str) -> tuple[Opinion, ...]:
    """What each source says of an offer, the most trusted first; empty where none speaks of it."""
    words = in_order(words_of(state.said).get(offer, ()))
    held = state.offers.get(offer)
    source = held.origins.get("price", held.source) if held is not None else ""
    return tuple(
        Opinion(
            said=word,
            price_counts=word.source == source,
            adds_only=word.source in SUPPLEMENTS,
        )
        for word in words
    )
