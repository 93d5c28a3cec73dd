"""OpenAI's models for images, speech, transcriptions and moderations, priced by genai-prices.

models.dev lists hardly any of them. Which model takes which kind of request is said here; its price
is the package's, and an offer that the package does not price is listed as unpriced. Moderations
are the exception: OpenAI states that they are free.
"""

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.model import Modality, Mode
from omni_grpc.catalog.prices import Quote, quote
from omni_grpc.catalog.sources.genai_prices import steps_of
from omni_grpc.core.money import Rate, Unit

_PROVIDER: Final = "openai"

_SECONDS_PER_HOUR: Final = 3_600


class _Kind(msgspec.Struct, frozen=True):
    mode: Mode
    reads: frozenset[Modality]
    writes: frozenset[Modality]


_TEXT: Final = frozenset({Modality.TEXT})
_IMAGE: Final = frozenset({Modality.IMAGE})
_AUDIO: Final = frozenset({Modality.AUDIO})
_PAINTS: Final = _Kind(Mode.IMAGE, _TEXT | _IMAGE, _IMAGE)
_SPEAKS: Final = _Kind(Mode.SPEECH, _TEXT, _AUDIO)
_HEARS: Final = _Kind(Mode.TRANSCRIPTION, _AUDIO, _TEXT)
_JUDGES: Final = _Kind(Mode.MODERATION, _TEXT | _IMAGE, _TEXT)

_MODELS: Final = {
    "chatgpt-image-latest": _PAINTS,
    "gpt-image-1": _PAINTS,
    "gpt-image-1-mini": _PAINTS,
    "gpt-image-1.5": _PAINTS,
    "gpt-image-2": _PAINTS,
    "dall-e-2": _PAINTS,
    "dall-e-3": _PAINTS,
    "tts-1": _SPEAKS,
    "tts-1-hd": _SPEAKS,
    "gpt-4o-mini-tts": _SPEAKS,
    "whisper-1": _HEARS,
    "gpt-4o-transcribe": _HEARS,
    "gpt-4o-mini-transcribe": _HEARS,
    "gpt-transcribe": _HEARS,
    "omni-moderation-latest": _JUDGES,
    "text-moderation-latest": _JUDGES,
}

_OUTPUT_TOKENS_MAX: Final = {"gpt-4o-transcribe": 2_000, "gpt-4o-mini-transcribe": 2_000}
"""As OpenAI's pages of the models say."""

_TOKEN_KEYS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
    "input_image": "input_image_mtok",
    "output_image": "output_image_mtok",
}

_FREE: Final = Quote(
    rates=(Rate(Unit.COMPLETION, 0, 0), Rate(Unit.PROMPT, 0, 0)),
    free=True,
)


def read(at: dt.datetime, known: Collection[OfferFacts]) -> tuple[OfferFacts, ...]:
    """The offers, priced as of `at`; those of `known` that have a price already are left out."""
    from genai_prices.data import providers

    source = next(provider for provider in providers if provider.id == _PROVIDER)
    priced = {one.id for one in known if one.quote.rates}
    offers = []
    for name, kind in _MODELS.items():
        if f"{_PROVIDER}/{name}" in priced:
            continue
        model = source.find_model(name)
        exact = model is not None and model.id == name
        prices = model.get_prices(at) if model is not None and exact else None
        offers.append(
            OfferFacts(
                provider=_PROVIDER,
                provider_model=name,
                model=name,
                display_name=name,
                mode=kind.mode,
                input_modalities=kind.reads,
                output_modalities=kind.writes,
                output_tokens_max=_OUTPUT_TOKENS_MAX.get(name),
                quote=_FREE if kind is _JUDGES else quote(cost_of(prices), kind.mode),
            )
        )
    return tuple(offers)


def cost_of(prices: object) -> dict[str, object]:
    """A price in models.dev's keys, all in USD per million of their unit; empty where none is."""
    characters = steps_of(prices, "input_mchars").get(0)
    if characters is not None:
        return {"character": characters}
    hours = steps_of(prices, "input_audio_hours").get(0)
    if hours is not None:
        return {"second": Decimal(1_000_000) * hours / _SECONDS_PER_HOUR}
    known = {key: steps_of(prices, name).get(0) for key, name in _TOKEN_KEYS.items()}
    return {key: price for key, price in known.items() if price is not None}
