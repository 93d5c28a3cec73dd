"""The shapes of Cohere's chat answers, as much of them as we read, and what their words mean.

The structs are read by msgspec and never leave this dialect. They forgive what is left out or
null; events of unknown types are never looked into.
"""

from typing import Final, get_args

import msgspec

from omni_grpc.core.chat import FinishReason, Logprobs, ReasoningBlock, TokenLogprob
from omni_grpc.core.usage import Usage
from omni_grpc.providers.openai.wire import USAGE_TOKENS_MAX, WireFunction

FORMAT: Final = "cohere"
"""The mark of reasoning blocks that this dialect made."""

TOOL_PLAN: Final = "tool_plan"
"""The id of a block that is the plan before tool calls; others are thinking."""

PARTS_BETWEEN: Final = "\n\n"
"""Stands between two parts of reasoning, which the API gives one by one."""


# --- messages ---------------------------------------------------------------------------------
class WireCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call, whole or a fragment."""

    id: str | None = None
    function: WireFunction | None = None


class WireContent(msgspec.Struct, frozen=True, gc=False):
    """A part of a message, whole or a fragment: `text` or `thinking`."""

    text: str | None = None
    thinking: str | None = None


class WireMessage(msgspec.Struct, frozen=True, gc=False):
    """An answer's message."""

    content: tuple[WireContent, ...] | None = None
    tool_plan: str | None = None
    tool_calls: tuple[WireCall, ...] | None = None


class WireLogprob(msgspec.Struct, frozen=True, gc=False):
    """A piece of text, and the log probability of each of its tokens."""

    text: str | None = None
    logprobs: tuple[float, ...] | None = None


class WireChat(msgspec.Struct, frozen=True, gc=False):
    """A whole answer. An error has a text for its message."""

    id: object = None
    message: WireMessage | str | None = None
    finish_reason: str | None = None
    usage: object = None
    logprobs: tuple[WireLogprob, ...] | None = None


# --- events -----------------------------------------------------------------------------------
class _ContentMessage(msgspec.Struct, frozen=True, gc=False):
    content: WireContent | None = None


class _ContentHolder(msgspec.Struct, frozen=True, gc=False):
    message: _ContentMessage | None = None


class _PlanMessage(msgspec.Struct, frozen=True, gc=False):
    tool_plan: str | None = None


class _PlanHolder(msgspec.Struct, frozen=True, gc=False):
    message: _PlanMessage | None = None


class _CallMessage(msgspec.Struct, frozen=True, gc=False):
    tool_calls: WireCall | None = None


class _CallHolder(msgspec.Struct, frozen=True, gc=False):
    message: _CallMessage | None = None


class _End(msgspec.Struct, frozen=True, gc=False):
    finish_reason: str | None = None
    usage: object = None
    error: object = None


class _Event(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """An event that is read; others are ignored."""


class MessageStart(_Event, frozen=True, gc=False, tag="message-start"):
    """The answer has a name."""

    id: object = None


class _ContentEvent(_Event, frozen=True, gc=False):
    delta: _ContentHolder | None = None
    logprobs: WireLogprob | None = None

    @property
    def content(self) -> WireContent | None:
        """What it brings."""
        message = self.delta and self.delta.message
        return message.content if message else None


class ContentStart(_ContentEvent, frozen=True, gc=False, tag="content-start"):
    """A part begins."""


class ContentDelta(_ContentEvent, frozen=True, gc=False, tag="content-delta"):
    """More of a part."""


class ContentEnd(_Event, frozen=True, gc=False, tag="content-end"):
    """A part is whole."""


class PlanDelta(_Event, frozen=True, gc=False, tag="tool-plan-delta"):
    """More of the plan."""

    delta: _PlanHolder | None = None

    @property
    def plan(self) -> str:
        """What it brings."""
        message = self.delta and self.delta.message
        return (message and message.tool_plan) or ""


class _CallEvent(_Event, frozen=True, gc=False):
    index: int | None = None
    delta: _CallHolder | None = None

    @property
    def call(self) -> WireCall:
        """What it brings."""
        message = self.delta and self.delta.message
        return (message and message.tool_calls) or WireCall()


class CallStart(_CallEvent, frozen=True, gc=False, tag="tool-call-start"):
    """A call begins."""


class CallDelta(_CallEvent, frozen=True, gc=False, tag="tool-call-delta"):
    """More of a call's arguments."""


class MessageEnd(_Event, frozen=True, gc=False, tag="message-end"):
    """The answer is whole, or failed."""

    delta: _End | None = None


WireEvent = (
    MessageStart
    | ContentStart
    | ContentDelta
    | ContentEnd
    | PlanDelta
    | CallStart
    | CallDelta
    | MessageEnd
)


class BareEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of which nothing is known but its type, or the error that stands in its place."""

    type: object = None
    message: object = None


KNOWN_EVENTS: Final = frozenset(event.__struct_config__.tag for event in get_args(WireEvent))
"""The types of `WireEvent`."""


# --- what they mean ---------------------------------------------------------------------------
FAILED: Final = frozenset({"ERROR", "USER_CANCEL"})
"""Finish reasons of an answer that is none."""

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "TIMEOUT": "length",
    # Words of the API's first version.
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
}


def finish_of(word: str | None, *, calls: bool) -> FinishReason:
    """The domain's word. For an unknown one all that is sure is that the answer ended."""
    return _FINISH_REASONS.get(word or "", "tool_calls" if calls else "stop")


def block_of(text: str, *, is_plan: bool) -> ReasoningBlock:
    """A thought or a plan, to go back in the next turn."""
    return ReasoningBlock(kind="text", format=FORMAT, text=text, id=TOOL_PLAN if is_plan else None)


def logprobs_of(wire: list[WireLogprob]) -> Logprobs:
    """One token a piece: a piece of several tokens is as probable as all of them together."""
    return Logprobs(
        content=tuple(
            TokenLogprob(
                token=piece.text or "",
                logprob=sum(piece.logprobs or (), 0.0),
                bytes=tuple((piece.text or "").encode("utf-8", "replace")),
            )
            for piece in wire
        )
    )


def usage_of(wire: object) -> Usage | None:
    """What Cohere bills: `billed_units`, where it tells them, and `tokens` where it does not.

    `tokens` counts also what Cohere itself adds to a prompt and an answer, which nobody pays. None
    where neither input nor output was counted. A count that is negative, no whole number or beyond
    `USAGE_TOKENS_MAX` was not reported. What was read from the cache never exceeds what is billed.
    """
    if not isinstance(wire, dict):
        return None
    billed, all_of_it = _object(wire.get("billed_units")), _object(wire.get("tokens"))
    prompt = _count(billed.get("input_tokens"))
    if prompt is None:
        prompt = _count(all_of_it.get("input_tokens"))
    completion = _count(billed.get("output_tokens"))
    if completion is None:
        completion = _count(all_of_it.get("output_tokens"))
    if prompt is None and completion is None:
        return None
    cached = _count(wire.get("cached_tokens"))
    if cached is not None and prompt is not None:
        cached = min(cached, prompt)
    return Usage(prompt=prompt, cached_read=cached, completion=completion)


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
