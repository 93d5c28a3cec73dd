"""What is asked of a model: messages and their parts, tools, formats, and every other option.

These are plain frozen values without any wire format. Wherever a message, a tool or a format is
taken, a dict in OpenAI's shape is taken too.
"""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
ToolMode: TypeAlias = Literal["auto", "none", "required"]
CacheTtl: TypeAlias = Literal["5m", "1h"]
"""How long a provider shall keep the prompt up to a mark."""
OpenAIShape: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Text:
    """Text that marks the end of a prefix which the provider shall keep."""

    text: str
    cache: CacheTtl | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image: an `https:` or `data:` URL, or the provider's `file_id` of one.

    `detail` is `low`, `high` or `auto`.
    """

    uri: str = ""
    detail: str = ""
    cache: CacheTtl | None = None
    file_id: str = ""

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str, detail: str = "") -> "Image":
        """An image inlined as a data URL; `media_type` such as `image/png`."""
        return cls(_data_uri(data, media_type), detail)

    @classmethod
    def from_file(cls, path: str | Path, detail: str = "") -> "Image":
        """An image inlined from a file, whose name tells its type."""
        return cls(_file_uri(Path(path)), detail)


@dataclass(frozen=True, slots=True)
class Audio:
    """Recorded sound; `format` in the provider's words: `wav`, `mp3`."""

    data: bytes
    format: str

    @classmethod
    def from_file(cls, path: str | Path) -> "Audio":
        """Sound from a file, whose suffix is its format."""
        return cls(Path(path).read_bytes(), Path(path).suffix.removeprefix(".").lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A document: the provider's `file_id`, the document itself as a `data:` URL, or where it is.

    The provider fetches what is at `uri`; not all do.
    """

    file_id: str = ""
    data_uri: str = ""
    filename: str = ""
    cache: CacheTtl | None = None
    uri: str = ""

    @classmethod
    def from_file(cls, path: str | Path) -> "File":
        """A document inlined from a file, whose name tells its type."""
        return cls(data_uri=_file_uri(Path(path)), filename=Path(path).name)


Part: TypeAlias = str | Text | Image | Audio | File
"""A piece of a message; a plain `str` is text."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model makes; `arguments_json` is exactly what the model wrote."""

    id: str
    name: str
    arguments_json: str

    def arguments(self) -> dict[str, object]:
        """The arguments as an object.

        Raises:
            ValueError: the model wrote something that is not a JSON object.
        """
        found = loads(self.arguments_json or "{}")
        if not isinstance(found, dict):
            raise ValueError(f"the arguments of {self.name} are no JSON object")  # noqa: TRY004 - a value of the model's, not a type of the caller's
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningBlock:
    """A piece of a model's reasoning that goes back to it unchanged in the next turn.

    Attributes:
        kind: the reasoning itself, a summary of it, or what only its provider can read.
        format: who made it; it is sent to no provider of another format.
        text: the reasoning or its summary.
        signature: the provider's proof that the block is its own.
        data: what only the provider can read.
        id: the provider's name of the block, or of the tool call that it belongs to.
        text_before: how many characters of the turn's text came before it.
        calls_before: how many of the turn's tool calls came before it.
    """

    kind: Literal["text", "summary", "encrypted"]
    format: str
    text: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    text_before: int = 0
    calls_before: int = 0


@dataclass(frozen=True, slots=True)
class SafetySetting:
    """From which degree on a kind of content is blocked, in Google's words for both."""

    category: str
    threshold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation. `user`, `system`, `assistant`, `tool_result` make the usual ones.

    Attributes:
        role: who speaks.
        content: text, or parts in order; None in an assistant's turn that only calls tools.
        tool_calls: what the assistant called in this turn.
        tool_call_id: the call that a tool's turn answers.
        name: the speaker's name, where the provider takes one.
        refusal: what the assistant said when it refused.
        reasoning: the reasoning text that came with the assistant's turn.
        reasoning_blocks: the same as its provider must have it back.
        tool_failed: whether a tool's turn tells an error in place of a result.
    """

    role: Role
    content: str | Sequence[Part] | None = None
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str = ""
    name: str = ""
    refusal: str = ""
    reasoning: str = ""
    reasoning_blocks: Sequence[ReasoningBlock] = ()
    tool_failed: bool = False


def user(*content: Part, name: str = "") -> Message:
    """What the person or program asks: `user("What is this?", Image(url))`."""
    return Message(role="user", content=content, name=name)


def system(text: str) -> Message:
    """Instructions to the model."""
    return Message(role="system", content=text)


def assistant(text: str) -> Message:
    """What the model said. For an answer of this client use its `message`, which has it all."""
    return Message(role="assistant", content=text)


def tool_result(call: ToolCall | str, content: str, *, failed: bool = False) -> Message:
    """What a tool returned, or the error that it `failed` with; `call` is the call or its id."""
    call_id = call.id if isinstance(call, ToolCall) else call
    return Message(role="tool", content=content, tool_call_id=call_id, tool_failed=failed)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: `[a-zA-Z0-9_-]{1,64}`.
        description: what it does, for the model to read.
        parameters: JSON Schema of its arguments; a `str` is JSON text and is sent as written.
        strict: whether the arguments must follow the schema exactly.
        cache: marks the end of the tools that the provider shall keep, and how long.
    """

    name: str
    description: str = ""
    parameters: OpenAIShape | str | None = None
    strict: bool | None = None
    cache: CacheTtl | None = None


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """Asks for an answer that is JSON and follows a schema.

    Attributes:
        name: `[a-zA-Z0-9_-]{1,64}`.
        schema: the JSON Schema; a `str` is JSON text and is sent as written.
        description: what the answer is for, for the model to read.
        strict: whether the answer must follow the schema exactly.
    """

    name: str
    schema: OpenAIShape | str
    description: str = ""
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How a chat is routed; what is left out is left to the operator's policies.

    Attributes:
        priority: what matters most: the price, the answer, or both; `omni/cheap` and `omni/best`
            say the same.
        latency: how much speed matters.
        max_cost_nanousd: no attempt may cost more. The output limit is lowered where that keeps a
            model in reach.
        allowed_providers: only these may be chosen; all if empty.
        denied_providers: never these.
        allowed_models: only these models or offers may be chosen; all if empty.
        denied_models: never these.
        fallbacks: what is tried after the first, in this order, in place of the router's own
            choice; at most 2.
        data_region: only offers that keep data there, such as `eu`.
        task: what it is about, where you know better: `chat`, `coding`, `reasoning`,
            `summarization`, `translation`, `image`, `agent_step`.
    """

    priority: Literal["cheap", "balanced", "best"] | None = None
    latency: Literal["normal", "fast"] | None = None
    max_cost_nanousd: int | None = None
    allowed_providers: Sequence[str] = ()
    denied_providers: Sequence[str] = ()
    allowed_models: Sequence[str] = ()
    denied_models: Sequence[str] = ()
    fallbacks: Sequence[str] = ()
    data_region: str = ""
    task: str = ""


Messages: TypeAlias = str | Message | Sequence[Message | OpenAIShape]
"""A conversation, oldest first. A `str` is one user message."""


class ChatOptions(TypedDict, total=False):
    """Everything that a chat can be asked for beside model and messages. None is as unset."""

    tools: Sequence[Tool | OpenAIShape] | None
    """Functions that the model may call; at most 512."""
    tool_choice: ToolMode | Tool | OpenAIShape | None
    """How the tools may be used: a mode, or the one tool that must be called."""
    parallel_tool_calls: bool | None
    """Whether several tools may be called in one turn."""
    response_format: Literal["text", "json_object"] | JsonSchema | OpenAIShape | None
    """The form of the answer; plain text if unset."""
    max_output_tokens: int | None
    """Most tokens to generate, reasoning included. The worst case of this many is held."""
    short_credits: Literal["refuse", "shorten"] | None
    """What to do when the credits do not cover the worst case: refuse (default), or run with the
    output limit that they cover."""
    reasoning_effort: str | None
    """How much a reasoning model thinks: `minimal`, `low`, `medium`, `high`."""
    reasoning_budget: int | None
    """Most tokens that the model may think, part of the output."""
    reasoning_summary: Literal["auto", "concise", "detailed"] | None
    """Asks for a summary of the model's reasoning."""
    safety_settings: Sequence[SafetySetting] | None
    """From which degree on kinds of content are blocked; at most 32."""
    routing: Routing | None
    """How it is routed; as the operator's policies say if unset."""
    tags: Mapping[str, str] | None
    """For attribution in usage records; at most 16. No provider is sent them."""
    end_user: str | None
    """Your own name of your end user, for usage records and experiments; no provider is sent it."""
    optional: Sequence[str] | None
    """Settings that are left out, and told in `ignored`, where a provider cannot do them; without
    this they are refused. The contract's `optional_fields` lists them."""
    temperature: float | None
    """In [0, 2]."""
    top_p: float | None
    """In (0, 1]."""
    top_k: int | None
    """Of how many likeliest tokens one is drawn; at least 1."""
    frequency_penalty: float | None
    """In [-2, 2]."""
    presence_penalty: float | None
    """In [-2, 2]."""
    seed: int | None
    """Best-effort determinism."""
    stop: str | Sequence[str] | None
    """Strings that end the answer; at most 16."""
    n: int | None
    """How many answers to generate, 1 to 8; each is charged."""
    logprobs: bool | None
    """Whether each token comes with its log probability."""
    top_logprobs: int | None
    """How many likely tokens come with each token, 0 to 20; needs `logprobs`."""
    logit_bias: Mapping[str, float] | None
    """Bias by token id, each in [-100, 100]."""


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def _file_uri(path: Path) -> str:
    media_type, _ = mimetypes.guess_type(path.name)
    return _data_uri(path.read_bytes(), media_type or "application/octet-stream")
