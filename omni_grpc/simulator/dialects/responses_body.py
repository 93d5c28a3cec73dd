"""The body of a request to the Responses API: its fields, and what OpenAI would refuse about them.

Unknown fields are refused, as OpenAI does. Nothing here depends on the model that is asked.
"""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.instances import Json

__all__ = (
    "FunctionTool",
    "JsonSchemaFormat",
    "NamedTool",
    "ResponsesBody",
    "invalid",
    "read_body",
)

OUTPUT_TOKENS_MIN: Final = 16
METADATA_MAX: Final = 16
TOOLS_MAX: Final = 128
"""OpenAI's own limits."""

Include = Literal[
    "web_search_call.action.sources",
    "web_search_call.results",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
]

_NAME = r"^[a-zA-Z0-9_-]{1,64}$"
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"unknown field `(\w+)`")


class FunctionTool(msgspec.Struct):
    """A function that the model may call; flat, unlike in chat completions."""

    type: Literal["function"]
    name: Annotated[str, Meta(pattern=_NAME)]
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class NamedTool(msgspec.Struct, forbid_unknown_fields=True):
    """The choice of one tool."""

    type: Literal["function"]
    name: str


class TextFormat(msgspec.Struct, tag="text", forbid_unknown_fields=True):
    """Plain text."""


class JsonObjectFormat(msgspec.Struct, tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class JsonSchemaFormat(msgspec.Struct, tag="json_schema", forbid_unknown_fields=True):
    """JSON by a schema; flat, unlike in chat completions."""

    name: Annotated[str, Meta(pattern=_NAME)]
    schema: Raw
    description: str | None = None
    strict: bool | None = None


class Text(msgspec.Struct, forbid_unknown_fields=True):
    """How the text of the answer shall be."""

    format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(msgspec.Struct, forbid_unknown_fields=True):
    """How the model shall think, and what of it is told."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: str | None = None


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """How a stream is written."""

    include_obfuscation: bool | None = None


class ResponsesBody(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a request; those that make no difference here are known all the same."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: str | Annotated[list[Raw], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=METADATA_MAX)] | None = None
    include: list[Include] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: (
        Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None
    ) = None
    user: str | None = None
    safety_identifier: Annotated[str, Meta(max_length=128)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Raw = Raw()
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    max_tool_calls: int | None = None
    moderation: Raw = Raw()

    @property
    def summary(self) -> str | None:
        """Which summary of its reasoning the answer shall have."""
        if self.reasoning is None:
            return None
        return self.reasoning.summary or self.reasoning.generate_summary

    @property
    def effort(self) -> str | None:
        """How hard the model shall think."""
        return None if self.reasoning is None else self.reasoning.effort

    @property
    def logprobs(self) -> bool:
        """Whether the answer shall tell its tokens' probabilities."""
        return "message.output_text.logprobs" in (self.include or ())

    @property
    def encrypts(self) -> bool:
        """Whether reasoning shall come in a form in which it can come back."""
        return "reasoning.encrypted_content" in (self.include or ())

    @property
    def format(self) -> TextFormat | JsonObjectFormat | JsonSchemaFormat | None:
        """The form of the answer."""
        return None if self.text is None else self.text.format


_decode = msgspec.json.Decoder(ResponsesBody).decode


def read_body(body: bytes) -> ResponsesBody:
    """The request, checked but for its input's items.

    Raises:
        Rejected: 400 and what is wrong with it.
    """
    try:
        asked = _decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error, "") from None
    except msgspec.DecodeError as error:
        message = f"We could not parse the JSON body of your request: {error}"
        raise Rejected(400, message) from None
    limit = asked.max_output_tokens
    if limit is not None and limit < OUTPUT_TOKENS_MIN:
        message = (
            "Invalid 'max_output_tokens': integer below minimum value. "
            f"Expected a value >= {OUTPUT_TOKENS_MIN}, but got {limit} instead."
        )
        code = "integer_below_min_value"
        raise Rejected(400, message, param="max_output_tokens", code=code)
    if asked.stream_options is not None and not asked.stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise Rejected(400, message, param="stream_options")
    if asked.previous_response_id is not None:
        message = f"Previous response with id '{asked.previous_response_id}' not found."
        code = "previous_response_not_found"
        raise Rejected(400, message, param="previous_response_id", code=code)
    if asked.background:
        message = "Background mode is not supported: nothing is stored here."
        raise Rejected(400, message, param="background")
    _check_tools(asked)
    _check_schemas(asked)
    return asked


def invalid(error: msgspec.ValidationError, where: str) -> Rejected:
    """What OpenAI says of a body, or of the part of it at `where`, that is not as it must be."""
    text = str(error)
    path = _PATH.search(text)
    missing, unknown = _MISSING.search(text), _UNKNOWN.search(text)
    field = missing or unknown
    names = (where, path["path"] if path else "", field[1] if field else "")
    param = ".".join(name for name in names if name).replace(".[", "[")
    if missing:
        code = "missing_required_parameter"
        return Rejected(400, f"Missing required parameter: '{param}'.", param=param, code=code)
    if unknown:
        code = "unknown_parameter"
        return Rejected(400, f"Unknown parameter: '{param}'.", param=param, code=code)
    said = _PATH.sub("", text)
    return Rejected(400, f"Invalid value for '{param}': {said}.", param=param, code="invalid_value")


# --- tools and schemas ------------------------------------------------------------------------
def _check_tools(asked: ResponsesBody) -> None:
    names = {tool.name for tool in asked.tools or ()}
    if asked.tool_choice not in (None, "none", "auto") and not names:
        message = "Tool choice 'required' must be specified with 'tools' parameter."
        raise Rejected(400, message, param="tool_choice")
    if isinstance(asked.tool_choice, NamedTool) and asked.tool_choice.name not in names:
        message = f"Tool choice 'function' {asked.tool_choice.name!r} not found in 'tools'."
        raise Rejected(400, message, param="tool_choice")


def _check_schemas(asked: ResponsesBody) -> None:
    for index, tool in enumerate(asked.tools or ()):
        wrong = _loose_end(tool.parameters) if tool.strict else None
        if wrong:
            message = f"Invalid schema for function '{tool.name}': {wrong}"
            code = "invalid_function_parameters"
            raise Rejected(400, message, param=f"tools[{index}].parameters", code=code)
    form = asked.format
    if isinstance(form, JsonSchemaFormat):
        wrong = _loose_end(form.schema) if form.strict else None
        if wrong:
            message = f"Invalid schema for response_format '{form.name}': {wrong}"
            code = "invalid_json_schema"
            raise Rejected(400, message, param="text.format.schema", code=code)


def _loose_end(schema: Raw) -> str | None:
    """What about a schema is not as strict ones must be; None where nothing is."""
    return _not_strict(msgspec.json.decode(schema), ()) if bytes(schema) else None


def _not_strict(schema: Json, context: tuple[str, ...]) -> str | None:
    if not isinstance(schema, dict):
        return None
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        if schema.get("additionalProperties") is not False:
            return (
                f"In context={context}, 'additionalProperties' is required to be supplied and to "
                "be false."
            )
        names = list(properties) if isinstance(properties, dict) else []
        required = schema.get("required")
        listed = required if isinstance(required, list) else []
        missing = [name for name in names if name not in listed]
        if missing:
            return (
                f"In context={context}, 'required' is required to be supplied and to be an array "
                f"including every key in properties. Missing '{missing[0]}'."
            )
    for key in ("properties", "$defs"):
        inner = schema.get(key)
        for name, one in inner.items() if isinstance(inner, dict) else ():
            if wrong := _not_strict(one, (*context, key, name)):
                return wrong
    return _not_strict(schema.get("items"), (*context, "items"))
