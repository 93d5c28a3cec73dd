"""Reading a chat-completions request as OpenAI does: what it takes, and how it refuses.

Unknown fields are let pass, since callers send fields of many vendors; known ones are checked.
The prompt is counted here, over the request as it was read.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, cast

import msgspec
from msgspec import Meta, Raw

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, AskedTool
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("ChatBody", "Rejected", "read_body", "understand")

TOOLS_MAX: Final = 128
STOPS_MAX: Final = 4
CHOICES_MAX: Final = 128
"""OpenAI's own limits."""

_TOOL_NAME = r"^[a-zA-Z0-9_-]{1,64}$"
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


class Rejected(Exception):
    """A request that is refused: an HTTP status and OpenAI's error object."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


class _Text(msgspec.Struct, tag="text"):
    text: str


class _Refusal(msgspec.Struct, tag="refusal"):
    refusal: str


class _ImageUrl(msgspec.Struct):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class _Image(msgspec.Struct, tag="image_url"):
    image_url: _ImageUrl


class _AudioData(msgspec.Struct):
    data: str
    format: str


class _Audio(msgspec.Struct, tag="input_audio"):
    input_audio: _AudioData


class _FileData(msgspec.Struct):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class _File(msgspec.Struct, tag="file"):
    file: _FileData


_Part = _Text | _Refusal | _Image | _Audio | _File
_INPUT_OF: Final = {_Image: "image", _Audio: "audio", _File: "file"}


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    function: _CalledFunction
    type: Literal["function"] = "function"


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def parts(self) -> list[_Part]:
        return self.content if isinstance(self.content, list) else []

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.parts if isinstance(part, _Text))

    def counted_texts(self) -> Iterator[str]:
        if isinstance(self.content, str):
            yield self.content
        for part in self.parts:
            if isinstance(part, _Text):
                yield part.text
            elif isinstance(part, _Refusal):
                yield part.refusal
        yield self.refusal or ""
        yield self.reasoning_content or ""
        for call in self.tool_calls or ():
            yield call.function.name
            yield call.function.arguments


class _Function(msgspec.Struct):
    name: Annotated[str, Meta(pattern=_TOOL_NAME)]
    description: str | None = None
    parameters: Raw = Raw()


class _Tool(msgspec.Struct):
    function: _Function
    type: Literal["function"]


class _Named(msgspec.Struct):
    name: str


class _NamedTool(msgspec.Struct):
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


class ChatBody(msgspec.Struct):
    """The fields of a request that make a difference here."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[_Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_MAX)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=STOPS_MAX)] | None = None
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[_Tool], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether the stream shall end with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

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
    return chat


def understand(chat: ChatBody, bare_model: str, facts: SimulatedModel | None) -> Asked:
    """What the request wants; `facts` are its model's, None for a model that has none.

    Raises:
        Rejected: 400, the model cannot do it or the prompt does not fit.
    """
    prompt_tokens = _count_prompt(chat)
    if facts is not None:
        _check_ability(chat, facts)
        if prompt_tokens > facts.context_tokens:
            message = (
                f"This model's maximum context length is {facts.context_tokens} tokens. "
                f"However, your messages resulted in {prompt_tokens} tokens."
            )
            code = "context_length_exceeded"
            raise Rejected(400, message, param="messages", code=code)
    last_user = max((i for i, m in enumerate(chat.messages) if m.role == "user"), default=-1)
    after = chat.messages[last_user + 1 :]
    limits = (chat.tokens_max, facts.output_tokens_max if facts else None)
    schema = chat.response_format.json_schema if chat.response_format else None
    return Asked(
        model=bare_model,
        seed_facts=_seed_facts(chat, bare_model),
        prompt_tokens=prompt_tokens,
        user_text=chat.messages[last_user].text if last_user >= 0 else "",
        tool_texts=tuple(message.text for message in after if message.role == "tool"),
        tools=_callable_tools(chat),
        tool_must=chat.tool_choice not in (None, "none", "auto"),
        tool_parallel=chat.parallel_tool_calls is not False,
        form=_form(chat),
        schema=_json(schema.schema) if schema else None,
        choices=chat.n or 1,
        tokens_max=min((limit for limit in limits if limit is not None), default=None),
        stop=(chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ()),
        effort=chat.reasoning_effort,
    )


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
    if isinstance(chat.tool_choice, _NamedTool) and chat.tool_choice.function.name not in names:
        message = f"Tool choice {chat.tool_choice.function.name!r} not found in 'tools'."
        raise Rejected(400, message, param="tool_choice")


def _check_tool_messages(messages: list[_Message]) -> None:
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


def _check_ability(chat: ChatBody, facts: SimulatedModel) -> None:
    for index, message in enumerate(chat.messages):
        for part in message.parts:
            needed = _INPUT_OF.get(type(part))
            if needed is not None and needed not in facts.inputs:
                text = f"The model '{facts.id}' does not take {needed} input."
                raise Rejected(400, text, param=f"messages[{index}].content")
    if chat.tools and not facts.tools:
        raise Rejected(400, f"The model '{facts.id}' does not support tools.", param="tools")
    if _form(chat) != "text" and not facts.structured:
        text = f"The model '{facts.id}' does not support this response format."
        raise Rejected(400, text, param="response_format")


def _count_prompt(chat: ChatBody) -> int:
    count = tokens.REPLY_PRIMING
    for message in chat.messages:
        texts = message.counted_texts()
        count += tokens.count_message(message.role, texts, message.name)
        for part in message.parts:
            if isinstance(part, _Image):
                count += tokens.image_tokens(part.image_url.detail)
            elif isinstance(part, _Audio):
                count += tokens.AUDIO_TOKENS
            elif isinstance(part, _File):
                count += tokens.FILE_TOKENS
    for tool in chat.tools or ():
        function = tool.function
        parameters = _written(function.parameters)
        count += tokens.count_tool(function.name, function.description, parameters)
    if chat.tools:
        count += tokens.TOOLS_OVERHEAD
    schema = chat.response_format.json_schema if chat.response_format else None
    if schema is not None:
        count += tokens.count_text(_written(schema.schema) or "")
    return count


def _seed_facts(chat: ChatBody, bare_model: str) -> bytes:
    """Model, messages and seed; the same text as a string or as one part is the same message."""
    messages = [
        (
            message.role,
            message.name,
            list(message.counted_texts()),
            [part for part in message.parts if not isinstance(part, _Text)],
        )
        for message in chat.messages
    ]
    return msgspec.json.encode((bare_model, chat.seed, messages))


def _callable_tools(chat: ChatBody) -> tuple[AskedTool, ...]:
    choice = chat.tool_choice
    if choice == "none":
        return ()
    only = choice.function.name if isinstance(choice, _NamedTool) else None
    return tuple(
        AskedTool(tool.function.name, _json(tool.function.parameters) or {"type": "object"})
        for tool in chat.tools or ()
        if only is None or tool.function.name == only
    )


def _form(chat: ChatBody) -> Literal["text", "json", "schema"]:
    kind = chat.response_format.type if chat.response_format else "text"
    if kind == "json_schema":
        return "schema"
    return "json" if kind == "json_object" else "text"


def _written(raw: Raw) -> str | None:
    """JSON text exactly as it stood in the request; None if it was absent or null."""
    text = bytes(raw).decode()
    return None if text in ("", "null") else text


def _json(raw: Raw) -> Json:
    text = _written(raw)
    return None if text is None else cast("Json", msgspec.json.decode(text))
