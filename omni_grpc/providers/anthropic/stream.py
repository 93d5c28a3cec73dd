"""Anthropic's streamed answers in the domain's words.

A stream is a row of blocks, each begun, filled and ended by events. Events that came in one read
become one delta, but for blocks that stand behind what a delta tells after them: each delta tells
thinking, then words, then calls. Thinking streams as text and goes out once more as a whole block,
with its proof, when it has ended.
"""

from typing import Final

from omni_grpc.core.chat import ChatDelta, FinishReason, ReasoningBlock, ToolCallDelta
from omni_grpc.core.usage import Usage
from omni_grpc.providers.anthropic.decode import input_of, reasoning_block
from omni_grpc.providers.anthropic.wire import (
    JSON_TOOL,
    TOOL_CALLS_MAX,
    UsageCounts,
    WireBlock,
    WireDelta,
    WireEvent,
    WireMessage,
    block_of,
    event_of,
    finish_reason_of,
)
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.http import generation_id_of

_UNKNOWN: Final = WireBlock()
_THINKING: Final = frozenset({"thinking", "redacted_thinking"})


class _Open:
    """A block that has begun and not ended. `call` is a tool call's number, else -1.

    `chars` and `calls` is how much of the answer came before it.
    """

    __slots__ = ("block", "call", "calls", "chars", "index", "signature", "thinking", "wrote")

    def __init__(self, index: int, block: WireBlock, call: int, chars: int, calls: int) -> None:
        self.index = index
        self.block = block
        self.call = call
        self.chars = chars
        self.calls = calls
        self.thinking = [block.thinking] if block.thinking else []
        self.signature = block.signature or ""
        self.wrote = False

    def carried(self) -> tuple[ReasoningBlock, ...]:
        """What of it must go back in the next turn."""
        return reasoning_block(
            WireBlock(
                thinking="".join(self.thinking),
                signature=self.signature or None,
                data=self.block.data,
            ),
            self.chars,
            self.calls,
        )


class _Run:
    """What one read brought."""

    __slots__ = (
        "before",
        "blocks",
        "finish",
        "reasoning",
        "refusal",
        "stop_sequence",
        "text",
        "tools",
    )

    def __init__(self) -> None:
        self.before: tuple[ChatDelta, ...] = ()
        self._clear()

    def _clear(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal = ""
        self.tools: dict[int, ToolCallDelta] = {}
        self.blocks: list[ReasoningBlock] = []
        self.finish: FinishReason | None = None
        self.stop_sequence: str | None = None

    def arguments(self, call: int, text: str) -> None:
        """More of a call's arguments."""
        before = self.tools.get(call)
        self.tools[call] = ToolCallDelta(
            index=call,
            id=None if before is None else before.id,
            name=None if before is None else before.name,
            arguments_json=text if before is None else before.arguments_json + text,
        )

    def begin(self, kind: str) -> None:
        """A block of a kind begins; what a delta would tell after it is told by one of its own."""
        is_late = self.tools or (self.text and kind in _THINKING)
        if is_late and kind != "tool_use":
            self.before = self.deltas()
            self._clear()

    def deltas(self) -> tuple[ChatDelta, ...]:
        """One delta, mostly, or none where nothing came that a caller can see."""
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        if not (text or reasoning or self.refusal or self.tools or self.blocks or self.finish):
            return self.before
        return (
            *self.before,
            ChatDelta(
                text=text,
                refusal=self.refusal,
                reasoning=reasoning,
                tool_calls=tuple(self.tools.values()),
                finish_reason=self.finish,
                stop_sequence=self.stop_sequence,
                reasoning_blocks=tuple(self.blocks),
            ),
        )


class MessageStreamDecoder:
    """Turns the events of one stream into deltas, and remembers how the stream stands."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._counts = UsageCounts()
        self._counts_output = False
        self._open: _Open | None = None
        self._calls = 0
        self._chars = 0
        self._finished = False
        self.id: str | None = None
        self.model: str | None = None
        self.system_fingerprint: str | None = None
        self.service_tier: str | None = None
        self.done = False
        self.fault: ProviderFault | None = None

    @property
    def usage(self) -> Usage | None:
        """The last counts that the stream reported.

        The output's only from a report at the end, with nothing of the answer after it: the one
        that a stream begins with holds a placeholder.
        """
        return self._counts.usage(with_output=self._counts_output)

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: it has its stop reason, and its end or its usage."""
        return self._finished and (self.done or self._counts_output)

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The delta of the events of one read, or several where their order asks for it.

        Stops at `message_stop` (`done` is set) and at the first event that is an error or broken
        (`fault` is set); what came before is returned.
        """
        run = _Run()
        for data in events:
            try:
                event = event_of(data)
                if event is not None:
                    self._take(event, run)
            except BAD_JSON as error:
                self.fault = self._faults.malformed(f"an event of its stream is broken ({error})")
            if self.done or self.fault is not None:
                break
        return run.deltas()

    def _take(self, event: WireEvent, run: _Run) -> None:
        match event.type:
            case "content_block_delta":
                if event.delta is not None:
                    self._take_delta(event.index, event.delta, run)
            case "content_block_start":
                self._begin(event, run)
            case "content_block_stop":
                self._end(event.index, run)
            case "message_start":
                self._learn(event.message)
            case "message_delta":
                self._take_message_delta(event, run)
            case "message_stop":
                self.done = True
            case _:
                self._take_usage(event.usage)
                self.fault = self._faults.stream_error(event.error)

    def _learn(self, message: WireMessage | None) -> None:
        if message is None:
            return
        if self.id is None:
            self.id = generation_id_of(message.id)
        if message.model is not None:
            self.model = message.model
        self._counts.take(message.usage)
        self.service_tier = self._counts.service_tier

    # --- blocks -------------------------------------------------------------------------------
    def _begin(self, event: WireEvent, run: _Run) -> None:
        if self._open is not None:  # one that was never ended
            self._end(self._open.index, run)
        begun = event.content_block
        block = (block_of(begun) if bytes(begun) else None) or _UNKNOWN
        call, calls_before = -1, self._calls
        is_call = block.type == "tool_use" and block.name != JSON_TOOL
        run.begin(block.type if is_call or block.type != "tool_use" else "text")
        if is_call:
            if self._calls >= TOOL_CALLS_MAX:
                self.fault = self._faults.malformed("it calls too many tools")
                return
            call = self._calls
            self._calls += 1
            run.tools[call] = ToolCallDelta(
                index=call, id=block.id or f"call_{call}", name=block.name or ""
            )
        self._open = _Open(event.index, block, call, self._chars, calls_before)
        if block.type != "redacted_thinking":
            self._add(run, text=block.text, thinking=block.thinking)
        self._counts_output = self._counts_output and not run.tools

    def _take_delta(self, index: int, delta: WireDelta, run: _Run) -> None:
        block = self._open
        if block is None or block.index != index:
            # A block that nobody began: its text is clear, its tool or its proof is not.
            self._add(run, text=delta.text, thinking=delta.thinking)
            return
        if block.block is _UNKNOWN:
            return
        match delta.type:
            case "text_delta":
                self._add(run, text=delta.text)
            case "thinking_delta":
                block.thinking.append(delta.thinking or "")
                self._add(run, thinking=delta.thinking)
            case "signature_delta":
                block.signature += delta.signature or ""
            case "input_json_delta" if delta.partial_json:
                self._add_input(block, delta.partial_json, run)
            case _:
                pass

    def _add(self, run: _Run, *, text: str | None = None, thinking: str | None = None) -> None:
        if text:
            self._chars += len(text)
            run.text.append(text)
        if thinking:
            run.reasoning.append(thinking)
        if text or thinking:
            self._counts_output = False

    def _add_input(self, block: _Open, text: str, run: _Run) -> None:
        block.wrote = True
        if block.call >= 0:
            run.arguments(block.call, text)
            self._counts_output = False
        elif block.block.name == JSON_TOOL:
            self._add(run, text=text)

    def _end(self, index: int, run: _Run) -> None:
        block = self._open
        if block is None or block.index != index:
            return
        self._open = None
        if block.block.type == "tool_use" and not block.wrote:
            self._add_input(block, input_of(block.block), run)
        elif block.block.type in _THINKING:
            run.blocks += block.carried()

    # --- the end ------------------------------------------------------------------------------
    def _take_message_delta(self, event: WireEvent, run: _Run) -> None:
        self._take_usage(event.usage)
        delta = event.delta
        if delta is None or delta.stop_reason is None or self._finished:
            return
        self._finished = True
        run.finish = finish_reason_of(delta.stop_reason, calls_tools=self._calls > 0)
        run.stop_sequence = delta.stop_sequence
        if delta.stop_details is not None:
            run.refusal = delta.stop_details.explanation or ""

    def _take_usage(self, wire: object) -> None:
        if self._counts.take(wire):
            self._counts_output = True
