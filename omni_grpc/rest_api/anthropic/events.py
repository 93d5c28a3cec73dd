"""A streamed chat as Anthropic's server-sent events.

One block is open at a time, and each kind of content that comes after another kind opens a new one.
Only a provider that mixes the fragments of two calls makes an exception: a fragment goes to the
block of its own call, also where that is closed, since clients gather them by the block's index.
What a prompt cost is not known when a stream begins: `message_start` says 0 for every count, and
`message_delta` the true ones, as totals.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from omni_grpc.core.chat import (
    ChatCompletion,
    ChatDelta,
    ChatStarted,
    FinishReason,
    ReasoningBlock,
    ToolCallDelta,
)
from omni_grpc.core.usage import Usage
from omni_grpc.rest_api.anthropic.message import (
    JsonObject,
    is_hidden,
    redacted_block,
    stop_fields,
    text_block,
    thinking_block,
    tool_use_block,
    usage_counts,
)
from omni_grpc.rest_api.anthropic.pieces import in_order
from omni_grpc.rest_api.anthropic.signatures import Signatures
from omni_grpc.rest_api.openai.chat_chunks import cost_comment, on_one_line

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TEXT_CLOSE: Final = b"}}\n\n"
_NOT_KNOWN: Final = usage_counts(Usage())
_encode: Final = msgspec.json.Encoder().encode


class EventWriter:
    """Writes the events of one stream, of its first choice. Plain text is precomputed."""

    __slots__ = (
        "_calls",
        "_chars",
        "_finish",
        "_index",
        "_open",
        "_opening",
        "_refuses",
        "_shown",
        "_signatures",
        "_stop_sequence",
        "_text_open",
        "_thought",
    )

    def __init__(self, started: ChatStarted, *, signatures: Signatures) -> None:
        self._signatures = signatures
        self._opening = _message_start(started)
        """The first event, until it is written."""
        self._index = -1
        """Of the newest block."""
        self._open: Literal["text", "thinking", "tool"] | None = None
        self._text_open = b""
        self._thought = ""
        """What the open block of thinking shows."""
        self._shown = ""
        """What closed blocks of thinking show that were never signed."""
        self._calls: dict[int, int] = {}
        """The blocks of the calls, by the calls' own numbers."""
        self._chars = 0
        """How much of the answer's text was written."""
        self._refuses = False
        self._finish: FinishReason = "stop"
        self._stop_sequence: str | None = None

    def deltas(self, deltas: Iterable[ChatDelta]) -> bytes:
        """The events of some deltas: what came together leaves together."""
        events = [self._begun()]
        for delta in deltas:
            if delta.choice_index:
                continue
            if delta.reasoning_blocks:
                for piece in in_order(delta, self._chars, len(self._calls)):
                    self._write(events, piece)
            else:
                self._write(events, delta)
        return on_one_line(b"".join(events))

    def _write(self, events: list[bytes], delta: ChatDelta) -> None:
        if delta.reasoning or delta.reasoning_blocks:
            self._think(events, delta.reasoning, delta.reasoning_blocks)
        if delta.text:
            self._chars += len(delta.text)
            self._say(events, delta.text)
        if delta.refusal:
            self._refuses = True
            self._say(events, delta.refusal)
        for fragment in delta.tool_calls:
            self._call(events, fragment)
        if delta.finish_reason is not None:
            self._finish, self._stop_sequence = delta.finish_reason, delta.stop_sequence
            self._close(events)

    def end(self, completion: ChatCompletion) -> bytes:
        """Why it stopped and what it used, a comment with the cost, and the end."""
        events = [self._begun()]
        self._close(events)
        stop = stop_fields(
            self._finish, self._stop_sequence, calls=bool(self._calls), refuses=self._refuses
        )
        usage = usage_counts(completion.usage)
        last: JsonObject = {"type": "message_delta", "delta": stop, "usage": usage}
        events += (_event(b"message_delta", last), cost_comment(completion), _STOP)
        return on_one_line(b"".join(events))

    def _begun(self) -> bytes:
        opening, self._opening = self._opening, b""
        return opening

    # --- blocks -------------------------------------------------------------------------------
    def _start(self, events: list[bytes], block: JsonObject) -> None:
        self._close(events)
        self._index += 1
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        events.append(_event(b"content_block_start", start))

    def _close(self, events: list[bytes]) -> None:
        if self._open is not None:
            self._shown += self._thought
            self._thought = ""
            self._open = None
            self._stop(events)

    def _stop(self, events: list[bytes]) -> None:
        stop = {"type": "content_block_stop", "index": self._index}
        events.append(_event(b"content_block_stop", stop))

    def _delta(self, events: list[bytes], index: int, delta: JsonObject) -> None:
        whole = {"type": "content_block_delta", "index": index, "delta": delta}
        events.append(_event(b"content_block_delta", whole))

    def _say(self, events: list[bytes], text: str) -> None:
        if self._open != "text":
            self._start(events, text_block(""))
            self._open = "text"
            self._text_open = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"text_delta","text":' % self._index
            )
        events += (self._text_open, _encode(text), _TEXT_CLOSE)

    def _call(self, events: list[bytes], fragment: ToolCallDelta) -> None:
        index = self._calls.get(fragment.index)
        if index is None:
            call_id = fragment.id or f"call_{fragment.index}"
            self._start(events, tool_use_block(call_id, fragment.name or "", {}))
            self._open = "tool"
            index = self._calls[fragment.index] = self._index
        if fragment.arguments_json:
            partial = fragment.arguments_json
            self._delta(events, index, {"type": "input_json_delta", "partial_json": partial})

    # --- reasoning ----------------------------------------------------------------------------
    def _think(self, events: list[bytes], text: str, blocks: Sequence[ReasoningBlock]) -> None:
        """Shows what was thought, and signs or adds the blocks that are complete with it.

        One delta may hold the text of several blocks, so each takes its own from the front.
        """
        for place, block in enumerate(blocks):
            thought = self._thought + text
            if is_hidden(block):
                if all(map(is_hidden, blocks[place:])):
                    self._show(events, text)
                    text = ""
                self._hide(events, block)
            elif thought.startswith(block.text) and len(block.text) >= len(self._thought):
                self._show(events, block.text[len(self._thought) :], opens=True)
                self._sign(events, block)
                text = thought[len(block.text) :]
            elif not thought and block.text not in self._shown:
                self._show(events, block.text, opens=True)
                self._sign(events, block)
            else:
                # It was shown before, unsigned or otherwise: a second time it goes unread.
                self._show(events, text)
                text = ""
                self._hide(events, block)
        self._show(events, text)

    def _show(self, events: list[bytes], text: str, *, opens: bool = False) -> None:
        if (text or opens) and self._open != "thinking":
            self._start(events, thinking_block(""))
            self._open = "thinking"
        if text:
            self._thought += text
            self._delta(events, self._index, {"type": "thinking_delta", "thinking": text})

    def _sign(self, events: list[bytes], block: ReasoningBlock) -> None:
        signature = self._signatures.signature(block)
        self._delta(events, self._index, {"type": "signature_delta", "signature": signature})
        self._thought = ""
        self._close(events)

    def _hide(self, events: list[bytes], block: ReasoningBlock) -> None:
        self._start(events, redacted_block(block, self._signatures))
        self._stop(events)


def _message_start(started: ChatStarted) -> bytes:
    message: JsonObject = {
        "id": started.call_id,
        "type": "message",
        "role": "assistant",
        "model": started.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _NOT_KNOWN,
    }
    return _event(b"message_start", {"type": "message_start", "message": message})


def _event(name: bytes, data: JsonObject) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, _encode(data))
