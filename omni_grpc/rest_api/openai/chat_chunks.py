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
from omni_grpc.rest_api.openai.chat_completion import JsonObject, add_provenance, usage_object

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

    __slots__ = ("_close", "_include_usage", "_open", "_text_close", "_text_open")

    def __init__(self, started: ChatStarted, *, include_usage: bool) -> None:
        fields = _encode(
            {
                "id": started.call_id,
                "object": "chat.completion.chunk",
                "created": started.create_time,
                "model": started.model,
            }
        )
        self._include_usage = include_usage
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
            ):
                self._add(events, delta)
            elif delta.text:
                events += (text_open, _encode(delta.text), self._text_close)
            if delta.finish_reason is not None:
                events += self._chunk(delta.choice_index, {}, None, delta.finish_reason)
        return _on_one_line(b"".join(events))

    def end(self, completion: ChatCompletion) -> bytes:
        """The usage chunk, if it was asked for, a comment with the cost, and the end."""
        events: list[bytes] = []
        if self._include_usage:
            last: JsonObject = {"usage": usage_object(completion)}
            add_provenance(last, completion)
            events += (self._open, b"],", _encode(last)[1:], _END)
        balance = completion.balance_nanousd
        comment = {
            "call_id": completion.call_id,
            "model": completion.model,
            "cost_nanousd": completion.cost_nanousd,
            "cost_usd": usd_text(completion.cost_nanousd),
            "balance_nanousd": balance,
            "balance_usd": None if balance is None else usd_text(balance),
        }
        events += (b": omni ", _encode(comment), _END, DONE)
        return _on_one_line(b"".join(events))

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
        if delta.reasoning:
            content["reasoning_content"] = delta.reasoning
        if delta.tool_calls:
            content["tool_calls"] = [_fragment(call) for call in delta.tool_calls]
        events += self._chunk(index, content, delta.logprobs, None)

    def _chunk(
        self,
        index: int,
        content: JsonObject,
        logprobs: Logprobs | None,
        finish_reason: FinishReason | None,
    ) -> tuple[bytes, bytes, bytes]:
        choice = {
            "index": index,
            "delta": content,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
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


def _on_one_line(events: bytes) -> bytes:
    if not events.isascii():
        for character, escape in _LINE_BREAKS:
            events = events.replace(character, escape)
    return events
