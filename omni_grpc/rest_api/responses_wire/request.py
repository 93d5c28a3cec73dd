"""From the body of `POST /v1/responses` to the domain's ChatRequest.

Two steps, since what came before may have to be fetched between them: `read_order` checks the body,
`Order.chat` makes the chat. Schemas stay text exactly as they were written. Settings that chats
have under the same name go along for a provider of OpenAI's dialect. What would be lost silently
is refused by name instead.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    ChatRequest,
    Message,
    ResponseFormat,
    Sampling,
)
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid, OmniError
from omni_grpc.core.limits import MESSAGE_COUNT_MAX
from omni_grpc.rest_api.omni_wire import FIELDS, NO_NAMES, optional_settings, read_wishes
from omni_grpc.rest_api.openai.json_body import read_json
from omni_grpc.rest_api.responses_wire.item_wire import WireItem, decode_items
from omni_grpc.rest_api.responses_wire.items import Conversation
from omni_grpc.rest_api.responses_wire.reasoning import ReasoningSeal
from omni_grpc.rest_api.responses_wire.tools import (
    Tools,
    chosen_tools,
    json_object,
    read_tools,
)
from omni_grpc.rest_api.responses_wire.wire import (
    CHOICES,
    OWN,
    WireFormat,
    WireResponses,
)

LOGPROBS_WORD: Final = "message.output_text.logprobs"
_WITHOUT_EFFECT: Final = frozenset(
    {
        "reasoning.encrypted_content",  # is always given
        "message.input_image.image_url",
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
    }
)
"""What `include` may name besides: it concerns tools that no answer here has."""

_REFUSED: Final = (
    ("conversation", "send the earlier items as input, or previous_response_id"),
    ("prompt", "send its text as instructions and input"),
    ("context_management", "shorten the input yourself"),
    ("moderation", "call a moderation of your own"),
)
_HEADER: Final = "x-omni-optional"
_NOTHING: Final = (b"", b"null", b"[]")
_decode_body: Final = msgspec.json.Decoder(WireResponses).decode


class Order(msgspec.Struct, frozen=True):
    """What a body asks for.

    `items` are the input's as they were written; `passed` goes along to the provider as it is;
    `optional` is what may be left out where the provider cannot do it.
    """

    wire: WireResponses
    items: tuple[msgspec.Raw, ...]
    decoded: tuple[WireItem, ...]
    tools: Tools
    passed: dict[str, msgspec.Raw]
    optional: frozenset[str]

    @property
    def stream(self) -> bool:
        """Whether the answer is to come as events."""
        return bool(self.wire.stream)

    @property
    def parallel_tool_calls(self) -> bool:
        """Whether the model may call several tools at once: it may, if nothing is said."""
        return self.wire.parallel_tool_calls is not False

    def chat(
        self, earlier: Sequence[msgspec.Raw], seal: ReasoningSeal
    ) -> tuple[ChatRequest, list[str]]:
        """The chat, and of each message the field that it came from.

        Args:
            earlier: the items of the conversation before this input.
            seal: opens the caller's reasoning.

        Raises:
            FieldInvalid: naming the field as OpenAI does, such as `input[0].content`.
            FeatureUnsupported: it asks for something that this service does not carry.
        """
        wire = self.wire
        conversation = Conversation(seal)
        if wire.instructions:
            said = Message(role="system", content=wire.instructions)
            conversation.say(said, "instructions")
        conversation.add(decode_items(earlier, "previous_response_id"), "previous_response_id")
        if isinstance(wire.input, str):
            conversation.say(Message(role="user", content=wire.input), "input")
        else:
            conversation.add(self.decoded, "input")
        messages = conversation.messages()
        if not messages or len(messages) > MESSAGE_COUNT_MAX:
            raise _invalid(
                "input", f"must make from 1 to {MESSAGE_COUNT_MAX} messages, not {len(messages)}"
            )
        tools, choice = chosen_tools(wire.tool_choice, self.tools.functions)
        wishes = read_wishes(wire.omni)
        request = ChatRequest(
            model=wire.model,
            messages=messages,
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=wire.parallel_tool_calls if tools else None,
            response_format=_response_format(wire.form),
            sampling=_sampling(wire),
            reasoning_effort=wire.effort,
            reasoning_summary=wire.summary,
            optional=self.optional,
            output_tokens_max=wire.max_output_tokens,
            short_credits=wishes.short_credits,
            preferences=wishes.preferences,
            end_user=wishes.end_user,
            tags=wishes.tags,
            extra=self.passed,
        )
        return request, conversation.places


def read_order(body: bytes, optional: Sequence[str] = ()) -> Order:
    """Reads a body, and what a header names as optional beside it.

    Raises:
        FieldInvalid: naming the field as OpenAI does.
        FeatureUnsupported: it asks for something that this service does not carry.
    """
    (wire, decoded), fields = read_json(body, _decode, CHOICES)
    _refuse_unsupported(wire)
    _check_settings(wire)
    # Copied, since a raw value keeps the whole body in memory.
    passed = {
        name: raw.copy()
        for name, raw in fields.items()
        if name not in OWN and bytes(raw) not in _NOTHING
    }
    if wire.text is not None and wire.text.verbosity is not None:
        passed["verbosity"] = msgspec.Raw(msgspec.json.encode(wire.text.verbosity))
    return Order(
        wire=wire,
        items=_items(wire),
        decoded=decoded,
        tools=read_tools(wire.tools or ()),
        passed=passed,
        optional=_optional(wire, optional),
    )


def _decode(body: bytes) -> tuple[WireResponses, tuple[WireItem, ...]]:
    wire = _decode_body(body)
    return wire, () if isinstance(wire.input, str) else decode_items(wire.input, "input")


def _items(wire: WireResponses) -> tuple[msgspec.Raw, ...]:
    if not isinstance(wire.input, str):
        return wire.input
    said = {"type": "message", "role": "user", "content": wire.input}
    return (msgspec.Raw(msgspec.json.encode(said)),)


# --- what is refused --------------------------------------------------------------------------
def _refuse_unsupported(wire: WireResponses) -> None:
    for name, instead in _REFUSED:
        raw: msgspec.Raw = getattr(wire, name)
        if bytes(raw) not in _NOTHING:
            raise _unsupported(name, f"is not supported; {instead}")
    if wire.background:
        raise _unsupported("background", "is not supported; use stream: true for long answers")
    if wire.truncation == "auto":
        raise _unsupported("truncation", "must be disabled; shorten the input yourself")
    reasoning = wire.reasoning
    if reasoning is not None:
        if reasoning.context not in (None, "auto"):
            raise _unsupported("reasoning.context", "must be auto")
        if reasoning.mode not in (None, "standard"):
            raise _unsupported("reasoning.mode", "must be standard")
    for place, word in enumerate(wire.include or ()):
        if word != LOGPROBS_WORD and word not in _WITHOUT_EFFECT:
            raise _invalid(f"include[{place}]", f"names nothing that can be included: {word!r}")


def _check_settings(wire: WireResponses) -> None:
    if wire.stream_options is not None and not wire.stream:
        raise _invalid("stream_options", "is allowed only together with stream: true")


# --- settings ---------------------------------------------------------------------------------
def _response_format(wire: WireFormat | None) -> ResponseFormat | None:
    if wire is None:
        return None
    if wire.type != "json_schema":
        return ResponseFormat(kind=wire.type)
    if wire.name is None:
        raise _invalid("text.format.name", "is required with this type")
    schema = json_object(wire.schema, "text.format.schema")
    if schema is None:
        raise _invalid("text.format.schema", "is required with this type")
    return ResponseFormat(
        kind=wire.type,
        name=wire.name,
        description=wire.description,
        schema_json=schema,
        strict=wire.strict,
    )


def _sampling(wire: WireResponses) -> Sampling:
    wanted = LOGPROBS_WORD in (wire.include or ())
    if wire.top_logprobs and not wanted:
        raise _invalid(
            "top_logprobs", f"is allowed only together with include: [{LOGPROBS_WORD!r}]"
        )
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        logprobs=True if wanted else None,
        top_logprobs=wire.top_logprobs if wanted else None,
    )


def _optional(wire: WireResponses, header: Sequence[str]) -> frozenset[str]:
    """What may be left out: what the caller says, and what is a permission here and no demand."""
    found = set(optional_settings(header, NO_NAMES, _HEADER))
    if wire.omni is not None:
        found |= optional_settings(wire.omni.optional, NO_NAMES, "omni.optional")
    if wire.parallel_tool_calls:
        found.add("parallel_tool_calls")
    if wire.summary == "auto":
        found.add("reasoning_summary")
    return frozenset(found)


# --- errors -----------------------------------------------------------------------------------
_FIELDS: Final = {
    "messages": "input",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "reasoning_summary": "reasoning.summary",
    "max_output_token_count": "max_output_tokens",
    **FIELDS,
}
_MESSAGE: Final = re.compile(r"messages\[(\d+)\]")


def in_callers_words(error: OmniError, places: Sequence[str]) -> OmniError:
    """The same error, its field named as this API names it; `places` as of `Order.chat`."""
    field = error.field
    if field is None:
        return error
    match = _MESSAGE.match(field)
    if match is not None and int(match[1]) < len(places):
        named = places[int(match[1])] + field[match.end() :]
    else:
        named = _FIELDS.get(field, field)
    if named != field:
        if error.message.startswith(field):
            error.message = named + error.message[len(field) :]
        error.field = named
    return error


def _invalid(field: str, why: str) -> FieldInvalid:
    return FieldInvalid(f"{field} {why}.", field=field)


def _unsupported(field: str, why: str) -> FeatureUnsupported:
    return FeatureUnsupported(f"{field} {why}.", field=field)
