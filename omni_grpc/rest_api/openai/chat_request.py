"""From the body of `POST /v1/chat/completions` to the domain's ChatRequest.

Schemas stay text exactly as they were written. Top-level fields that the service does not know go
along as raw JSON, for a provider of the same dialect; its own object `omni` does not. What would
be lost silently is refused by name instead.
"""

from collections.abc import Mapping
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
    ReasoningBlock,
    RefusalPart,
    ResponseFormat,
    SafetySetting,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.rest_api.omni_wire import read_wishes
from omni_grpc.rest_api.openai.chat_wire import (
    CHOICES,
    WireAudioPart,
    WireCacheControl,
    WireChat,
    WireFilePart,
    WireImagePart,
    WireMessage,
    WireNamedTool,
    WirePart,
    WireReasoning,
    WireReasoningDetail,
    WireResponseFormat,
    WireTextPart,
    WireTool,
)
from omni_grpc.rest_api.openai.json_body import read_json

_KNOWN: Final = frozenset(WireChat.__struct_fields__)
_OFTEN_REFUSED: Final = frozenset({"functions", "function_call", "modalities", "audio"})
_IMAGE_URLS: Final = ("https://", "http://", "data:")
_NOTHING: Final = (b"", b"null")
_decode: Final = msgspec.json.Decoder(WireChat).decode

OWN_FORMAT: Final = "openai"
"""The format of a block of reasoning that names none: the dialect that it is written in."""

_EFFORT_OF_ENABLED: Final = {True: "medium", False: "none"}
"""What `reasoning.enabled` alone means, by OpenRouter's documents."""

_NO_REASONING: Final = WireReasoning()


class ChatOrder(msgspec.Struct, frozen=True):
    """What a body asks for: the chat, and how the answer is to be sent."""

    request: ChatRequest
    stream: bool
    include_usage: bool
    hide_reasoning: bool = False


def read_chat(body: bytes) -> ChatOrder:
    """Reads a body.

    Raises:
        FieldInvalid: naming the field as OpenAI does, such as `messages[0].content`.
        FeatureUnsupported: it asks for something that this service does not carry.
    """
    wire, fields = read_json(body, _decode, CHOICES)
    return chat_order(wire, fields)


def chat_order(wire: WireChat, fields: Mapping[str, msgspec.Raw]) -> ChatOrder:
    """What a body asks for that was decoded; `fields` are all that it has.

    Raises:
        FieldInvalid, FeatureUnsupported: as `read_chat` does.
    """
    if not _OFTEN_REFUSED.isdisjoint(fields):
        _refuse_unsupported(wire)
    stream = bool(wire.stream)
    if wire.stream_options is not None and not stream:
        raise _invalid("stream_options", "is allowed only together with stream: true")
    tools = tuple(_tool(tool, place) for place, tool in enumerate(wire.tools or ()))
    wishes = read_wishes(wire.omni)
    reasoning = wire.reasoning or _NO_REASONING
    request = ChatRequest(
        model=wire.model,
        messages=tuple(_message(message, place) for place, message in enumerate(wire.messages)),
        tools=tools,
        tool_choice=_tool_choice(wire, tools),
        parallel_tool_calls=wire.parallel_tool_calls,
        response_format=_response_format(wire.response_format),
        sampling=_sampling(wire),
        reasoning_effort=_effort(wire.reasoning_effort, reasoning),
        reasoning_budget=reasoning.max_tokens,
        reasoning_summary=reasoning.summary,
        safety=tuple(
            SafetySetting(category=one.category, threshold=one.threshold)
            for one in wire.safety_settings or ()
        ),
        optional=wishes.optional,
        output_tokens_max=_output_tokens_max(wire),
        short_credits=wishes.short_credits,
        preferences=wishes.preferences,
        end_user=wishes.end_user,
        tags=wishes.tags,
        # Copied, since a raw value keeps the whole body in memory.
        extra={name: raw.copy() for name, raw in fields.items() if name not in _KNOWN},
    )
    options = wire.stream_options
    include_usage = options is not None and bool(options.include_usage)
    return ChatOrder(request, stream, include_usage, bool(reasoning.exclude))


def _refuse_unsupported(wire: WireChat) -> None:
    for name, raw, instead in (
        ("functions", wire.functions, "tools"),
        ("function_call", wire.function_call, "tool_choice"),
    ):
        if bytes(raw) not in _NOTHING:
            raise _invalid(name, f"is deprecated and not supported; send {instead}")
    spoken = any(kind != "text" for kind in wire.modalities or ())
    if spoken or bytes(wire.audio) not in _NOTHING:
        field = "modalities" if spoken else "audio"
        raise FeatureUnsupported(
            f"{field}: spoken answers are not supported; ask for text.", field=field
        )


# --- messages ---------------------------------------------------------------------------------
def _message(wire: WireMessage, place: int) -> Message:
    role, content = wire.role, wire.content
    if isinstance(content, tuple):
        parts = tuple(_part(part, place, at) for at, part in enumerate(content))
        _check_message(wire, place, spoken=bool(parts))
        said: str | tuple[Part, ...] | None = parts or None
    else:
        said = content
        _check_message(wire, place, spoken=content is not None)
    if role != "assistant":
        return Message(role=role, content=said, name=wire.name, tool_call_id=wire.tool_call_id)
    return Message(
        role=role,
        content=said,
        name=wire.name,
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.function.name, arguments_json=call.function.arguments)
            for call in wire.tool_calls or ()
        ),
        refusal=wire.refusal,
        reasoning=wire.reasoning_content or wire.reasoning,
        reasoning_blocks=tuple(
            _reasoning_block(detail, f"messages[{place}].reasoning_details[{at}]")
            for at, detail in enumerate(wire.reasoning_details or ())
        ),
    )


def _reasoning_block(wire: WireReasoningDetail, field: str) -> ReasoningBlock:
    is_hidden, is_summary = wire.type == "reasoning.encrypted", wire.type == "reasoning.summary"
    if is_hidden and not wire.data:
        raise _invalid(f"{field}.data", "is required with this type")
    if not is_hidden and not is_summary and not wire.text and not wire.signature:
        raise _invalid(f"{field}.text", "is required with this type")
    shown = (wire.summary if is_summary else wire.text) or ""
    return ReasoningBlock(
        kind="encrypted" if is_hidden else "summary" if is_summary else "text",
        format=wire.format or OWN_FORMAT,
        text="" if is_hidden else shown,
        signature=None if is_hidden or is_summary else wire.signature,
        data=wire.data if is_hidden else None,
        id=wire.id,
        text_before=wire.text_before or 0,
        calls_before=wire.calls_before or 0,
    )


def _check_message(wire: WireMessage, place: int, *, spoken: bool) -> None:
    if (wire.role == "tool") != (wire.tool_call_id is not None):
        raise _invalid(
            f"messages[{place}].tool_call_id",
            "is required in a tool message, and belongs to no other",
        )
    if wire.role == "assistant":
        if not spoken and not wire.tool_calls and not wire.refusal:
            raise _invalid(
                f"messages[{place}].content", "is empty, and there are no tool calls or refusal"
            )
        for name, raw in (("audio", wire.audio), ("function_call", wire.function_call)):
            if bytes(raw) not in _NOTHING:
                raise _invalid(f"messages[{place}].{name}", "is not supported; leave it out")
        return
    if not spoken:
        raise _invalid(f"messages[{place}].content", "is required: text, or a list of parts")
    if (
        wire.tool_calls
        or wire.refusal
        or wire.reasoning_content
        or wire.reasoning
        or wire.reasoning_details
    ):
        said = ("tool_calls", "refusal", "reasoning_content", "reasoning", "reasoning_details")
        name = next(name for name in said if getattr(wire, name))
        raise _invalid(f"messages[{place}].{name}", "belongs to assistant messages only")


def _part(wire: WirePart, place: int, at: int) -> Part:
    if isinstance(wire, WireTextPart):
        return TextPart(text=wire.text, cache=_cache(wire.cache_control))
    field = f"messages[{place}].content[{at}]"
    if isinstance(wire, WireImagePart):
        image = wire.image_url
        if not image.url.startswith(_IMAGE_URLS):
            raise _invalid(f"{field}.image_url.url", "must be an https: or data: URL")
        return ImagePart(url=image.url, detail=image.detail, cache=_cache(wire.cache_control))
    if isinstance(wire, WireAudioPart):
        if bytes(wire.cache_control) not in _NOTHING:
            raise _invalid(f"{field}.cache_control", "is for text, images and files")
        return AudioPart(data=wire.input_audio.data, format=wire.input_audio.format)
    if isinstance(wire, WireFilePart):
        file = wire.file
        if bool(file.file_id) == bool(file.file_data):
            raise _invalid(f"{field}.file", "needs exactly one of file_id and file_data")
        return FilePart(
            file_id=file.file_id or None,
            file_data=file.file_data or None,
            filename=file.filename,
            cache=_cache(wire.cache_control),
        )
    return RefusalPart(refusal=wire.refusal)


def _cache(wire: WireCacheControl | None) -> CacheTtl | None:
    return None if wire is None else wire.ttl


# --- tools and forms --------------------------------------------------------------------------
def _tool(wire: WireTool, place: int) -> Tool:
    function = wire.function
    return Tool(
        name=function.name,
        description=function.description,
        parameters_json=_object(function.parameters, f"tools[{place}].function.parameters"),
        strict=function.strict,
        cache=_cache(wire.cache_control),
    )


def _tool_choice(wire: WireChat, tools: tuple[Tool, ...]) -> ToolChoice | None:
    choice = wire.tool_choice
    if choice is None:
        return None
    if isinstance(choice, WireNamedTool):
        name = choice.function.name
        if all(tool.name != name for tool in tools):
            raise _invalid("tool_choice.function.name", "names none of the tools")
        return ToolChoice(name=name)
    if not tools and choice != "none":
        raise _invalid("tool_choice", "needs tools to choose from")
    return ToolChoice(mode=choice)


def _response_format(wire: WireResponseFormat | None) -> ResponseFormat | None:
    if wire is None:
        return None
    schema = wire.json_schema
    if wire.type != "json_schema":
        return ResponseFormat(kind=wire.type)
    if schema is None:
        raise _invalid("response_format.json_schema", "is required with this type")
    return ResponseFormat(
        kind=wire.type,
        name=schema.name,
        description=schema.description,
        schema_json=_object(schema.schema, "response_format.json_schema.schema"),
        strict=schema.strict,
    )


def _object(raw: msgspec.Raw, field: str) -> str | None:
    """The text of a JSON object as it was written; None where there is none."""
    text = bytes(raw)
    if text in _NOTHING:
        return None
    if not text.startswith(b"{"):
        raise _invalid(field, "must be a JSON object")
    return text.decode()


# --- settings ---------------------------------------------------------------------------------
def _effort(elder: str | None, reasoning: WireReasoning) -> str | None:
    """How much it reasons, of the fields that say so; they may not contradict each other."""
    effort = reasoning.effort
    if elder is not None and effort is not None and elder != effort:
        raise _invalid("reasoning.effort", f"is {effort} and reasoning_effort is {elder}")
    effort = effort or elder
    if reasoning.enabled is None:
        return effort
    if reasoning.enabled is False and (reasoning.max_tokens or effort not in (None, "none")):
        raise _invalid("reasoning.enabled", "is false, and there is an effort or a budget")
    if effort is not None or reasoning.max_tokens is not None:
        return effort
    return _EFFORT_OF_ENABLED[reasoning.enabled]


def _sampling(wire: WireChat) -> Sampling:
    if wire.top_logprobs is not None and not wire.logprobs:
        raise _invalid("top_logprobs", "is allowed only together with logprobs: true")
    stop = wire.stop
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k or None,  # 0 is "all", by OpenRouter's documents
        frequency_penalty=wire.frequency_penalty,
        presence_penalty=wire.presence_penalty,
        seed=wire.seed,
        stop=() if stop is None else (stop,) if isinstance(stop, str) else stop,
        choice_count=wire.n,
        logprobs=wire.logprobs,
        top_logprobs=wire.top_logprobs,
        logit_bias=wire.logit_bias or None,
    )


def _output_tokens_max(wire: WireChat) -> int | None:
    elder, newer = wire.max_tokens, wire.max_completion_tokens
    if elder is not None and newer is not None and elder != newer:
        raise _invalid(
            "max_completion_tokens", f"is {newer} and max_tokens is {elder}; send one of them"
        )
    return elder if newer is None else newer


def _invalid(field: str, why: str) -> FieldInvalid:
    return FieldInvalid(f"{field} {why}.", field=field)
