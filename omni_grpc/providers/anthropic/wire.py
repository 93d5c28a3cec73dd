"""The shapes of Anthropic's answers, as much of them as we read, and what their words mean.

Blocks, deltas and events of unknown types are let pass, whatever is in them: Anthropic adds such
within a version. A known one that is broken is refused by msgspec.
"""

from typing import Final

import msgspec

from omni_grpc.core.chat import FinishReason
from omni_grpc.core.usage import Usage

JSON_TOOL: Final = "omni_json_answer"
"""The reserved tool by which a JSON answer is asked for: its input is the answer's text."""

TOOL_CALLS_MAX: Final = 1_024
"""Most tool calls in one answer, so that a hostile stream costs no memory."""

USAGE_TOKENS_MAX: Final = 10**9
"""A higher count is no count: a hundred times the longest context window there is."""

_BLOCKS: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_EVENTS: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)
_DELTAS: Final = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta"})


class WireBlock(msgspec.Struct, frozen=True, gc=False):
    """A block of content, whole or as a stream begins it."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()


class WireStopDetails(msgspec.Struct, frozen=True, gc=False):
    """Why a model refused."""

    explanation: str | None = None


class WireDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a block, or of the message itself."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: WireStopDetails | None = None


class WireMessage(msgspec.Struct, frozen=True, gc=False):
    """A whole answer, or what a stream begins with."""

    id: object = None
    content: tuple[msgspec.Raw, ...] | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: WireStopDetails | None = None
    usage: object = None
    error: object = None


class WireEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream."""

    type: str = ""
    index: int = 0
    delta: WireDelta | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    message: WireMessage | None = None
    usage: object = None
    error: object = None


class _Typed(msgspec.Struct, frozen=True, gc=False):
    type: object = None


class _LooseEvent(msgspec.Struct, frozen=True, gc=False):
    type: object = None
    delta: msgspec.Raw = msgspec.Raw()


_decode_block: Final = msgspec.json.Decoder(WireBlock).decode
_decode_event: Final = msgspec.json.Decoder(WireEvent).decode
_decode_loose: Final = msgspec.json.Decoder(_LooseEvent).decode
_decode_typed: Final = msgspec.json.Decoder(_Typed).decode
decode_wire_message: Final = msgspec.json.Decoder(WireMessage).decode


def block_of(data: msgspec.Raw) -> WireBlock | None:
    """A block; None for one of an unknown type.

    Raises:
        msgspec.DecodeError: it is of a known type and broken, or no block at all.
    """
    try:
        block = _decode_block(data)
    except msgspec.ValidationError:
        if _decode_typed(data).type in _BLOCKS:
            raise
        return None
    return block if block.type in _BLOCKS else None


def event_of(data: bytes) -> WireEvent | None:
    """An event; None for one that means nothing here.

    Raises:
        msgspec.DecodeError: it is of a known type and broken, or no event at all.
    """
    try:
        event = _decode_event(data)
    except msgspec.ValidationError:
        loose = _decode_loose(data)
        if not _is_known(loose):
            return None
        raise
    # An error without a type is not Anthropic's, but some gateway's before it.
    return event if event.type in _EVENTS or (event.error and not event.type) else None


def _is_known(event: _LooseEvent) -> bool:
    if not isinstance(event.type, str) or event.type not in _EVENTS:
        # Without a type it is no event of this dialect, and the caller must hear of it.
        return not isinstance(event.type, str)
    if event.type == "content_block_delta" and bytes(event.delta):
        return _decode_typed(event.delta).type in _DELTAS
    return True


# --- why an answer ended ----------------------------------------------------------------------
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def finish_reason_of(word: str, *, calls_tools: bool) -> FinishReason:
    """The domain's word. An unknown one is `stop`: all that is sure is that the answer ended.

    An answer that called no tool of the caller's (but gave its JSON by the reserved one) stopped.
    """
    reason = _FINISH_REASONS.get(word, "stop")
    return "stop" if reason == "tool_calls" and not calls_tools else reason


# --- usage ------------------------------------------------------------------------------------
class UsageCounts:
    """The counts of an answer: each report overrides what it tells and leaves the rest.

    Anthropic's counts are cumulative, so they are never added over reports; its three counts of
    the prompt are disjoint, and are added up here, since ours is inclusive.
    """

    __slots__ = ("_counts", "_hour", "_thinking", "service_tier")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._hour: int | None = None
        self._thinking: int | None = None
        self.service_tier: str | None = None

    def take(self, wire: object) -> bool:
        """Read a `usage` object; whether it counts the output.

        A count that is negative, no whole number or beyond `USAGE_TOKENS_MAX` was not reported.
        """
        if not isinstance(wire, dict):
            return False
        for name in _COUNTS:
            count = _count(wire.get(name))
            if count is not None:
                self._counts[name] = count
        hour = _count(_object(wire.get("cache_creation")).get("ephemeral_1h_input_tokens"))
        self._hour = self._hour if hour is None else hour
        thinking = _count(_object(wire.get("output_tokens_details")).get("thinking_tokens"))
        self._thinking = self._thinking if thinking is None else thinking
        tier = wire.get("service_tier")
        if isinstance(tier, str):
            self.service_tier = tier
        return _count(wire.get(_OUTPUT)) is not None

    def usage(self, *, with_output: bool) -> Usage | None:
        """The usage so far; None where neither input nor output was counted.

        Without the output where what was reported is no count of all that came.
        """
        counts = self._counts
        read, written = counts.get(_READ), counts.get(_WRITTEN)
        prompt = counts.get(_INPUT)
        if prompt is not None:
            prompt += (read or 0) + (written or 0)
        completion = counts.get(_OUTPUT) if with_output else None
        if prompt is None and completion is None:
            return None
        if prompt is None:
            read = written = None
        return Usage(
            prompt=prompt,
            cached_read=read,
            cached_write=written,
            cached_write_1h=None
            if self._hour is None or written is None
            else min(self._hour, written),
            completion=completion,
            reasoning=None
            if self._thinking is None or completion is None
            else min(self._thinking, completion),
        )


_INPUT: Final = "input_tokens"
_OUTPUT: Final = "output_tokens"
_READ: Final = "cache_read_input_tokens"
_WRITTEN: Final = "cache_creation_input_tokens"
_COUNTS: Final = (_INPUT, _OUTPUT, _READ, _WRITTEN)


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
