"""Decides what the catalog becomes when sources said something new. Pure.

Of every offer all sources' words are weighed anew, so that the same words always lead to the same
catalog, whatever came first. What needs an operator's word stays as it was, and is found again
the next time.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from omni_grpc.catalog.acceptance import Waiting, refusal, waiting
from omni_grpc.catalog.changes import Changes, StoredOffer, changes_between
from omni_grpc.catalog.difference import Merged, dearest, merge
from omni_grpc.catalog.difference import Said as Word
from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.prices import Quote
from omni_grpc.catalog.sources.fetch import Stamp

READER_VERSION: Final = 1
"""Rises with every change of what readers make of a document, so that it is read anew."""

FAULTS_STORED: Final = 100
"""Most unreadable models of a source that are kept by name."""

CAME_BACK_FAR: Final = (
    "its price came back far from what it was, and waits for an operator's word: catalog sync "
    "--accept takes it"
)
"""Why an offer has no price, which had none before either: nothing else may be charged for it."""


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with a source. `read_time` is None where it was never read."""

    name: str
    location: str
    stamp: Stamp = Stamp()
    digest: str = ""
    offer_count: int = 0
    faults: tuple[str, ...] = ()
    failure: str = ""
    read_time: dt.datetime | None = None
    check_time: dt.datetime | None = None


Facts = Mapping[str, OfferFacts]
"""What one source says, by the offer's id."""

Said = dict[str, dict[str, OfferFacts]]
"""What each source said last, by source and offer."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what is believed: the offers as they are, and what the sources said."""

    version: int
    sources: dict[str, SourceState]
    said: Said
    offers: dict[str, StoredOffer]


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written: the changes, and of each source its state and its new facts.

    A source that is not in `facts` said nothing new.
    """

    changes: Changes
    sources: tuple[SourceState, ...]
    facts: Mapping[str, Facts]


class NewWord(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking a source. `facts` is None where it said nothing new, or failed."""

    source: str
    location: str = ""
    facts: Facts | None = None
    digest: str = ""
    stamp: Stamp = Stamp()
    faults: tuple[str, ...] = ()
    failure: str = ""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is believed without an operator's word.

    Attributes:
        price_change_max_ppm: how far a price may move, in millionths of what it was.
        accepted: the sources of which everything is believed; None: all of them.
    """

    price_change_max_ppm: int
    accepted: frozenset[str] | None = frozenset()

    def accepts(self, source: str) -> bool:
        """Whether everything of a source is believed."""
        return self.accepted is None or source in self.accepted


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written, and what waits for an operator's word."""

    brought: Brought
    waiting: tuple[Waiting, ...]
    refused: Mapping[str, str]
    """Why the new word of a source was not taken, by source."""


def decide(state: State, words: Iterable[NewWord], rules: Rules, at: dt.datetime) -> Decision:
    """What follows from what sources said. Takes some hundred milliseconds of CPU.

    Args:
        state: everything as it is.
        words: what came of asking sources, each at most once.
        rules: what is believed without an operator's word.
        at: when they were asked.
    """
    said: dict[str, Facts] = dict(state.said)
    refused: dict[str, str] = {}
    taken: dict[str, Facts] = {}
    sources: list[SourceState] = []
    for word in words:
        old = said.get(word.source, {})
        why = None
        if word.facts is not None:
            why = None if rules.accepts(word.source) else refusal(old, word.facts)
            if why is None:
                said[word.source] = taken[word.source] = word.facts
            else:
                refused[word.source] = why
        sources.append(_source(state.sources.get(word.source), word, why, at))
    merged = merge_all(said)
    held_back = _hold_back(state, merged, rules)
    known = frozenset(state.sources) | taken.keys()
    return Decision(
        brought=Brought(
            changes=changes_between(state.offers, merged, known),
            sources=tuple(sources),
            facts=taken,
        ),
        waiting=tuple(held_back),
        refused=refused,
    )


def merge_all(said: Mapping[str, Facts]) -> dict[str, Merged]:
    """What is believed of every offer that a source lists, by id."""
    found: dict[str, Merged] = {}
    for offer_id, held in words_of(said).items():
        merged = merge(held)
        if merged is not None:
            found[offer_id] = merged
    return found


def words_of(said: Mapping[str, Facts]) -> dict[str, list[Word]]:
    """What the sources say of each offer, by its id."""
    found: dict[str, list[Word]] = {}
    for source, facts in said.items():
        for offer_id, one in facts.items():
            found.setdefault(offer_id, []).append(Word(source, one))
    return found


def digest_of(facts: Iterable[OfferFacts]) -> str:
    """What facts are known by; another after every change of them or of their reader."""
    found = hashlib.sha256()
    for one in facts:
        found.update(encoded(one))
    return f"{READER_VERSION}:{found.hexdigest()}"


def encoded(facts: OfferFacts) -> bytes:
    """Facts as they are kept: equal ones are equal texts."""
    return msgspec.json.encode(facts, order="deterministic")


def _hold_back(state: State, merged: dict[str, Merged], rules: Rules) -> list[Waiting]:
    """Give every price that needs an operator's word back its old one; returns the new ones."""
    found: list[Waiting] = []
    for offer_id, one in merged.items():
        old = state.offers.get(offer_id)
        if old is None or rules.accepts(one.price_source):
            continue
        wanted = waiting(
            offer_id,
            old.rates or old.last_rates,
            one.facts.quote.rates,
            one.price_source,
            change_max_ppm=rules.price_change_max_ppm,
        )
        if wanted is not None:
            found.append(wanted)
            quote = old.quote if old.rates else Quote(refusal=CAME_BACK_FAR)
            merged[offer_id] = msgspec.structs.replace(
                one,
                facts=msgspec.structs.replace(one.facts, quote=quote),
                hold_rates=dearest(old.rates, [one.hold_rates or wanted.new]),
            )
    return found


def _source(
    old: SourceState | None, word: NewWord, refused: str | None, at: dt.datetime
) -> SourceState:
    """How it stands with a source after it was asked."""
    state = msgspec.structs.replace(
        old or SourceState(name=word.source, location=word.location), check_time=at
    )
    if refused is not None:
        failure = f"it needs an operator's word: {refused}"
        return msgspec.structs.replace(state, failure=failure)
    if word.failure or word.facts is None:
        return msgspec.structs.replace(
            state, failure=word.failure, read_time=state.read_time if word.failure else at
        )
    return SourceState(
        name=word.source,
        location=word.location,
        stamp=word.stamp,
        digest=word.digest,
        offer_count=len(word.facts),
        faults=word.faults[:FAULTS_STORED],
        read_time=at,
        check_time=at,
    )
