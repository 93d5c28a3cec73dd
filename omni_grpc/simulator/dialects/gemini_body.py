"""The body of a generateContent request: its fields, and what Google would refuse about them.

Unknown fields are refused, as Google does. Field names are read in both spellings of protobuf's
JSON, camelCase and snake_case, except inside of what callers write themselves.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, cast

import msgspec
from msgspec import Meta, Raw

from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.instances import Json

__all__ = ("Content", "FunctionCall", "FunctionDeclaration", "GeminiBody", "Part", "read_body")

CANDIDATES_MAX: Final = 8
STOPS_MAX: Final = 5
LOGPROBS_MAX: Final = 20
"""Google's own limits."""

_FUNCTION_NAME = r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$"
_OWN: Final = frozenset(
    {
        "args", "response", "parameters", "parametersJsonSchema", "responseSchema", "labels",
        "responseJsonSchema", "partMetadata",
    }
)  # fmt: skip
"""Fields whose content is the caller's, keys and all."""

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")

_Category = Literal[
    "HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH", "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT", "HARM_CATEGORY_CIVIC_INTEGRITY", "HARM_CATEGORY_JAILBREAK",
]  # fmt: skip
_Threshold = Literal[
    "HARM_BLOCK_THRESHOLD_UNSPECIFIED", "BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF",
]  # fmt: skip
_Level = Literal[
    "THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"
]  # fmt: skip


class _Message(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Any object of the request."""


class Blob(_Message):
    """Bytes in base64."""

    mime_type: str
    data: str
    display_name: str | None = None


class FileData(_Message):
    """A file by its address."""

    file_uri: Annotated[str, Meta(min_length=1)]
    mime_type: str | None = None
    display_name: str | None = None


class FunctionCall(_Message):
    """A call that the model made."""

    name: str
    args: Raw = Raw(b"{}")
    id: str | None = None


class _FunctionResponsePart(_Message):
    inline_data: Blob | None = None
    file_data: FileData | None = None


class FunctionResponse(_Message):
    """What a function brought."""

    name: str
    response: Raw
    id: str | None = None
    parts: list[_FunctionResponsePart] | None = None
    will_continue: bool | None = None
    scheduling: str | None = None


class Part(_Message):
    """A piece of a turn; exactly one of its first five fields is there."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    video_metadata: Raw = Raw()
    media_resolution: Raw = Raw()
    part_metadata: Raw = Raw()

    @property
    def is_prompt(self) -> bool:
        """Whether a user wrote it, rather than a function."""
        return self.function_response is None


class Content(_Message):
    """One turn."""

    parts: list[Part] = []
    role: str | None = None

    @property
    def text(self) -> str:
        """Its text, without thoughts."""
        return "\n".join(p.text for p in self.parts if p.text is not None and not p.thought)

    @property
    def is_prompt(self) -> bool:
        """Whether it is a turn of the user's own, which begins what Google calls a turn."""
        return self.role != "model" and any(part.is_prompt for part in self.parts)

    def calls(self) -> Iterator[FunctionCall]:
        """The calls that it makes."""
        return (part.function_call for part in self.parts if part.function_call is not None)

    def results(self) -> Iterator[FunctionResponse]:
        """The results that it brings."""
        found = (part.function_response for part in self.parts)
        return (result for result in found if result is not None)


class FunctionDeclaration(_Message):
    """A function that may be called."""

    name: Annotated[str, Meta(pattern=_FUNCTION_NAME)]
    description: str | None = None
    parameters: Raw = Raw()
    parameters_json_schema: Raw = Raw()
    response: Raw = Raw()
    response_json_schema: Raw = Raw()
    behavior: str | None = None


class _Tool(_Message):
    function_declarations: list[FunctionDeclaration] = []
    google_search: Raw = Raw()
    code_execution: Raw = Raw()
    url_context: Raw = Raw()


class _Calling(_Message):
    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "MODE_UNSPECIFIED"
    allowed_function_names: list[str] | None = None


class _ToolConfig(_Message):
    function_calling_config: _Calling | None = None


class _Safety(_Message):
    category: _Category
    threshold: _Threshold
    method: str | None = None


class _Thinking(_Message):
    include_thoughts: bool | None = None
    thinking_budget: Annotated[int, Meta(ge=-1)] | None = None
    thinking_level: _Level | None = None


class _Generation(_Message):
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[float, Meta(ge=0)] | None = None
    candidate_count: Annotated[int, Meta(ge=1, le=CANDIDATES_MAX)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=STOPS_MAX)] | None = None
    seed: Annotated[int, Meta(ge=-(2**31), lt=2**31)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    response_logprobs: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=LOGPROBS_MAX)] | None = None
    response_mime_type: Literal["text/plain", "application/json", "text/x.enum"] | None = None
    response_schema: Raw = Raw()
    response_json_schema: Raw = Raw()
    thinking_config: _Thinking | None = None
    response_modalities: list[Literal["TEXT", "IMAGE", "AUDIO"]] | None = None
    media_resolution: str | None = None
    speech_config: Raw = Raw()
    image_config: Raw = Raw()
    audio_timestamp: bool | None = None


class GeminiBody(_Message):
    """A request."""

    contents: Annotated[list[Content], Meta(min_length=1)]
    system_instruction: Content | None = None
    tools: list[_Tool] | None = None
    tool_config: _ToolConfig | None = None
    safety_settings: list[_Safety] | None = None
    generation_config: _Generation = msgspec.field(default_factory=_Generation)
    cached_content: str | None = None
    labels: dict[str, str] | None = None
    model: str | None = None

    @property
    def thinking(self) -> _Thinking:
        """How much shall be thought."""
        return self.generation_config.thinking_config or _Thinking()

    @property
    def calling(self) -> _Calling:
        """How functions may be called."""
        config = self.tool_config and self.tool_config.function_calling_config
        return config or _Calling()

    @property
    def functions(self) -> list[FunctionDeclaration]:
        """All that are declared."""
        return [one for tool in self.tools or () for one in tool.function_declarations]


def read_body(body: bytes) -> GeminiBody:
    """The request, checked.

    Raises:
        Rejected: 400 and what is wrong with it.
    """
    try:
        found = msgspec.json.decode(body)
        chat = msgspec.json.decode(msgspec.json.encode(_camel(found)), type=GeminiBody)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        message = f"Invalid JSON payload received. {error}"
        raise Rejected(400, message, param=path["path"] if path else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(400, f"Invalid JSON payload received. {error}") from None
    for index, content in enumerate(chat.contents):
        _check_content(content, f"contents[{index}]")
    _check_turns(chat.contents)
    _check_tools(chat)
    _check_generation(chat.generation_config)
    return chat


def _camel(value: Json) -> Json:
    if isinstance(value, list):
        return [_camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    named = {_camel_name(name): one for name, one in value.items()}
    return cast("Json", {n: one if n in _OWN else _camel(one) for n, one in named.items()})


def _camel_name(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])_([a-z0-9])", lambda found: found[1].upper(), name)


def _check_content(content: Content, where: str) -> None:
    if content.role not in (None, "user", "model", "function"):
        raise Rejected(400, "Please use a valid role: user, model.", param=f"{where}.role")
    if not content.parts:
        message = f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty."
        raise Rejected(400, message, param=f"{where}.parts")
    for index, part in enumerate(content.parts):
        fields = (part.text, part.inline_data, part.file_data)
        datas = (*fields, part.function_call, part.function_response)
        if sum(data is not None for data in datas) != 1:
            param = f"{where}.parts[{index}].data"
            message = f"{param}: required oneof field 'data' must have one initialized field"
            raise Rejected(400, message, param=param)


def _check_turns(contents: list[Content]) -> None:
    """Results stand right after the turn that called, as many as its calls and by their names."""
    waiting: list[FunctionCall] = []
    for index, content in enumerate(contents):
        results = list(content.results())
        if len(results) != len(waiting):
            message = (
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )
            raise Rejected(400, message, param=f"contents[{index}]")
        for result in results:
            ids = {call.id for call in waiting if call.name == result.name}
            if not ids or (result.id is not None and result.id not in ids):
                message = f"The function response {result.name!r} matches no function call."
                raise Rejected(400, message, param=f"contents[{index}]")
        waiting = list(content.calls())
        if waiting and (content.role != "model" or index == 0):
            message = (
                "Please ensure that function call turn comes immediately after a user turn or "
                "after a function response turn."
            )
            raise Rejected(400, message, param=f"contents[{index}]")


def _check_tools(chat: GeminiBody) -> None:
    names = [function.name for function in chat.functions]
    for function in chat.functions:
        if bytes(function.parameters) and bytes(function.parameters_json_schema):
            message = "parameters and parameters_json_schema are mutually exclusive."
            raise Rejected(400, message, param="tools.function_declarations")
    if len(set(names)) < len(names):
        message = "Duplicate function declaration found."
        raise Rejected(400, message, param="tools.function_declarations")
    param = "tool_config.function_calling_config"
    calling = chat.calling
    if calling.mode == "ANY" and not names:
        message = "Function calling mode ANY needs at least one function declaration."
        raise Rejected(400, message, param=param)
    if calling.allowed_function_names:
        if calling.mode not in ("ANY", "VALIDATED"):
            message = "Allowed function names should only be set when the mode is ANY or VALIDATED."
            raise Rejected(400, message, param=param)
        if unknown := set(calling.allowed_function_names) - set(names):
            message = f"Allowed function names {sorted(unknown)} are not declared."
            raise Rejected(400, message, param=param)


def _check_generation(config: _Generation) -> None:
    has_schema, has_json_schema = bytes(config.response_schema), bytes(config.response_json_schema)
    if has_schema and has_json_schema:
        message = "Only one of response_schema and response_json_schema may be set."
        raise Rejected(400, message, param="generation_config.response_json_schema")
    if (has_schema or has_json_schema) and config.response_mime_type in (None, "text/plain"):
        message = "A response schema needs the response MIME type application/json."
        raise Rejected(400, message, param="generation_config.response_mime_type")
    if config.logprobs is not None and not config.response_logprobs:
        message = "logprobs is only allowed when response_logprobs is true."
        raise Rejected(400, message, param="generation_config.logprobs")
    thinking = config.thinking_config
    if (
        thinking is not None
        and thinking.thinking_budget is not None
        and thinking.thinking_level is not None
    ):
        message = "You can only set only one of thinking budget and thinking level."
        raise Rejected(400, message, param="generation_config.thinking_config")
