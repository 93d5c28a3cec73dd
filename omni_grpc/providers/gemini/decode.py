"""Google's answers, plain and streamed, in the domain's words.

Whatever bytes come, this ends in an answer or in a `ProviderFault`, never in another exception.
Chunks that came in one read become one delta a choice. A stream has no last event of its own: it is
whole once each candidate has its finish reason and the body has ended.
"""

from typing import Final

import msgspec

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
from omni_grpc.providers.calls import ProviderCompletion
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.gemini import signatures
from omni_grpc.providers.gemini.wire import (
    FAILED,
    TOOL_CALLS_MAX,
    WireAnswer,
    WireCandidate,
    WireFunctionCall,
    WireLogprobs,
    WirePart,
    arguments_of,
    finish_reason_of,
    logprobs_of,
    report_in,
    usage_of,
)
from omni_grpc.providers.http import generation_id_of

MADE_ID: Final = "gemini_"
"""How ids begin that stand for calls which Google gave none; they are not sent to it."""

_NAME_CHARS_MAX: Final = 24
"""As much of an answer's name is put into such an id: some providers take ids of 40 letters."""

_COUNTS: Final = b"TokenCount"
"""In the name of every count: Vertex AI's first events have reports that count nothing."""

_GAVE_UP: Final = "it gave up in the middle of its answer"
_decode_answer: Final = msgspec.json.Decoder(WireAnswer).decode


class _TooManyCallsError(Exception):
    """A candidate has more tool calls than are believable."""


class _Reading:
    """One candidate as far as it was read, over all events."""

    __slots__ = ("calls", "chars", "finished", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.chars = 0
        self.calls = 0
        self.finished = False


class _Run:
    """What one read brought of one candidate."""

    __slots__ = ("blocks", "calls", "finish", "logprobs", "reading", "reasoning", "text")

    def __init__(self, reading: _Reading) -> None:
        self.reading = reading
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[ToolCallDelta] = []
        self.blocks: list[ReasoningBlock] = []
        self.logprobs: list[WireLogprobs] = []
        self.finish: FinishReason | None = None

    def take(self, part: WirePart, answer_id: str | None) -> None:
        """Takes one part.

        Raises:
            UnicodeDecodeError: its arguments are no UTF-8.
            _TooManyCallsError: it is a call beyond the bound.
        """
        reading = self.reading
        signature = part.thought_signature
        if part.function_call is not None:
            call_id = self._take_call(part.function_call, answer_id)
            if signature:
                self.blocks.append(signatures.of_call(signature, call_id))
            return
        text = part.text or ""
        if part.thought:
            if text:
                self.reasoning.append(text)
            if signature:
                self.blocks.append(signatures.of_thought(signature, text))
            return
        start = reading.chars
        if text:
            self.text.append(text)
            reading.chars += len(text)
        if signature:
            self.blocks.append(signatures.of_text(signature, start, reading.chars))

    def _take_call(self, call: WireFunctionCall, answer_id: str | None) -> str:
        reading = self.reading
        number = reading.calls
        if number >= TOOL_CALLS_MAX:
            raise _TooManyCallsError
        arguments = arguments_of(call)
        reading.calls += 1
        call_id = call.id or _made_id(reading.index, number, answer_id)
        self.calls.append(
            ToolCallDelta(index=number, id=call_id, name=call.name or "", arguments_json=arguments)
        )
        return call_id

    @property
    def has_content(self) -> bool:
        """Whether anything came that Google counts as the candidate's."""
        return bool(self.text or self.calls)

    def delta(self) -> ChatDelta | None:
        """The delta, or None where the read brought nothing."""
        logprobs = logprobs_of(self.logprobs) if self.logprobs else None
        if not (
            self.text or self.reasoning or self.calls or self.blocks or logprobs or self.finish
        ):
            return None
        return ChatDelta(
            choice_index=self.reading.index,
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            tool_calls=tuple(self.calls),
            logprobs=logprobs,
            finish_reason=self.finish,
            reasoning_blocks=tuple(self.blocks),
        )


def _made_id(index: int, number: int, answer_id: str | None) -> str:
    """Unique over the turns of a conversation, as far as Google names its answers."""
    name = "".join(filter(str.isalnum, answer_id or ""))[:_NAME_CHARS_MAX]
    return f"{MADE_ID}{index}_{number}_{name}"


# --- plain ------------------------------------------------------------------------------------
def decode_completion(data: bytes, faults: Faults) -> ProviderCompletion:
    """A whole answer.

    Raises:
        Malformed: the body is no answer of this dialect, or says that the model made none.
        ProviderFault: the body is an error object in spite of its status.
    """
    try:
        wire = _decode_answer(data)
        if wire.error:
            raise faults.error_object(wire.error)
        answer_id = generation_id_of(wire.response_id)
        runs = [_whole(one, place, answer_id) for place, one in enumerate(wire.candidates or ())]
    except BAD_JSON as error:
        raise faults.malformed(f"its answer is none of generateContent ({error})") from error
    except _TooManyCallsError:
        raise faults.malformed("one candidate has too many tool calls") from None
    failed = next((one for one in wire.candidates or () if one.finish_reason in FAILED), None)
    if failed is not None:
        reason = failed.finish_message or failed.finish_reason
        raise faults.malformed(f"{_GAVE_UP}: {reason}")
    choices = tuple(_choice(run, one) for run, one in zip(runs, wire.candidates or (), strict=True))
    if not choices:
        if not _is_blocked(wire):
            raise faults.malformed("its answer has no candidates")
        choices = (Choice(index=0, answer=Answer(), finish_reason="content_filter"),)
    return ProviderCompletion(
        choices=choices,
        usage=usage_of(
            report_in(wire.usage_metadata), has_content=any(run.has_content for run in runs)
        ),
        id=answer_id,
        model=wire.model_version,
    )


def _whole(candidate: WireCandidate, place: int, answer_id: str | None) -> _Run:
    run = _Run(_Reading(place if candidate.index is None else candidate.index))
    for part in (candidate.content and candidate.content.parts) or ():
        run.take(part, answer_id)
    return run


def _choice(run: _Run, candidate: WireCandidate) -> Choice:
    calls = tuple(
        ToolCall(id=call.id or "", name=call.name or "", arguments_json=call.arguments_json)
        for call in run.calls
    )
    logprobs = candidate.logprobs_result
    return Choice(
        index=run.reading.index,
        answer=Answer(
            text="".join(run.text) if run.text or not calls else None,
            reasoning="".join(run.reasoning) or None,
            reasoning_blocks=tuple(run.blocks),
            tool_calls=calls,
        ),
        finish_reason=finish_reason_of(candidate.finish_reason or "STOP", has_calls=bool(calls)),
        logprobs=None if logprobs is None else logprobs_of([logprobs]),
    )


def _is_blocked(wire: WireAnswer) -> bool:
    return wire.prompt_feedback is not None and bool(wire.prompt_feedback.block_reason)


# --- streamed ---------------------------------------------------------------------------------
class GeminiStreamDecoder:
    """Turns the events of one stream into deltas, and remembers how the stream stands."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._readings: dict[int, _Reading] = {}
        self._usage: Usage | None = None
        self._usage_is_old = False
        # The last report of the read that is under way.
        self._report: msgspec.Raw | None = None
        self._report_is_old = self._report_has_content = False
        self._has_content = False
        self.id: str | None = None
        self.model: str | None = None
        self.system_fingerprint: str | None = None
        self.service_tier: str | None = None
        self.done = False
        self.fault: ProviderFault | None = None

    @property
    def usage(self) -> Usage | None:
        """The last usage that the stream reported; each event has one of what came so far.

        Where more of the answer came after it, what it says of the completion is no count of it.
        """
        if self._usage is None or not self._usage_is_old:
            return self._usage
        return msgspec.structs.replace(
            self._usage,
            completion=None,
            reasoning=None,
            completion_audio=None,
            completion_image=None,
        )

    @property
    def complete(self) -> bool:
        """Whether nothing of the answer is missing: each candidate has its finish reason."""
        readings = self._readings.values()
        return bool(readings) and all(reading.finished for reading in readings)

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The deltas of the events of one read.

        Stops at the first event that is an error or no answer (`fault` is set); what came before
        is returned. `done` stays unset: the end is that of the body.
        """
        runs: dict[int, _Run] = {}
        for event in events:
            try:
                wire = _decode_answer(event)
                if wire.error:
                    self._take_usage(wire.usage_metadata)
                    self.fault = self._faults.stream_error(wire.error)
                    break
                self._take(wire, runs)
            except BAD_JSON as error:
                self.fault = self._faults.malformed(f"an event of its stream is none ({error})")
            except _TooManyCallsError:
                self.fault = self._faults.malformed("one candidate has too many tool calls")
            if self.fault is not None:
                break
        if self._report is not None:
            self._read_report(self._report)
        return tuple(delta for run in runs.values() if (delta := run.delta()) is not None)

    def _take(self, wire: WireAnswer, runs: dict[int, _Run]) -> None:
        if self.id is None:
            self.id = generation_id_of(wire.response_id)
        if wire.model_version is not None:
            self.model = wire.model_version
        for candidate in wire.candidates or ():
            self._take_candidate(candidate, self._run(candidate.index or 0, runs))
        if not wire.candidates and _is_blocked(wire):
            self._finish("content_filter", self._run(0, runs))
        self._take_usage(wire.usage_metadata)

    def _run(self, index: int, runs: dict[int, _Run]) -> _Run:
        run = runs.get(index)
        if run is None:
            reading = self._readings.get(index)
            if reading is None:
                reading = self._readings[index] = _Reading(index)
            run = runs[index] = _Run(reading)
        return run

    def _take_candidate(self, candidate: WireCandidate, run: _Run) -> None:
        for part in (candidate.content and candidate.content.parts) or ():
            run.take(part, self.id)
            if part.text or part.function_call is not None:
                self._usage_is_old = self._report_is_old = True
                self._has_content = self._has_content or not part.thought
        if candidate.logprobs_result is not None:
            run.logprobs.append(candidate.logprobs_result)
        word = candidate.finish_reason
        if word in FAILED:
            reason = candidate.finish_message or word
            self.fault = self._faults.stream_error(f"{_GAVE_UP}: {reason}")
        elif word:
            self._finish(finish_reason_of(word, has_calls=run.reading.calls > 0), run)

    def _finish(self, finish: FinishReason, run: _Run) -> None:
        if not run.reading.finished:
            run.reading.finished = True
            run.finish = finish

    def _take_usage(self, raw: msgspec.Raw) -> None:
        """The last report counts, of those that count; it is read when all of this read is."""
        if _COUNTS in bytes(raw):
            self._report = raw
            self._report_has_content = self._has_content
            self._report_is_old = False

    def _read_report(self, raw: msgspec.Raw) -> None:
        self._report = None
        usage = usage_of(report_in(raw), has_content=self._report_has_content)
        if usage is not None:
            self._usage = usage
            self._usage_is_old = self._report_is_old
