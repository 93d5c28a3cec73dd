"""Reads an operator's own list of models and prices, YAML or JSON: docs/catalog.md has the form.

What an entry does not say is taken from the next source that speaks of the same offer, so that an
entry may be a price alone. An entry that cannot be read is told and left out; the others count.
"""

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

import msgspec

from omni_grpc.catalog.facts import FACTS, OfferFacts
from omni_grpc.catalog.makers import Spellings
from omni_grpc.catalog.model import Modality, Mode
from omni_grpc.catalog.prices import COST_KEYS, Quote, quote
from omni_grpc.catalog.sources.document import SourceError
from omni_grpc.catalog.sources.reading import Collected, Reading, Surroundings, mapping
from omni_grpc.core.money import Unit

MODELS: Final = "models"


class _Tier(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens_above: Annotated[int, msgspec.Meta(gt=0)]
    usd_per_million: dict[str, object]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One model of one provider; `usd_per_million` by our units' names."""

    provider: str
    id: str
    model: str | None = None
    name: str | None = None
    mode: Mode | None = None
    context_tokens_max: int | None = None
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    inputs: list[Modality] | None = None
    outputs: list[Modality] | None = None
    tools: bool | None = None
    structured_output: bool | None = None
    reasoning: bool | None = None
    temperature: bool | None = None
    deprecated: bool | None = None
    release_date: dt.date | None = None
    deprecation_date: dt.date | None = None
    regions: list[str] | None = None
    usd_per_million: dict[str, object] | None = None
    tiers: list[_Tier] = []


_FIELDS: Final = {
    "mode": "mode",
    "context_tokens_max": "context_tokens_max",
    "prompt_tokens_max": "prompt_tokens_max",
    "output_tokens_max": "output_tokens_max",
    "tools": "tools",
    "structured_output": "structured_output",
    "reasoning": "reasoning",
    "temperature": "temperature",
    "deprecated": "deprecated",
    "release_date": "release_date",
    "deprecation_date": "deprecation_date",
    "regions": "regions",
    "display_name": "name",
    "input_modalities": "inputs",
    "output_modalities": "outputs",
}
"""The field of the facts -> the entry's, where an entry may leave it out."""


def read(document: object, around: Surroundings) -> Reading:
    """The models of an operator's list.

    Raises:
        SourceError: the document has another form.
    """
    whole = mapping(document, "the document")
    listed = whole.get(MODELS)
    unknown = sorted(map(str, whole.keys() - {MODELS}))
    if not isinstance(listed, list) or unknown:
        known = f"; it has {', '.join(unknown)}" if unknown else ""
        raise SourceError(f"an operator's list has one key, `{MODELS}`, with a list{known}")
    modes = {f"{provider}/{name}": mode for provider, name, mode in around.offers}
    spellings = Spellings((provider, name) for provider, name, _ in around.offers)
    found = Collected()
    for number, raw in enumerate(listed, start=1):
        try:
            entry = msgspec.convert(raw, _Entry)
            facts = _facts(entry, modes, spellings)
        except (msgspec.ValidationError, ValueError) as error:
            name = raw.get("id") if isinstance(raw, dict) else None
            found.fault(f"model {number} ({str(name)[:80]!r}): {error}")
        else:
            found.add(facts)
    return found.reading()


def _facts(entry: _Entry, modes: dict[str, Mode], spellings: Spellings) -> OfferFacts:
    mode = entry.mode or modes.get(f"{entry.provider}/{entry.id}", Mode.CHAT)
    said = {
        field: getattr(entry, key)
        for field, key in _FIELDS.items()
        if getattr(entry, key) is not None
    }
    for field in ("input_modalities", "output_modalities", "regions"):
        if field in said:
            said[field] = frozenset(said[field])
    model = entry.model or spellings.canonical(entry.id)
    return OfferFacts(
        **{
            "provider": entry.provider,
            "provider_model": entry.id,
            "display_name": entry.id,
            **said,
            "mode": mode,
            "model": model,
            "quote": _quote(entry, mode),
            "unsaid": tuple(
                field
                for field in FACTS
                if field not in said and (field != "model" or not entry.model)
            ),
        }
    )


def _quote(entry: _Entry, mode: Mode) -> Quote:
    if entry.usd_per_million is None:
        if entry.tiers:
            raise ValueError("tiers stand beside `usd_per_million`, which is missing")
        return Quote(refusal="the operator's list gives no price")
    cost = _cost(entry.usd_per_million)
    if entry.tiers:
        cost["tiers"] = [
            {
                **_cost(tier.usd_per_million),
                "tier": {"type": "context", "size": tier.prompt_tokens_above},
            }
            for tier in entry.tiers
        ]
    return quote(cost, mode)


def _cost(prices: dict[str, object]) -> dict[str, object]:
    """Prices under the keys that `quote` reads.

    Raises:
        ValueError: a unit that does not exist, or what is no number.
    """
    cost: dict[str, object] = {}
    for name, price in prices.items():
        key = COST_KEYS.get(name)
        if key is None:
            units = ", ".join(unit.value for unit in Unit)
            raise ValueError(f"there is no unit {name[:40]!r}; there are {units}")
        try:
            cost[key] = Decimal(price) if isinstance(price, str) else price
        except InvalidOperation:
            raise ValueError(f"{str(price)[:40]!r} is no number") from None
    return cost
