"""The shapes of Converse's answers, as much of them as we read, and what their words mean.

The structs are read by msgspec and never leave this dialect. They forgive what is left out or null;
a value of a wrong type is refused by msgspec.
"""

from typing import Annotated, Final

import msgspec

from omni_grpc.core.chat import FinishReason, ReasoningBlock
from omni_grpc.core.usage import Usage

FORMAT: Final = "bedrock"
"""The name of this dialect in blocks of reasoning."""

BLOCKS_MAX: Final = 1_024
"""Most blocks of one answer, so that a hostile index costs no memory."""

USAGE_TOKENS_MAX: Final = 10**9
"""A higher count is no count: a hundred times the longest context window there is."""

_Index = Annotated[int, msgspec.Meta(ge=0, lt=BLOCKS_MAX)]


# --- a whole answer ---------------------------------------------------------------------------
class WireToolUse(msgspec.Struct, frozen=True, rename="camel"):
    """A call of a tool. `type` is set for tools that AWS itself runs."""

    tool_use_id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    type: str | None = None


class WireReasoningText(msgspec.Struct, frozen=True):
    """Reasoning in clear, with the proof that it is the model's."""

    text: str | None = None
    signature: str | None = None


class WireReasoning(msgspec.Struct, frozen=True, rename="camel"):
    """Reasoning, in clear or (base64) for its maker's eyes only."""

    reasoning_text: WireReasoningText | None = None
    redacted_content: str | None = None


class WireCited(msgspec.Struct, frozen=True):
    """A piece of text that has a source."""

    text: str | None = None


class WireCitations(msgspec.Struct, frozen=True):
    """Text with its sources."""

    content: tuple[WireCited, ...] | None = None


class WireBlock(msgspec.Struct, frozen=True, rename="camel"):
    """One block of an answer: one of these."""

    text: str | None = None
    tool_use: WireToolUse | None = None
    reasoning_content: WireReasoning | None = None
    citations_content: WireCitations | None = None


class WireMessage(msgspec.Struct, frozen=True):
    """The answer's message."""

    content: tuple[WireBlock, ...] | None = None


class WireOutput(msgspec.Struct, frozen=True):
    """What holds the message."""

    message: WireMessage | None = None


class WireTier(msgspec.Struct, frozen=True):
    """The tier that a call was served in."""

    type: str | None = None


class WireAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A whole answer."""

    output: WireOutput | None = None
    stop_reason: str | None = None
    usage: object = None
    additional_model_response_fields: object = None
    service_tier: WireTier | None = None


# --- a stream ---------------------------------------------------------------------------------
class WireStart(msgspec.Struct, frozen=True, rename="camel"):
    """How a block begins that is not plain text."""

    tool_use: WireToolUse | None = None


class WireToolInput(msgspec.Struct, frozen=True):
    """A piece of a tool's arguments."""

    input: str | None = None


class WireReasoningDelta(msgspec.Struct, frozen=True, rename="camel"):
    """A piece of reasoning, of its proof, or of what is encrypted (base64)."""

    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class WireDelta(msgspec.Struct, frozen=True, rename="camel"):
    """A piece of a block."""

    text: str | None = None
    tool_use: WireToolInput | None = None
    reasoning_content: WireReasoningDelta | None = None


class WireBlockStart(msgspec.Struct, frozen=True, rename="camel"):
    """The event `contentBlockStart`."""

    content_block_index: _Index = 0
    start: WireStart | None = None


class WireBlockDelta(msgspec.Struct, frozen=True, rename="camel"):
    """The event `contentBlockDelta`."""

    content_block_index: _Index = 0
    delta: WireDelta | None = None


class WireBlockStop(msgspec.Struct, frozen=True, rename="camel"):
    """The event `contentBlockStop`."""

    content_block_index: _Index = 0


class WireMessageStop(msgspec.Struct, frozen=True, rename="camel"):
    """The event `messageStop`."""

    stop_reason: str | None = None
    additional_model_response_fields: object = None


class WireMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """The event `metadata`, the last one."""

    usage: object = None
    service_tier: WireTier | None = None


class WireEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One event of a stream: one of these; others are nothing to us."""

    content_block_delta: WireBlockDelta | None = None
    content_block_start: WireBlockStart | None = None
    content_block_stop: WireBlockStop | None = None
    message_stop: WireMessageStop | None = None
    metadata: WireMetadata | None = None
    exception: str | None = None
    details: object = None


# --- how it ended -----------------------------------------------------------------------------
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def finish_reason_of(word: str | None, *, has_calls: bool) -> FinishReason:
    """The domain's word; of a missing one all that is sure is that the answer ended."""
    if not word:
        return "tool_calls" if has_calls else "stop"
    return _FINISH_REASONS.get(word, "stop")


def stop_sequence_of(fields: object) -> str | None:
    """The sequence that ended the answer, where the model's own fields tell it."""
    found = fields.get("stop_sequence") if isinstance(fields, dict) else None
    return found if isinstance(found, str) and found else None


def reasoning_block(
    text: str, signature: str | None, redacted: str | None
) -> ReasoningBlock | None:
    """A whole block of reasoning as it goes back in the next turn; None where there is nothing."""
    if redacted:
        return ReasoningBlock(kind="encrypted", format=FORMAT, data=redacted)
    if text or signature:
        return ReasoningBlock(kind="text", format=FORMAT, text=text, signature=signature)
    return None


# --- usage ------------------------------------------------------------------------------------
def usage_of(wire: object) -> Usage | None:
    """The tokens of a `usage` object; None where it counts neither input nor output.

    Input, what was read from a cache and what was written into one are three counts there; the
    domain's prompt is their sum. A count that is negative, no whole number or beyond
    `USAGE_TOKENS_MAX` was not reported. An explicit zero is a zero.
    """
    if not isinstance(wire, dict):
        return None
    fresh = _count(wire.get("inputTokens"))
    completion = _count(wire.get("outputTokens"))
    if fresh is None and completion is None:
        return None
    read = _count(wire.get("cacheReadInputTokens"))
    written = _count(wire.get("cacheWriteInputTokens"))
    written_1h = _written_for_an_hour(wire.get("cacheDetails"))
    if written is not None and written_1h is not None:
        written_1h = min(written_1h, written)
    return Usage(
        prompt=None if fresh is None else fresh + (read or 0) + (written or 0),
        cached_read=None if fresh is None else read,
        cached_write=None if fresh is None else written,
        completion=completion,
        cached_write_1h=None if fresh is None or written is None else written_1h,
    )


def _written_for_an_hour(details: object) -> int | None:
    if not isinstance(details, list):
        return None
    counts = [
        _count(one.get("inputTokens"))
        for one in details
        if isinstance(one, dict) and one.get("ttl") == "1h"
    ]
    found = [count for count in counts if count is not None]
    return sum(found) if found else None


def _count(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and 0 <= value <= USAGE_TOKENS_MAX:
        return value
    return None
