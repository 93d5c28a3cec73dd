"""Models of Google, Cohere and Amazon for embeddings, pictures and speech, priced by genai-prices.

models.dev lists few of them, and takes Gemini's painters for models of chats, at the price of their
pictures. Which model takes which kind of request is said here; its price is the package's.
"""

import datetime as dt
from collections.abc import Collection
from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.model import Modality, Mode
from omni_grpc.catalog.prices import quote
from omni_grpc.catalog.sources.openai_media import cost_of

_TEXT: Final = frozenset({Modality.TEXT})
_IMAGE: Final = frozenset({Modality.IMAGE})
_AUDIO: Final = frozenset({Modality.AUDIO})


class _Kind(msgspec.Struct, frozen=True):
    mode: Mode
    reads: frozenset[Modality]
    writes: frozenset[Modality]


_EMBEDS: Final = _Kind(Mode.EMBEDDING, _TEXT, _TEXT)
_PAINTS: Final = _Kind(Mode.IMAGE, _TEXT | _IMAGE, _IMAGE)
_SPEAKS: Final = _Kind(Mode.SPEECH, _TEXT, _AUDIO)

_MODELS: Final = {
    ("google", "gemini-embedding-2"): _EMBEDS,
    ("google", "gemini-2.5-flash-image"): _PAINTS,
    ("google", "gemini-3-pro-image-preview"): _PAINTS,
    ("google", "gemini-3.1-flash-image-preview"): _PAINTS,
    ("google", "gemini-3.1-flash-lite-image"): _PAINTS,
    ("google", "gemini-3.1-flash-tts-preview"): _SPEAKS,
    ("google", "gemini-3.8-flash-tts"): _SPEAKS,
    ("google", "gemini-3.8-flash-lite-tts"): _SPEAKS,
    ("cohere", "embed-v4.0"): _EMBEDS,
    ("amazon-bedrock", "amazon.titan-embed-text-v2:0"): _EMBEDS,
}
_SOURCES: Final = {"amazon-bedrock": "aws"}
"""genai-prices' name of a provider, where it is another."""


def read(at: dt.datetime, known: Collection[OfferFacts]) -> tuple[OfferFacts, ...]:
    """The offers, priced as of `at`; those of `known` of the same kind with a price are left out.

    Painters that `known` takes for models of chats are here as what they are.
    """
    from genai_prices.data import providers

    sources = {provider.id: provider for provider in providers}
    priced = {(one.id, one.mode) for one in known if one.quote.rates}
    offers = []
    for (provider, name), kind in _MODELS.items():
        if (f"{provider}/{name}", kind.mode) in priced:
            continue
        model = sources[_SOURCES.get(provider, provider)].find_model(name)
        exact = model is not None and model.id == name
        cost = cost_of(model.get_prices(at) if model is not None and exact else None)
        if kind is _EMBEDS and "input" in cost:
            # Texts alone go in here, and vectors are no tokens.
            cost = {"input": cost["input"], "output": 0}
        if kind is _PAINTS and "input" in cost:
            # Google reads text and pictures at one price.
            cost.setdefault("input_image", cost["input"])
        offers.append(
            OfferFacts(
                provider=provider,
                provider_model=name,
                model=name,
                display_name=name,
                mode=kind.mode,
                input_modalities=kind.reads,
                output_modalities=kind.writes,
                quote=quote(cost, kind.mode),
            )
        )
    return tuple(offers)
