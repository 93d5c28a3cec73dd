"""A streamed answer of Cohere's in the domain's words: what came in one read becomes one delta."""

from typing import Final

import msgspec

from omni_grpc.core.chat import ChatDelta, FinishReason, ReasoningBlock, ToolCallDelta
from omni_grpc.core.usage import Usage
from omni_grpc.providers.cohere.wire import (
    FAILED,
    KNOWN_EVENTS,
    PARTS_BETWEEN,
    BareEvent,
    CallDelta,
    CallStart,
    ContentDelta,
    ContentEnd,
    ContentStart,
    MessageEnd,
    MessageStart,
    PlanDelta,
    WireContent,
    WireEvent,
    WireLogprob,
    block_of,
    finish_of,
    logprobs_of,
    usage_of,
)
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.http import generation_id_of
from omni_grpc.providers.openai.tool_calls import ToolCallNumbers
from omni_grpc.providers.openai.wire import WireToolCall

_DONE: Final = b"[DONE]"
"""May follow the last event; the SDKs skip it too."""

_decode_event: Final = msgspec.json.Decoder(WireEvent).decode
_decode_bare: Final = msgspec.json.Decoder(BareEvent).decode


class _Run:
    """What one read brought."""

    __slots__ = ("blocks", "finish", "logprobs", "reasoning", "text", "tools")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.blocks: list[ReasoningBlock] = []
        self.tools: dict[int, ToolCallDelta] = {}
        self.logprobs: list[WireLogprob] = []
        self.finish: FinishReason | None = None

    def delta(self) -> ChatDelta | None:
        """The delta, or None where the read brought nothing."""
        text = "".join(self.text)
        if not (self.reasoning or self.blocks or self.tools or self.logprobs):
            if not text and self.finish is None:
                return None
            return ChatDelta(text=text, finish_reason=self.finish)
        return ChatDelta(
            text=text,
            reasoning="".join(self.reasoning),
            reasoning_blocks=tuple(self.blocks),
            tool_calls=tuple(self.tools.values()),
            logprobs=logprobs_of(self.logprobs) if self.logprobs else None,
            finish_reason=self.finish,
        )


class ChatStreamDecoder:
    """Turns the events of one stream into deltas, and remembers how the stream stands."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._numbers = ToolCallNumbers()
        self._calls = False
        self._thought: list[str] = []
        self._thought_is_plan = False
        self._reasoned = False
        self.usage: Usage | None = None
        self.id: str | None = None
        self.model: str | None = None
        self.system_fingerprint: str | None = None
        self.service_tier: str | None = None
        self.done = False
        self.complete = False
        self.fault: ProviderFault | None = None

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The delta of the events of one read.

        Stops at the message's end (`done` is set), and at the first event that is an error or none
        of this dialect (`fault` is set); what came before is returned.
        """
        run = _Run()
        for data in events:
            try:
                event = _decode_event(data)
            except BAD_JSON as error:
                self._ignore_or_fail(data, error)
            else:
                self._take(event, run)
            if self.done or self.fault is not None:
                break
        delta = run.delta()
        return () if delta is None else (delta,)

    def _ignore_or_fail(self, data: bytes, error: Exception) -> None:
        """An event of an unknown type is none of ours; an error, or anything else, is a fault."""
        try:
            bare = _decode_bare(data)
        except BAD_JSON:
            if data.strip() != _DONE:
                self._fail_to_read(error)
            return
        if isinstance(bare.message, str) and bare.type in (None, "error"):
            self.fault = self._faults.stream_error(bare.message)
        elif not isinstance(bare.type, str) or bare.type in KNOWN_EVENTS:
            self._fail_to_read(error)

    def _fail_to_read(self, error: Exception) -> None:
        self.fault = self._faults.malformed(f"an event of its stream is none ({error})")

    # --- events -------------------------------------------------------------------------------
    def _take(self, event: WireEvent, run: _Run) -> None:
        match event:
            case ContentDelta() | ContentStart():
                if event.content is not None:
                    self._take_content(event.content, run)
                if event.logprobs is not None:
                    run.logprobs.append(event.logprobs)
            case CallStart() | CallDelta():
                self._end_thought(run)
                self._take_call(event, run)
            case PlanDelta():
                self._think(event.plan, run, is_plan=True)
            case ContentEnd():
                self._end_thought(run)
            case MessageStart():
                self.id = self.id or generation_id_of(event.id)
            case MessageEnd():
                self._end(event, run)

    def _take_content(self, content: WireContent, run: _Run) -> None:
        if content.thinking:
            self._think(content.thinking, run, is_plan=False)
        if content.text:
            run.text.append(content.text)

    def _think(self, text: str, run: _Run, *, is_plan: bool) -> None:
        if not text:
            return
        if self._thought and self._thought_is_plan != is_plan:
            self._end_thought(run)
        if not self._thought and self._reasoned:
            run.reasoning.append(PARTS_BETWEEN)
        self._thought_is_plan = is_plan
        self._reasoned = True
        self._thought.append(text)
        run.reasoning.append(text)

    def _end_thought(self, run: _Run) -> None:
        """A thought ends with its part, a plan, which has no end of its own, with what follows."""
        if self._thought:
            run.blocks.append(block_of("".join(self._thought), is_plan=self._thought_is_plan))
            self._thought.clear()

    def _take_call(self, event: CallStart | CallDelta, run: _Run) -> None:
        wire = event.call
        self._calls = True
        piece = self._numbers.place(
            WireToolCall(index=event.index, id=wire.id, function=wire.function)
        )
        if piece is None:
            self.fault = self._faults.malformed("its answer has too many tool calls")
            return
        before = run.tools.get(piece.index)
        if before is not None:
            piece = ToolCallDelta(
                index=piece.index,
                id=before.id or piece.id,
                name=before.name or piece.name,
                arguments_json=before.arguments_json + piece.arguments_json,
            )
        run.tools[piece.index] = piece

    def _end(self, event: MessageEnd, run: _Run) -> None:
        self._end_thought(run)
        end = event.delta
        if end is not None:
            self.usage = usage_of(end.usage)
        word = None if end is None else end.finish_reason
        error = None if end is None else end.error
        if error or word in FAILED:
            self.fault = self._faults.stream_error(
                error or "it gave up in the middle of its answer"
            )
            return
        run.finish = finish_of(word, calls=self._calls)
        self.done = self.complete = True
