"""The body of `POST /v1/messages`, as far as this service reads it.

msgspec checks types, ranges and counts while it decodes. JSON that belongs to the caller (schemas,
inputs of tools) stays raw. What Anthropic's API knows and this service does not carry is not
listed here: `request` refuses it by name, or notes that it was left out.
"""

from typing import Annotated, Final, Literal

import msgspec

from omni_grpc.core.chat import CacheTtl
from omni_grpc.core.limits import (
    MESSAGE_COUNT_MAX,
    MODEL_ID_CHARS_MAX,
    PART_COUNT_MAX,
    STOP_COUNT_MAX,
    TOOL_COUNT_MAX,
)
from omni_grpc.rest_api import omni_wire
from omni_grpc.rest_api.omni_wire import WireOmni

TOKENS_MAX: Final = 2**31 - 1
BUDGET_TOKENS_MIN: Final = 1_024
"""Anthropic's own least budget of thinking."""

TOOL_USE_ID_CHARS_MAX: Final = 4_096
"""Ids go back to the provider uncounted by the hold; the longest known carry a signature."""

ABSENT: Final = msgspec.Raw()
"""Stands for raw JSON that was not sent."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_ToolName = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}\Z")]
_ToolUseId = Annotated[str, msgspec.Meta(min_length=1, max_length=TOOL_USE_ID_CHARS_MAX)]

CHOICES: Final = {
    "messages.role": "user, assistant or system",
    "messages.content.type": (
        "text, image, document, thinking, redacted_thinking, tool_use or tool_result"
    ),
    "messages.content.content.type": "text, image or document",
    "messages.content.source.type": "base64, url, file, text or content",
    "messages.content.content.source.type": "base64, url, file, text or content",
    "messages.content.source.media_type": (
        "image/jpeg, image/png, image/gif or image/webp for an image, application/pdf or "
        "text/plain for a document"
    ),
    "system.type": "text",
    "thinking.display": "summarized or omitted",
    "thinking.type": "enabled, adaptive or disabled",
    "tool_choice.type": "auto, any, tool or none",
    "output_config.format.type": "json_schema",
    "output_format.type": "json_schema",
    "service_tier": "auto or standard_only",
    **omni_wire.CHOICES,
}
"""What may stand in the fields that take certain words, for those who sent another."""


class WireCacheControl(msgspec.Struct, frozen=True):
    """Marks the end of what the provider shall keep."""

    type: Literal["ephemeral"]
    ttl: CacheTtl | None = None


# --- blocks -----------------------------------------------------------------------------------
class WireText(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text; its citations are not read, since they are an earlier answer's own."""

    text: str
    cache_control: WireCacheControl | None = None


class WireImageData(msgspec.Struct, frozen=True, tag_field="type", tag="base64"):
    """An image inline."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: _Text


class WireUrl(msgspec.Struct, frozen=True, tag_field="type", tag="url"):
    """Where something is."""

    url: _Text


class WireFileId(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    """A file that the provider keeps."""

    file_id: _Text


class WireImage(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    """An image."""

    source: WireImageData | WireUrl | WireFileId
    cache_control: WireCacheControl | None = None


class WirePdfData(msgspec.Struct, frozen=True, tag_field="type", tag="base64"):
    """A PDF inline."""

    media_type: Literal["application/pdf"]
    data: _Text


class WireTextData(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """A document that is plain text."""

    media_type: Literal["text/plain"]
    data: str


class WireBlocksData(msgspec.Struct, frozen=True, tag_field="type", tag="content"):
    """A document that is blocks of the caller's."""

    content: str | tuple[WireText | WireImage, ...]


class WireCitations(msgspec.Struct, frozen=True):
    """Whether an answer shall say where in a document it found something."""

    enabled: bool | None = None


class WireDocument(msgspec.Struct, frozen=True, tag_field="type", tag="document"):
    """A document."""

    source: WirePdfData | WireTextData | WireUrl | WireFileId | WireBlocksData
    title: str | None = None
    context: str | None = None
    citations: WireCitations | None = None
    cache_control: WireCacheControl | None = None


class WireThinking(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    """What the assistant thought, with the proof that it did."""

    thinking: str
    signature: str


class WireRedactedThinking(msgspec.Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    """What the assistant thought, readable by its provider alone."""

    data: str


class WireToolUse(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A call that the assistant made."""

    id: _ToolUseId
    name: _Text
    input: msgspec.Raw
    cache_control: WireCacheControl | None = None


class WireToolResult(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result"):
    """What a call came to."""

    tool_use_id: _ToolUseId
    content: (
        str
        | Annotated[
            tuple[WireText | WireImage | WireDocument, ...], msgspec.Meta(max_length=PART_COUNT_MAX)
        ]
        | None
    ) = None
    is_error: bool | None = None
    cache_control: WireCacheControl | None = None


WireBlock = (
    WireText
    | WireImage
    | WireDocument
    | WireThinking
    | WireRedactedThinking
    | WireToolUse
    | WireToolResult
)


class WireMessage(msgspec.Struct, frozen=True):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | Annotated[tuple[WireBlock, ...], msgspec.Meta(max_length=PART_COUNT_MAX)]


# --- settings ---------------------------------------------------------------------------------
class WireTool(msgspec.Struct, frozen=True):
    """A tool; one without a type, or `custom`, is the caller's own."""

    type: _Word | None = None
    name: _ToolName | None = None
    description: str | None = None
    input_schema: msgspec.Raw = ABSENT
    strict: bool | None = None
    cache_control: WireCacheControl | None = None


class WireAuto(msgspec.Struct, frozen=True, tag_field="type", tag="auto"):
    """The model decides."""

    disable_parallel_tool_use: bool | None = None


class WireAny(msgspec.Struct, frozen=True, tag_field="type", tag="any"):
    """Some tool must be called."""

    disable_parallel_tool_use: bool | None = None


class WireOneTool(msgspec.Struct, frozen=True, tag_field="type", tag="tool"):
    """This tool must be called."""

    name: str
    disable_parallel_tool_use: bool | None = None


class WireNoTool(msgspec.Struct, frozen=True, tag_field="type", tag="none"):
    """None may be called."""


WireToolChoice = WireAuto | WireAny | WireOneTool | WireNoTool


class WireEnabled(msgspec.Struct, frozen=True, tag_field="type", tag="enabled"):
    """Think, up to a budget."""

    budget_tokens: Annotated[int, msgspec.Meta(ge=BUDGET_TOKENS_MIN, le=TOKENS_MAX)]
    display: Literal["summarized", "omitted"] | None = None


class WireAdaptive(msgspec.Struct, frozen=True, tag_field="type", tag="adaptive"):
    """Think as much as the model finds right."""

    display: Literal["summarized", "omitted"] | None = None


class WireDisabled(msgspec.Struct, frozen=True, tag_field="type", tag="disabled"):
    """Do not think."""


WireThinkingConfig = WireEnabled | WireAdaptive | WireDisabled


class WireFormat(msgspec.Struct, frozen=True):
    """The form of the answer."""

    type: Literal["json_schema"]
    schema: msgspec.Raw


class WireOutputConfig(msgspec.Struct, frozen=True):
    """How the answer is made; others than these have no effect here."""

    effort: _Word | None = None
    format: WireFormat | None = None


class WireMetadata(msgspec.Struct, frozen=True):
    """Whose request it is."""

    user_id: str | None = None


# --- the body ---------------------------------------------------------------------------------
class WireMessages(msgspec.Struct, frozen=True):
    """The fields that this service reads; null means the same as leaving one out."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_ID_CHARS_MAX)]
    messages: Annotated[
        tuple[WireMessage, ...], msgspec.Meta(min_length=1, max_length=MESSAGE_COUNT_MAX)
    ]
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)] | None = None
    stream: bool | None = None
    system: (
        str | Annotated[tuple[WireText, ...], msgspec.Meta(max_length=PART_COUNT_MAX)] | None
    ) = None
    tools: Annotated[tuple[WireTool, ...], msgspec.Meta(max_length=TOOL_COUNT_MAX)] | None = None
    tool_choice: WireToolChoice | None = None
    thinking: WireThinkingConfig | None = None
    output_config: WireOutputConfig | None = None
    output_format: WireFormat | None = None
    stop_sequences: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=STOP_COUNT_MAX)] | None = (
        None
    )
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)] | None = None
    metadata: WireMetadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    cache_control: WireCacheControl | None = None
    omni: WireOmni | None = None
    # Known only to be refused by name.
    thread: msgspec.Raw = ABSENT
    compaction: msgspec.Raw = ABSENT
    mcp_servers: msgspec.Raw = ABSENT
    container: msgspec.Raw = ABSENT
    inference_geo: msgspec.Raw = ABSENT
