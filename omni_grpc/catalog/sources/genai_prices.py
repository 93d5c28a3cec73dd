"""Adds from the package genai-prices what models.dev has no price for.

That is audio and image tokens, cache writes for an hour, and context tiers.

A price is added only where both sources agree on the base price of prompt and completion: then
they speak of the same price list. Offers, limits and base prices are never taken from here. The
package is imported late, since it costs 13 MB.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

PROVIDERS: Final = {
    "anthropic": "anthropic",
    "amazon-bedrock": "aws",
    "azure": "azure",
    "google": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "xai": "x-ai",
}
"""models.dev's provider -> genai-prices', where the two name one price list."""

KEYS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_image": "input_image_mtok",
    "output_image": "output_image_mtok",
}
"""models.dev's cost key -> genai-prices' price key; both are USD per million tokens."""

_ADDED: Final = ("input_audio", "output_audio", "cache_write_1h", "input_image", "output_image")
"""Parts of which models.dev says nothing; the last three it cannot say."""


class Supplement:
    """genai-prices as of one moment, since its prices change on stated days."""

    def __init__(self, at: dt.datetime) -> None:
        from genai_prices.data import providers

        self._at = at
        self._providers = {provider.id: provider for provider in providers}

    def __call__(
        self, provider: str, provider_model: str, cost: Mapping[str, object]
    ) -> Mapping[str, object]:
        """The cost of an offer in models.dev's shape, with what it lacked."""
        found = self._providers.get(PROVIDERS.get(provider, ""))
        model = found.find_model(provider_model) if found else None
        if model is None:
            return cost
        prices = model.get_prices(self._at)
        steps = {key: steps_of(prices, name) for key, name in KEYS.items()}
        known = {key: step for key, step in steps.items() if step}
        if any(known.get(key, {}).get(0) != cost.get(key) for key in ("input", "output")):
            return cost
        added: dict[str, object] = {
            key: known[key][0] for key in _ADDED if key in known and key not in cost
        }
        starts = sorted({start for step in known.values() for start in step if start})
        if starts and "tiers" not in cost and "context_over_200k" not in cost:
            added["tiers"] = [_tier(known, start) for start in starts]
        return {**cost, **added}


def steps_of(prices: object, name: str) -> dict[int, Decimal]:
    """A price by the prompt size that it holds above; 0 is the base, empty is no price."""
    from genai_prices.types import TieredPrices

    price = getattr(prices, name, None)
    if isinstance(price, Decimal):
        return {0: price}
    if isinstance(price, TieredPrices):
        return {0: price.base} | {tier.start: tier.price for tier in price.tiers}
    return {}


def _tier(known: Mapping[str, Mapping[int, Decimal]], start: int) -> dict[str, object]:
    prices: dict[str, object] = {
        key: step[max(at for at in step if at <= start)] for key, step in known.items()
    }
    return {**prices, "tier": {"type": "context", "size": start}}
