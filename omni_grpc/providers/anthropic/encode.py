"""A chat request in the words of Anthropic's Messages API.

JSON that the caller wrote goes in as it was written, after it is proven to be one JSON object.
There is no mode for "some JSON": it is mapped onto a tool of a reserved name that must be called,
whose input the decoders turn back into text.
"""

from typing import Final, NamedTuple

import msgspec

from omni_grpc.core.chat import ChatRequest, ResponseFormat, Tool
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.anthropic.reasoning import reasoning_of, unproven_of
from omni_grpc.providers.anthropic.turns import Conversation, cache_control
from omni_grpc.providers.anthropic.wire import JSON_TOOL
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.written import Json, present, raw_object

TOP_P_THINKING_MIN: Final = 0.95
"""Anthropic's own least `top_p` beside thinking."""

_MODES: Final = {"auto": "auto", "required": "any", "none": "none"}
_JSON_TOOL: Final[Json] = {
    "name": JSON_TOOL,
    "description": (
        "Gives the answer. Call it once, with the complete answer to the user as a JSON object "
        "of the form that the conversation asks for."
    ),
    "input_schema": {"type": "object", "additionalProperties": True},
}
_encode: Final = msgspec.json.Encoder().encode


class Encoded(NamedTuple):
    """A body, whether it names files that the provider keeps, and what `WireRequest` leaves out."""

    body: bytes
    names_files: bool
    left_out: tuple[str, ...]


def encode_chat(call: UpstreamCall, *, stream: bool, version_in_body: str | None) -> Encoded:
    """The body of the request.

    `version_in_body` is given where the model stands in the path instead.

    Raises:
        FieldInvalid: something in it cannot be said there, or is no JSON, or no Unicode.
    """
    request = call.request
    conversation = Conversation(request.messages)
    thinking, effort = reasoning_of(call)
    body: Json = (
        {"model": call.model} if version_in_body is None else {"anthropic_version": version_in_body}
    )
    body["max_tokens"] = call.output_tokens_max
    if conversation.system:
        body["system"] = conversation.system
    body["messages"] = conversation.turns
    if stream:
        body["stream"] = True
    if thinking is not None:
        body["thinking"] = thinking
    thinks = thinking is not None and thinking["type"] != "disabled"
    _add_tools(body, request, thinks=thinks)
    output = present(effort=effort, format=_format(request.response_format))
    if output:
        body["output_config"] = output
    left_out = _add_sampling(body, request, thinks=thinks)
    try:
        return Encoded(_encode(body), conversation.names_files, left_out + unproven_of(call))
    except UnicodeEncodeError as error:
        raise FieldInvalid(
            "The request holds a lone surrogate, which is no Unicode text; send valid UTF-8.",
            field="messages",
        ) from error


# --- tools ------------------------------------------------------------------------------------
def _add_tools(body: Json, request: ChatRequest, *, thinks: bool) -> None:
    tools = [_tool(tool, index) for index, tool in enumerate(request.tools)]
    choice = _tool_choice(request)
    form = request.response_format
    if (
        form is not None
        and form.kind == "json_object"
        and choice.get("type") not in ("any", "tool")
    ):
        choice = _json_choice(tools, choice)
        tools.append(_JSON_TOOL)
    if thinks and choice.get("type") in ("any", "tool"):
        raise FieldInvalid(
            "Anthropic cannot reason where a tool call or a json_object is forced; ask for "
            "json_schema, let tool_choice be auto, or leave reasoning off.",
            field="response_format" if tools[-1:] == [_JSON_TOOL] else "tool_choice",
        )
    if tools:
        body["tools"] = tools
        if choice:
            body["tool_choice"] = choice


def _json_choice(tools: list[Json], choice: Json) -> Json:
    """A call must come: of a tool of the caller's where there are some, else the JSON answer."""
    if tools and choice.get("type") != "none":
        return {**choice, "type": "any"}
    return {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}


def _tool(tool: Tool, index: int) -> Json:
    if tool.name == JSON_TOOL:
        raise FieldInvalid(
            f"tools[{index}].name: {JSON_TOOL} is reserved for JSON answers; choose another.",
            field=f"tools[{index}].name",
        )
    schema = tool.parameters_json
    return present(
        name=tool.name,
        description=tool.description,
        input_schema={"type": "object", "properties": {}}
        if schema is None
        else raw_object(schema, f"tools[{index}].parameters"),
        strict=tool.strict or None,
        cache_control=None if tool.cache is None else cache_control(tool.cache),
    )


def _tool_choice(request: ChatRequest) -> Json:
    """The choice; empty where the provider's default will do."""
    asked = request.tool_choice
    wire: Json = {}
    if asked is not None and asked.name is not None:
        wire = {"type": "tool", "name": asked.name}
    elif asked is not None and asked.mode is not None:
        wire = {"type": _MODES[asked.mode]}
    if request.parallel_tool_calls is False and wire.get("type") != "none":
        wire = {"type": "auto", **wire, "disable_parallel_tool_use": True}
    return wire


# --- the rest ---------------------------------------------------------------------------------
def _format(form: ResponseFormat | None) -> Json | None:
    if form is None or form.kind != "json_schema":
        return None
    if form.schema_json is None:
        raise FieldInvalid(
            "response_format.schema is missing; Anthropic takes no json_schema without it.",
            field="response_format.schema",
        )
    schema = raw_object(form.schema_json, "response_format.schema")
    return {"type": "json_schema", "schema": schema}


def _add_sampling(body: Json, request: ChatRequest, *, thinks: bool) -> tuple[str, ...]:
    """Adds what the model takes, and returns what it does not take beside thinking."""
    left_out: list[str] = []
    sampling = request.sampling
    for field, value, fits in (
        ("temperature", sampling.temperature, sampling.temperature == 1),
        ("top_p", sampling.top_p, (sampling.top_p or 0) >= TOP_P_THINKING_MIN),
        ("top_k", sampling.top_k, False),
    ):
        if value is None:
            continue
        if not thinks or fits:
            body[field] = value
        elif field in request.optional:
            left_out.append(field)
        else:
            raise FieldInvalid(
                f"Anthropic cannot reason with {field} {value}: it takes temperature 1, top_p "
                f"from {TOP_P_THINKING_MIN} on and no top_k then. Leave it out, or reasoning off.",
                field=field,
            )
    if sampling.stop:
        body["stop_sequences"] = sampling.stop
    return tuple(left_out)
