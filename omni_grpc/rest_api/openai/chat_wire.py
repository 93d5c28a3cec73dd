"""The body of `POST /v1/chat/completions`, as far as this service reads it.

msgspec checks types, ranges and counts while it decodes. JSON that belongs to the caller (schemas)
stays raw. Fields that are not named here are not lost: see `chat_request`.
"""

from typing import Annotated, Final, Literal

import msgspec

from omni_grpc.core.chat import CacheTtl, ReasoningSummary, Role
from omni_grpc.core.limits import (
    CHOICE_COUNT_MAX,
    MESSAGE_COUNT_MAX,
    MODEL_ID_CHARS_MAX,
    PART_COUNT_MAX,
    STOP_COUNT_MAX,
    TOOL_COUNT_MAX,
)
from omni_grpc.rest_api import omni_wire
from omni_grpc.rest_api.omni_wire import WireOmni

TOOL_CALL_ID_CHARS_MAX: Final = 4_096
"""Ids go back to the provider uncounted by the hold; the longest known carry a signature."""

REASONING_BLOCKS_MAX: Final = 512
"""As many as parts of a message; a turn with tools rarely has ten."""

SAFETY_SETTINGS_MAX: Final = 32
"""Google names about a dozen kinds of content."""
"""Several times the settings that there are."""

TOP_K_MAX: Final = 2**31 - 1
TOP_LOGPROBS_MAX: Final = 20
OUTPUT_TOKENS_MAX: Final = 2**31 - 1
LOGIT_BIAS_MAX: Final = 100
_INT32_MAX: Final = 2**31 - 1
_INT64_MAX: Final = 2**63 - 1

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
_ToolCallId = Annotated[str, msgspec.Meta(min_length=1, max_length=TOOL_CALL_ID_CHARS_MAX)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=_INT32_MAX)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_OutputTokens = Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_TOKENS_MAX)]
_Bias = Annotated[float, msgspec.Meta(ge=-LOGIT_BIAS_MAX, le=LOGIT_BIAS_MAX)]

ABSENT: Final = msgspec.Raw()
"""Stands for raw JSON that was not sent."""


CHOICES: Final = {
    "messages.role": "system, developer, user, assistant or tool",
    "messages.content.type": "text, image_url, input_audio, file or refusal",
    "messages.tool_calls.type": "function",
    "tools.type": "function",
    "tool_choice": "auto, none, required, or an object that names a function",
    "tool_choice.type": "function",
    "response_format.type": "text, json_object or json_schema",
    **omni_wire.CHOICES,
    "messages.reasoning_details.type": "reasoning.text, reasoning.summary or reasoning.encrypted",
    "messages.content.cache_control.type": "ephemeral",
    "messages.content.cache_control.ttl": "5m or 1h",
    "tools.cache_control.type": "ephemeral",
    "tools.cache_control.ttl": "5m or 1h",
    "reasoning.summary": "auto, concise or detailed",
}
"""What may stand in the fields that take certain words, for those who sent another."""


# --- parts of a message -----------------------------------------------------------------------
class WireCacheControl(msgspec.Struct, frozen=True):
    """Marks the end of what the provider shall keep, in Anthropic's words."""

    type: Literal["ephemeral"]
    ttl: CacheTtl = "5m"


class WireTextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str
    cache_control: WireCacheControl | None = None


class WireImageUrl(msgspec.Struct, frozen=True):
    """Where an image is."""

    url: str
    detail: _Word | None = None


class WireImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image."""

    image_url: WireImageUrl
    cache_control: WireCacheControl | None = None


class WireInputAudio(msgspec.Struct, frozen=True):
    """A recording."""

    data: _Text
    format: _Word


class WireAudioPart(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Audio."""

    input_audio: WireInputAudio
    cache_control: msgspec.Raw = ABSENT


class WireFile(msgspec.Struct, frozen=True):
    """A file by id or inline."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class WireFilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    """A document."""

    file: WireFile
    cache_control: WireCacheControl | None = None


class WireRefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """What an assistant said when it refused."""

    refusal: str


WirePart = WireTextPart | WireImagePart | WireAudioPart | WireFilePart | WireRefusalPart


# --- messages ---------------------------------------------------------------------------------
class WireReasoningDetail(msgspec.Struct, frozen=True):
    """A block of reasoning in OpenRouter's words; which text it has depends on its type.

    The two counts are this service's own: where in its turn the block stood.
    """

    type: Literal["reasoning.text", "reasoning.summary", "reasoning.encrypted"]
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: _Word | None = None
    text_before: _Count | None = None
    calls_before: _Count | None = None


class WireCalledFunction(msgspec.Struct, frozen=True):
    """What a tool call calls."""

    name: _Text
    arguments: str


class WireToolCall(msgspec.Struct, frozen=True):
    """A call that the model made."""

    id: _ToolCallId
    function: WireCalledFunction
    type: Literal["function"] = "function"


class WireMessage(msgspec.Struct, frozen=True):
    """One turn."""

    role: Role
    content: (
        str | Annotated[tuple[WirePart, ...], msgspec.Meta(max_length=PART_COUNT_MAX)] | None
    ) = None
    name: str | None = None
    tool_calls: (
        Annotated[tuple[WireToolCall, ...], msgspec.Meta(max_length=TOOL_COUNT_MAX)] | None
    ) = None
    tool_call_id: _ToolCallId | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: (
        Annotated[tuple[WireReasoningDetail, ...], msgspec.Meta(max_length=REASONING_BLOCKS_MAX)]
        | None
    ) = None
    audio: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT


# --- tools and forms --------------------------------------------------------------------------
class WireFunction(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    name: _Name
    description: str | None = None
    parameters: msgspec.Raw = ABSENT
    strict: bool | None = None


class WireTool(msgspec.Struct, frozen=True):
    """A tool; only functions are known."""

    type: Literal["function"]
    function: WireFunction
    cache_control: WireCacheControl | None = None


class WireToolName(msgspec.Struct, frozen=True):
    """Names a function."""

    name: str


class WireNamedTool(msgspec.Struct, frozen=True):
    """Forces one tool."""

    type: Literal["function"]
    function: WireToolName


class WireJsonSchema(msgspec.Struct, frozen=True):
    """The schema that the answer follows."""

    name: _Name
    description: str | None = None
    schema: msgspec.Raw = ABSENT
    strict: bool | None = None


class WireResponseFormat(msgspec.Struct, frozen=True):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: WireJsonSchema | None = None


class WireStreamOptions(msgspec.Struct, frozen=True):
    """Options of a stream; others than these have no effect here."""

    include_usage: bool | None = None


class WireReasoning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model reasons, in OpenRouter's words."""

    effort: _Word | None = None
    max_tokens: _OutputTokens | None = None
    summary: ReasoningSummary | None = None
    enabled: bool | None = None
    exclude: bool | None = None


class WireSafetySetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which degree on a kind of content is blocked, in Google's words."""

    category: _Word
    threshold: _Word


# --- the body ---------------------------------------------------------------------------------
class WireChat(msgspec.Struct, frozen=True):
    """The fields that this service reads; null means the same as leaving one out."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_ID_CHARS_MAX)]
    messages: Annotated[
        tuple[WireMessage, ...], msgspec.Meta(min_length=1, max_length=MESSAGE_COUNT_MAX)
    ]
    stream: bool | None = None
    stream_options: WireStreamOptions | None = None
    max_tokens: _OutputTokens | None = None
    max_completion_tokens: _OutputTokens | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0, le=TOP_K_MAX)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    seed: Annotated[int, msgspec.Meta(ge=-_INT64_MAX - 1, le=_INT64_MAX)] | None = None
    stop: _Text | Annotated[tuple[_Text, ...], msgspec.Meta(max_length=STOP_COUNT_MAX)] | None = (
        None
    )
    n: Annotated[int, msgspec.Meta(ge=1, le=CHOICE_COUNT_MAX)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=TOP_LOGPROBS_MAX)] | None = None
    logit_bias: dict[str, _Bias] | None = None
    tools: Annotated[tuple[WireTool, ...], msgspec.Meta(max_length=TOOL_COUNT_MAX)] | None = None
    tool_choice: Literal["auto", "none", "required"] | WireNamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: WireResponseFormat | None = None
    reasoning_effort: _Word | None = None
    reasoning: WireReasoning | None = None
    safety_settings: (
        Annotated[tuple[WireSafetySetting, ...], msgspec.Meta(max_length=SAFETY_SETTINGS_MAX)]
        | None
    ) = None
    omni: WireOmni | None = None
    # Known only to be refused by name.
    functions: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT
    modalities: tuple[str, ...] | None = None
