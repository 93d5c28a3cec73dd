"""The shapes of a response and of its stream's events, as much of them as we read.

The structs are read by msgspec and never leave this dialect. They forgive what compatible
providers leave out or set to null; items and events of unknown types are never looked into.
"""

from typing import Final, Literal, get_args

import msgspec

from omni_grpc.core.chat import FinishReason, ReasoningBlock
from omni_grpc.core.usage import Usage
from omni_grpc.providers.openai.wire import USAGE_TOKENS_MAX, WireTokenLogprob

FORMAT: Final = "responses"
"""The mark of reasoning blocks that this dialect made."""

PARTS_BETWEEN: Final = "\n\n"
"""Stands between two parts of reasoning, which the API gives one by one."""


# --- items ------------------------------------------------------------------------------------
class WirePart(msgspec.Struct, frozen=True, gc=False):
    """A part of a message, of a summary or of reasoning."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    logprobs: tuple[WireTokenLogprob, ...] | None = None


class WireItem(msgspec.Struct, frozen=True, gc=False):
    """An item of the output, whole or as it begins."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: tuple[WirePart, ...] | None = None
    summary: tuple[WirePart, ...] | None = None
    encrypted_content: str | None = None


class _ItemType(msgspec.Struct, frozen=True, gc=False):
    type: object = None


_KNOWN_ITEMS: Final = frozenset({"message", "function_call", "reasoning"})
_decode_item: Final = msgspec.json.Decoder(WireItem).decode
_decode_item_type: Final = msgspec.json.Decoder(_ItemType).decode


def item_of(raw: msgspec.Raw) -> WireItem | None:
    """An item, None for one of a type that is not known here.

    Raises:
        msgspec.DecodeError: it is no item.
    """
    kind = _decode_item_type(raw).type
    return _decode_item(raw) if isinstance(kind, str) and kind in _KNOWN_ITEMS else None


# --- responses --------------------------------------------------------------------------------
class WireIncomplete(msgspec.Struct, frozen=True, gc=False):
    """Why a response is incomplete."""

    reason: str | None = None


class WireResponse(msgspec.Struct, frozen=True, gc=False):
    """A response, whole or as it stands."""

    id: object = None
    model: str | None = None
    status: str | None = None
    error: object = None
    incomplete_details: WireIncomplete | None = None
    output: tuple[msgspec.Raw, ...] | None = None
    usage: object = None
    service_tier: str | None = None


# --- events -----------------------------------------------------------------------------------
class _Event(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """An event that is read; others are ignored."""


class Created(_Event, frozen=True, gc=False, tag="response.created"):
    """The response has a name."""

    response: WireResponse


class Completed(_Event, frozen=True, gc=False, tag="response.completed"):
    """The response is whole."""

    response: WireResponse


class Incomplete(_Event, frozen=True, gc=False, tag="response.incomplete"):
    """The response ended before its end."""

    response: WireResponse


class Failed(_Event, frozen=True, gc=False, tag="response.failed"):
    """The response failed."""

    response: WireResponse


class ItemAdded(_Event, frozen=True, gc=False, tag="response.output_item.added"):
    """An item begins."""

    item: msgspec.Raw
    output_index: int = 0


class ItemDone(_Event, frozen=True, gc=False, tag="response.output_item.done"):
    """An item is whole."""

    item: msgspec.Raw
    output_index: int = 0


class TextDelta(_Event, frozen=True, gc=False, tag="response.output_text.delta"):
    """More text."""

    delta: str
    output_index: int = 0
    logprobs: tuple[WireTokenLogprob, ...] | None = None


class RefusalDelta(_Event, frozen=True, gc=False, tag="response.refusal.delta"):
    """More of a refusal."""

    delta: str
    output_index: int = 0


class ArgumentsDelta(_Event, frozen=True, gc=False, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str
    output_index: int = 0


class SummaryDelta(_Event, frozen=True, gc=False, tag="response.reasoning_summary_text.delta"):
    """More of a summary's part."""

    delta: str
    output_index: int = 0
    summary_index: int = 0


class ReasoningDelta(_Event, frozen=True, gc=False, tag="response.reasoning_text.delta"):
    """More of reasoning itself."""

    delta: str
    output_index: int = 0
    content_index: int = 0


class ErrorEvent(_Event, frozen=True, gc=False, tag="error"):
    """The stream fails; the error stands in `error`, or beside the type."""

    error: object = None
    message: object = None
    code: object = None
    param: object = None


WireEvent = (
    Created
    | Completed
    | Incomplete
    | Failed
    | ItemAdded
    | ItemDone
    | TextDelta
    | RefusalDelta
    | ArgumentsDelta
    | SummaryDelta
    | ReasoningDelta
    | ErrorEvent
)


class BareEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of which nothing is known but its type, or the error that stands in its place."""

    type: object = None
    error: object = None


KNOWN_EVENTS: Final = frozenset(event.__struct_config__.tag for event in get_args(WireEvent))
"""The types of `WireEvent`."""


# --- what they mean ---------------------------------------------------------------------------
def blocks_of(item: WireItem) -> tuple[ReasoningBlock, ...]:
    """The reasoning of one item, a block a part, all by its id; the encrypted one comes last."""
    kinds: tuple[tuple[Literal["summary", "text"], tuple[WirePart, ...] | None], ...] = (
        ("summary", item.summary),
        ("text", item.content),
    )
    blocks = [
        ReasoningBlock(kind=kind, format=FORMAT, text=part.text, id=item.id)
        for kind, parts in kinds
        for part in parts or ()
        if part.text
    ]
    if item.encrypted_content:
        blocks.append(
            ReasoningBlock(kind="encrypted", format=FORMAT, data=item.encrypted_content, id=item.id)
        )
    return tuple(blocks)


def finish_of(response: WireResponse, *, is_incomplete: bool, calls: bool) -> FinishReason:
    """Why an answer ended; an unknown reason of an incomplete one is `length`."""
    if is_incomplete:
        details = response.incomplete_details
        is_filtered = details is not None and details.reason == "content_filter"
        return "content_filter" if is_filtered else "length"
    return "tool_calls" if calls else "stop"


def usage_of(wire: object) -> Usage | None:
    """The tokens of a `usage` object; None where it counts neither input nor output.

    A count that is negative, no whole number or beyond `USAGE_TOKENS_MAX` was not reported. A
    part never exceeds its whole.
    """
    if not isinstance(wire, dict):
        return None
    prompt = _count(wire.get("input_tokens"))
    completion = _count(wire.get("output_tokens"))
    if prompt is None and completion is None:
        return None
    of_input = _object(wire.get("input_tokens_details"))
    of_output = _object(wire.get("output_tokens_details"))
    read = _part(of_input.get("cached_tokens"), prompt)
    rest = None if prompt is None else prompt - (read or 0)
    return Usage(
        prompt=prompt,
        cached_read=read,
        cached_write=_part(of_input.get("cache_write_tokens"), rest),
        completion=completion,
        reasoning=_part(of_output.get("reasoning_tokens"), completion),
    )


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and 0 <= value <= USAGE_TOKENS_MAX:
        return value
    return None


def _part(value: object, whole: int | None) -> int | None:
    count = _count(value)
    return count if count is None or whole is None else min(count, whole)
