"""What the catalog knows: offers, the aliases that name them, and how good models are.

A model (`gpt-4o`) is what is asked for; an offer (`openai/gpt-4o`) is one provider's sale of it,
with its own price and limits. Offers are chosen, models are rated. Everything here is frozen and
free of I/O.
"""

import datetime as dt
from collections.abc import Collection
from enum import StrEnum
from typing import Final

import msgspec

from omni_grpc.core.money import Price
from omni_grpc.core.task import Task

RESERVED_PREFIX: Final = "omni/"
"""Names that routing resolves (`omni/auto`, ...): no offer or alias may begin with it."""

GLOBAL_SCOPE: Final = "global"
"""The alias scope that every caller sees; nearer scopes (an org's) shadow it."""

NEUTRAL_QUALITY_PPM: Final = 1_000_000
"""The quality weight that changes nothing, in millionths."""


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
        hold_price: what to reserve by where believable sources ask more than `price`, which is what
            is charged; None where none does.
        unpriced_reason: why there is no price; empty where there is one.
        free: the source says that prompt and completion both cost zero (a free tier, or a
            subscription): never to be chosen just because it is the cheapest.
        deprecated: its maker advises against it, or no source lists it any more.
        by_name_only: it answers those who name it and is never chosen for others, such as a
            simulated model whose purpose is to fail.
        enabled: the operator's switch.
        deprecation_date: from when on it is deprecated, or was; None if nobody said.
        deprecation_reason: why, in the operator's words; empty if nobody said.
        replacement: what to call instead: an offer, a model or an alias; None if nobody said.
        tags: the operator's words for it, for policies to choose by.
        regions: where it is served, such as `eu`; empty where unknown.
        quality_weight_ppm: what its rating is multiplied by, in millionths; 1,000,000 is neutral.
        routing_weight: its share among others under a weighted policy; 0 is none.
        source: whose facts these are, beneath what the operator said.
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
    hold_price: Price | None = None
    unpriced_reason: str = ""
    deprecation_date: dt.date | None = None
    deprecation_reason: str = ""
    replacement: str | None = None
    tags: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    quality_weight_ppm: int = NEUTRAL_QUALITY_PPM
    routing_weight: int = 1
    source: str = ""

    def callable_at(self, providers: Collection[str]) -> bool:
        """Whether a call can be sent: enabled, priced, and its provider is one of `providers`."""
        return self.enabled and self.price is not None and self.provider in providers


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """How good a model is.

    Attributes:
        value: 0 to 100, where 100 would be a model that never fails.
        source: who says so, for people: a benchmark and its date, `operator`, `estimate`.
        date: when it was found; None if nobody said.
        task: what it was measured at; None: at everything.
        estimated: it was never measured, only inferred from the model's price and age.
    """

    value: float
    source: str
    date: dt.date | None = None
    task: Task | None = None
    estimated: bool = False


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """Another name for models: its targets are tried in order, and may be aliases themselves.

    `scope` is `global`, or `orgs/{org}` for the callers of one organisation.
    """

    name: str
    targets: tuple[str, ...]
    scope: str = GLOBAL_SCOPE
