"""OpenAI's chat answers, plain and streamed, in the domain's words.

Whatever bytes a provider sends, this ends in an answer or in a `ProviderFault`, never in another
exception. The stream's decoder costs a few microseconds a chunk: chunks that came in one read
become one delta a choice, which loses nothing, since deltas are only ever concatenated.
"""

from typing import Final

import msgspec

from omni_grpc.core.chat import (
    Answer,
    ChatDelta,
    Choice,
    FinishReason,
    Logprobs,
    ReasoningBlock,
    ToolCall,
    ToolCallDelta,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers.calls import ProviderCompletion
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.http import generation_id_of
from omni_grpc.providers.openai.reasoning import BlockPieces, blocks_of
from omni_grpc.providers.openai.tool_calls import ToolCallNumbers
from omni_grpc.providers.openai.wire import (
    FAILED,
    WireChoice,
    WireChunk,
    WireChunkChoice,
    WireCompletion,
    WireDelta,
    WireLogprobs,
    finish_reason_of,
    logprobs_of,
    stop_sequence_of,
    texts_of,
    usage_of,
)

_DONE: Final = b"[DONE]"
_decode_chunk: Final = msgspec.json.Decoder(WireChunk).decode
_decode_completion: Final = msgspec.json.Decoder(WireCompletion).decode


# --- plain ------------------------------------------------------------------------------------
def decode_completion(data: bytes, faults: Faults) -> ProviderCompletion:
    """A whole answer.

    Raises:
        Malformed: the body is no answer of this dialect.
        ProviderFault: the body is an error object in spite of its status.
    """
    try:
        wire = _decode_completion(data)
    except BAD_JSON as error:
        raise faults.malformed(f"its answer is not a chat completion ({error})") from error
    if wire.error:
        raise faults.error_object(wire.error)
    if not wire.choices:
        raise faults.malformed("its answer has no choices")
    return ProviderCompletion(
        choices=tuple(_choice(choice, place) for place, choice in enumerate(wire.choices)),
        usage=usage_of(wire.usage),
        id=generation_id_of(wire.id),
        model=wire.model,
        system_fingerprint=wire.system_fingerprint,
        service_tier=wire.service_tier,
    )


def _choice(wire: WireChoice, place: int) -> Choice:
    answer = _answer(wire)
    finish: FinishReason
    if wire.finish_reason:
        finish = finish_reason_of(wire.finish_reason)
    else:
        finish = "tool_calls" if answer.tool_calls else "stop"
    return Choice(
        index=place if wire.index is None else wire.index,
        answer=answer,
        finish_reason=finish,
        logprobs=None if wire.logprobs is None else logprobs_of(wire.logprobs),
        stop_sequence=stop_sequence_of(finish, wire.stop_reason),
    )


def _answer(wire: WireChoice) -> Answer:
    message = wire.message
    if message is None:
        return Answer()
    annotations = bytes(message.annotations)
    content = message.content
    reasoning = message.reasoning_content or message.reasoning
    if isinstance(content, list):
        content, thinking = texts_of(content)
        reasoning = reasoning or thinking or None
    blocks: tuple[ReasoningBlock, ...] = ()
    if message.reasoning_details is not None:
        blocks, thinking = blocks_of(message.reasoning_details)
        reasoning = reasoning or thinking or None
    return Answer(
        text=content,
        refusal=message.refusal,
        reasoning=reasoning,
        reasoning_blocks=blocks,
        tool_calls=tuple(
            ToolCall(
                id=call.id or f"call_{place}",
                name=(call.function and call.function.name) or "",
                arguments_json=(call.function and call.function.arguments) or "",
            )
            for place, call in enumerate(message.tool_calls or ())
        ),
        annotations=None if annotations in (b"", b"null", b"[]") else msgspec.Raw(annotations),
    )


# --- streamed ---------------------------------------------------------------------------------
class _Run:
    """What one read brought for one choice."""

    __slots__ = (
        "blocks",
        "finish",
        "index",
        "logprobs",
        "reasoning",
        "refusal",
        "stop",
        "text",
        "tools",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.text: list[str] = []
        self.refusal = ""
        self.reasoning: list[str] | None = None
        self.tools: dict[int, ToolCallDelta] | None = None
        self.logprobs: list[WireLogprobs] | None = None
        self.finish: FinishReason | None = None
        self.stop: str | None = None
        self.blocks: list[ReasoningBlock] | None = None

    def delta(self) -> ChatDelta | None:
        """The delta, or None where the read brought nothing but a role."""
        text = "".join(self.text)
        if (
            self.reasoning is None
            and self.tools is None
            and self.logprobs is None
            and self.blocks is None
        ):
            if text and not self.refusal and self.stop is None:
                return ChatDelta(choice_index=self.index, text=text, finish_reason=self.finish)
            if not (text or self.refusal or self.finish):
                return None
        return ChatDelta(
            choice_index=self.index,
            text=text,
            refusal=self.refusal,
            reasoning="" if self.reasoning is None else "".join(self.reasoning),
            tool_calls=() if self.tools is None else tuple(self.tools.values()),
            logprobs=None if self.logprobs is None else _joined(self.logprobs),
            finish_reason=self.finish,
            stop_sequence=self.stop,
            reasoning_blocks=() if self.blocks is None else tuple(self.blocks),
        )


class ChatStreamDecoder:
    """Turns the events of one stream into deltas, and remembers how the stream stands."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._unfinished: set[int] = set()
        self._finished: set[int] = set()
        self._numbers: dict[int, ToolCallNumbers] = {}
        self._blocks: dict[int, BlockPieces] = {}
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
        """The last usage that the stream reported.

        Where more of the answer came after it, what it says of the completion is no count of it:
        some providers send a first report whose completion is a placeholder.
        """
        if self._usage is None or not self._usage_is_old:
            return self._usage
        return msgspec.structs.replace(
            self._usage, completion=None, reasoning=None, completion_audio=None
        )

    @property
    def complete(self) -> bool:
        """Whether nothing of the answer is missing: a finish reason for each choice, and an end.

        The end is `[DONE]`, or the usage, which is the last thing before it.
        """
        return bool(
            self._finished and not self._unfinished and (self.done or self._usage is not None)
        )

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The deltas of the events of one read.

        Stops at `[DONE]` (`done` is set) and at the first event that is an error or no chunk
        (`fault` is set); what came before is returned.
        """
        runs: dict[int, _Run] = {}
        run: _Run | None = None
        for event in events:
            try:
                chunk = _decode_chunk(event)
            except BAD_JSON as error:
                self._end_or_fail(event, error)
                break
            if chunk.error:
                self._take_usage(chunk.usage)
                self.fault = self._faults.stream_error(chunk.error)
                break
            if chunk.choices:
                self._learn(chunk)
                for choice in chunk.choices:
                    if run is None or run.index != choice.index:
                        run = runs.get(choice.index)
                        if run is None:
                            run = runs[choice.index] = _Run(choice.index)
                            self._see(choice.index)
                    self._take(choice, run)
            if chunk.usage is not None or chunk.x_groq is not None:
                self._take_reports(chunk)
            if self.fault is not None:
                break
        return tuple(delta for run in runs.values() if (delta := run.delta()) is not None)

    def _end_or_fail(self, event: bytes, error: Exception) -> None:
        if event.strip() == _DONE:
            self.done = True
        else:
            self.fault = self._faults.malformed(f"an event of its stream is no chunk ({error})")

    def _take_usage(self, wire: object) -> None:
        """The last report counts, of those that are one."""
        usage = usage_of(wire)
        if usage is not None:
            self._usage = usage
            self._usage_is_old = False

    def _take_reports(self, chunk: WireChunk) -> None:
        """The usage, in OpenAI's place or in Groq's, which also says there why it gave up."""
        self._take_usage(chunk.usage)
        groq = chunk.x_groq
        if isinstance(groq, dict):
            self._take_usage(groq.get("usage"))
            if groq.get("error"):
                self.fault = self._faults.stream_error(groq["error"])

    def _learn(self, chunk: WireChunk) -> None:
        if self.id is None:
            self.id = generation_id_of(chunk.id)
        if chunk.model is not None:
            self.model = chunk.model
        if chunk.system_fingerprint is not None:
            self.system_fingerprint = chunk.system_fingerprint
        if chunk.service_tier is not None:
            self.service_tier = chunk.service_tier

    def _see(self, index: int) -> None:
        if index not in self._finished:
            self._unfinished.add(index)

    def _take(self, choice: WireChunkChoice, run: _Run) -> None:
        if choice.delta is not None:
            self._take_delta(choice.delta, run)
        if choice.logprobs is not None:
            if run.logprobs is None:
                run.logprobs = []
            run.logprobs.append(choice.logprobs)
        if choice.finish_reason:
            self._take_finish(choice.finish_reason, choice.stop_reason, run)

    def _take_delta(self, delta: WireDelta, run: _Run) -> None:
        content = delta.content
        reasoning = delta.reasoning_content or delta.reasoning
        if isinstance(content, list):
            content, thinking = texts_of(content)
            reasoning = reasoning or thinking
        if delta.reasoning_details is not None:
            thinking = self._take_details(delta.reasoning_details, run)
            reasoning = reasoning or thinking
        if content or reasoning or delta.refusal or delta.tool_calls:
            self._usage_is_old = True
            if self._blocks and (content or delta.tool_calls):
                self._end_blocks(run)
        if content:
            run.text.append(content)
        if reasoning:
            if run.reasoning is None:
                run.reasoning = []
            run.reasoning.append(reasoning)
        if delta.refusal:
            run.refusal += delta.refusal
        if delta.tool_calls:
            self._take_tool_calls(delta, run)

    def _take_details(self, details: object, run: _Run) -> str:
        """The text of some `reasoning_details`; what is whole by them goes out."""
        pieces = self._blocks.get(run.index)
        if pieces is None:
            pieces = self._blocks[run.index] = BlockPieces()
        whole, text = pieces.take(details)
        if whole:
            run.blocks = [*(run.blocks or ()), *whole]
        return text

    def _end_blocks(self, run: _Run) -> None:
        """The last block ends where the answer goes on."""
        pieces = self._blocks.get(run.index)
        if pieces is not None and (whole := pieces.end()):
            run.blocks = [*(run.blocks or ()), *whole]

    def _take_finish(self, word: str, stop_reason: object, run: _Run) -> None:
        if word == FAILED:
            self.fault = self._faults.stream_error("it gave up in the middle of its answer")
        elif run.index not in self._finished:
            self._finished.add(run.index)
            self._unfinished.discard(run.index)
            run.finish = finish_reason_of(word)
            run.stop = stop_sequence_of(run.finish, stop_reason)
            if self._blocks:
                self._end_blocks(run)

    def _take_tool_calls(self, delta: WireDelta, run: _Run) -> None:
        numbers = self._numbers.get(run.index)
        if numbers is None:
            numbers = self._numbers[run.index] = ToolCallNumbers()
        if run.tools is None:
            run.tools = {}
        for wire in delta.tool_calls or ():
            piece = numbers.place(wire)
            if piece is None:
                self.fault = self._faults.malformed("one choice has too many tool calls")
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


def _joined(pieces: list[WireLogprobs]) -> Logprobs:
    content = [piece.content for piece in pieces if piece.content is not None]
    refusal = [piece.refusal for piece in pieces if piece.refusal is not None]
    return logprobs_of(
        WireLogprobs(
            content=tuple(token for tokens in content for token in tokens) if content else None,
            refusal=tuple(token for tokens in refusal for token in tokens) if refusal else None,
        )
    )
