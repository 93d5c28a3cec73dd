"""The body of a Converse request: its fields, and what Bedrock would refuse about each of them.

The shapes and bounds are those of AWS's service model. Unknown fields are let pass, as there; of a
block that is one of several kinds exactly one is given. Nothing here depends on the model.
"""

import base64
import binascii
import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from omni_grpc.simulator.dialect import Rejected

__all__ = (
    "Block",
    "ConverseBody",
    "Message",
    "ToolSpec",
    "Tools",
    "read_body",
)

STOPS_MAX: Final = 2_500
"""AWS's own limit."""

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_ToolName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
_ToolUseId = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.:-]{1,64}$")]
_NonEmpty = Annotated[str, Meta(min_length=1)]
_ABSENT: Final = Raw()
_Base64 = Annotated[str, Meta(min_length=1)]


class _Camel(msgspec.Struct, rename="camel", frozen=True):
    """A structure of the service."""


class _S3(_Camel, frozen=True):
    uri: Annotated[str, Meta(pattern=r"^s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?$")]


class Source(_Camel, frozen=True):
    """Where media come from."""

    bytes: _Base64 | None = None
    s3_location: _S3 | None = None
    text: str | None = None
    content: Raw = Raw()


class Image(_Camel, frozen=True):
    """An image."""

    format: Literal["png", "jpeg", "gif", "webp"]
    source: Source


class Document(_Camel, frozen=True):
    """A document."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    source: Source
    format: Literal["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"] | None = None


class Audio(_Camel, frozen=True):
    """Audio."""

    format: Literal[
        "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg",
        "mpga", "pcm", "webm",
    ]  # fmt: skip
    source: Source


class ToolUse(_Camel, frozen=True):
    """A call that the model made."""

    tool_use_id: _ToolUseId
    name: _ToolName
    input: Raw


class CachePoint(_Camel, frozen=True):
    """The end of a prefix to be kept."""

    type: Literal["default"]
    ttl: Literal["5m", "1h"] | None = None


class _ReasoningText(_Camel, frozen=True):
    text: str
    signature: str | None = None


class Reasoning(_Camel, frozen=True):
    """Reasoning that is carried back."""

    reasoning_text: _ReasoningText | None = None
    redacted_content: _Base64 | None = None


class Block(_Camel, frozen=True):
    """A block of content: one of these. `json` stands in a tool's result only."""

    text: str | None = None
    image: Image | None = None
    document: Document | None = None
    audio: Audio | None = None
    video: Raw = Raw()
    tool_use: ToolUse | None = None
    tool_result: "ToolResult | None" = None
    guard_content: Raw = Raw()
    cache_point: CachePoint | None = None
    reasoning_content: Reasoning | None = None
    citations_content: Raw = Raw()
    search_result: Raw = Raw()
    json: Raw = Raw()


class ToolResult(_Camel, frozen=True):
    """What a tool answered."""

    tool_use_id: _ToolUseId
    content: list[Block]
    status: Literal["success", "error"] | None = None


class Message(_Camel, frozen=True):
    """One turn."""

    role: Literal["user", "assistant"]
    content: Annotated[list[Block], Meta(min_length=1)]

    @property
    def text(self) -> str:
        """Its plain text."""
        return "\n".join(block.text for block in self.content if block.text is not None)


class SystemBlock(_Camel, frozen=True):
    """A piece of the system prompt."""

    text: _NonEmpty | None = None
    cache_point: CachePoint | None = None
    guard_content: Raw = Raw()


class _InputSchema(_Camel, frozen=True):
    json: Raw


class ToolSpec(_Camel, frozen=True):
    """A tool that the model may call."""

    name: _ToolName
    input_schema: _InputSchema
    description: _NonEmpty | None = None
    strict: bool | None = None


class Tool(_Camel, frozen=True):
    """An entry of the list of tools."""

    tool_spec: ToolSpec | None = None
    cache_point: CachePoint | None = None
    system_tool: Raw = Raw()


class _Named(_Camel, frozen=True):
    name: _ToolName


class ToolChoice(_Camel, frozen=True):
    """Which tools may be used: one of these."""

    auto: dict[str, Raw] | None = None
    any: dict[str, Raw] | None = None
    tool: _Named | None = None


class Tools(_Camel, frozen=True):
    """The tools, and how they may be used."""

    tools: Annotated[list[Tool], Meta(min_length=1)]
    tool_choice: ToolChoice | None = None

    @property
    def specs(self) -> list[ToolSpec]:
        """The definitions."""
        return [tool.tool_spec for tool in self.tools if tool.tool_spec is not None]


class Inference(_Camel, frozen=True):
    """What all makers' models have."""

    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop_sequences: Annotated[list[_NonEmpty], Meta(max_length=STOPS_MAX)] | None = None


class _JsonSchema(_Camel, frozen=True):
    schema: str
    name: str | None = None
    description: str | None = None


class _Structure(_Camel, frozen=True):
    json_schema: _JsonSchema


class _TextFormat(_Camel, frozen=True):
    type: Literal["json_schema"]
    structure: _Structure


class OutputConfig(_Camel, frozen=True):
    """The form of the answer."""

    text_format: _TextFormat | None = None
    effort: Annotated[str, Meta(max_length=16)] | None = None


class ConverseBody(_Camel, frozen=True):
    """The fields of a request that make a difference here."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    system: list[SystemBlock] | None = None
    inference_config: Inference = Inference()
    tool_config: Tools | None = None
    additional_model_request_fields: dict[str, Raw] | None = None
    additional_model_response_field_paths: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=10)]
        | None
    ) = None
    output_config: OutputConfig | None = None

    @property
    def schema(self) -> str | None:
        """The schema of a structured answer, as JSON."""
        form = self.output_config.text_format if self.output_config else None
        return None if form is None else form.structure.json_schema.schema


_DECODER = msgspec.json.Decoder(ConverseBody)


def read_body(body: bytes) -> ConverseBody:
    """The request, checked field by field.

    Raises:
        Rejected: 400 and what is wrong with it.
    """
    try:
        found = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        at = _PATH.search(str(error))
        raise Rejected(
            400, f"Value is not valid: {error}", param=at["path"] if at else None
        ) from None
    except msgspec.DecodeError as error:
        raise Rejected(400, f"Could not parse request body: {error}") from None
    for place, block in enumerate(found.system or ()):
        _check_one_of(block, f"system.{place}")
    for turn, message in enumerate(found.messages):
        for place, part in enumerate(message.content):
            _check_block(part, f"messages.{turn}.content.{place}")
    if found.tool_config is not None:
        for place, tool in enumerate(found.tool_config.tools):
            _check_one_of(tool, f"toolConfig.tools.{place}")
        if found.tool_config.tool_choice is not None:
            _check_one_of(found.tool_config.tool_choice, "toolConfig.toolChoice")
    return found


def _check_one_of(union: msgspec.Struct, where: str) -> None:
    values = [getattr(union, name) for name in union.__struct_fields__]
    given = [one for one in values if one is not None and one != _ABSENT]
    if len(given) != 1:
        raise Rejected(400, f"{where} must set exactly one of its members.", param=where)


def _check_block(block: Block, where: str) -> None:
    _check_one_of(block, where)
    if block.text is not None and not block.text.strip():
        raise Rejected(
            400,
            f"The text field in the ContentBlock object at {where} is blank. Add text to the text "
            "field, and try again.",
            param=where,
        )
    for media in (block.image, block.document, block.audio):
        if media is not None:
            _check_base64(media.source.bytes, f"{where}.source.bytes")
    if block.reasoning_content is not None:
        _check_one_of(block.reasoning_content, f"{where}.reasoningContent")
        _check_base64(block.reasoning_content.redacted_content, f"{where}.redactedContent")
    if block.tool_result is not None:
        for place, part in enumerate(block.tool_result.content):
            inner = f"{where}.toolResult.content.{place}"
            if part.tool_result or part.tool_use or part.audio or part.cache_point:
                raise Rejected(400, f"{inner} is no block of a tool's result.", param=inner)
            _check_block(part, inner)
        if block.tool_result.status == "error" and not block.tool_result.content:
            raise Rejected(
                400, f"The content field at {where} cannot be empty when status value is error."
            )


def _check_base64(data: str | None, where: str) -> None:
    if data is None:
        return
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Rejected(400, f"{where} is no base64.", param=where) from None
