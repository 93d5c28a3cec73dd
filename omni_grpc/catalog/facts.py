"""What sources say about offers, in one shape, before the catalog believes any of it."""

import datetime as dt
from typing import Final

import msgspec

from omni_grpc.catalog.model import RESERVED_PREFIX, Modality, Mode
from omni_grpc.catalog.prices import Quote
from omni_grpc.core.limits import DISPLAY_NAME_CHARS_MAX, MODEL_ID_CHARS_MAX
from omni_grpc.core.money import Unit

TOKENS_MAX: Final = 1_000_000_000
"""Largest believable token limit: a hundred times today's largest context window."""

_OTHER_UNITS: Final = {
    Mode.IMAGE: Unit.IMAGE,
    Mode.SPEECH: Unit.CHARACTER,
    Mode.TRANSCRIPTION: Unit.SECOND,
}


FACTS: Final = (
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
    "deprecated",
    "by_name_only",
    "release_date",
    "deprecation_date",
    "regions",
)
"""The fields of an offer's facts beside its price, each of which may come from another source."""


class OfferFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One offer as a source describes it; the fields mean what they mean in `Offer`.

    Attributes:
        unsaid: the fields of which the source says nothing, so that the next one's word counts.
        own: it is the operator's word, or this release's on what it calls in a way of its own; it
            goes before every source's.
    """

    provider: str
    provider_model: str
    model: str
    display_name: str
    quote: Quote
    mode: Mode = Mode.CHAT
    context_tokens_max: int | None = None
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    input_modalities: frozenset[Modality] = frozenset({Modality.TEXT})
    output_modalities: frozenset[Modality] = frozenset({Modality.TEXT})
    tools: bool = False
    structured_output: bool | None = None
    reasoning: bool = False
    temperature: bool | None = None
    deprecated: bool = False
    by_name_only: bool = False
    release_date: dt.date | None = None
    deprecation_date: dt.date | None = None
    regions: frozenset[str] = frozenset()
    unsaid: tuple[str, ...] = ()
    own: bool = False

    @property
    def id(self) -> str:
        """The offer's id."""
        return f"{self.provider}/{self.provider_model}"


def fault_of(facts: OfferFacts) -> str | None:
    """Why the catalog cannot take an offer; None if it can."""
    limits = (facts.context_tokens_max, facts.prompt_tokens_max, facts.output_tokens_max)
    name = facts.display_name
    base = {rate.unit for rate in facts.quote.rates if not rate.prompt_tokens_min}
    rules = (
        (facts.provider and "/" not in facts.provider, "its provider is empty or has a slash"),
        (facts.provider_model, "its name is empty"),
        (facts.id.isprintable(), "its name has control characters"),
        (len(facts.id) <= MODEL_ID_CHARS_MAX, f"it is over {MODEL_ID_CHARS_MAX} characters long"),
        (not facts.id.startswith(RESERVED_PREFIX), f"{RESERVED_PREFIX} is the router's own"),
        (
            name.isprintable() and len(name) <= DISPLAY_NAME_CHARS_MAX,
            "its display name is too long or has control characters",
        ),
        (
            all(limit is None or 0 < limit <= TOKENS_MAX for limit in limits),
            f"a token limit is not between 1 and {TOKENS_MAX}",
        ),
        (
            base >= {Unit.PROMPT, Unit.COMPLETION} or _sold_otherwise(facts.mode, base)
            if facts.quote.rates
            else facts.quote.refusal,
            "it has neither prices for prompt and completion nor the reason why not",
        ),
    )
    return next((f"{facts.id[:80]!r}: {fault}" for kept, fault in rules if not kept), None)


def _sold_otherwise(mode: Mode, base: set[Unit]) -> bool:
    """Whether all is sold by the image, the second or the character: chats never are."""
    return mode in _OTHER_UNITS and base == {_OTHER_UNITS[mode]}
