"""A streamed chat as OpenAI's server-sent events.

Clients concatenate what they get, so `role` stands in the first chunk of a choice alone, and a
tool call's `id`, `type` and `name` in its first fragment alone. A `finish_reason` comes in a chunk
of its own, since many clients stop reading a choice where they see one. All chunks of a stream
have the same id, time and model.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    ChatCompletion,
    ChatDelta,
    ChatStarted,
    FinishReason,
    Logprobs,
    ToolCallDelta,
)
from omni_grpc.core.money import usd_text
from omni_grpc.rest_api.openai.chat_completion import (
    JsonObject,
    add_provenance,
    reasoning_detail,
    savings_object,
    usage_object,
)

DONE: Final = b"data: [DONE]\n\n"
_END: Final = b"\n\n"
_encode: Final = msgspec.json.Encoder().encode

_LINE_BREAKS: Final = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)
"""Line breaks of Unicode that JSON lets stand, and at which some clients split lines."""


class ChunkWriter:
    """Writes the events of one stream. The plain-text chunk, which is nearly all, is precomputed.

    With `include_usage` every chunk has `usage`: null, but in a last one that has no choices.
    """

    __slots__ = (
        "_block_counts",
        "_close",
        "_hide_reasoning",
        "_include_usage",
        "_open",
        "_text_close",
        "_text_open",
    )

    def __init__(
        self, started: ChatStarted, *, include_usage: bool, hide_reasoning: bool = False
    ) -> None:
        fields = _encode(
            {
                "id": started.call_id,
                "object": "chat.completion.chunk",
                "created": started.create_time,
                "model": started.model,
            }
        )
        self._include_usage = include_usage
        self._hide_reasoning = hide_reasoning
        self._block_counts: dict[int, int] = {}
        """Blocks of reasoning that were sent, by choice: each has a number of its own."""
        self._open = b"data: " + fields[:-1] + b',"choices":['
        self._close = b"]" + (b',"usage":null}' if include_usage else b"}") + _END
        self._text_open: dict[int, bytes] = {}
        """By choice, from its first chunk on."""
        self._text_close = b'},"logprobs":null,"finish_reason":null}' + self._close

    def deltas(self, deltas: Iterable[ChatDelta]) -> bytes:
        """The events of some deltas: what came together leaves together."""
        events: list[bytes] = []
        for delta in deltas:
            text_open = self._text_open.get(delta.choice_index)
            if (
                text_open is None
                or delta.tool_calls
                or delta.reasoning
                or delta.refusal
                or delta.logprobs is not None
                or delta.reasoning_blocks
            ):
                self._add(events, delta)
            elif delta.text:
                events += (text_open, _encode(delta.text), self._text_close)
            if delta.finish_reason is not None:
                events += self._chunk(
                    delta.choice_index, {}, None, delta.finish_reason, delta.stop_sequence
                )
        return on_one_line(b"".join(events))

    def end(self, completion: ChatCompletion) -> bytes:
        """The usage chunk, if it was asked for, a comment with the cost, and the end."""
        events: list[bytes] = []
        if self._include_usage:
            last: JsonObject = {"usage": usage_object(completion)}
            add_provenance(last, completion)
            events += (self._open, b"],", _encode(last)[1:], _END)
        events += (cost_comment(completion), DONE)
        return on_one_line(b"".join(events))

    def _add(self, events: list[bytes], delta: ChatDelta) -> None:
        index = delta.choice_index
        content: JsonObject = {}
        if index not in self._text_open:
            self._text_open[index] = b'%b{"index":%d,"delta":{"content":' % (self._open, index)
            content["role"] = "assistant"
            content["content"] = delta.text or (None if delta.tool_calls else "")
        elif delta.text:
            content["content"] = delta.text
        if delta.refusal:
            content["refusal"] = delta.refusal
        if not self._hide_reasoning:
            if delta.reasoning:
                content["reasoning_content"] = delta.reasoning
            if delta.reasoning_blocks:
                first = self._block_counts.get(index, 0)
                self._block_counts[index] = first + len(delta.reasoning_blocks)
                content["reasoning_details"] = [
                    reasoning_detail(block, number)
                    for number, block in enumerate(delta.reasoning_blocks, first)
                ]
        if delta.tool_calls:
            content["tool_calls"] = [_fragment(call) for call in delta.tool_calls]
        if content or delta.logprobs is not None:
            events += self._chunk(index, content, delta.logprobs, None)

    def _chunk(
        self,
        index: int,
        content: JsonObject,
        logprobs: Logprobs | None,
        finish_reason: FinishReason | None,
        stop_sequence: str | None = None,
    ) -> tuple[bytes, bytes, bytes]:
        choice: JsonObject = {
            "index": index,
            "delta": content,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        if stop_sequence is not None:
            choice["stop_sequence"] = stop_sequence
        return self._open, _encode(choice), self._close


def _fragment(call: ToolCallDelta) -> JsonObject:
    function: JsonObject = {}
    if call.name is not None:
        function["name"] = call.name
    function["arguments"] = call.arguments_json
    fragment: JsonObject = {"index": call.index, "function": function}
    if call.id is not None:
        fragment["id"] = call.id
        fragment["type"] = "function"
    return fragment


def cost_comment(completion: ChatCompletion) -> bytes:
    """A comment that says what a stream cost, in every wire format."""
    balance = completion.balance_nanousd
    comment: JsonObject = {
        "call_id": completion.call_id,
        "model": completion.model,
        "cost_nanousd": completion.cost_nanousd,
        "cost_usd": usd_text(completion.cost_nanousd),
        "balance_nanousd": balance,
        "balance_usd": None if balance is None else usd_text(balance),
    }
    if completion.savings is not None:
        comment["savings"] = savings_object(completion.savings)
    return b": omni %b\n\n" % _encode(comment)


def on_one_line(events: bytes) -> bytes:
    """The events without characters at which some clients split lines, inside their JSON."""
    if not events.isascii():
        for character, escape in _LINE_BREAKS:
            events = events.replace(character, escape)
    return events
