"""What the catalog knows: offers, and the aliases that name them.

A model (`gpt-4o`) is what is asked for; an offer (`openai/gpt-4o`) is one provider's sale of it,
with its own price and limits. Everything here is frozen and free of I/O.
"""

import datetime as dt
from collections.abc import Collection
from enum import StrEnum
from typing import Final

import msgspec

from omni_grpc.core.money import Price

RESERVED_PREFIX: Final = "omni/"
"""Names that routing resolves (`omni/auto`, ...): no offer or alias may begin with it."""

GLOBAL_SCOPE: Final = "global"
"""The alias scope that every caller sees; nearer scopes (an org, a team) will shadow it."""


class Modality(StrEnum):
    """A kind of content that a model reads or writes."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    PDF = "pdf"


class Mode(StrEnum):
    """Which kind of request an offer answers. Only CHAT offers complete chats."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    MODERATION = "moderation"
    IMAGE = "image"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"
    VIDEO = "video"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's sale of a model.

    Attributes:
        id: `provider/provider_model`, unique; the last part may contain slashes.
        model: the canonical id of the model, the same for all who sell it.
        provider_model: the name that the provider is called with.
        context_tokens_max: prompt and output together; None where the source does not say, as
            for the two limits below.
        temperature: whether the model takes sampling parameters; None where unknown.
        structured_output: whether it follows a JSON schema; None where unknown.
        price: the current version; None means unpriced, which is never free.
        unpriced_reason: why there is no price; empty where there is one.
        free: the source says that prompt and completion both cost zero (a free tier, or a
            subscription): never to be chosen just because it is the cheapest.
        deprecated: its maker advises against it, or no source lists it any more.
        by_name_only: it answers those who name it and is never chosen for others, such as a
            simulated model whose purpose is to fail.
        enabled: the operator's switch.
    """

    id: str
    provider: str
    model: str
    provider_model: str
    display_name: str
    mode: Mode
    context_tokens_max: int | None
    prompt_tokens_max: int | None
    output_tokens_max: int | None
    input_modalities: frozenset[Modality]
    output_modalities: frozenset[Modality]
    tools: bool
    structured_output: bool | None
    reasoning: bool
    temperature: bool | None
    free: bool
    deprecated: bool
    by_name_only: bool
    enabled: bool
    release_date: dt.date | None
    price: Price | None
    unpriced_reason: str = ""

    def callable_at(self, providers: Collection[str]) -> bool:
        """Whether a call can be sent: enabled, priced, and its provider is one of `providers`."""
        return self.enabled and self.price is not None and self.provider in providers


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """Another name for models: its targets are tried in order, and may be aliases themselves."""

    name: str
    targets: tuple[str, ...]
    scope: str = GLOBAL_SCOPE
