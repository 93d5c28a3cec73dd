"""A streamed response as OpenAI's server-sent events.

Each event names its type and has the next `sequence_number`. An item is announced, filled and done
before the next, as agents expect that show one at a time; calls of functions alone are open side by
side, since their pieces may be mixed. What seals thoughts and comes in the midst of a message waits
for its end. The last event has the whole response.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    ChatCompletion,
    ChatDelta,
    FinishReason,
    ReasoningBlock,
    TokenLogprob,
    ToolCallDelta,
)
from omni_grpc.core.errors import FieldInvalid, OmniError
from omni_grpc.rest_api.errors import error_facts
from omni_grpc.rest_api.openai.chat_chunks import cost_comment, on_one_line
from omni_grpc.rest_api.responses_wire.reasoning import ReasoningSeal
from omni_grpc.rest_api.responses_wire.response import (
    JsonObject,
    ResponseFrame,
    Status,
    item_id,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)

_encode: Final = msgspec.json.Encoder().encode
_RATE_LIMITED: Final = 429


class _Thoughts:
    """The open item of reasoning."""

    __slots__ = ("blocks", "id", "index", "texts")

    def __init__(self, name: str, index: int) -> None:
        self.id = name
        self.index = index
        self.texts: list[str] = []
        self.blocks: list[ReasoningBlock] = []


class _Message:
    """The message; `parts` are done, `texts` is what came of the part that is open."""

    __slots__ = ("id", "index", "is_refusal", "logprobs", "parts", "prefix", "texts")

    def __init__(self, name: str, index: int) -> None:
        self.id = name
        self.index = index
        self.parts: list[JsonObject] = []
        self.texts: list[str] | None = None
        self.logprobs: list[TokenLogprob] = []
        self.is_refusal = False
        self.prefix = b""
        """Of a plain delta of text, which nearly all events are."""


class _Call:
    """An open call of a function."""

    __slots__ = ("arguments", "call_id", "id", "index", "name")

    def __init__(self, name: str, index: int, call_id: str, function: str) -> None:
        self.id = name
        self.index = index
        self.call_id = call_id
        self.name = function
        self.arguments: list[str] = []


class ResponseWriter:
    """Writes the events of one stream."""

    __slots__ = (
        "_calls",
        "_events",
        "_finish",
        "_frame",
        "_late",
        "_message",
        "_output",
        "_seal",
        "_sequence",
        "_thoughts",
        "_whole",
    )

    def __init__(self, frame: ResponseFrame, seal: ReasoningSeal) -> None:
        self._frame = frame
        self._seal = seal
        self._sequence = 0
        self._events: list[bytes] = []
        self._output: list[JsonObject | None] = []
        """By output index; None while the item is open."""
        self._thoughts: _Thoughts | None = None
        self._late: list[ReasoningBlock] = []
        """Blocks that came while a message was open."""
        self._message: _Message | None = None
        self._calls: dict[int, _Call] = {}
        self._finish: FinishReason | None = None
        self._whole: JsonObject = {}

    # --- what a stream has --------------------------------------------------------------------
    def deltas(self, deltas: Iterable[ChatDelta]) -> bytes:
        """The events of some deltas: what came together leaves together."""
        self._begin()
        for delta in deltas:
            if delta.choice_index == 0:
                self._take(delta)
        return self._flush()

    def conclude(self, completion: ChatCompletion, now: int) -> JsonObject:
        """Ends what is open; the whole response, which `end` then sends.

        Args:
            completion: how the call ended.
            now: Unix seconds.
        """
        self._begin()
        self._end_items()
        whole = self._frame.ended(self._items(), self._finish, completion, now)
        self._whole = whole
        return whole

    def end(self, completion: ChatCompletion) -> bytes:
        """A comment with the cost, and the last event."""
        whole = self._whole or self.conclude(completion, completion.create_time)
        self._events.append(cost_comment(completion))
        self._event(f"response.{whole['status']}", response=whole)
        return self._flush()

    # --- how a stream fails -------------------------------------------------------------------
    def fail(self, error: OmniError, call_id: str) -> bytes:
        """`error`, as a client's library raises it, and `response.failed`, as agents read it."""
        self._begin()
        self._event(
            "error",
            code=error.openai_code,
            message=error.message,
            param=error.field,
            omni=error_facts(error),
            request_id=call_id,
        )
        if error.http_status == _RATE_LIMITED:
            code = "rate_limit_exceeded"
        else:
            code = "invalid_prompt" if isinstance(error, FieldInvalid) else "server_error"
        failed = self._frame.response(
            "failed", self._items(), error={"code": code, "message": error.message}
        )
        self._event("response.failed", response=failed)
        return self._flush()

    # --- events -------------------------------------------------------------------------------
    def _begin(self) -> None:
        if self._sequence == 0:
            response = self._frame.response("in_progress", [])
            self._event("response.created", response=response)
            self._event("response.in_progress", response=response)

    def _event(self, kind: str, **fields: object) -> None:
        data = {"type": kind, **fields, "sequence_number": self._sequence}
        self._events.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(data)))
        self._sequence += 1

    def _flush(self) -> bytes:
        events = b"".join(self._events)
        self._events.clear()
        return on_one_line(events)

    def _items(self) -> list[JsonObject]:
        return [item for item in self._output if item is not None]

    def _place(self, index: int, item: JsonObject) -> None:
        self._output[index] = item
        self._event("response.output_item.done", output_index=index, item=item)

    # --- deltas -------------------------------------------------------------------------------
    def _take(self, delta: ChatDelta) -> None:
        if delta.reasoning or delta.reasoning_blocks:
            self._think(delta.reasoning, delta.reasoning_blocks)
        if delta.text:
            logprobs = None if delta.logprobs is None else delta.logprobs.content
            self._say(delta.text, logprobs or (), is_refusal=False)
        if delta.refusal:
            self._say(delta.refusal, (), is_refusal=True)
        for call in delta.tool_calls:
            self._call(call)
        if delta.finish_reason is not None:
            self._finish = delta.finish_reason
            self._end_items()

    def _think(self, text: str, blocks: Sequence[ReasoningBlock]) -> None:
        if self._message is not None:
            if not text:
                self._late += blocks
                return
            self._end_message("completed")
        thoughts = self._thoughts or self._open_thoughts()
        thoughts.blocks += blocks
        if not text:
            return
        at = {"item_id": thoughts.id, "output_index": thoughts.index, "summary_index": 0}
        if not thoughts.texts:
            part = {"type": "summary_text", "text": ""}
            self._event("response.reasoning_summary_part.added", **at, part=part)
        thoughts.texts.append(text)
        self._event("response.reasoning_summary_text.delta", **at, delta=text)

    def _open_thoughts(self) -> _Thoughts:
        index = len(self._output)
        thoughts = self._thoughts = _Thoughts(item_id("rs", self._frame.call_id, index), index)
        self._output.append(None)
        item = reasoning_item(thoughts.id, "", (), self._seal)
        self._event("response.output_item.added", output_index=index, item=item)
        return thoughts

    def _end_thoughts(self) -> None:
        thoughts, self._thoughts = self._thoughts, None
        if thoughts is None:
            return
        text = "".join(thoughts.texts)
        if text:
            at = {"item_id": thoughts.id, "output_index": thoughts.index, "summary_index": 0}
            self._event("response.reasoning_summary_text.done", **at, text=text)
            part = {"type": "summary_text", "text": text}
            self._event("response.reasoning_summary_part.done", **at, part=part)
        self._place(thoughts.index, reasoning_item(thoughts.id, text, thoughts.blocks, self._seal))

    def _say(self, text: str, logprobs: Sequence[TokenLogprob], *, is_refusal: bool) -> None:
        self._end_thoughts()
        message = self._message or self._open_message()
        if message.texts is None or message.is_refusal != is_refusal:
            self._end_part(message)
            self._open_part(message, is_refusal=is_refusal)
        if message.texts is not None:
            message.texts.append(text)
        if is_refusal:
            self._event("response.refusal.delta", **_at(message), delta=text)
        elif logprobs:
            message.logprobs += logprobs
            told = [_told(token) for token in logprobs]
            self._event("response.output_text.delta", **_at(message), delta=text, logprobs=told)
        else:
            tail = b',"logprobs":[],"sequence_number":%d}\n\n' % self._sequence
            self._events += (message.prefix, _encode(text), tail)
            self._sequence += 1

    def _open_message(self) -> _Message:
        index = len(self._output)
        message = self._message = _Message(item_id("msg", self._frame.call_id, index), index)
        self._output.append(None)
        item = message_item(message.id, "in_progress", [])
        self._event("response.output_item.added", output_index=index, item=item)
        return message

    def _open_part(self, message: _Message, *, is_refusal: bool) -> None:
        message.texts, message.is_refusal = [], is_refusal
        part = refusal_part("") if is_refusal else text_part("")
        self._event("response.content_part.added", **_at(message), part=part)
        kind = "response.output_text.delta"
        fields = _encode({"type": kind, **_at(message)})
        message.prefix = b'event: %b\ndata: %b,"delta":' % (kind.encode(), fields[:-1])

    def _end_part(self, message: _Message) -> None:
        if message.texts is None:
            return
        text = "".join(message.texts)
        if message.is_refusal:
            part = refusal_part(text)
            self._event("response.refusal.done", **_at(message), refusal=text)
        else:
            part = text_part(text, message.logprobs)
            told = [_told(token) for token in message.logprobs]
            self._event("response.output_text.done", **_at(message), text=text, logprobs=told)
        self._event("response.content_part.done", **_at(message), part=part)
        message.parts.append(part)
        message.texts, message.logprobs = None, []

    def _end_message(self, status: Status) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._end_part(message)
            self._place(message.index, message_item(message.id, status, message.parts))
        if self._late:
            self._open_thoughts().blocks += self._late
            self._late.clear()

    def _call(self, delta: ToolCallDelta) -> None:
        self._end_message("completed")
        self._end_thoughts()
        call = self._calls.get(delta.index)
        if call is None:
            index = len(self._output)
            name = item_id("fc", self._frame.call_id, index)
            call = _Call(name, index, delta.id or f"call_{delta.index}", delta.name or "")
            self._calls[delta.index] = call
            self._output.append(None)
            item = self._frame.call_item(name, "in_progress", call.call_id, call.name, "")
            self._event("response.output_item.added", output_index=index, item=item)
        if delta.arguments_json:
            call.arguments.append(delta.arguments_json)
            self._event(
                "response.function_call_arguments.delta",
                item_id=call.id,
                output_index=call.index,
                delta=delta.arguments_json,
            )

    def _end_items(self) -> None:
        """Ends all that is open: the answer is over, or was cut."""
        is_cut = self._finish in ("length", "content_filter")
        status: Status = "incomplete" if is_cut else "completed"
        self._end_message(status)
        self._end_thoughts()
        for call in self._calls.values():
            text = "".join(call.arguments)
            item = self._frame.call_item(call.id, status, call.call_id, call.name, text)
            self._event(
                "response.function_call_arguments.done",
                item_id=call.id,
                name=item["name"],
                output_index=call.index,
                arguments=text,
            )
            self._place(call.index, item)
        self._calls.clear()


def _at(message: _Message) -> JsonObject:
    return {
        "item_id": message.id,
        "output_index": message.index,
        "content_index": len(message.parts),
    }


def _told(token: TokenLogprob) -> JsonObject:
    return {
        "token": token.token,
        "logprob": token.logprob,
        "top_logprobs": [
            {"token": top.token, "logprob": top.logprob} for top in token.top_logprobs
        ],
    }
