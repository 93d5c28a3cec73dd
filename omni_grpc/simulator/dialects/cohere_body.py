"""The body of a request to Cohere's chat: its fields, and what Cohere would refuse about them.

Unknown fields are let pass; known ones are checked. Nothing here depends on the model.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from omni_grpc.simulator.dialect import Rejected

__all__ = (
    "AssistantMessage",
    "CohereBody",
    "ImagePart",
    "Message",
    "SystemMessage",
    "TextPart",
    "ToolMessage",
    "UserMessage",
    "read_body",
)

STOPS_MAX: Final = 5
TOP_K_MAX: Final = 500
"""Cohere's own limits."""

_Penalty = Annotated[float, Meta(ge=0, le=1)]


# --- parts ------------------------------------------------------------------------------------
class TextPart(msgspec.Struct, tag="text"):
    """Text."""

    text: str


class ThinkingPart(msgspec.Struct, tag="thinking"):
    """What the model thought."""

    thinking: str


class _ImageUrl(msgspec.Struct):
    url: Annotated[str, Meta(min_length=1)]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(msgspec.Struct, tag="image_url"):
    """An image, by URL or data URL."""

    image_url: _ImageUrl


class _Document(msgspec.Struct):
    data: Raw
    id: str | None = None


class DocumentPart(msgspec.Struct, tag="document"):
    """What a tool found."""

    document: _Document


# --- messages ---------------------------------------------------------------------------------
class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    """Instructions."""

    content: str | list[TextPart]

    @property
    def texts(self) -> Iterator[str]:
        """Everything of it that counts as text."""
        return _texts(self.content)


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    """What a user said."""

    content: str | list[TextPart | ImagePart]

    @property
    def texts(self) -> Iterator[str]:
        """Everything of it that counts as text."""
        return _texts(self.content)

    @property
    def images(self) -> list[ImagePart]:
        """Its images."""
        parts = self.content if isinstance(self.content, list) else []
        return [part for part in parts if isinstance(part, ImagePart)]


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    function: _CalledFunction
    type: Literal["function"] = "function"


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """What the model said, thought, planned and called."""

    content: str | list[TextPart | ThinkingPart] | None = None
    tool_plan: str | None = None
    tool_calls: list[_ToolCall] | None = None

    @property
    def thoughts(self) -> list[str]:
        """Its thinking and its plan."""
        parts = self.content if isinstance(self.content, list) else []
        thoughts = [part.thinking for part in parts if isinstance(part, ThinkingPart)]
        return [*thoughts, self.tool_plan] if self.tool_plan else thoughts

    @property
    def texts(self) -> Iterator[str]:
        """Everything of it that counts as text."""
        yield from _texts(self.content or "")
        yield from self.thoughts
        for call in self.tool_calls or ():
            yield call.function.name
            yield call.function.arguments


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """What came of a call."""

    tool_call_id: str
    content: str | list[TextPart | DocumentPart]

    @property
    def texts(self) -> Iterator[str]:
        """Everything of it that counts as text."""
        return _texts(self.content)


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


def _texts(
    content: str
    | list[TextPart]
    | list[TextPart | ImagePart]
    | list[TextPart | ThinkingPart]
    | list[TextPart | DocumentPart],
) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    for part in content:
        if isinstance(part, TextPart):
            yield part.text
        elif isinstance(part, DocumentPart):
            yield bytes(part.document.data).decode()


# --- the rest ---------------------------------------------------------------------------------
class _Function(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1)]
    parameters: Raw
    description: str | None = None


class _Tool(msgspec.Struct):
    type: Literal["function"]
    function: _Function


class _TextFormat(msgspec.Struct, tag="text"):
    pass


class _JsonFormat(msgspec.Struct, tag="json_object"):
    json_schema: Raw = Raw()


class _Thinking(msgspec.Struct):
    type: Literal["enabled", "disabled"]
    token_budget: Annotated[int, Meta(ge=1)] | None = None


class CohereBody(msgspec.Struct):
    """The fields of a request that make a difference here."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool = False
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=STOPS_MAX)] | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    seed: Annotated[int, Meta(ge=0)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    k: Annotated[int, Meta(ge=0, le=TOP_K_MAX)] | None = None
    p: Annotated[float, Meta(ge=0.01, le=0.99)] | None = None
    logprobs: bool | None = None
    tools: list[_Tool] | None = None
    strict_tools: bool | None = None
    tool_choice: Literal["REQUIRED", "NONE"] | None = None
    response_format: _TextFormat | _JsonFormat | None = None
    safety_mode: Literal["CONTEXTUAL", "STRICT", "OFF"] | None = None
    thinking: _Thinking | None = None
    documents: list[Raw] | None = None

    @property
    def effort(self) -> str | None:
        """`none` where thinking is switched off; more cannot be said."""
        is_off = self.thinking is not None and self.thinking.type == "disabled"
        return "none" if is_off else None

    @property
    def json_format(self) -> _JsonFormat | None:
        """The form of an answer in JSON."""
        return self.response_format if isinstance(self.response_format, _JsonFormat) else None


_decode = msgspec.json.Decoder(CohereBody).decode


def read_body(body: bytes) -> CohereBody:
    """The request, checked.

    Raises:
        Rejected: 400 or 422 and what is wrong with it.
    """
    try:
        chat = _decode(body)
    except msgspec.ValidationError as error:
        raise Rejected(400, f"invalid request: {error}") from None
    except msgspec.DecodeError as error:
        raise Rejected(400, f"invalid json syntax: {error}") from None
    if chat.tool_choice is not None and not chat.tools:
        raise Rejected(400, "invalid request: tool_choice requires tools to be specified.")
    if chat.json_format is not None and (chat.tools or chat.documents):
        what = "tools" if chat.tools else "documents"
        raise Rejected(400, f"invalid request: response_format is not supported with {what}.")
    if chat.safety_mode is not None and (chat.tools or chat.documents):
        raise Rejected(400, "invalid request: safety_mode is not supported with tools.")
    _check_messages(chat.messages)
    return chat


def _check_messages(messages: list[Message]) -> None:
    """A tool's message answers a call before it; a turn says something."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_calls:
                text = f"tool call id not found in previous tool calls: {message.tool_call_id}"
                raise Rejected(400, f"invalid request: {text} (messages[{index}]).")
            continue
        open_calls = set()
        if isinstance(message, AssistantMessage):
            open_calls = {call.id for call in message.tool_calls or ()}
        elif not message.content:
            text = f"message must be at least 1 token long (messages[{index}])."
            raise Rejected(400, f"invalid request: {text}")
    if isinstance(messages[-1], AssistantMessage | SystemMessage):
        raise Rejected(400, "invalid request: the last message must be of a user or a tool.")
