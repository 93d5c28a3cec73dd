"""The body of a chat-completions request: its fields, and what OpenAI would refuse about them.

Unknown fields are let pass, since callers send fields of many vendors; known ones are checked,
OpenRouter's too (`reasoning`, `reasoning_details`, `cache_control`, `top_k`). Nothing here depends
on the model that is asked.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from omni_grpc.simulator.dialect import Rejected

__all__ = (
    "DETAILS_FORMAT",
    "AudioPart",
    "ChatBody",
    "FilePart",
    "ImagePart",
    "Message",
    "NamedTool",
    "Part",
    "RefusalPart",
    "TextPart",
    "read_body",
    "signature_of",
)

DETAILS_FORMAT: Final = "simulator-v1"
"""The format of the blocks of reasoning that this simulator signs."""

TOOLS_MAX: Final = 128
STOPS_MAX: Final = 4
CHOICES_MAX: Final = 128
"""OpenAI's own limits."""

_TOOL_NAME = r"^[a-zA-Z0-9_-]{1,64}$"
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


class CacheControl(msgspec.Struct):
    """Marks the end of what shall be kept."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class TextPart(msgspec.Struct, tag="text"):
    """Plain text."""

    text: str
    cache_control: CacheControl | None = None


class RefusalPart(msgspec.Struct, tag="refusal"):
    """What an assistant said when it refused."""

    refusal: str


class _ImageUrl(msgspec.Struct):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(msgspec.Struct, tag="image_url"):
    """An image, by URL or data URL."""

    image_url: _ImageUrl
    cache_control: CacheControl | None = None


class _AudioData(msgspec.Struct):
    data: str
    format: str


class AudioPart(msgspec.Struct, tag="input_audio"):
    """Audio, base64."""

    input_audio: _AudioData


class _FileData(msgspec.Struct):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag="file"):
    """A file, by id or inline."""

    file: _FileData
    cache_control: CacheControl | None = None


Part = TextPart | RefusalPart | ImagePart | AudioPart | FilePart


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    function: _CalledFunction
    type: Literal["function"] = "function"


class ReasoningDetail(msgspec.Struct):
    """A block of reasoning that comes back."""

    type: Literal["reasoning.text", "reasoning.summary", "reasoning.encrypted"]
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    format: str | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def parts(self) -> list[Part]:
        """The content's parts; none if it is a string."""
        return self.content if isinstance(self.content, list) else []

    @property
    def text(self) -> str:
        """The content's text."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    def counted_texts(self) -> Iterator[str]:
        """Everything of it that counts as text, in the order of `tokens.count_message`."""
        if isinstance(self.content, str):
            yield self.content
        for part in self.parts:
            if isinstance(part, TextPart):
                yield part.text
            elif isinstance(part, RefusalPart):
                yield part.refusal
        yield self.refusal or ""
        yield self.reasoning_content or ""
        if not self.reasoning_content:
            for detail in self.reasoning_details or ():
                yield detail.text or detail.summary or ""
        for call in self.tool_calls or ():
            yield call.function.name
            yield call.function.arguments


class _Function(msgspec.Struct):
    name: Annotated[str, Meta(pattern=_TOOL_NAME)]
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class _Tool(msgspec.Struct):
    function: _Function
    type: Literal["function"]
    cache_control: CacheControl | None = None


class _Named(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct):
    """The choice of one tool."""

    function: _Named
    type: Literal["function"]


class _Schema(msgspec.Struct):
    name: Annotated[str, Meta(pattern=_TOOL_NAME)]
    schema: Raw = Raw()


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Reasoning(msgspec.Struct):
    """How the model reasons, in OpenRouter's words."""

    effort: str | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    enabled: bool | None = None


class ChatBody(msgspec.Struct):
    """The fields of a request that make a difference here."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_MAX)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=STOPS_MAX)] | None = None
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    tools: Annotated[list[_Tool], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, str] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether the stream shall end with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def effort(self) -> str | None:
        """How much to reason, by whichever name it came."""
        return (self.reasoning and self.reasoning.effort) or self.reasoning_effort

    @property
    def wants_details(self) -> bool:
        """Whether reasoning is told in blocks too: to those who speak of it as OpenRouter does."""
        return self.reasoning is not None

    @property
    def tokens_max(self) -> int | None:
        """The output limit, by whichever name it came."""
        limits = (self.max_completion_tokens, self.max_tokens)
        return min((limit for limit in limits if limit is not None), default=None)


_DECODER = msgspec.json.Decoder(ChatBody)


def read_body(body: bytes) -> ChatBody:
    """The request, checked.

    Raises:
        Rejected: 400 and what is wrong with it.
    """
    try:
        chat = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        found = _PATH.search(str(error))
        path = found["path"] if found else ""
        missing = re.search(r"missing required field `(\w+)`", str(error))
        param = ".".join(filter(None, (path, missing and missing[1]))) or None
        raise Rejected(400, f"Invalid request: {error}", param=param) from None
    except msgspec.DecodeError as error:
        message = f"We could not parse the JSON body of your request: {error}"
        raise Rejected(400, message) from None
    if chat.stream_options is not None and not chat.stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise Rejected(400, message, param="stream_options")
    if chat.top_logprobs is not None and not chat.logprobs:
        message = "'top_logprobs' is only allowed when 'logprobs' is enabled."
        raise Rejected(400, message, param="top_logprobs")
    _check_format(chat)
    _check_tools(chat)
    _check_tool_messages(chat.messages)
    _check_reasoning(chat)
    return chat


def signature_of(text: str) -> str:
    """The proof that a block of reasoning with this text is the simulator's own."""
    return hashlib.blake2b(text.encode(), digest_size=24, person=b"reasoning").hexdigest()


def _check_reasoning(chat: ChatBody) -> None:
    reasoning = chat.reasoning
    if reasoning is not None and reasoning.effort and reasoning.max_tokens:
        message = "Only one of 'reasoning.effort' and 'reasoning.max_tokens' may be specified."
        raise Rejected(400, message, param="reasoning")
    for index, turn in enumerate(chat.messages):
        for place, detail in enumerate(turn.reasoning_details or ()):
            where = f"messages[{index}].reasoning_details[{place}]"
            if turn.role != "assistant":
                raise Rejected(400, f"Unknown parameter: '{where}'.", param=where)
            if detail.format != DETAILS_FORMAT or detail.type != "reasoning.text":
                continue
            if detail.signature != signature_of(detail.text or ""):
                text = f"Invalid 'signature' in a reasoning block ({where})."
                raise Rejected(400, text, param=f"{where}.signature")


def _check_format(chat: ChatBody) -> None:
    form = chat.response_format
    if form and form.type == "json_schema" and form.json_schema is None:
        message = "Missing required parameter: 'response_format.json_schema'."
        raise Rejected(400, message, param="response_format.json_schema")


def _check_tools(chat: ChatBody) -> None:
    names = {tool.function.name for tool in chat.tools or ()}
    if chat.tool_choice not in (None, "none") and not names:
        message = "'tool_choice' is only allowed when 'tools' are specified."
        raise Rejected(400, message, param="tool_choice")
    if isinstance(chat.tool_choice, NamedTool) and chat.tool_choice.function.name not in names:
        message = f"Tool choice {chat.tool_choice.function.name!r} not found in 'tools'."
        raise Rejected(400, message, param="tool_choice")


def _check_tool_messages(messages: list[Message]) -> None:
    """A tool's message answers a call of the assistant's message before it."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                text = (
                    "messages with role 'tool' must be a response to a preceding message "
                    f"with 'tool_calls' ({where})."
                )
                raise Rejected(400, text, param=f"{where}.tool_call_id")
        else:
            open_calls = {call.id for call in message.tool_calls or ()}
            if message.content is None and message.role != "assistant":
                text = f"Missing required parameter: '{where}.content'."
                raise Rejected(400, text, param=f"{where}.content")
