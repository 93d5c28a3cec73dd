"""Puts the pieces of a streamed answer together, and takes a whole one apart again.

Only calls with a request id need it: their answer is kept, and whoever repeats the request may
stream it or not.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from omni_grpc.core.chat import (
    Answer,
    ChatDelta,
    Choice,
    FinishReason,
    Logprobs,
    ReasoningBlock,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)


@dataclass(slots=True)
class _Fragments:
    """One tool call, as far as it came."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Pieces:
    """One choice, as far as it came."""

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    reasoning_blocks: list[ReasoningBlock] = field(default_factory=list)
    calls: dict[int, _Fragments] = field(default_factory=lambda: defaultdict(_Fragments))
    content_logprobs: list[TokenLogprob] = field(default_factory=list)
    refusal_logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    stop_sequence: str | None = None


class Gathering:
    """The answer of one stream."""

    def __init__(self) -> None:
        self._choices: dict[int, _Pieces] = defaultdict(_Pieces)

    def add(self, deltas: Iterable[ChatDelta]) -> None:
        """Takes what one read brought."""
        for delta in deltas:
            pieces = self._choices[delta.choice_index]
            if delta.text:
                pieces.text.append(delta.text)
            if delta.refusal:
                pieces.refusal.append(delta.refusal)
            if delta.reasoning:
                pieces.reasoning.append(delta.reasoning)
            if delta.reasoning_blocks:
                pieces.reasoning_blocks += delta.reasoning_blocks
            for call in delta.tool_calls:
                fragments = pieces.calls[call.index]
                fragments.id = call.id or fragments.id
                fragments.name = call.name or fragments.name
                fragments.arguments.append(call.arguments_json)
            if delta.logprobs is not None:
                pieces.content_logprobs += delta.logprobs.content or ()
                pieces.refusal_logprobs += delta.logprobs.refusal or ()
            pieces.finish_reason = delta.finish_reason or pieces.finish_reason
            pieces.stop_sequence = delta.stop_sequence or pieces.stop_sequence

    def choices(self) -> tuple[Choice, ...]:
        """The whole choices, by index. One that never finished is none."""
        return tuple(
            Choice(
                index=index,
                answer=Answer(
                    text="".join(pieces.text) if pieces.text else None,
                    refusal="".join(pieces.refusal) if pieces.refusal else None,
                    reasoning="".join(pieces.reasoning) if pieces.reasoning else None,
                    reasoning_blocks=tuple(pieces.reasoning_blocks),
                    tool_calls=tuple(
                        ToolCall(id=call.id, name=call.name, arguments_json="".join(call.arguments))
                        for _, call in sorted(pieces.calls.items())
                    ),
                ),
                finish_reason=pieces.finish_reason,
                logprobs=_logprobs(pieces),
                stop_sequence=pieces.stop_sequence,
            )
            for index, pieces in sorted(self._choices.items())
            if pieces.finish_reason is not None
        )


def deltas_of(choices: Iterable[Choice]) -> Iterator[ChatDelta]:
    """Whole choices as one piece each."""
    for choice in choices:
        answer = choice.answer
        yield ChatDelta(
            choice_index=choice.index,
            text=answer.text or "",
            refusal=answer.refusal or "",
            reasoning=answer.reasoning or "",
            reasoning_blocks=answer.reasoning_blocks,
            tool_calls=tuple(
                ToolCallDelta(
                    index=index, id=call.id, name=call.name, arguments_json=call.arguments_json
                )
                for index, call in enumerate(answer.tool_calls)
            ),
            logprobs=choice.logprobs,
            finish_reason=choice.finish_reason,
            stop_sequence=choice.stop_sequence,
        )


def _logprobs(pieces: _Pieces) -> Logprobs | None:
    if not pieces.content_logprobs and not pieces.refusal_logprobs:
        return None
    return Logprobs(
        content=tuple(pieces.content_logprobs) or None,
        refusal=tuple(pieces.refusal_logprobs) or None,
    )
