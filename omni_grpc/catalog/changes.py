"""What differs between the catalog and a source's facts: pure, so that it can be shown or written.

A source may change, delist and relist only the offers that it brought; what another source or an
operator set stays. A changed price is always a new version; nothing that was is ever rewritten.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.prices import rates_text
from omni_grpc.core.money import Rate

Value = str | int | bool | dt.date | list[str] | None

FACT_COLUMNS: Final = (
    "model",
    "display_name",
    "mode",
    "context_tokens_max",
    "prompt_tokens_max",
    "output_tokens_max",
    "input_modalities",
    "output_modalities",
    "tools",
    "structured_output",
    "reasoning",
    "temperature",
    "free",
    "deprecated",
    "by_name_only",
    "release_date",
    "unpriced_reason",
)
"""The columns of an offer that a source decides, in the order of `fact_values`; its price is
apart. Each is also the name of a changed field."""

LISTED: Final = "listed"
PRICE: Final = "price"
ALIAS: Final = "alias"


class StoredOffer(msgspec.Struct, frozen=True):
    """An offer as the database has it."""

    values: tuple[Value, ...]
    price_version: int | None
    rates: tuple[Rate, ...]
    source: str
    listed: bool


class Change(msgspec.Struct, frozen=True):
    """One changed fact. None on one side: it was added, or taken away."""

    subject: str
    field: str
    old: str | None
    new: str | None


class Changes(msgspec.Struct, frozen=True):
    """All that a source's facts change. Ids of `delisted` are gone from the source."""

    added: tuple[OfferFacts, ...]
    updated: tuple[OfferFacts, ...]
    repriced: tuple[OfferFacts, ...]
    delisted: tuple[str, ...]
    relisted: tuple[str, ...]
    rows: tuple[Change, ...]


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
    return (
        facts.model,
        facts.display_name,
        facts.mode.value,
        facts.context_tokens_max,
        facts.prompt_tokens_max,
        facts.output_tokens_max,
        sorted(modality.value for modality in facts.input_modalities),
        sorted(modality.value for modality in facts.output_modalities),
        facts.tools,
        facts.structured_output,
        facts.reasoning,
        facts.temperature,
        facts.quote.free,
        facts.deprecated,
        facts.by_name_only,
        facts.release_date,
        facts.quote.refusal,
    )


def changes_between(
    stored: Mapping[str, StoredOffer], facts: Sequence[OfferFacts], source: str
) -> Changes:
    """What the facts of a source change.

    Raises:
        ValueError: the facts list one offer twice.
    """
    listed = {one.id: one for one in facts}
    if len(listed) != len(facts):
        twice = [name for name, count in Counter(one.id for one in facts).items() if count > 1]
        raise ValueError(f"{source} lists offers twice: {', '.join(twice)}")
    added: list[OfferFacts] = []
    updated: list[OfferFacts] = []
    repriced: list[OfferFacts] = []
    relisted: list[str] = []
    rows: list[Change] = []
    for offer_id, one in listed.items():
        old = stored.get(offer_id)
        if old is None:
            added.append(one)
            rows.append(Change(offer_id, LISTED, None, "true"))
            continue
        if old.source != source:
            continue
        differing = _differing(offer_id, old.values, fact_values(one))
        if old.rates != one.quote.rates:
            repriced.append(one)
            old_text, new_text = rates_text(old.rates), rates_text(one.quote.rates)
            rows.append(Change(offer_id, PRICE, old_text or None, new_text or None))
        if differing or old.rates != one.quote.rates:
            updated.append(one)
            rows += differing
        if not old.listed:
            relisted.append(offer_id)
            rows.append(Change(offer_id, LISTED, "false", "true"))
    delisted = [
        offer_id
        for offer_id, old in stored.items()
        if old.source == source and old.listed and offer_id not in listed
    ]
    rows += [Change(offer_id, LISTED, "true", "false") for offer_id in delisted]
    return Changes(
        added=tuple(added),
        updated=tuple(updated),
        repriced=tuple(repriced),
        delisted=tuple(delisted),
        relisted=tuple(relisted),
        rows=tuple(rows),
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
        changes=len(changes.rows),
        unpriced=dict(Counter(one.quote.refusal for one in facts if one.quote.refusal)),
    )


def _differing(offer_id: str, old: tuple[Value, ...], new: tuple[Value, ...]) -> list[Change]:
    return [
        Change(offer_id, column, _text(before), _text(after))
        for column, before, after in zip(FACT_COLUMNS, old, new, strict=True)
        if before != after
    ]


def _text(value: Value) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    return str(value)
