"""The body of `POST /v1/responses`, as far as this service reads it.

msgspec checks types, ranges and counts while it decodes. Input items stay raw here, since their
type alone says how they are read: see `item_wire`.
"""

from typing import Annotated, Final, Literal

import msgspec

from omni_grpc.core.chat import ReasoningSummary
from omni_grpc.core.limits import MESSAGE_COUNT_MAX, MODEL_ID_CHARS_MAX, TOOL_COUNT_MAX
from omni_grpc.rest_api import omni_wire
from omni_grpc.rest_api.omni_wire import WireOmni
from omni_grpc.rest_api.openai.chat_wire import (
    ABSENT,
    OUTPUT_TOKENS_MAX,
    TOP_LOGPROBS_MAX,
)

ITEM_COUNT_MAX: Final = 4 * MESSAGE_COUNT_MAX
"""Most input items: an assistant's turn is several of them."""

METADATA_COUNT_MAX: Final = 16
INCLUDE_COUNT_MAX: Final = 32
"""Words of `include`; OpenAI has eight."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_MetadataKey = Annotated[str, msgspec.Meta(max_length=64)]
_MetadataValue = Annotated[str, msgspec.Meta(max_length=512)]

CHOICES: Final = {
    "input.role": "user, assistant, system or developer",
    "input.content.type": (
        "input_text, input_image, input_file or input_audio; output_text or refusal of an assistant"
    ),
    "input.output.type": "input_text, input_image or input_file",
    "tool_choice": "auto, none, required, or an object that names a function",
    "tool_choice.mode": "auto or required",
    "text.format.type": "text, json_object or json_schema",
    "text.verbosity": "low, medium or high",
    "reasoning.summary": "auto, concise or detailed",
    "reasoning.generate_summary": "auto, concise or detailed",
    "truncation": "disabled",
    **omni_wire.CHOICES,
}
"""What may stand in the fields that take certain words, for those who sent another."""


class WireTool(msgspec.Struct, frozen=True):
    """A function, or a namespace of functions (`tools`); of others only the type is read."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = ABSENT
    strict: bool | None = None
    tools: "Annotated[tuple[WireTool, ...], msgspec.Meta(max_length=TOOL_COUNT_MAX)] | None" = None


class WireAllowedTool(msgspec.Struct, frozen=True):
    """One of the tools that may be called."""

    type: str
    name: str | None = None


class WireToolChoice(msgspec.Struct, frozen=True):
    """Forces a tool, or allows some of them."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: (
        Annotated[tuple[WireAllowedTool, ...], msgspec.Meta(max_length=TOOL_COUNT_MAX)] | None
    ) = None


class WireFormat(msgspec.Struct, frozen=True):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")] | None = None
    description: str | None = None
    schema: msgspec.Raw = ABSENT
    strict: bool | None = None


class WireTextSettings(msgspec.Struct, frozen=True):
    """How the text of the answer shall be."""

    format: WireFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class WireReasoning(msgspec.Struct, frozen=True):
    """How much the model shall think, and what it tells of that."""

    effort: _Word | None = None
    summary: ReasoningSummary | None = None
    generate_summary: ReasoningSummary | None = None
    context: str | None = None
    mode: str | None = None


class WireStreamOptions(msgspec.Struct, frozen=True):
    """Options of a stream; none has an effect here."""

    include_obfuscation: bool | None = None


class WireResponses(msgspec.Struct, frozen=True):
    """The fields that this service reads; null means the same as leaving one out."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_ID_CHARS_MAX)]
    input: str | Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=ITEM_COUNT_MAX)]
    instructions: str | None = None
    stream: bool | None = None
    stream_options: WireStreamOptions | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_TOKENS_MAX)] | None = None
    max_tool_calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=TOP_LOGPROBS_MAX)] | None = None
    tools: Annotated[tuple[WireTool, ...], msgspec.Meta(max_length=TOOL_COUNT_MAX)] | None = None
    tool_choice: Literal["auto", "none", "required"] | WireToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: WireTextSettings | None = None
    reasoning: WireReasoning | None = None
    include: Annotated[tuple[_Word, ...], msgspec.Meta(max_length=INCLUDE_COUNT_MAX)] | None = None
    metadata: (
        Annotated[dict[_MetadataKey, _MetadataValue], msgspec.Meta(max_length=METADATA_COUNT_MAX)]
        | None
    ) = None
    store: bool | None = None
    previous_response_id: _Text | None = None
    truncation: Literal["auto", "disabled"] | None = None
    background: bool | None = None
    omni: WireOmni | None = None
    # These go to the provider as they are, and are repeated in the answer.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # What a client says of itself; no provider is told.
    client_metadata: msgspec.Raw = ABSENT
    # Known only to be refused by name.
    conversation: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    context_management: msgspec.Raw = ABSENT
    moderation: msgspec.Raw = ABSENT

    @property
    def form(self) -> WireFormat | None:
        """The form of the answer."""
        return None if self.text is None else self.text.format

    @property
    def effort(self) -> str | None:
        """How much the model shall think."""
        return None if self.reasoning is None else self.reasoning.effort

    @property
    def summary(self) -> ReasoningSummary | None:
        """How much of its reasoning is told; under its older name too."""
        if self.reasoning is None:
            return None
        return self.reasoning.summary or self.reasoning.generate_summary


PASSED_ON: Final = frozenset({"user", "safety_identifier", "prompt_cache_key"})
OWN: Final = frozenset(WireResponses.__struct_fields__) - PASSED_ON
"""Fields that a provider is not sent under this name."""
