"""The body of a Messages request: its fields, as Anthropic's own reference has them.

Unknown fields are refused, as Anthropic does. Nothing here depends on the model that is asked;
what a request's parts demand of each other is checked in `anthropic_checks`.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from omni_grpc.simulator.dialect import Rejected

__all__ = (
    "CacheControl",
    "DocumentBlock",
    "ImageBlock",
    "InputBlock",
    "MessagesBody",
    "RedactedThinkingBlock",
    "TextBlock",
    "ThinkingBlock",
    "Tool",
    "ToolResultBlock",
    "ToolUseBlock",
    "Turn",
    "decode_body",
)

TOOLS_MAX: Final = 10_000
BUDGET_TOKENS_MIN: Final = 1_024
"""Anthropic's own limits."""

_TOOL_NAME = r"^[a-zA-Z0-9_-]{1,128}$"
_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_FIELD = re.compile(r"(?P<what>missing required|contains unknown) field `(?P<name>\w+)`")

Effort = Literal["low", "medium", "high", "xhigh", "max"]
Display = Literal["summarized", "omitted"]


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    """Every object of the request."""


class CacheControl(_Fields):
    """A mark of a prefix to keep."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class TextBlock(_Fields, tag="text"):
    """Plain text."""

    text: str
    cache_control: CacheControl | None = None
    citations: list[Raw] | None = None


class _Base64Image(_Fields, tag="base64"):
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class _UrlSource(_Fields, tag="url"):
    url: str


class _FileSource(_Fields, tag="file"):
    file_id: str


class ImageBlock(_Fields, tag="image"):
    """An image."""

    source: _Base64Image | _UrlSource | _FileSource
    cache_control: CacheControl | None = None


class _Base64Pdf(_Fields, tag="base64"):
    media_type: Literal["application/pdf"]
    data: str


class _PlainText(_Fields, tag="text"):
    media_type: Literal["text/plain"]
    data: str


class _Citations(_Fields):
    enabled: bool = False


class DocumentBlock(_Fields, tag="document"):
    """A document."""

    source: _Base64Pdf | _PlainText | _UrlSource | _FileSource
    title: str | None = None
    context: str | None = None
    citations: _Citations | None = None
    cache_control: CacheControl | None = None


class ThinkingBlock(_Fields, tag="thinking"):
    """Thinking that comes back."""

    thinking: str
    signature: str


class RedactedThinkingBlock(_Fields, tag="redacted_thinking"):
    """Thinking that only its maker can read, on its way back."""

    data: str


class ToolUseBlock(_Fields, tag="tool_use"):
    """A call that the model made."""

    id: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]+$")]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    input: Raw
    caller: Raw = Raw()
    cache_control: CacheControl | None = None


class ToolResultBlock(_Fields, tag="tool_result"):
    """What a call brought."""

    tool_use_id: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]+$")]
    content: str | list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None

    @property
    def parts(self) -> list[TextBlock | ImageBlock | DocumentBlock]:
        """The content as blocks."""
        if isinstance(self.content, str):
            return [TextBlock(self.content)]
        return self.content or []

    @property
    def text(self) -> str:
        """The content's text."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextBlock))


InputBlock = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
)


class Turn(_Fields):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: str | list[InputBlock]

    @property
    def blocks(self) -> list[InputBlock]:
        """The content as blocks."""
        return [TextBlock(self.content)] if isinstance(self.content, str) else self.content


class Tool(_Fields):
    """A tool of the caller's."""

    name: Annotated[str, Meta(pattern=_TOOL_NAME)]
    input_schema: Raw
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    input_examples: list[Raw] | None = None
    eager_input_streaming: bool | None = None
    cache_control: CacheControl | None = None


class _ToolChoice(_Fields):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class _Enabled(_Fields, tag="enabled"):
    budget_tokens: Annotated[int, Meta(ge=BUDGET_TOKENS_MIN)]
    display: Display | None = None


class _Adaptive(_Fields, tag="adaptive"):
    display: Display | None = None


class _Disabled(_Fields, tag="disabled"):
    pass


class _BetweenTools(_Fields, tag="between_tools"):
    pass


class _Format(_Fields):
    type: Literal["json_schema"]
    schema: Raw


class _OutputConfig(_Fields):
    effort: Effort | None = None
    format: _Format | None = None


class _Metadata(_Fields):
    user_id: str | None = None


class MessagesBody(_Fields):
    """A request. `anthropic_version` stands in it on Vertex, where `model` does not."""

    max_tokens: Annotated[int, Meta(ge=0)]
    messages: list[Turn]
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    anthropic_version: str | None = None
    system: str | list[TextBlock] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    stop_sequences: list[str] | None = None
    tools: Annotated[list[Tool], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _Enabled | _Adaptive | _Disabled | _BetweenTools | None = None
    output_config: _OutputConfig | None = None
    metadata: _Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None

    @property
    def thinks(self) -> bool:
        """Whether the answer may begin with thinking."""
        return isinstance(self.thinking, _Enabled | _Adaptive)

    @property
    def budget(self) -> int | None:
        """The tokens that it may think for, where the caller set them."""
        return self.thinking.budget_tokens if isinstance(self.thinking, _Enabled) else None

    @property
    def display(self) -> Display | None:
        """How thinking shall be shown."""
        thinking = self.thinking
        return thinking.display if isinstance(thinking, _Enabled | _Adaptive) else None

    @property
    def schema(self) -> Raw | None:
        """What the answer must be an instance of."""
        form = self.output_config and self.output_config.format
        return form.schema if form else None

    @property
    def system_blocks(self) -> list[TextBlock]:
        """The system prompt as blocks."""
        if isinstance(self.system, str):
            return [TextBlock(self.system)]
        return self.system or []

    def blocks(self) -> Iterator[InputBlock]:
        """All blocks of all turns."""
        for turn in self.messages:
            yield from turn.blocks


_DECODER = msgspec.json.Decoder(MessagesBody)


def decode_body(body: bytes) -> MessagesBody:
    """The request, its fields checked.

    Raises:
        Rejected: 400 and what is wrong with it, in Anthropic's manner of naming the place.
    """
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _rejected(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(400, f"The request body is not valid JSON: {error}") from None


def _rejected(said: str) -> Rejected:
    found = _PATH.search(said)
    path = found["path"] if found else ""
    places = re.findall(r"\w+", path.removeprefix("$"))
    problem = _PATH.sub("", said)
    if field := _FIELD.search(said):
        places.append(field["name"])
        is_missing = field["what"] == "missing required"
        problem = "Field required" if is_missing else "Extra inputs are not permitted"
    return Rejected(400, ": ".join(filter(None, (".".join(places), problem))))
