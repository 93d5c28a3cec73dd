"""A chat request in the words of OpenAI's Responses API.

A conversation becomes a flat list of items: messages, function calls, their outputs, and reasoning
that goes back encrypted. Nothing is ever stored there, and no item is named by its id alone.
JSON that the caller wrote goes in as it was written, after it is proven to be one JSON value.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningBlock,
    RefusalPart,
    ResponseFormat,
    TextPart,
    Tool,
    ToolChoice,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.responses.wire import FORMAT
from omni_grpc.providers.written import Json, failed_as_text, present, raw_object, raw_value

PASSED_FIELDS: Final = frozenset(
    {
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "user",
    }
)
"""Unknown fields of chat completions that the Responses API has by the same name and meaning."""

_VERBOSITY: Final = "verbosity"
"""This one it has too, inside `text`."""

TAKEN_FIELDS: Final = PASSED_FIELDS | {_VERBOSITY}

_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
"""What a tool without a schema takes; the field is required there."""

_encode: Final = msgspec.json.Encoder().encode


def encode_chat(call: UpstreamCall, *, stream: bool) -> bytes:
    """The body of the request.

    Raises:
        FieldInvalid: a schema or a field is no JSON, or a text is no Unicode.
    """
    request = call.request
    body = _extra(request)
    body["model"] = call.model
    body["input"] = list(_items(request.messages))
    body["max_output_tokens"] = call.output_tokens_max
    body["store"] = False
    if stream:
        body["stream"] = True
    _add_tools(body, request)
    _add_text(body, request)
    _add_reasoning(body, request)
    _add_sampling(body, request)
    try:
        return _encode(body)
    except UnicodeEncodeError as error:
        raise FieldInvalid(
            "The request holds a lone surrogate, which is no Unicode text; send valid UTF-8.",
            field="messages",
        ) from error


def _extra(request: ChatRequest) -> Json:
    return {
        name: raw_value(bytes(value), name)
        for name, value in request.extra.items()
        if name in PASSED_FIELDS
    }


# --- items ------------------------------------------------------------------------------------
def _items(messages: Iterable[Message]) -> Iterator[Json]:
    for index, message in enumerate(messages):
        field = f"messages[{index}].content"
        content = message.content
        if message.role == "assistant":
            yield from _of_assistant(message, field)
        elif message.role == "tool":
            yield {
                "type": "function_call_output",
                "call_id": message.tool_call_id or "",
                "output": _input(failed_as_text(message).content, field),
            }
        else:
            yield {"type": "message", "role": message.role, "content": _input(content, field)}


def _of_assistant(message: Message, field: str) -> Iterator[Json]:
    content = list(_output(message, field))
    said: list[Json] = []
    if content:
        said.append({"type": "message", "role": "assistant", "content": content})
    said += [
        {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments_json,
        }
        for call in message.tool_calls
    ]
    if said:  # reasoning that nothing follows is refused
        yield from _reasoning_items(message.reasoning_blocks)
        yield from said


def _reasoning_items(blocks: Iterable[ReasoningBlock]) -> Iterator[Json]:
    """The items that the blocks were made of; those of other dialects are left out."""
    items: list[tuple[str | None, list[ReasoningBlock]]] = []
    for block in blocks:
        if block.format != FORMAT:
            continue
        if items and block.id is not None and items[-1][0] == block.id:
            items[-1][1].append(block)
        else:
            items.append((block.id, [block]))
    for item_id, of_item in items:
        data = next((block.data for block in of_item if block.data), None)
        texts = [block.text for block in of_item if block.kind == "text" and block.text]
        if data is None and not texts:
            continue  # by its id alone it would be sought among what is stored, and refused
        summaries = [block.text for block in of_item if block.kind != "text" and block.text]
        item: Json = {"type": "reasoning"}
        if item_id is not None:
            item["id"] = item_id
        item["summary"] = [{"type": "summary_text", "text": text} for text in summaries]
        if texts:
            item["content"] = [{"type": "reasoning_text", "text": text} for text in texts]
        if data is not None:
            item["encrypted_content"] = data
        yield item


def _output(message: Message, field: str) -> Iterator[Json]:
    content = message.content
    parts = content if isinstance(content, tuple) else (TextPart(text=content or ""),)
    for part in parts:
        if isinstance(part, TextPart):
            if part.text:
                yield {"type": "output_text", "text": part.text}
        elif isinstance(part, RefusalPart):
            yield {"type": "refusal", "refusal": part.refusal}
        else:
            raise FieldInvalid(
                f"{field} of an assistant takes text and refusals alone; leave the rest out.",
                field=field,
            )
    if message.refusal is not None:
        yield {"type": "refusal", "refusal": message.refusal}


def _input(content: str | tuple[Part, ...] | None, field: str) -> str | list[Json]:
    if not isinstance(content, tuple):
        return content or ""
    return [_input_part(part, field) for part in content]


def _input_part(part: Part, field: str) -> Json:
    match part:
        case TextPart():
            return {"type": "input_text", "text": part.text}
        case ImagePart():
            image: Json = (
                {"image_url": part.url} if part.file_id is None else {"file_id": part.file_id}
            )
            return {"type": "input_image", **image, "detail": part.detail or "auto"}
        case FilePart():
            if part.file_url is not None:  # its name is part of it
                return {"type": "input_file", "file_url": part.file_url}
            file = present(file_id=part.file_id, file_data=part.file_data, filename=part.filename)
            return {"type": "input_file"} | file
        case RefusalPart():
            return {"type": "input_text", "text": part.refusal}
        case _:
            raise FieldInvalid(
                f"{field} holds audio, which the Responses API does not take; send text.",
                field=field,
            )


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
    field = f"tools[{index}].parameters"
    wire: Json = {
        "type": "function",
        "name": tool.name,
        "parameters": _NO_PARAMETERS if schema is None else raw_object(schema, field),
        # Left out, it would be true here, and false in chat completions.
        "strict": bool(tool.strict),
    }
    if tool.description is not None:
        wire["description"] = tool.description
    return wire


def _tool_choice(choice: ToolChoice) -> object:
    if choice.name is not None:
        return {"type": "function", "name": choice.name}
    return choice.mode


def _add_text(body: Json, request: ChatRequest) -> None:
    text: Json = {}
    if request.response_format is not None:
        text["format"] = _format(request.response_format)
    if _VERBOSITY in request.extra:
        text["verbosity"] = raw_value(bytes(request.extra[_VERBOSITY]), _VERBOSITY)
    if text:
        body["text"] = text


def _format(form: ResponseFormat) -> Json:
    if form.kind != "json_schema":
        return {"type": form.kind}
    schema = form.schema_json
    return {
        "type": form.kind,
        "name": form.name or "answer",  # required there
        "schema": raw_object("{}" if schema is None else schema, "response_format.schema"),
    } | present(description=form.description, strict=form.strict)


# --- reasoning and sampling -------------------------------------------------------------------
def _add_reasoning(body: Json, request: ChatRequest) -> None:
    reasoning = present(effort=request.reasoning_effort, summary=request.reasoning_summary)
    if reasoning:
        body["reasoning"] = reasoning
    thinks = request.reasoning_effort not in (None, "none") or request.reasoning_summary is not None
    if thinks or any(
        block.format == FORMAT for message in request.messages for block in message.reasoning_blocks
    ):
        # Models that do not reason refuse it, so it is asked for only where reasoning is.
        body["include"] = ["reasoning.encrypted_content"]


def _add_sampling(body: Json, request: ChatRequest) -> None:
    sampling = request.sampling
    body |= present(temperature=sampling.temperature, top_p=sampling.top_p)
    if sampling.logprobs:
        include = body.get("include")
        kept = include if isinstance(include, list) else []
        body["include"] = [*kept, "message.output_text.logprobs"]
        body |= present(top_logprobs=sampling.top_logprobs)
