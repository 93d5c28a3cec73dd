"""Reads OpenRouter's list of models: `GET /api/v1/models`.

Prices are texts, USD for one unit. Of prices that change by the hour of the day the dearest counts;
prices above a prompt size become tiers. What varies by the call (`-1`), and what is charged by the
request, no unit can count: such a model is unpriced.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.makers import Spellings
from omni_grpc.catalog.model import Modality, Mode
from omni_grpc.catalog.prices import Quote, quote
from omni_grpc.catalog.sources.document import SourceError
from omni_grpc.catalog.sources.reading import Collected, Reading, Surroundings, mapping
from omni_grpc.core.limits import DISPLAY_NAME_CHARS_MAX

PROVIDER: Final = "openrouter"

_KEYS: Final = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
    "internal_reasoning": "reasoning",
    "audio": "input_audio",
    "audio_output": "output_audio",
    "image_token": "input_image",
    "image_output": "output_image",
}
"""OpenRouter's price -> our cost key; both are of one token."""

_ASKED_FOR: Final = frozenset({"web_search", "input_audio_cache"})
"""Prices of what a call through here never asks for (the search plugin), and of audio that a cache
gave back, which counts as what a cache gave back."""

_ZEROS: Final = (0, "0", "0.0")
_BY_THE_IMAGE: Final = "image"
_DISCOUNT: Final = "discount"
_OVERRIDES: Final = "overrides"
_FROM_PROMPT: Final = "min_prompt_tokens"
_HOURS: Final = frozenset({"utc_start", "utc_end"})
_CONDITIONS: Final = _HOURS | {_FROM_PROMPT}

_MODALITIES: Final = {"file": Modality.PDF, **{one.value: one for one in Modality}}
_MODES: Final = {
    "text": Mode.CHAT,
    "embeddings": Mode.EMBEDDING,
    "rerank": Mode.RERANK,
    "video": Mode.VIDEO,
    "image": Mode.IMAGE,
    "audio": Mode.SPEECH,
}
_TEXT: Final = frozenset({Modality.TEXT})
_PER_MILLION: Final = 1_000_000
_NUMBER_MAX: Final = 10**9
"""No price or share is beyond it, and arithmetic stays small."""


class _Unpriced(ValueError):
    """Why no price of a model can be the whole price."""


class _Architecture(msgspec.Struct):
    input_modalities: list[str] = []
    output_modalities: list[str] = []


class _TopProvider(msgspec.Struct):
    max_completion_tokens: int | None = None


class _Model(msgspec.Struct):
    """One model as OpenRouter writes it; fields not named here are not read."""

    id: str
    name: str
    pricing: dict[str, object]
    created: int = 0
    context_length: int | None = None
    architecture: _Architecture = msgspec.field(default_factory=_Architecture)
    top_provider: _TopProvider = msgspec.field(default_factory=_TopProvider)
    supported_parameters: list[str] | None = None


def read(document: object, around: Surroundings) -> Reading:
    """Every model of OpenRouter's list, as an offer of the provider openrouter.

    Raises:
        SourceError: the document has another form.
    """
    listed = mapping(document, "the document").get("data")
    if not isinstance(listed, list):
        raise SourceError("it has no list of models under `data`")
    spellings = Spellings((provider, name) for provider, name, _ in around.offers)
    found = Collected()
    for entry in listed:
        try:
            model = msgspec.convert(entry, _Model)
        except msgspec.ValidationError as error:
            name = entry.get("id") if isinstance(entry, dict) else entry
            found.fault(f"{str(name)[:80]!r}: {error}")
        else:
            if model.architecture.output_modalities and not _kind(model):
                found.leave_out("it writes what is not sold here")
            else:
                found.add(_facts(model, spellings))
    return found.reading()


def _facts(model: _Model, spellings: Spellings) -> OfferFacts:
    reads = _modalities(model.architecture.input_modalities) or _TEXT
    writes = _modalities(model.architecture.output_modalities) or _TEXT
    mode = _kind(model) or Mode.CHAT
    if _price(model.pricing.get(_BY_THE_IMAGE)) and "image_token" not in model.pricing:
        # Each picture costs apart, and no unit of a chat counts pictures: it reads the rest.
        reads -= {Modality.IMAGE}
    can = frozenset(model.supported_parameters or ())
    return OfferFacts(
        provider=PROVIDER,
        provider_model=model.id,
        model=spellings.canonical(model.id),
        display_name=" ".join(model.name.split())[:DISPLAY_NAME_CHARS_MAX],
        mode=mode,
        context_tokens_max=model.context_length or None,
        output_tokens_max=model.top_provider.max_completion_tokens or None,
        input_modalities=reads,
        output_modalities=writes,
        tools="tools" in can,
        structured_output="structured_outputs" in can if can else None,
        reasoning="reasoning" in can,
        temperature="temperature" in can if can else None,
        release_date=_date(model.created),
        quote=_quote(model.pricing, mode),
        unsaid=() if model.supported_parameters is not None else ("tools", "reasoning"),
    )


def _quote(pricing: Mapping[str, object], mode: Mode) -> Quote:
    try:
        return quote(_cost(pricing), mode)
    except _Unpriced as error:
        return Quote(refusal=str(error), beyond=True)


def _cost(pricing: Mapping[str, object]) -> dict[str, object]:
    """The prices in models.dev's shape: USD for a million, tiers by prompt size."""
    share = 1 - _number(pricing.get(_DISCOUNT))
    if not 0 < share <= 1:
        raise _Unpriced(f"its discount is {pricing.get(_DISCOUNT)!r}")
    base = _part(pricing, share, also=(_DISCOUNT, _OVERRIDES))
    overrides = pricing.get(_OVERRIDES) or []
    if not isinstance(overrides, list):
        raise _Unpriced("its price overrides are not a list")
    tiers: dict[int, dict[str, Decimal]] = {}
    for override in overrides:
        if not isinstance(override, dict):
            raise _Unpriced("a price override is not an object")
        prices = _part(override, share, also=tuple(_CONDITIONS))
        size = override.get(_FROM_PROMPT)
        by_hour = not _HOURS.isdisjoint(override)
        if size is None:
            if not by_hour:
                raise _Unpriced("a price override has no condition that is known")
            base = _dearer(base, prices)
            continue
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise _Unpriced(f"a price override begins at {size!r} tokens")
        lower = tiers.get(size, {})
        tiers[size] = _dearer(lower, prices) if by_hour else {**lower, **prices}
    cost: dict[str, object] = dict(base)
    if tiers:
        # From that many tokens on: ours hold for what is larger than a size.
        steps, below = [], base
        for size in sorted(tiers):
            below = {**below, **tiers[size]}
            steps.append({**below, "tier": {"type": "context", "size": max(1, size - 1)}})
        cost["tiers"] = steps
    return cost


def _part(
    prices: Mapping[str, object], share: Decimal, *, also: tuple[str, ...]
) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for key, value in prices.items():
        if value is None or key in _ASKED_FOR or key in also or key == _BY_THE_IMAGE:
            continue
        if key not in _KEYS:
            if value not in _ZEROS:
                raise _Unpriced(f"the source prices something unknown: {key[:80]!r}")
            continue
        price = _number(value)
        if price < 0:
            raise _Unpriced(f"its price varies by the call: {key} is {value}")
        found[_KEYS[key]] = price * share * _PER_MILLION
    return found


def _dearer(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {
        key: max(one.get(key, Decimal(0)), other.get(key, Decimal(0))) for key in {**one, **other}
    }


def _price(value: object) -> Decimal:
    """A price that only decides what is offered; 0 where it is none."""
    try:
        return _number(value)
    except _Unpriced:
        return Decimal(0)


def _number(value: object) -> Decimal:
    if value is None:
        return Decimal(0)
    try:
        number = Decimal(value) if isinstance(value, int | str | Decimal) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number.copy_abs() > _NUMBER_MAX:
        raise _Unpriced(f"a price is {str(value)[:40]!r}, which cannot be")
    return number


def _modalities(names: list[str]) -> frozenset[Modality]:
    return frozenset(_MODALITIES[name] for name in names if name in _MODALITIES)


def _kind(model: _Model) -> Mode | None:
    """The kind of requests, by what comes out; None where nothing known does."""
    writes = model.architecture.output_modalities
    return next((mode for name, mode in _MODES.items() if name in writes), None)


def _date(created: int) -> dt.date | None:
    try:
        return dt.datetime.fromtimestamp(created, dt.UTC).date() if created > 0 else None
    except (OverflowError, OSError, ValueError):
        return None
