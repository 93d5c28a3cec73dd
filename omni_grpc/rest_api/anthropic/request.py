"""From the body of `POST /v1/messages` to the domain's ChatRequest.

Schemas and inputs of tools stay text exactly as they were written. Of what Anthropic's API knows
beyond the domain, that which would change an answer is refused by name; the rest is left out and
named in `ignored`. Clients of this API ask for thinking whatever the model, so a provider that
cannot be told how much to think is not refused for it.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    ChatRequest,
    ReasoningSummary,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid, OmniError
from omni_grpc.rest_api.anthropic.errors import THREADS
from omni_grpc.rest_api.anthropic.signatures import Signatures
from omni_grpc.rest_api.anthropic.turns import (
    Turns,
    invalid,
    mark_last,
    object_text,
    ttl_of,
    unsupported,
)
from omni_grpc.rest_api.anthropic.wire import (
    CHOICES,
    WireAdaptive,
    WireAny,
    WireAuto,
    WireDisabled,
    WireEnabled,
    WireMessages,
    WireNoTool,
    WireOneTool,
    WireThinkingConfig,
    WireTool,
)
from omni_grpc.rest_api.omni_wire import FIELDS, Wishes, optional_settings, read_wishes
from omni_grpc.rest_api.openai.json_body import read_json

USER_CHARS_MAX: Final = 64
"""OpenAI's own limit of `user`; a longer name goes as its hash, which names as well."""

FORMAT_NAME: Final = "answer"
"""The name of a schema, which other providers want and Anthropic's API has not."""

_KNOWN: Final = frozenset(WireMessages.__struct_fields__)
_NOTHING: Final = (b"", b"null", b"[]")
_UNKNOWN_BLOCK: Final = re.compile(r"(?:messages|system)\b.*\.type: invalid value '([^']*)'")
_MESSAGE: Final = re.compile(r"messages\[([0-9]+)\]")
_THINKING: Final = frozenset({"reasoning_budget", "reasoning_summary"})
_HEADER: Final = "x-omni-optional"
_OPTIONAL_NAMES: Final = {"stop_sequences": "stop"}
_OWN_NAMES: Final = {
    "reasoning_budget": "thinking",
    "reasoning_summary": "thinking",
    "reasoning_effort": "output_config.effort",
    "max_output_token_count": "max_tokens",
    **FIELDS,
    "stop": "stop_sequences",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "user": "metadata.user_id",
}
"""What the domain's fields are called here."""

_decode: Final = msgspec.json.Decoder(WireMessages).decode
_encode: Final = msgspec.json.Encoder().encode


class MessagesOrder(msgspec.Struct, frozen=True):
    """What a body asks for: the chat, how the answer is sent, and what was left out of it."""

    request: ChatRequest
    stream: bool
    ignored: tuple[str, ...]
    places: tuple[str, ...]
    """Which field of the body each of the request's messages came from."""


def read_messages(
    body: bytes, signatures: Signatures, optional: Sequence[str] = (), *, counts: bool = False
) -> MessagesOrder:
    """Reads a body.

    Args:
        body: what was sent.
        signatures: of the account that sent it.
        optional: what a header names as optional beside it.
        counts: whether it is only counted, and so needs no `max_tokens`.

    Raises:
        FieldInvalid: naming the field as Anthropic does, such as `messages[0].content`.
        FeatureUnsupported: it asks for something that this service does not carry.
    """
    try:
        wire, fields = read_json(body, _decode, CHOICES)
    except FieldInvalid as error:
        unknown = _UNKNOWN_BLOCK.match(error.message)
        if unknown is None:
            raise
        raise FeatureUnsupported(
            error.message, field=error.field, metadata={"feature": unknown[1]}
        ) from None
    if wire.max_tokens is None and not counts:
        raise FieldInvalid("max_tokens is required.", field="max_tokens")
    _refuse_unsupported(wire)
    turns = Turns(signatures)
    messages = [*turns.system(wire.system)]
    places = ["system"] * len(messages)
    for place, message in enumerate(wire.messages):
        messages += turns.messages(message, place)
        places += [f"messages[{place}].content"] * (len(messages) - len(places))
    if not messages:
        raise invalid("messages", "holds nothing that can be sent")
    if wire.cache_control is not None:
        mark_last(messages, ttl_of(wire.cache_control))
    tools = tuple(_tool(tool, place) for place, tool in enumerate(wire.tools or ()))
    wishes = read_wishes(wire.omni, _OPTIONAL_NAMES)
    request = ChatRequest(
        model=wire.model,
        messages=tuple(messages),
        tools=tools,
        tool_choice=_tool_choice(wire, tools),
        parallel_tool_calls=_parallel(wire, tools),
        response_format=_response_format(wire),
        sampling=_sampling(wire),
        reasoning_effort=None if wire.output_config is None else wire.output_config.effort,
        reasoning_budget=_budget(wire.thinking),
        reasoning_summary=_summary(wire.thinking),
        optional=_optional(wire, wishes, optional),
        output_tokens_max=wire.max_tokens,
        short_credits=wishes.short_credits,
        preferences=wishes.preferences,
        end_user=wishes.end_user,
        tags=wishes.tags,
        extra=_extra(wire),
    )
    unread = (name for name in fields if name not in _KNOWN)
    ignored = (*unread, *turns.ignored)
    return MessagesOrder(request, bool(wire.stream), ignored, tuple(places))


def _refuse_unsupported(wire: WireMessages) -> None:
    for field, raw, what in (
        ("thread", wire.thread, THREADS),
        ("compaction", wire.compaction, "compactions"),
        ("mcp_servers", wire.mcp_servers, "MCP servers that the provider calls"),
        ("container", wire.container, "containers"),
        ("inference_geo", wire.inference_geo, "regions of inference"),
    ):
        if bytes(raw) not in _NOTHING:
            raise unsupported(field, what, "Leave the field out.")


# --- tools and forms --------------------------------------------------------------------------
def _tool(wire: WireTool, place: int) -> Tool:
    field = f"tools[{place}]"
    if wire.type not in (None, "custom"):
        raise unsupported(
            f"{field}.type",
            f"Anthropic's own tools, such as {wire.type!r},",
            "Define the tool with a name and an input_schema.",
        )
    if wire.name is None:
        raise invalid(f"{field}.name", "is required")
    return Tool(
        name=wire.name,
        description=wire.description,
        parameters_json=object_text(wire.input_schema, f"{field}.input_schema"),
        strict=wire.strict,
        cache=ttl_of(wire.cache_control),
    )


def _tool_choice(wire: WireMessages, tools: tuple[Tool, ...]) -> ToolChoice | None:
    choice = wire.tool_choice
    match choice:
        case None:
            return None
        case WireNoTool():
            return ToolChoice(mode="none") if tools else None
        case WireOneTool():
            if all(tool.name != choice.name for tool in tools):
                raise invalid("tool_choice.name", "names none of the tools")
            return ToolChoice(name=choice.name)
        case WireAny() | WireAuto() if not tools:
            raise invalid("tool_choice", "needs tools to choose from")
        case WireAny():
            return ToolChoice(mode="required")
        case _:
            return ToolChoice(mode="auto")


def _parallel(wire: WireMessages, tools: tuple[Tool, ...]) -> bool | None:
    choice = wire.tool_choice
    if choice is None or isinstance(choice, WireNoTool) or not tools:
        return None
    return False if choice.disable_parallel_tool_use else None


def _response_format(wire: WireMessages) -> ResponseFormat | None:
    config = wire.output_config
    asked, field = (None if config is None else config.format), "output_config.format"
    if asked is None:
        asked, field = wire.output_format, "output_format"
    elif wire.output_format is not None:
        raise invalid("output_format", "is the older name of output_config.format; send one")
    if asked is None:
        return None
    schema = object_text(asked.schema, f"{field}.schema")
    # Anthropic has no other than strict schemas, so the caller counts on it.
    return ResponseFormat(kind=asked.type, name=FORMAT_NAME, schema_json=schema, strict=True)


# --- settings ---------------------------------------------------------------------------------
def _sampling(wire: WireMessages) -> Sampling:
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        stop=wire.stop_sequences or (),
    )


def _budget(thinking: WireThinkingConfig | None) -> int | None:
    match thinking:
        case WireEnabled():
            return thinking.budget_tokens
        case WireDisabled():
            return 0
        case _:
            return None


def _summary(thinking: WireThinkingConfig | None) -> ReasoningSummary | None:
    """Anthropic shows what it thinks unless told otherwise; adaptive thinking is asked by this."""
    match thinking:
        case WireAdaptive() | WireEnabled() if thinking.display != "omitted":
            return "auto"
        case _:
            return None


def _optional(wire: WireMessages, wishes: Wishes, header: Sequence[str]) -> frozenset[str]:
    found = wishes.optional | optional_settings(header, _OPTIONAL_NAMES, _HEADER)
    return found if wire.thinking is None else found | _THINKING


def _extra(wire: WireMessages) -> Mapping[str, msgspec.Raw]:
    """What is a field of the OpenAI dialect: its providers take it, others are not sent it."""
    found: dict[str, msgspec.Raw] = {}
    user = None if wire.metadata is None else wire.metadata.user_id
    if user:
        if len(user) > USER_CHARS_MAX:
            user = hashlib.sha256(user.encode()).hexdigest()
        found["user"] = msgspec.Raw(_encode(user))
    if wire.service_tier == "standard_only":
        found["service_tier"] = msgspec.Raw(b'"default"')
    return found


# --- in the caller's words ----------------------------------------------------------------------
def own_names(fields: Iterable[str]) -> tuple[str, ...]:
    """Names of the domain's fields as callers of this API know them, each once."""
    return tuple(dict.fromkeys(_OWN_NAMES.get(name, name) for name in fields))


def name_as_sent(error: OmniError, places: Sequence[str]) -> None:
    """Names an error's field as it is in the body; `places` as of `MessagesOrder`."""
    field = error.field or ""
    message = _MESSAGE.match(field)
    if message is not None and int(message[1]) < len(places):
        named = places[int(message[1])]
    else:
        named = _OWN_NAMES.get(field, field)
    if named != field:
        if error.message.startswith(field):
            error.message = named + error.message[len(field) :]
        error.field = named
