"""What a request needs of a model, and what of that an offer lacks."""

from collections.abc import Iterator

import msgspec

from omni_grpc.catalog import Modality, Mode, Offer
from omni_grpc.core.chat import AudioPart, ChatRequest, FilePart, ImagePart, Part
from omni_grpc.core.money import Unit

_PRICED_TIERS = frozenset({b"null", b'"auto"', b'"default"', b'"flex"'})
"""Service tiers that cost at most the price of the catalog."""


class Needs(msgspec.Struct, frozen=True):
    """The abilities that a request uses; each is named in refusals."""

    modalities: frozenset[Modality]
    tools: bool
    structured_output: bool
    reasoning: bool
    output_tokens: int | None
    keeps_an_hour: bool
    """Whether a part of the prompt shall be kept in the provider's cache for an hour."""
    surcharge: str | None
    """A field that makes a provider charge more than its token prices say."""

    @classmethod
    def of(cls, request: ChatRequest) -> "Needs":
        """Reads them off a request."""
        modalities = {Modality.TEXT}
        marks = {tool.cache for tool in request.tools}
        for part in _parts(request):
            marks.add(getattr(part, "cache", None))
            if isinstance(part, ImagePart):
                modalities.add(Modality.IMAGE)
            elif isinstance(part, AudioPart):
                modalities.add(Modality.AUDIO)
            elif isinstance(part, FilePart):
                modalities.add(Modality.PDF)
        form = request.response_format
        return cls(
            modalities=frozenset(modalities),
            tools=bool(request.tools),
            structured_output=form is not None and form.kind == "json_schema",
            reasoning=_must_reason(request),
            output_tokens=request.output_tokens_max,
            keeps_an_hour="1h" in marks,
            surcharge=_surcharge(request),
        )

    def lacking(self, offer: Offer) -> str | None:
        """The first thing that `offer` cannot do, as words for people; None if it can do all.

        What the catalog does not know of an offer is not held against it.
        """
        if offer.mode is not Mode.CHAT or Modality.TEXT not in offer.output_modalities:
            return "chat completions"
        for modality in sorted(self.modalities - {Modality.TEXT}):
            if modality not in offer.input_modalities:
                return f"{modality} input"
        if self.tools and not offer.tools:
            return "tools"
        if self.structured_output and offer.structured_output is False:
            return "structured output (response_format json_schema)"
        if self.reasoning and not offer.reasoning:
            return "reasoning"
        limit = offer.output_tokens_max
        if self.output_tokens is not None and limit is not None and self.output_tokens > limit:
            return f"an output limit of {self.output_tokens} tokens (its own is {limit})"
        return None

    def unpriced(self, offer: Offer) -> str | None:
        """The first unit that the request would use and the offer has no price for."""
        if offer.price is None:
            return offer.unpriced_reason or "no price is known"
        if self.surcharge is not None:
            return f"{self.surcharge} costs extra at providers, at a price that is not known here"
        if Modality.AUDIO in self.modalities and not offer.price.priced(Unit.PROMPT_AUDIO):
            return "audio input has no price"
        if self.keeps_an_hour and not offer.price.priced(Unit.CACHED_WRITE_1H):
            return "keeping a prompt for an hour has no price; mark it for 5m"
        return None


def _parts(request: ChatRequest) -> Iterator[Part]:
    for message in request.messages:
        if isinstance(message.content, tuple):
            yield from message.content


def _must_reason(request: ChatRequest) -> bool:
    """Whether it asks for reasoning, and not as an option."""
    optional = request.optional
    return (
        (request.reasoning_effort is not None and "reasoning_effort" not in optional)
        or (request.reasoning_budget is not None and "reasoning_budget" not in optional)
        or (request.reasoning_summary is not None and "reasoning_summary" not in optional)
    )


def _surcharge(request: ChatRequest) -> str | None:
    """Known fields of the OpenAI dialect, passed on untouched, that token prices do not cover."""
    extra = request.extra
    tier = extra.get("service_tier")
    if tier is not None and bytes(tier).strip() not in _PRICED_TIERS:
        return "a dearer service_tier"
    if "web_search_options" in extra:
        return "web_search_options"
    return None
