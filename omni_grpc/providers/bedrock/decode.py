"""Converse's answers, plain and streamed, in the domain's words.

Whatever bytes come, this ends in an answer or in a `ProviderFault`, never in another exception.
Events that came in one read become one delta, but for what a delta would tell in another order.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from omni_grpc.core.chat import (
    Answer,
    ChatDelta,
    Choice,
    FinishReason,
    ReasoningBlock,
    ToolCall,
    ToolCallDelta,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers.bedrock.wire import (
    WireAnswer,
    WireBlock,
    WireBlockDelta,
    WireBlockStart,
    WireEvent,
    WireMessageStop,
    WireMetadata,
    WireReasoningDelta,
    WireReasoningText,
    finish_reason_of,
    reasoning_block,
    stop_sequence_of,
    usage_of,
)
from omni_grpc.providers.calls import ProviderCompletion
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults

NO_ARGUMENTS: Final = "{}"
"""The arguments of a call that has none: a client reads them as JSON."""

_SERVER_TOOL: Final = "server_tool_use"

_STATUSES: Final = {
    "throttlingException": 429,
    "modelNotReadyException": 429,
    "validationException": 400,
    "accessDeniedException": 403,
    "resourceNotFoundException": 404,
    "modelTimeoutException": 408,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}
"""The statuses that these exceptions have outside a stream."""

_decode_answer: Final = msgspec.json.Decoder(WireAnswer).decode
_decode_event: Final = msgspec.json.Decoder(WireEvent).decode


# --- plain ------------------------------------------------------------------------------------
def decode_answer(data: bytes, faults: Faults) -> ProviderCompletion:
    """A whole answer.

    Raises:
        Malformed: the body is no answer of Converse.
    """
    try:
        wire = _decode_answer(data)
        message = None if wire.output is None else wire.output.message
        answer = None if message is None else _answer(message.content or ())
    except BAD_JSON as error:  # msgspec passes the strings of a tool's arguments by
        raise faults.malformed(f"its answer is not one of Converse ({error})") from error
    if answer is None:
        raise faults.malformed("its answer has no message")
    return ProviderCompletion(
        choices=(
            Choice(
                index=0,
                answer=answer,
                finish_reason=finish_reason_of(wire.stop_reason, has_calls=bool(answer.tool_calls)),
                stop_sequence=stop_sequence_of(wire.additional_model_response_fields),
            ),
        ),
        usage=usage_of(wire.usage),
        service_tier=None if wire.service_tier is None else wire.service_tier.type,
    )


def _answer(blocks: tuple[WireBlock, ...]) -> Answer:
    texts: list[str] = []
    reasoning: list[ReasoningBlock] = []
    calls: list[ToolCall] = []
    for block in blocks:
        if block.text is not None:
            texts.append(block.text)
        if block.citations_content is not None:
            texts += [one.text for one in block.citations_content.content or () if one.text]
        thought = block.reasoning_content
        if thought is not None:
            said = thought.reasoning_text or WireReasoningText()
            found = reasoning_block(said.text or "", said.signature, thought.redacted_content)
            if found is not None:
                chars = sum(map(len, texts))
                reasoning.append(replace(found, text_before=chars, calls_before=len(calls)))
        use = block.tool_use
        if use is not None and use.type != _SERVER_TOOL:
            arguments = bytes(use.input).decode()
            calls.append(
                ToolCall(
                    id=use.tool_use_id or f"call_{len(calls)}",
                    name=use.name or "",
                    arguments_json=NO_ARGUMENTS if arguments in ("", "null") else arguments,
                )
            )
    return Answer(
        text="".join(texts) if texts else None,
        reasoning="".join(block.text for block in reasoning) or None,
        reasoning_blocks=tuple(reasoning),
        tool_calls=tuple(calls),
    )


# --- streamed ---------------------------------------------------------------------------------
class _Thought:
    """A block of reasoning that has not ended; `chars` and `calls` came before it."""

    __slots__ = ("calls", "chars", "redacted", "signature", "text")

    def __init__(self, chars: int, calls: int) -> None:
        self.chars = chars
        self.calls = calls
        self.text: list[str] = []
        self.signature = ""
        self.redacted = ""

    def whole(self) -> ReasoningBlock | None:
        """The block."""
        found = reasoning_block("".join(self.text), self.signature or None, self.redacted or None)
        if found is None:
            return None
        return replace(found, text_before=self.chars, calls_before=self.calls)


class _Call:
    """A call of a tool that has not ended. `number` is the domain's index."""

    __slots__ = ("has_arguments", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.has_arguments = False


class _Run:
    """What one read brought."""

    __slots__ = ("before", "blocks", "finish", "reasoning", "stop_sequence", "text", "tools")

    def __init__(self) -> None:
        self.before: tuple[ChatDelta, ...] = ()
        self._clear()

    def _clear(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.blocks: list[ReasoningBlock] = []
        self.tools: dict[int, ToolCallDelta] = {}
        self.finish: FinishReason | None = None
        self.stop_sequence: str | None = None

    def add_arguments(self, number: int, text: str) -> None:
        """A piece of a call's arguments."""
        before = self.tools.get(number)
        self.tools[number] = (
            ToolCallDelta(index=number, arguments_json=text)
            if before is None
            else msgspec.structs.replace(before, arguments_json=before.arguments_json + text)
        )

    def cut(self) -> None:
        """What came is told by a delta of its own: what comes now is told before it in one."""
        self.before = self.deltas()
        self._clear()

    def deltas(self) -> tuple[ChatDelta, ...]:
        """One delta, mostly, or none where the read brought nothing."""
        if not (self.text or self.reasoning or self.blocks or self.tools or self.finish):
            return self.before
        last = ChatDelta(
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            tool_calls=tuple(self.tools.values()),
            finish_reason=self.finish,
            stop_sequence=self.stop_sequence,
            reasoning_blocks=tuple(self.blocks),
        )
        return (*self.before, last)


class ConverseStreamDecoder:
    """Turns the events of one stream into deltas, and remembers how the stream stands."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._thoughts: dict[int, _Thought] = {}
        self._calls: dict[int, _Call] = {}
        self._call_count = 0
        self._chars = 0
        self._began = False
        self._stopped = False
        self._usage: Usage | None = None
        self._usage_is_old = False
        self.id: str | None = None
        self.model: str | None = None
        self.system_fingerprint: str | None = None
        self.service_tier: str | None = None
        self.done = False
        self.fault: ProviderFault | None = None

    @property
    def usage(self) -> Usage | None:
        """The last usage that the stream reported; of one that came early, the prompt alone."""
        if self._usage is None or not self._usage_is_old:
            return self._usage
        return msgspec.structs.replace(self._usage, completion=None)

    @property
    def complete(self) -> bool:
        """Whether nothing of the answer is missing: `messageStop` follows all of it."""
        return self._stopped

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The delta of the events of one read, or several where their order asks for it.

        `done` is set by the metadata after `messageStop`, and `fault` by the first event that is
        an exception or none at all; what came before is returned.
        """
        run = _Run()
        for event in events:
            try:
                wire = _decode_event(event)
            except BAD_JSON as error:
                self.fault = self._faults.malformed(f"an event of its stream is none ({error})")
                break
            self._take(wire, run)
            if self.fault is not None:
                break
        return run.deltas()

    def _take(self, wire: WireEvent, run: _Run) -> None:
        if wire.content_block_delta is not None:
            self._take_delta(wire.content_block_delta, run)
        elif wire.content_block_start is not None:
            self._take_start(wire.content_block_start, run)
        elif wire.content_block_stop is not None:
            self._end_block(wire.content_block_stop.content_block_index, run)
        elif wire.message_stop is not None:
            self._take_stop(wire.message_stop, run)
        elif wire.metadata is not None:
            self._take_metadata(wire.metadata)
        elif wire.exception is not None:
            self.fault = self._fault_of(wire.exception, wire.details)

    def _take_start(self, wire: WireBlockStart, run: _Run) -> None:
        use = None if wire.start is None else wire.start.tool_use
        if use is None or use.type == _SERVER_TOOL:
            return
        self._end_block(wire.content_block_index, run)
        number = self._call_count
        self._call_count += 1
        self._calls[wire.content_block_index] = _Call(number)
        self._came()
        run.tools[number] = ToolCallDelta(
            index=number, id=use.tool_use_id or f"call_{number}", name=use.name or ""
        )

    def _take_delta(self, wire: WireBlockDelta, run: _Run) -> None:
        delta = wire.delta
        if delta is None:
            return
        if delta.text:
            self._came()
            if run.tools:
                run.cut()
            self._chars += len(delta.text)
            run.text.append(delta.text)
        if delta.reasoning_content is not None:
            self._take_thought(wire.content_block_index, delta.reasoning_content, run)
        if delta.tool_use is not None and delta.tool_use.input:
            call = self._calls.get(wire.content_block_index)
            if call is not None:
                self._came()
                call.has_arguments = True
                run.add_arguments(call.number, delta.tool_use.input)

    def _take_thought(self, index: int, delta: WireReasoningDelta, run: _Run) -> None:
        self._came()
        thought = self._thoughts.get(index)
        if thought is None:
            if run.text or run.tools:
                run.cut()
            thought = self._thoughts[index] = _Thought(self._chars, self._call_count)
        if delta.text:
            thought.text.append(delta.text)
            run.reasoning.append(delta.text)
        thought.signature += delta.signature or ""
        thought.redacted += delta.redacted_content or ""

    def _end_block(self, index: int, run: _Run) -> None:
        call = self._calls.pop(index, None)
        if call is not None and not call.has_arguments:
            run.add_arguments(call.number, NO_ARGUMENTS)
        thought = self._thoughts.pop(index, None)
        block = None if thought is None else thought.whole()
        if block is not None:
            run.blocks.append(block)

    def _take_stop(self, wire: WireMessageStop, run: _Run) -> None:
        for index in sorted({*self._calls, *self._thoughts}):  # whose end was left out
            self._end_block(index, run)
        if self._stopped:
            return
        self._stopped = True
        run.finish = finish_reason_of(wire.stop_reason, has_calls=self._call_count > 0)
        run.stop_sequence = stop_sequence_of(wire.additional_model_response_fields)

    def _take_metadata(self, wire: WireMetadata) -> None:
        """The last report counts, of those that are one."""
        usage = usage_of(wire.usage)
        if usage is not None:
            self._usage = usage
            self._usage_is_old = False
        if wire.service_tier is not None:
            self.service_tier = wire.service_tier.type
        self.done = self._stopped

    def _came(self) -> None:
        """A piece of the answer came: an earlier usage does not count it."""
        self._began = True
        self._usage_is_old = True

    def _fault_of(self, name: str, details: object) -> ProviderFault:
        """An exception. Before the answer began it means what it means as a refusal.

        Later it is an error in a stream whatever its name: what came is paid for.
        """
        said = details if isinstance(details, dict) else {}
        message = said.get("message") or said.get("Message")
        status = _STATUSES.get(name)
        if status is not None and not self._began:
            refusal = {"code": status, "status": name, "message": message or name}
            return self._faults.error_object(refusal)
        return self._faults.stream_error({"code": name, "message": message or name})
