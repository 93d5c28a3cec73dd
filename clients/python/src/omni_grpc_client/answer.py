"""What comes back from a chat: the answer, what it used and what it cost; frozen values.

`raw` is the contract's own message, for whatever these values leave out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.calls import count_of, time_of, word_of
from omni_grpc_client.prompt import Message, ReasoningBlock, ToolCall

_BLOCK_KINDS: Mapping[int, Literal["text", "summary", "encrypted"]] = {
    pb.REASONING_BLOCK_KIND_TEXT: "text",
    pb.REASONING_BLOCK_KIND_SUMMARY: "summary",
    pb.REASONING_BLOCK_KIND_ENCRYPTED: "encrypted",
}


@dataclass(frozen=True, slots=True)
class TopLogprob:
    """A token that could have stood at a place, with its natural-log probability."""

    token: str
    logprob: float
    token_bytes: bytes


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its natural-log probability, and the likeliest ones at its place."""

    token: str
    logprob: float
    token_bytes: bytes
    top_logprobs: tuple[TopLogprob, ...]


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log probabilities of the tokens of an answer's text, and of its refusal."""

    content: tuple[TokenLogprob, ...]
    refusal: tuple[TokenLogprob, ...]

    @classmethod
    def from_proto(cls, raw: pb.Logprobs) -> "Logprobs":
        """Reads the contract's message."""
        return cls(_tokens(raw.content), _tokens(raw.refusal))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the answers.

    `finish_reason` is `stop`, `length`, `tool_calls` or `content_filter` (more may come); None
    while it is not over. `stop_sequence` is the one that ended it, where the provider says so.
    """

    index: int = 0
    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    stop_sequence: str = ""
    reasoning_blocks: tuple[ReasoningBlock, ...] = ()

    @classmethod
    def from_proto(cls, raw: pb.Choice) -> "Choice":
        """Reads the contract's message."""
        said = raw.message
        return cls(
            index=raw.index,
            text="".join(part.text for part in said.parts),
            refusal=said.refusal,
            reasoning=said.reasoning,
            tool_calls=tuple(
                ToolCall(call.id, call.name, call.arguments_json) for call in said.tool_calls
            ),
            finish_reason=finish_reason_of(raw.finish_reason),
            logprobs=Logprobs.from_proto(raw.logprobs) if raw.HasField("logprobs") else None,
            stop_sequence=raw.stop_sequence,
            reasoning_blocks=blocks_of(said.reasoning_blocks),
        )

    @property
    def message(self) -> Message:
        """This answer as the assistant's turn, to go on with the conversation."""
        return Message(
            role="assistant",
            content=self.text or None,
            tool_calls=self.tool_calls,
            refusal=self.refusal,
            reasoning=self.reasoning,
            reasoning_blocks=self.reasoning_blocks,
        )


_NO_CHOICE = Choice()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answers as far as they have come. The short names speak of the first."""

    choices: tuple[Choice, ...]

    @property
    def text(self) -> str:
        """The first answer's text; empty if it has none, as when it calls tools."""
        return self._first.text

    @property
    def refusal(self) -> str:
        """The first answer's refusal; empty if it did not refuse."""
        return self._first.refusal

    @property
    def reasoning(self) -> str:
        """The first answer's reasoning, where the provider shows it."""
        return self._first.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the first answer calls."""
        return self._first.tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why the first answer ended; None while it has not."""
        return self._first.finish_reason

    @property
    def message(self) -> Message:
        """The first answer as the assistant's turn, to go on with the conversation."""
        return self._first.message

    def json(self) -> object:
        """The first answer's text, parsed: for structured output.

        Raises:
            ValueError: it is no JSON, as when it was cut short or refused.
        """
        parsed: object = json.loads(self.text)
        return parsed

    @property
    def _first(self) -> Choice:
        return self.choices[0] if self.choices else _NO_CHOICE


@dataclass(frozen=True, slots=True)
class AttemptUsage:
    """One attempt to serve a call.

    `outcome` is `answered`, `refused`, `failed`, `cancelled` or `unresolved`.
    """

    model: str
    outcome: str
    cost_nanousd: int
    price_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a call used. None means that the provider did not report it; zero means zero.

    `source` is `provider`, or `estimate` where the service counted by itself.
    """

    prompt_tokens: int | None
    cached_read_tokens: int | None
    cached_write_tokens: int | None
    prompt_audio_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    completion_audio_tokens: int | None
    cached_write_1h_tokens: int | None
    prompt_image_tokens: int | None
    completion_image_tokens: int | None
    source: str | None
    attempts: tuple[AttemptUsage, ...]

    @classmethod
    def from_proto(cls, raw: pb.Usage) -> "Usage":
        """Reads the contract's message."""
        return cls(
            prompt_tokens=count_of(raw, "prompt_token_count"),
            cached_read_tokens=count_of(raw, "cached_read_token_count"),
            cached_write_tokens=count_of(raw, "cached_write_token_count"),
            prompt_audio_tokens=count_of(raw, "prompt_audio_token_count"),
            completion_tokens=count_of(raw, "completion_token_count"),
            reasoning_tokens=count_of(raw, "reasoning_token_count"),
            completion_audio_tokens=count_of(raw, "completion_audio_token_count"),
            cached_write_1h_tokens=count_of(raw, "cached_write_1h_token_count"),
            prompt_image_tokens=count_of(raw, "prompt_image_token_count"),
            completion_image_tokens=count_of(raw, "completion_image_token_count"),
            source=word_of(pb.UsageSource, "USAGE_SOURCE_", raw.source),
            attempts=tuple(
                AttemptUsage(one.model, one.outcome, one.cost_nanousd, one.price_version)
                for one in raw.attempts
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What the same tokens would have cost with other models; None where that is not known.

    Attributes:
        premium_model: the premium model that the operator set, `provider/model`.
        premium_nanousd: what it would have cost.
        saved_nanousd: that less the call's cost; negative where routing cost more.
        single_model: the best single model for the task; empty where none is known.
        single_nanousd: what it would have cost.
    """

    premium_model: str
    premium_nanousd: int | None
    saved_nanousd: int | None
    single_model: str
    single_nanousd: int | None

    @classmethod
    def from_proto(cls, raw: pb.Savings) -> "Savings":
        """Reads the contract's message."""
        return cls(
            premium_model=raw.premium_model,
            premium_nanousd=count_of(raw, "premium_nanousd"),
            saved_nanousd=count_of(raw, "saved_nanousd"),
            single_model=raw.single_model,
            single_nanousd=count_of(raw, "single_nanousd"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion(Answer):
    """A finished call, streamed or not: the whole answer, its usage and its cost.

    Attributes:
        call_id: the server's name of this call; `usage` takes it.
        model: the offer that answered, `provider/model`, never an alias.
        create_time: when the call was accepted.
        usage: what it used, and each attempt.
        cost_nanousd: what it was charged.
        balance_nanousd: what can be spent after it; None while the ledger does not answer (the
            charge is then queued and not lost).
        system_fingerprint: the provider's backend configuration, where it names one.
        ignored: fields of the request that the provider was not sent, since it cannot do them.
        savings: what it saved; None where a model was named, or no premium model is set.
        warnings: what you should know, such as a deprecated model that was replaced.
    """

    call_id: str
    model: str
    create_time: datetime | None
    usage: Usage
    cost_nanousd: int
    balance_nanousd: int | None
    system_fingerprint: str
    ignored: tuple[str, ...]
    savings: Savings | None
    warnings: tuple[str, ...]
    raw: pb.ChatCompletion = field(repr=False, compare=False)

    @classmethod
    def from_proto(
        cls, raw: pb.ChatCompletion, choices: Sequence[Choice] | None = None
    ) -> "Completion":
        """Reads the contract's message; `choices` are a stream's, whose message has none."""
        if choices is None:
            choices = [Choice.from_proto(choice) for choice in raw.choices]
        return cls(
            choices=tuple(choices),
            call_id=raw.call_id,
            model=raw.model,
            create_time=time_of(raw, "create_time"),
            usage=Usage.from_proto(raw.usage),
            cost_nanousd=raw.cost_nanousd,
            balance_nanousd=count_of(raw, "balance_nanousd"),
            system_fingerprint=raw.system_fingerprint,
            ignored=tuple(raw.ignored_fields),
            savings=Savings.from_proto(raw.savings) if raw.HasField("savings") else None,
            warnings=tuple(raw.warnings),
            raw=raw,
        )


def finish_reason_of(value: int) -> str | None:
    """Why a choice ended, as a word; None while it has not."""
    return word_of(pb.FinishReason, "FINISH_REASON_", value)


def blocks_of(raw: Sequence[pb.ReasoningBlock]) -> tuple[ReasoningBlock, ...]:
    """Blocks of reasoning; of a kind that this client does not know, none."""
    return tuple(
        ReasoningBlock(
            kind=_BLOCK_KINDS[one.kind],
            format=one.format,
            text=one.text,
            signature=one.signature,
            data=one.data,
            id=one.id,
            text_before=one.preceding_char_count,
            calls_before=one.preceding_tool_call_count,
        )
        for one in raw
        if one.kind in _BLOCK_KINDS
    )


def _tokens(raw: Sequence[pb.TokenLogprob]) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            one.token,
            one.logprob,
            one.token_bytes,
            tuple(TopLogprob(top.token, top.logprob, top.token_bytes) for top in one.top_logprobs),
        )
        for one in raw
    )
