"""A chat request in the words of OpenAI's chat completions.

JSON that the caller wrote (schemas, unknown fields) goes in as it was written, after it is proven
to be one JSON value: a text with a brace too many would otherwise write fields of its own.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    AudioPart,
    CacheTtl,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.features import Feature
from omni_grpc.providers.openai.reasoning import details_of
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.written import Json, failed_as_text, present, raw_object, raw_value

OWNED_FIELDS: Final = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "temperature",
        "top_p",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "n",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "reasoning_effort",
        "reasoning",
        "safety_settings",
    }
)
"""Fields that this file writes: `extra` never sets one, also where the request leaves it out."""

_encode: Final = msgspec.json.Encoder().encode


def encode_chat(call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> bytes:
    """The body of the request, as one provider of the dialect takes it.

    Where it refuses them, reasoning of earlier turns is left out, and refusals go as text.

    Raises:
        FieldInvalid: a schema or an unknown field is no JSON, or a text is no Unicode.
    """
    request = call.request
    body: Json = {}
    for name, value in request.extra.items():
        if name not in OWNED_FIELDS:
            body[name] = raw_value(bytes(value), name)
    body["model"] = call.model
    body["messages"] = _messages(request, spec)
    body[spec.output_limit_field] = call.output_tokens_max
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    _add_tools(body, request)
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format)
    if request.reasoning_budget is not None or request.reasoning_summary is not None:
        body["reasoning"] = present(
            effort=request.reasoning_effort,
            max_tokens=request.reasoning_budget,
            summary=request.reasoning_summary,
        )
    elif request.reasoning_effort is not None:
        body["reasoning_effort"] = request.reasoning_effort
    _add_sampling(body, request.sampling)
    for name, theirs in spec.renames.items():
        if name in body:
            body[theirs] = body.pop(name)
    try:
        return _encode(body)
    except UnicodeEncodeError as error:
        raise FieldInvalid(
            "The request holds a lone surrogate, which is no Unicode text; send valid UTF-8.",
            field="messages",
        ) from error


# --- messages ---------------------------------------------------------------------------------
def _messages(request: ChatRequest, spec: ProviderSpec) -> list[Json]:
    refuses = spec.refuses
    takes_reasoning = Feature.REASONING_CARRIED not in refuses
    takes_refusals = Feature.REFUSALS not in refuses
    after_tool = False
    messages: list[Json] = []
    for message in request.messages:
        if message.role == "tool":
            wire = _message(failed_as_text(message))
        else:
            wire = _message(message if takes_refusals else _with_refusals_as_text(message))
        if takes_reasoning and (message.reasoning is not None or message.reasoning_blocks):
            _add_reasoning(wire, message, after_tool=after_tool)
        if message.role == "developer" and not spec.developer_role:
            wire["role"] = "system"
        messages.append(wire)
        after_tool = message.role == "tool"
    return messages


def _message(message: Message) -> Json:
    content = message.content
    wire: Json = {
        "role": message.role,
        "content": [_part(part) for part in content] if isinstance(content, tuple) else content,
    }
    if message.name is not None:
        wire["name"] = message.name
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json},
            }
            for call in message.tool_calls
        ]
    if message.refusal is not None:
        wire["refusal"] = message.refusal
    return wire


def _with_refusals_as_text(message: Message) -> Message:
    """For providers that know no refusals: what was said stays said."""
    content = message.content
    if isinstance(content, tuple):
        content = tuple(
            TextPart(text=part.refusal) if isinstance(part, RefusalPart) else part
            for part in content
        )
    if message.refusal is not None and content is None:
        content = message.refusal
    return msgspec.structs.replace(message, content=content, refusal=None)


def _add_reasoning(wire: Json, message: Message, *, after_tool: bool) -> None:
    """What the model thought in an earlier turn.

    DeepSeek must have its text back in a turn that calls tools, until the next user message; it
    ignores the text of other turns now, and refused them before.
    """
    if message.reasoning is not None and (message.tool_calls or after_tool):
        wire["reasoning_content"] = message.reasoning
    if message.reasoning_blocks and (details := details_of(message)):
        wire["reasoning_details"] = details


def _part(part: Part) -> Json:
    match part:
        case TextPart():
            return _marked({"type": "text", "text": part.text}, part.cache)
        case ImagePart():
            image = present(url=part.url, detail=part.detail)
            return _marked({"type": "image_url", "image_url": image}, part.cache)
        case AudioPart():
            return {
                "type": "input_audio",
                "input_audio": {"data": part.data, "format": part.format},
            }
        case FilePart():
            file = present(file_id=part.file_id, file_data=part.file_data, filename=part.filename)
            return _marked({"type": "file", "file": file}, part.cache)
        case _:
            return {"type": "refusal", "refusal": part.refusal}


def _marked(wire: Json, cache: CacheTtl | None) -> Json:
    """With the mark, if there is one. Five minutes go without saying: not all know the field."""
    if cache is not None:
        mark = {"type": "ephemeral"}
        if cache != "5m":
            mark["ttl"] = cache
        wire["cache_control"] = mark
    return wire


# --- tools and forms --------------------------------------------------------------------------
def _add_tools(body: Json, request: ChatRequest) -> None:
    if request.tools:
        body["tools"] = [_tool(tool, index) for index, tool in enumerate(request.tools)]
    if request.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls


def _tool(tool: Tool, index: int) -> Json:
    schema = tool.parameters_json
    function = present(
        name=tool.name,
        description=tool.description,
        parameters=None if schema is None else raw_object(schema, f"tools[{index}].parameters"),
        strict=tool.strict,
    )
    return _marked({"type": "function", "function": function}, tool.cache)


def _tool_choice(choice: ToolChoice) -> object:
    if choice.name is not None:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _response_format(form: ResponseFormat) -> Json:
    if form.kind != "json_schema":
        return {"type": form.kind}
    schema = form.schema_json
    return {
        "type": form.kind,
        "json_schema": present(
            name=form.name,
            description=form.description,
            schema=None if schema is None else raw_object(schema, "response_format.schema"),
            strict=form.strict,
        ),
    }


# --- sampling ---------------------------------------------------------------------------------
def _add_sampling(body: Json, sampling: Sampling) -> None:
    settings: Iterable[tuple[str, object]] = (
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("top_k", sampling.top_k),
        ("frequency_penalty", sampling.frequency_penalty),
        ("presence_penalty", sampling.presence_penalty),
        ("seed", sampling.seed),
        ("n", sampling.choice_count),
        ("logprobs", sampling.logprobs),
        ("top_logprobs", sampling.top_logprobs),
    )
    for name, value in settings:
        if value is not None:
            body[name] = value
    if sampling.stop:
        body["stop"] = sampling.stop
    if sampling.logit_bias is not None:
        # The field is of integers there; the domain's floats are written so where they are whole.
        body["logit_bias"] = {
            token: int(bias) if float(bias).is_integer() else bias
            for token, bias in sampling.logit_bias.items()
        }
