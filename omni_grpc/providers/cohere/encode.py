"""A chat request in the words of Cohere's chat API.

JSON that the caller wrote goes in as it was written, after it is proven to be one JSON value.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.cohere.wire import FORMAT, TOOL_PLAN
from omni_grpc.providers.written import Json, failed_as_text, present, raw_object

TOP_P_MAX: Final = 0.99
"""Cohere's highest `p`. A caller's 1.0 switches it off, to which this is the nearest; left out it
would be Cohere's own 0.75."""

_PERCENT: Final = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95}
"""Of the output limit, since Cohere takes a budget and no effort; the rest is the answer's."""

_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
"""What a tool without a schema takes; the field is required there."""

_encode: Final = msgspec.json.Encoder().encode


def encode_chat(call: UpstreamCall, *, stream: bool) -> bytes:
    """The body of the request.

    Raises:
        FieldInvalid: a schema is no JSON, a text is no Unicode, or a value has no counterpart.
    """
    request = call.request
    body: Json = {
        "model": call.model,
        "messages": [
            _message(message, f"messages[{index}].content")
            for index, message in enumerate(request.messages)
        ],
        "max_tokens": call.output_tokens_max,
        "stream": stream,
    }
    _add_tools(body, request)
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format)
    thinking = _thinking(call)
    if thinking is not None:
        body["thinking"] = thinking
    _add_sampling(body, request.sampling)
    try:
        return _encode(body)
    except UnicodeEncodeError as error:
        raise FieldInvalid(
            "The request holds a lone surrogate, which is no Unicode text; send valid UTF-8.",
            field="messages",
        ) from error


# --- messages ---------------------------------------------------------------------------------
def _message(message: Message, field: str) -> Json:
    if message.role == "assistant":
        return _of_assistant(message, field)
    content = failed_as_text(message).content
    wire: Json = {
        "role": "system" if message.role == "developer" else message.role,
        "content": [_part(part, field) for part in content]
        if isinstance(content, tuple)
        else content or "",
    }
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id or ""
    return wire


def _of_assistant(message: Message, field: str) -> Json:
    wire: Json = {"role": "assistant"}
    own = [block for block in message.reasoning_blocks if block.format == FORMAT]
    plan = "".join(block.text for block in own if block.id == TOOL_PLAN)
    if message.tool_calls:
        if not own and message.reasoning:
            plan = message.reasoning  # any model takes a plan, few take thinking
        if plan:
            wire["tool_plan"] = plan
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json or "{}"},
            }
            for call in message.tool_calls
        ]
    thoughts = [
        {"type": "thinking", "thinking": block.text}
        for block in own
        if block.text and block.id != TOOL_PLAN
    ]
    parts = thoughts + [{"type": "text", "text": text} for text in _texts(message, field)]
    if parts or not message.tool_calls:
        wire["content"] = parts or ""
    return wire


def _texts(message: Message, field: str) -> Iterator[str]:
    """What an assistant said; refusals have no form of their own here."""
    content = message.content
    parts = content if isinstance(content, tuple) else (TextPart(text=content or ""),)
    for part in parts:
        if isinstance(part, TextPart):
            if part.text:
                yield part.text
        elif isinstance(part, RefusalPart):
            yield part.refusal
        else:
            raise FieldInvalid(
                f"{field} of an assistant takes text and refusals alone; leave the rest out.",
                field=field,
            )
    if message.refusal is not None:
        yield message.refusal


def _part(part: Part, field: str) -> Json:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            return {"type": "image_url", "image_url": present(url=part.url, detail=part.detail)}
        case RefusalPart():
            return {"type": "text", "text": part.refusal}
        case _:
            raise FieldInvalid(
                f"{field} holds audio or a file, which Cohere's chat does not take; send text.",
                field=field,
            )


# --- tools and forms --------------------------------------------------------------------------
def _add_tools(body: Json, request: ChatRequest) -> None:
    choice = request.tool_choice
    name = None if choice is None else choice.name
    # Cohere cannot be told which tool to call, but offered no other, it has no choice.
    tools = [
        _tool(tool, index)
        for index, tool in enumerate(request.tools)
        if name is None or tool.name == name
    ]
    if tools:
        body["tools"] = tools
    if any(tool.strict for tool in request.tools):
        body["strict_tools"] = True  # of all tools or of none
    if name is not None or (choice is not None and choice.mode == "required"):
        body["tool_choice"] = "REQUIRED"
    elif choice is not None and choice.mode == "none":
        body["tool_choice"] = "NONE"


def _tool(tool: Tool, index: int) -> Json:
    schema = tool.parameters_json
    field = f"tools[{index}].parameters"
    return {
        "type": "function",
        "function": present(
            name=tool.name,
            description=tool.description,
            parameters=_NO_PARAMETERS if schema is None else raw_object(schema, field),
        ),
    }


def _response_format(form: ResponseFormat) -> Json:
    if form.kind == "text":
        return {"type": "text"}
    schema = form.schema_json if form.kind == "json_schema" else None
    return {"type": "json_object"} | present(
        json_schema=None if schema is None else raw_object(schema, "response_format.schema")
    )


# --- thinking and sampling --------------------------------------------------------------------
def _thinking(call: UpstreamCall) -> Json | None:
    request = call.request
    effort, budget = request.reasoning_effort, request.reasoning_budget
    if effort == "none" or budget == 0:
        return {"type": "disabled"}
    if budget is None:
        if effort is None:
            return None
        share = _PERCENT.get(effort)
        if share is None:
            raise FieldInvalid(
                f"reasoning_effort must be none or one of {', '.join(_PERCENT)}.",
                field="reasoning_effort",
            )
        budget = max(call.output_tokens_max * share // 100, 1)
    return {"type": "enabled", "token_budget": budget}


def _add_sampling(body: Json, sampling: Sampling) -> None:
    top_p = sampling.top_p
    body |= present(
        temperature=sampling.temperature,
        p=None if top_p is None else min(top_p, TOP_P_MAX),
        k=sampling.top_k,
        seed=sampling.seed,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
    )
    if sampling.stop:
        body["stop_sequences"] = sampling.stop
    if sampling.logprobs:
        body["logprobs"] = True  # of the tokens that it chose; it tells no others
