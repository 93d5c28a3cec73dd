"""Reads litellm's file of prices: `model_prices_and_context_window.json`.

Prices are USD for one unit, under keys that are put together by a grammar: a base, a prompt size
above which it holds, how long a cache keeps, and the service tier. Only the standard tier is ever
asked for here. A key of costs that the grammar does not know makes its model unpriced, never free.
"""

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.makers import Spellings
from omni_grpc.catalog.model import Modality, Mode
from omni_grpc.catalog.prices import Quote, quote
from omni_grpc.catalog.sources.reading import Collected, Reading, Surroundings, mapping
from omni_grpc.core.limits import DISPLAY_NAME_CHARS_MAX

_PROVIDERS: Final = {
    "anthropic": ("anthropic", ""),
    "azure": ("azure", "azure/"),
    "bedrock": ("amazon-bedrock", "bedrock/"),
    "bedrock_converse": ("amazon-bedrock", "bedrock/"),
    "cerebras": ("cerebras", "cerebras/"),
    "cohere": ("cohere", "cohere/"),
    "cohere_chat": ("cohere", "cohere_chat/"),
    "deepseek": ("deepseek", "deepseek/"),
    "fireworks_ai": ("fireworks-ai", "fireworks_ai/"),
    "fireworks_ai-embedding-models": ("fireworks-ai", "fireworks_ai/"),
    "gemini": ("google", "gemini/"),
    "groq": ("groq", "groq/"),
    "mistral": ("mistral", "mistral/"),
    "nvidia_nim": ("nvidia", "nvidia_nim/"),
    "openai": ("openai", "openai/"),
    "openrouter": ("openrouter", "openrouter/"),
    "perplexity": ("perplexity", "perplexity/"),
    "together_ai": ("togetherai", "together_ai/"),
    "vertex_ai-anthropic_models": ("google-vertex-anthropic", "vertex_ai/"),
    "vertex_ai-language-models": ("google-vertex", "vertex_ai/"),
    "xai": ("xai", "xai/"),
}
"""litellm's provider -> ours, and what stands before the provider's own name of a model."""

_NAMES_WITH_SLASH: Final = frozenset(
    {"cerebras", "fireworks-ai", "groq", "nvidia", "openrouter", "togetherai"}
)
"""Providers whose own names have slashes; elsewhere one parts a region, of another price."""

_NO_NAME: Final = re.compile(r"^ft:|\d+(\.\d+)?b-(to-)?\d|-(above|up-to)-\d", re.IGNORECASE)
"""Price classes and trained copies, whose whole names are not known."""

_MODES: Final = {
    "chat": Mode.CHAT,
    "responses": Mode.CHAT,
    "embedding": Mode.EMBEDDING,
    "rerank": Mode.RERANK,
    "moderation": Mode.MODERATION,
    "image_generation": Mode.IMAGE,
    "audio_speech": Mode.SPEECH,
    "audio_transcription": Mode.TRANSCRIPTION,
}

_TOKENS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "cache_read_input_token_cost": "cache_read",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_image_token": "output_image",
}
_CACHE_WRITE: Final = "cache_write"
_CACHE_WRITE_1H: Final = "cache_write_1h"

_OWN: Final = {
    Mode.IMAGE: ("output_cost_per_image", "image"),
    Mode.TRANSCRIPTION: ("input_cost_per_second", "second"),
    Mode.SPEECH: ("input_cost_per_character", "character"),
}
"""What each kind of request is sold by where it is not by the token."""

_NEVER_ASKED: Final = re.compile(
    r"(search_context_cost_per_query|google_maps_grounding_cost_per_query|search_free_requests"
    r"|(code_interpreter|computer_use|file_search|vector_store)_.*"
    r"|(input|output)_dbu_cost_per_token|provider_specific_entry"
    r"|regional_.*_multiplier.*|web_search_billing_unit"
    r"|cache_(creation|read)_input_(audio|image)_token_cost|explicit_cache_read_input_token_cost"
    r"|(input|output)_cost_per_video_.*|cost_per_second|tiered_pricing|off_peak_pricing)"
)
"""Costs of tools and of video, which no call through here asks for; of what a cache gave back by
kind, which counts as what a cache gave back; the same price in another currency; surcharges of
regions that the operator chooses by another address. Tiers are read apart; hours off the peak
are only cheaper, and the dearest hour counts."""

_KIND: Final = {
    re.compile(r"input_cost_per_image(_above_\d+k_tokens)?"): Modality.IMAGE,
    re.compile(r"input_cost_per_audio_per_second(_above_\d+k_tokens)?"): Modality.AUDIO,
    re.compile(r"input_cost_per_pixel"): Modality.IMAGE,
}
"""What a chat costs by its pictures or by seconds of sound: it is then offered without them."""

_COST: Final = re.compile(
    r"cost|pric|multiplier|uplift|surcharge|fee(s|_|$)|billing", re.IGNORECASE
)
_SERVICE_TIER: Final = re.compile(r"_(batches|flex|priority|balanced|ultrafast|decisions)$")
_ABOVE_TOKENS: Final = re.compile(r"_above_(\d+)k_tokens")
_ABOVE_HOUR: Final = "_above_1hr"
_ABOVE_HALF_DAY: Final = "_above_12hr"
_PER_MILLION: Final = 1_000_000
_PRICE_MAX: Final = 10**6
_THOUSAND: Final = 1_000
_SPEC: Final = "sample_spec"
_CHAT_UNITS: Final = re.compile(r"output_cost_per_image(_\w+)?|output_cost_per_(second|pixel)")
"""The same again by another measure, or pictures that no chat through here asks for."""


class _Unpriced(ValueError):
    """Why no price of a model can be the whole price."""


def read(document: object, around: Surroundings) -> Reading:
    """The offers of the providers that are known here, in the file's standard service tier.

    Raises:
        SourceError: the document has another form.
    """
    entries = mapping(document, "the document")
    known = [(provider, name) for provider, name, _ in around.offers]
    named = (_named(key, entry) for key, entry in entries.items() if isinstance(entry, dict))
    spellings = Spellings([*known, *filter(None, named)])
    offers: dict[str, OfferFacts] = {}
    found = Collected()
    for key, entry in entries.items():
        if key == _SPEC:
            continue
        if not isinstance(entry, dict):
            found.fault(f"{key[:80]!r}: it is not an object")
            continue
        place = _named(key, entry)
        mode = _MODES.get(str(entry.get("mode")))
        if place is None or mode is None:
            found.leave_out("its provider, name or kind is not sold here")
            continue
        facts = _facts(*place, mode, entry, spellings)
        twin = offers.get(facts.id)
        # A model stands there with and without its provider's prefix: the dearer word counts.
        offers[facts.id] = facts if twin is None or _base(facts) > _base(twin) else twin
    for facts in offers.values():
        found.add(facts)
    return found.reading()


def _named(key: str, entry: Mapping[str, object]) -> tuple[str, str] | None:
    """Our provider and its name of the model; None where either is not one that can be called."""
    provider, prefix = _PROVIDERS.get(str(entry.get("litellm_provider")), ("", ""))
    name = key.removeprefix(prefix)
    if not provider or not name or _NO_NAME.search(name):
        return None
    if "/" in name and provider not in _NAMES_WITH_SLASH:
        return None
    return provider, name


def _facts(
    provider: str,
    name: str,
    mode: Mode,
    entry: Mapping[str, object],
    spellings: Spellings,
) -> OfferFacts:
    reads, writes = _modalities(entry, mode)
    try:
        given = quote(_cost(entry, mode), mode)
    except _Unpriced as error:
        given = Quote(refusal=str(error)[:200], beyond=True)
    return OfferFacts(
        provider=provider,
        provider_model=name,
        model=spellings.canonical(name),
        display_name=name[:DISPLAY_NAME_CHARS_MAX],
        mode=mode,
        context_tokens_max=_tokens(entry.get("max_input_tokens")),
        output_tokens_max=_tokens(entry.get("max_output_tokens")),
        input_modalities=reads,
        output_modalities=writes,
        tools=entry.get("supports_function_calling") is True,
        structured_output=_stated(entry.get("supports_response_schema")),
        reasoning=entry.get("supports_reasoning") is True,
        deprecation_date=_date(entry.get("deprecation_date")),
        quote=given,
        unsaid=("display_name",),
    )


def _cost(entry: Mapping[str, object], mode: Mode) -> dict[str, object]:
    """The prices in models.dev's shape: USD for a million, tiers by prompt size."""
    own_key, own_unit = _OWN.get(mode, ("", ""))
    cost: dict[str, object] = {}
    tiers: dict[int, dict[str, object]] = {}
    for key, value in entry.items():
        if value is None or not _is_asked(key):
            continue
        if key == own_key:
            if "output_cost_per_token" not in entry:  # else it is the same by another measure
                cost[own_unit] = _usd_per_million(key, value)
        elif not _CHAT_UNITS.fullmatch(key):
            unit, size = _unit(key)
            if unit is not None:
                held = tiers.setdefault(size, {}) if size else cost
                held.setdefault(unit, _usd_per_million(key, value))
    if "input" in cost and "output" not in cost and mode in {Mode.EMBEDDING, Mode.RERANK}:
        cost["output"] = 0
    listed = _listed_tiers(entry.get("tiered_pricing"))
    if listed:
        first = listed.pop(0, {})
        cost = {**cost, **first}
        tiers = {**tiers, **listed}
    if tiers:
        cost["tiers"] = [
            {**held, "tier": {"type": "context", "size": size}} for size, held in tiers.items()
        ]
    return cost


def _is_asked(key: str) -> bool:
    """Whether it is the cost of something that a call through here may ask for."""
    return (
        _COST.search(key) is not None
        and not _SERVICE_TIER.search(key)
        and not _NEVER_ASKED.fullmatch(key)
        and not any(kind.fullmatch(key) for kind in _KIND)
    )


def _unit(key: str) -> tuple[str | None, int]:
    """Our cost key and the prompt size that it holds above; None for what is never asked for.

    Raises:
        _Unpriced: the grammar does not know the key.
    """
    sizes = _ABOVE_TOKENS.findall(key)
    base = _ABOVE_TOKENS.sub("", key)
    if base.endswith(_ABOVE_HALF_DAY):
        return None, 0
    hour = base.endswith(_ABOVE_HOUR)
    unit = _TOKENS.get(base.removesuffix(_ABOVE_HOUR))
    if unit is None or len(sizes) > 1 or (hour and unit != _CACHE_WRITE):
        raise _Unpriced(f"the source prices something unknown: {key[:80]!r}")
    return (_CACHE_WRITE_1H if hour else unit), int(sizes[0]) * _THOUSAND if sizes else 0


def _listed_tiers(listed: object) -> dict[int, dict[str, object]]:
    """Tiers by the prompt size that they hold above, 0 the first; empty where none is listed."""
    if listed is None:
        return {}
    if not isinstance(listed, list):
        raise _Unpriced("its tiers are not a list")
    found: dict[int, dict[str, object]] = {}
    for tier in listed:
        span = tier.get("range") if isinstance(tier, dict) else None
        start = span[0] if isinstance(span, list) and span else None
        if start != 0 and _tokens(start) is None:
            raise _Unpriced("a tier has a condition that is not known")
        found[_tokens(start) or 0] = _tier_prices(tier)
    return found


def _tier_prices(tier: Mapping[str, object]) -> dict[str, object]:
    prices: dict[str, object] = {}
    for key, value in tier.items():
        if value is None or not _COST.search(key) or _SERVICE_TIER.search(key):
            continue
        unit, size = _unit(key)
        if unit is not None and not size:
            prices[unit] = _usd_per_million(key, value)
    return prices


def _usd_per_million(key: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Unpriced(f"{key[:80]} is {str(value)[:40]!r}, which is not a number")
    price = Decimal(value)
    if not price.is_finite() or price.copy_abs() > _PRICE_MAX:
        raise _Unpriced(f"{key[:80]} is {str(value)[:40]}, which cannot be a price")
    return price * _PER_MILLION


def _modalities(
    entry: Mapping[str, object], mode: Mode
) -> tuple[frozenset[Modality], frozenset[Modality]]:
    """What goes in and what comes out; not what would cost by the picture or by the second."""
    reads = {Modality.AUDIO} if mode is Mode.TRANSCRIPTION else {Modality.TEXT}
    reads |= {
        modality
        for flag, modality in (
            ("supports_vision", Modality.IMAGE),
            ("supports_image_input", Modality.IMAGE),
            ("supports_pdf_input", Modality.PDF),
            ("supports_audio_input", Modality.AUDIO),
            ("supports_video_input", Modality.VIDEO),
        )
        if entry.get(flag) is True
    }
    for pattern, modality in _KIND.items():
        if mode is Mode.CHAT and any(entry[key] for key in entry if pattern.fullmatch(key)):
            reads.discard(modality)
    writes = {
        Mode.IMAGE: {Modality.IMAGE},
        Mode.SPEECH: {Modality.AUDIO},
    }.get(mode, {Modality.TEXT})
    if mode is Mode.CHAT and entry.get("supports_audio_output") is True:
        writes = writes | {Modality.AUDIO}
    return frozenset(reads), frozenset(writes)


def _base(facts: OfferFacts) -> int:
    return sum(rate.nanousd_per_mtok for rate in facts.quote.rates if not rate.prompt_tokens_min)


def _tokens(value: object) -> int | None:
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and value.copy_abs() < _PER_MILLION * _THOUSAND
    ):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _stated(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _date(value: object) -> dt.date | None:
    """A day; None for what is none."""
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError:
        return None
