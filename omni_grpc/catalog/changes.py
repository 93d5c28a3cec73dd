"""What differs between the catalog and its sources: pure, so that it can be shown or written.

What an operator says lies over all of this and is not touched. An offer that no source lists any
more is marked, never deleted. A changed price is always a new version; nothing that was is ever
rewritten.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from omni_grpc.catalog.difference import Merged
from omni_grpc.catalog.facts import FACTS, OfferFacts
from omni_grpc.catalog.model import Mode
from omni_grpc.catalog.prices import Quote, rates_text
from omni_grpc.core.money import Rate

Value = str | int | bool | dt.date | list[str] | None

FACT_COLUMNS: Final = (*FACTS, "free", "unpriced_reason")
"""The columns of an offer that sources decide, in the order of `fact_values`; its price is apart.
Each is also the name of a changed field."""

_FREE: Final = FACT_COLUMNS.index("free")
_REFUSAL: Final = FACT_COLUMNS.index("unpriced_reason")

LISTED: Final = "listed"
PRICE: Final = "price"
ALIAS: Final = "alias"


class StoredOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer as the database has it, without what operators say of it.

    `last_rates` are those of the last price that its sources gave it, where it has none now.
    """

    values: tuple[Value, ...]
    price_version: int | None
    rates: tuple[Rate, ...]
    last_rates: tuple[Rate, ...] = ()
    hold_price_version: int | None
    hold_rates: tuple[Rate, ...]
    source: str
    origins: Mapping[str, str]
    listed: bool

    @property
    def quote(self) -> Quote:
        """Its price, or the reason why it has none."""
        free, refusal = self.values[_FREE], self.values[_REFUSAL]
        return Quote(rates=self.rates, free=bool(free), refusal=str(refusal))


class Change(msgspec.Struct, frozen=True):
    """One changed fact. None on one side: it was added, or taken away."""

    subject: str
    field: str
    old: str | None
    new: str | None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """All that has to be written. Ids of `delisted` are listed by no source any more.

    `rows` are the changed facts by the source that each comes from; `reheld` are the offers whose
    price to hold at is another.
    """

    added: tuple[Merged, ...] = ()
    updated: tuple[Merged, ...] = ()
    repriced: tuple[Merged, ...] = ()
    reheld: tuple[Merged, ...] = ()
    delisted: tuple[str, ...] = ()
    relisted: tuple[str, ...] = ()
    rows: Mapping[str, tuple[Change, ...]] = {}

    @property
    def count(self) -> int:
        """How many facts change."""
        return sum(map(len, self.rows.values()))

    def __bool__(self) -> bool:
        return bool(self.rows or self.updated or self.reheld)


class SeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a source's facts were and what they changed; counts are of offers."""

    version: int
    offers: int
    priced: int
    free: int
    tiered: int
    added: int
    updated: int
    repriced: int
    delisted: int
    relisted: int
    changes: int
    unpriced: dict[str, int]
    """How many offers have no price, by the reason."""


def fact_values(facts: OfferFacts) -> tuple[Value, ...]:
    """The values of FACT_COLUMNS."""
    values = [_stored(getattr(facts, column)) for column in FACTS]
    return (*values, facts.quote.free, facts.quote.refusal)


def changes_between(
    stored: Mapping[str, StoredOffer], merged: Mapping[str, Merged], sources: Collection[str]
) -> Changes:
    """What differs between the catalog and what its sources say.

    Args:
        stored: the offers as they are, by id.
        merged: what is believed of each offer that a source lists, by id.
        sources: all that ever brought something: only what came from them may be delisted.
    """
    added: list[Merged] = []
    updated: list[Merged] = []
    repriced: list[Merged] = []
    reheld: list[Merged] = []
    relisted: list[str] = []
    rows: dict[str, list[Change]] = {}
    for offer_id, one in merged.items():
        old = stored.get(offer_id)
        if old is None:
            added.append(one)
            rows.setdefault(one.source, []).append(Change(offer_id, LISTED, None, "true"))
            continue
        found = _differing(offer_id, old, one)
        if old.rates != one.facts.quote.rates:
            repriced.append(one)
        if old.hold_rates != one.hold_rates:
            reheld.append(one)
        if found or (old.source, old.origins) != (one.source, one.origins):
            updated.append(one)
        if not old.listed:
            relisted.append(offer_id)
            found.append((one.source, Change(offer_id, LISTED, "false", "true")))
        for source, change in found:
            rows.setdefault(source, []).append(change)
    delisted = [
        offer_id
        for offer_id, old in stored.items()
        if old.listed and offer_id not in merged and old.source in sources
    ]
    for offer_id in delisted:
        change = Change(offer_id, LISTED, "true", "false")
        rows.setdefault(stored[offer_id].source, []).append(change)
    return Changes(
        added=tuple(added),
        updated=tuple(updated),
        repriced=tuple(repriced),
        reheld=tuple(reheld),
        delisted=tuple(delisted),
        relisted=tuple(relisted),
        rows={source: tuple(held) for source, held in rows.items()},
    )


def report(version: int, facts: Sequence[OfferFacts], changes: Changes) -> SeedReport:
    """Counts of what the facts are and what they changed."""
    return SeedReport(
        version=version,
        offers=len(facts),
        priced=sum(bool(one.quote.rates) for one in facts),
        free=sum(one.quote.free for one in facts),
        tiered=sum(any(rate.prompt_tokens_min for rate in one.quote.rates) for one in facts),
        added=len(changes.added),
        updated=len(changes.updated),
        repriced=len(changes.repriced),
        delisted=len(changes.delisted),
        relisted=len(changes.relisted),
        changes=changes.count,
        unpriced=dict(Counter(one.quote.refusal for one in facts if one.quote.refusal)),
    )


def _differing(offer_id: str, old: StoredOffer, new: Merged) -> list[tuple[str, Change]]:
    """The changed facts of an offer, each with the source that it comes from."""
    found: list[tuple[str, Change]] = []
    values = fact_values(new.facts)
    for column, before, after in zip(FACT_COLUMNS, old.values, values, strict=True):
        if before != after:
            name = PRICE if column in {"free", "unpriced_reason"} else column
            source = new.origins.get(name, new.source)
            found.append((source, Change(offer_id, column, _text(before), _text(after))))
    if old.rates != new.facts.quote.rates:
        texts = rates_text(old.rates) or None, rates_text(new.facts.quote.rates) or None
        found.insert(0, (new.price_source, Change(offer_id, PRICE, *texts)))
    return found


def _stored(value: object) -> Value:
    """A fact as the database keeps it."""
    if isinstance(value, frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, Mode):
        return value.value
    if value is None or isinstance(value, str | int | bool | dt.date):
        return value
    raise TypeError(f"no column keeps {value!r}")


def _text(value: Value) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    return str(value)
