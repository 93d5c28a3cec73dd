"""Turns a conversation and its options into the contract's `ChatPrompt`; pure, no I/O.

What cannot be said in the contract is refused with `FieldInvalid` before anything is sent;
what the service may judge (ranges, names, sizes) is left to the service.
"""

import json
from collections.abc import Mapping

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client import openai_shape
from omni_grpc_client.calls import check_options, listed
from omni_grpc_client.errors import FieldInvalid
from omni_grpc_client.failures import field_invalid
from omni_grpc_client.prompt import (
    Audio,
    ChatOptions,
    File,
    Image,
    JsonSchema,
    Message,
    Messages,
    OpenAIShape,
    Part,
    ReasoningBlock,
    Routing,
    Text,
    Tool,
)

_ROLES = {
    "system": pb.ROLE_SYSTEM,
    "developer": pb.ROLE_DEVELOPER,
    "user": pb.ROLE_USER,
    "assistant": pb.ROLE_ASSISTANT,
    "tool": pb.ROLE_TOOL,
}
_TOOL_MODES = {
    "auto": pb.TOOL_MODE_AUTO,
    "none": pb.TOOL_MODE_NONE,
    "required": pb.TOOL_MODE_REQUIRED,
}
_CACHE_TTLS = {
    "5m": pb.CACHE_TTL_FIVE_MINUTES,
    "1h": pb.CACHE_TTL_ONE_HOUR,
}
_SUMMARIES = {
    "auto": pb.REASONING_SUMMARY_AUTO,
    "concise": pb.REASONING_SUMMARY_CONCISE,
    "detailed": pb.REASONING_SUMMARY_DETAILED,
}
_BLOCK_KINDS = {
    "text": pb.REASONING_BLOCK_KIND_TEXT,
    "summary": pb.REASONING_BLOCK_KIND_SUMMARY,
    "encrypted": pb.REASONING_BLOCK_KIND_ENCRYPTED,
}
_PRIORITIES = {
    "cheap": pb.ROUTING_PRIORITY_CHEAP,
    "balanced": pb.ROUTING_PRIORITY_BALANCED,
    "best": pb.ROUTING_PRIORITY_BEST,
}
_LATENCIES = {
    "normal": pb.LATENCY_PREFERENCE_NORMAL,
    "fast": pb.LATENCY_PREFERENCE_FAST,
}
_SHORT_CREDITS = {
    "refuse": pb.SHORT_CREDITS_REFUSE,
    "shorten": pb.SHORT_CREDITS_SHORTEN,
}


def chat_prompt(model: str, messages: Messages, options: ChatOptions) -> pb.ChatPrompt:
    """The prompt as the contract has it.

    Raises:
        TypeError: an option that there is not.
        FieldInvalid: a value that cannot be sent.
    """
    check_options(options, ChatOptions.__annotations__, "a chat")
    try:
        return pb.ChatPrompt(
            model=model,
            messages=_messages(messages),
            tools=[
                _tool(tool, f"tools[{at}]") for at, tool in enumerate(options.get("tools") or ())
            ],
            tool_choice=_tool_choice(options),
            parallel_tool_calls=options.get("parallel_tool_calls"),
            response_format=_response_format(options),
            sampling=_sampling(options),
            reasoning_effort=options.get("reasoning_effort"),
            reasoning_budget_token_count=options.get("reasoning_budget"),
            reasoning_summary=_reasoning_summary(options),
            safety_settings=[
                pb.SafetySetting(category=one.category, threshold=one.threshold)
                for one in options.get("safety_settings") or ()
            ],
            optional_fields=options.get("optional"),
            max_output_token_count=options.get("max_output_tokens"),
            short_credits=_short_credits(options),
            routing=_routing(options),
            tags=options.get("tags"),
            end_user=options.get("end_user"),
        )
    except (TypeError, ValueError) as fault:
        # Protobuf's own refusals: a wrong type, a number that does not fit, text that is not
        # Unicode, a schema that is not JSON.
        raise FieldInvalid(f"The prompt cannot be sent: {fault}", charged_nanousd=0) from fault


def _messages(messages: Messages) -> list[pb.Message]:
    if isinstance(messages, str):
        messages = [Message(role="user", content=messages)]
    elif isinstance(messages, Message):
        messages = [messages]
    elif isinstance(messages, Mapping):
        raise field_invalid("messages", "one dict where a list of messages is expected")
    return [_message(one, f"messages[{at}]") for at, one in enumerate(messages)]


def _message(message: object, where: str) -> pb.Message:
    if isinstance(message, Mapping):
        message = openai_shape.message(message, where)
    elif not isinstance(message, Message):
        kind = type(message).__name__
        raise field_invalid(where, f"a {kind}; give a Message or a dict in OpenAI's shape")
    if message.role not in _ROLES:
        raise field_invalid(f"{where}.role", f"there is no role {message.role!r}")
    content = message.content
    parts = (content,) if isinstance(content, str) else content or ()
    return pb.Message(
        role=_ROLES[message.role],
        parts=[_part(part, f"{where}.content[{at}]") for at, part in enumerate(parts)],
        tool_calls=[
            pb.ToolCall(id=call.id, name=call.name, arguments_json=call.arguments_json)
            for call in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
        name=message.name,
        refusal=message.refusal,
        reasoning=message.reasoning,
        reasoning_blocks=[
            _reasoning_block(block, f"{where}.reasoning_blocks[{at}]")
            for at, block in enumerate(message.reasoning_blocks)
        ],
        tool_failed=message.tool_failed,
    )


def _reasoning_block(block: ReasoningBlock, where: str) -> pb.ReasoningBlock:
    if block.kind not in _BLOCK_KINDS:
        raise field_invalid(f"{where}.kind", f"there is no kind {block.kind!r}")
    return pb.ReasoningBlock(
        kind=_BLOCK_KINDS[block.kind],
        format=block.format,
        text=block.text,
        signature=block.signature,
        data=block.data,
        id=block.id,
        preceding_char_count=block.text_before,
        preceding_tool_call_count=block.calls_before,
    )


def _part(part: Part, where: str) -> pb.Part:
    match part:
        case str():
            return pb.Part(text=part)
        case Text():
            return pb.Part(text=part.text, cache_ttl=_cache_ttl(part.cache, where))
        case Image():
            image = pb.Image(uri=part.uri, detail=part.detail, file_id=part.file_id)
            return pb.Part(image=image, cache_ttl=_cache_ttl(part.cache, where))
        case Audio():
            return pb.Part(audio=pb.Audio(data=part.data, format=part.format))
        case File():
            return pb.Part(
                file=pb.File(
                    file_id=part.file_id,
                    data_uri=part.data_uri,
                    filename=part.filename,
                    uri=part.uri,
                ),
                cache_ttl=_cache_ttl(part.cache, where),
            )
    raise field_invalid(where, f"a {type(part).__name__}; give text, Text, Image, Audio or File")


def _cache_ttl(ttl: str | None, where: str) -> pb.CacheTtl | None:
    if ttl is None:
        return None
    if ttl not in _CACHE_TTLS:
        raise field_invalid(f"{where}.cache", f"{ttl!r} is neither 5m nor 1h")
    return _CACHE_TTLS[ttl]


def _tool(tool: Tool | OpenAIShape, where: str) -> pb.Tool:
    if not isinstance(tool, Tool):
        tool = openai_shape.tool(tool, where)
    return pb.Tool(
        name=tool.name,
        description=tool.description,
        parameters_json=None if tool.parameters is None else _json_text(tool.parameters),
        strict=tool.strict,
        cache_ttl=_cache_ttl(tool.cache, where),
    )


def _tool_choice(options: ChatOptions) -> pb.ToolChoice | None:
    choice = options.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, Tool):
        return pb.ToolChoice(tool_name=choice.name)
    if not isinstance(choice, str):
        return pb.ToolChoice(tool_name=openai_shape.tool_name(choice, "tool_choice"))
    if choice not in _TOOL_MODES:
        raise field_invalid(
            "tool_choice", f"{choice!r} is none of auto, none, required; force a tool by giving it"
        )
    return pb.ToolChoice(mode=_TOOL_MODES[choice])


def _response_format(options: ChatOptions) -> pb.ResponseFormat | None:
    wanted: JsonSchema | str | OpenAIShape | None = options.get("response_format")
    if isinstance(wanted, Mapping):
        wanted = openai_shape.response_format(wanted, "response_format")
    if wanted is None or wanted == "text":
        return None
    if wanted == "json_object":
        return pb.ResponseFormat(json_object=pb.JsonObjectFormat())
    if not isinstance(wanted, JsonSchema):
        raise field_invalid(
            "response_format", f"{wanted!r} is none of text, json_object, a JsonSchema"
        )
    return pb.ResponseFormat(
        json_schema=pb.JsonSchemaFormat(
            name=wanted.name,
            schema_json=_json_text(wanted.schema),
            description=wanted.description,
            strict=wanted.strict,
        )
    )


def _sampling(options: ChatOptions) -> pb.Sampling:
    stop = options.get("stop")
    return pb.Sampling(
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        top_k=options.get("top_k"),
        frequency_penalty=options.get("frequency_penalty"),
        presence_penalty=options.get("presence_penalty"),
        seed=options.get("seed"),
        stop_sequences=[stop] if isinstance(stop, str) else stop,
        choice_count=options.get("n"),
        logprobs=options.get("logprobs"),
        top_logprob_count=options.get("top_logprobs"),
        logit_bias=options.get("logit_bias"),
    )


def _reasoning_summary(options: ChatOptions) -> pb.ReasoningSummary | None:
    wanted = options.get("reasoning_summary")
    if wanted is None:
        return None
    if wanted not in _SUMMARIES:
        raise field_invalid("reasoning_summary", f"{wanted!r} is none of {', '.join(_SUMMARIES)}")
    return _SUMMARIES[wanted]


def _short_credits(options: ChatOptions) -> pb.ShortCredits | None:
    wanted = options.get("short_credits")
    if wanted is None:
        return None
    if wanted not in _SHORT_CREDITS:
        raise field_invalid("short_credits", f"{wanted!r} is neither refuse nor shorten")
    return _SHORT_CREDITS[wanted]


def _routing(options: ChatOptions) -> pb.RoutingPreferences | None:
    wanted: object = options.get("routing")
    if wanted is None:
        return None
    if not isinstance(wanted, Routing):
        raise field_invalid("routing", f"a {type(wanted).__name__}; give a Routing")
    if wanted.priority not in {None, *_PRIORITIES}:
        known = ", ".join(_PRIORITIES)
        raise field_invalid("routing.priority", f"{wanted.priority!r} is none of {known}")
    if wanted.latency not in {None, *_LATENCIES}:
        raise field_invalid("routing.latency", f"{wanted.latency!r} is neither normal nor fast")
    return pb.RoutingPreferences(
        priority=wanted.priority and _PRIORITIES[wanted.priority],
        latency_preference=wanted.latency and _LATENCIES[wanted.latency],
        max_cost_nanousd=wanted.max_cost_nanousd,
        allowed_providers=listed(wanted.allowed_providers, "routing.allowed_providers"),
        denied_providers=listed(wanted.denied_providers, "routing.denied_providers"),
        allowed_models=listed(wanted.allowed_models, "routing.allowed_models"),
        denied_models=listed(wanted.denied_models, "routing.denied_models"),
        fallback_models=listed(wanted.fallbacks, "routing.fallbacks"),
        data_region=wanted.data_region,
        task=wanted.task,
    )


def _json_text(value: OpenAIShape | str) -> str:
    """JSON text as written, or an object written once: no key is reordered."""
    return (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    )
