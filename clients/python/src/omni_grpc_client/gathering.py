"""Reads a stream's events in their order and puts its pieces together; pure, no I/O.

Both clients' streams feed it. Fragments of a tool call are merged by their index, and a piece is
never lost: what came before a failure stays readable.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.answer import (
    Answer,
    Choice,
    Completion,
    Logprobs,
    TokenLogprob,
    blocks_of,
    finish_reason_of,
)
from omni_grpc_client.calls import time_of
from omni_grpc_client.prompt import ReasoningBlock, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first event: a provider has begun to answer.

    Attributes:
        call_id: the server's name of this call; `usage` takes it, also after a failure.
        model: the offer that answers, `provider/model`, never an alias.
        max_output_tokens: the output limit that was held for and sent to the provider.
        create_time: when the call was accepted.
        ignored: fields of the request that the provider was not sent, since it cannot do them.
    """

    call_id: str
    model: str
    max_output_tokens: int
    create_time: datetime | None
    ignored: tuple[str, ...]
    raw: pb.ChatStarted = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ToolCallFragment:
    """A fragment of the tool call at `index`; `id` and `name` stand in its first one only."""

    index: int
    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of one answer. Most have text; the last of a choice has its `finish_reason`.

    `reasoning_blocks` are whole, in the piece that completes them.
    """

    choice_index: int
    text: str
    refusal: str
    reasoning: str
    tool_calls: tuple[ToolCallFragment, ...]
    logprobs: Logprobs | None
    finish_reason: str | None
    stop_sequence: str
    reasoning_blocks: tuple[ReasoningBlock, ...]
    raw: pb.ChatDelta = field(repr=False, compare=False)


class Gathering:
    """The state of a stream: what started it, what has come, and how it ended."""

    def __init__(self) -> None:
        self.started: Started | None = None
        self.completion: Completion | None = None
        self._choices: defaultdict[int, _Growing] = defaultdict(_Growing)

    def take(self, event: pb.StreamChatResponse) -> Piece | None:
        """Takes the next event; a piece of the answer is returned.

        Events of a kind that this client does not know are passed over.
        """
        match event.WhichOneof("event"):
            case "started":
                self.started = _started(event.started)
            case "delta":
                piece = _piece(event.delta)
                self._choices[piece.choice_index].add(piece)
                return piece
            case "completion":
                self.completion = Completion.from_proto(event.completion, self._so_far())
        return None

    def answer(self) -> Answer:
        """What has come so far."""
        return Answer(choices=self._so_far())

    def _so_far(self) -> tuple[Choice, ...]:
        return tuple(self._choices[at].choice(at) for at in sorted(self._choices))


class _Growing:
    """One choice while it comes; lists, since adding to a long text piecewise is quadratic."""

    __slots__ = (
        "calls",
        "content_logprobs",
        "finish_reason",
        "has_logprobs",
        "reasoning",
        "reasoning_blocks",
        "refusal",
        "refusal_logprobs",
        "stop_sequence",
        "text",
    )

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.reasoning: list[str] = []
        self.calls: dict[int, list[ToolCallFragment]] = {}
        self.has_logprobs = False
        self.content_logprobs: list[TokenLogprob] = []
        self.refusal_logprobs: list[TokenLogprob] = []
        self.finish_reason: str | None = None
        self.stop_sequence = ""
        self.reasoning_blocks: list[ReasoningBlock] = []

    def add(self, piece: Piece) -> None:
        self.text.append(piece.text)
        self.refusal.append(piece.refusal)
        self.reasoning.append(piece.reasoning)
        for fragment in piece.tool_calls:
            self.calls.setdefault(fragment.index, []).append(fragment)
        if piece.logprobs is not None:
            self.has_logprobs = True
            self.content_logprobs.extend(piece.logprobs.content)
            self.refusal_logprobs.extend(piece.logprobs.refusal)
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.stop_sequence = piece.stop_sequence or self.stop_sequence
        self.reasoning_blocks.extend(piece.reasoning_blocks)

    def choice(self, index: int) -> Choice:
        return Choice(
            index=index,
            text="".join(self.text),
            refusal="".join(self.refusal),
            reasoning="".join(self.reasoning),
            tool_calls=tuple(_merged(self.calls[at]) for at in sorted(self.calls)),
            finish_reason=self.finish_reason,
            logprobs=Logprobs(tuple(self.content_logprobs), tuple(self.refusal_logprobs))
            if self.has_logprobs
            else None,
            stop_sequence=self.stop_sequence,
            reasoning_blocks=tuple(self.reasoning_blocks),
        )


def _merged(fragments: Sequence[ToolCallFragment]) -> ToolCall:
    return ToolCall(
        id=next((one.id for one in fragments if one.id), ""),
        name=next((one.name for one in fragments if one.name), ""),
        arguments_json="".join(one.arguments_json for one in fragments),
    )


def _started(raw: pb.ChatStarted) -> Started:
    return Started(
        call_id=raw.call_id,
        model=raw.model,
        max_output_tokens=raw.max_output_token_count,
        create_time=time_of(raw, "create_time"),
        ignored=tuple(raw.ignored_fields),
        raw=raw,
    )


def _piece(raw: pb.ChatDelta) -> Piece:
    return Piece(
        choice_index=raw.choice_index,
        text=raw.text,
        refusal=raw.refusal,
        reasoning=raw.reasoning,
        tool_calls=tuple(
            ToolCallFragment(one.tool_call_index, one.id, one.name, one.arguments_json)
            for one in raw.tool_calls
        ),
        logprobs=Logprobs.from_proto(raw.logprobs) if raw.HasField("logprobs") else None,
        finish_reason=finish_reason_of(raw.finish_reason),
        stop_sequence=raw.stop_sequence,
        reasoning_blocks=blocks_of(raw.reasoning_blocks),
        raw=raw,
    )
