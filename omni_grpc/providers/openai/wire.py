"""The shapes of OpenAI's chat answers, as much of them as we read, and what their words mean.

The structs are read by msgspec and never leave this dialect. They forgive what compatible
providers leave out or set to null; a value of a wrong type is refused by msgspec.
"""

from typing import Annotated, Final

import msgspec

from omni_grpc.core.chat import FinishReason, Logprobs, TokenLogprob, TopLogprob
from omni_grpc.core.usage import Usage

CHOICE_INDEX_MAX: Final = 127
"""Highest index of a choice that is believed; OpenAI's own limit of `n` is 128."""

TOOL_CALLS_MAX: Final = 1_024
"""Most tool calls in one choice, so that a hostile index costs no memory."""

USAGE_TOKENS_MAX: Final = 10**9
"""A higher count is no count: a hundred times the longest context window there is."""

_ChoiceIndex = Annotated[int, msgspec.Meta(ge=0, le=CHOICE_INDEX_MAX)]
_ToolIndex = Annotated[int, msgspec.Meta(ge=0, lt=TOOL_CALLS_MAX)]


class WireTopLogprob(msgspec.Struct, frozen=True, gc=False):
    """An alternative token."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


class WireTokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """A token with its probability."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple[WireTopLogprob, ...] | None = None


class WireLogprobs(msgspec.Struct, frozen=True, gc=False):
    """The probabilities of a message or of a piece of one."""

    content: tuple[WireTokenLogprob, ...] | None = None
    refusal: tuple[WireTokenLogprob, ...] | None = None


class WireFunction(msgspec.Struct, frozen=True, gc=False):
    """The function of a tool call, whole or in a fragment."""

    name: str | None = None
    arguments: str | None = None


class WireToolCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call, whole or a fragment. Whole ones have no index, nor have some fragments."""

    index: _ToolIndex | None = None
    id: str | None = None
    function: WireFunction | None = None


class WireMessage(msgspec.Struct, frozen=True, gc=False):
    """An answer's message; `content` is a list of chunks where Mistral's models think."""

    content: str | list[object] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: object = None
    tool_calls: tuple[WireToolCall, ...] | None = None
    annotations: msgspec.Raw = msgspec.Raw()


class WireDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a message."""

    content: str | list[object] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: object = None
    tool_calls: tuple[WireToolCall, ...] | None = None


class WireChunkChoice(msgspec.Struct, frozen=True, gc=False):
    """A choice of a chunk."""

    index: _ChoiceIndex = 0
    delta: WireDelta | None = None
    finish_reason: str | None = None
    stop_reason: object = None
    logprobs: WireLogprobs | None = None


class WireChunk(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream; `x_groq` is where Groq puts its usage, and why it gave up."""

    id: object = None
    choices: tuple[WireChunkChoice, ...] | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: object = None
    error: object = None
    x_groq: object = None


class WireChoice(msgspec.Struct, frozen=True, gc=False):
    """A choice of a whole answer."""

    index: _ChoiceIndex | None = None
    message: WireMessage | None = None
    finish_reason: str | None = None
    stop_reason: object = None
    logprobs: WireLogprobs | None = None


class WireCompletion(msgspec.Struct, frozen=True, gc=False):
    """A whole answer."""

    id: object = None
    choices: tuple[WireChoice, ...] | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: object = None
    error: object = None


# --- finish reasons ---------------------------------------------------------------------------
FAILED: Final = "error"
"""The finish reason by which some aggregators say that a choice failed."""

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    # Words of other APIs that compatible providers let through.
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "insufficient_system_resource": "length",
    "safety": "content_filter",
    "refusal": "content_filter",
}


def finish_reason_of(word: str) -> FinishReason:
    """The domain's word. An unknown one is `stop`: all that is sure is that the answer ended."""
    return _FINISH_REASONS.get(word) or _FINISH_REASONS.get(word.lower(), "stop")


def stop_sequence_of(finish: FinishReason, stop_reason: object) -> str | None:
    """The stop sequence that ended a choice, where the provider (vLLM) says it as `stop_reason`."""
    return stop_reason if finish == "stop" and isinstance(stop_reason, str) else None


# --- content in chunks ------------------------------------------------------------------------
def texts_of(chunks: list[object]) -> tuple[str, str]:
    """The text and the reasoning of Mistral's chunks; others, such as references, have neither."""
    text: list[str] = []
    thinking: list[str] = []
    for chunk in chunks:
        if isinstance(chunk, dict):
            if chunk.get("type") == "thinking":
                inner = chunk.get("thinking")
                thinking.append(texts_of(inner)[0] if isinstance(inner, list) else _said(inner))
            else:
                text.append(_said(chunk.get("text")))
    return "".join(text), "".join(thinking)


def _said(value: object) -> str:
    return value if isinstance(value, str) else ""


# --- log probabilities ------------------------------------------------------------------------
def logprobs_of(wire: WireLogprobs) -> Logprobs:
    """The domain's log probabilities."""
    return Logprobs(content=_tokens_of(wire.content), refusal=_tokens_of(wire.refusal))


def _tokens_of(wire: tuple[WireTokenLogprob, ...] | None) -> tuple[TokenLogprob, ...] | None:
    if wire is None:
        return None
    return tuple(
        TokenLogprob(
            token=token.token,
            logprob=token.logprob,
            bytes=token.bytes,
            top_logprobs=tuple(
                TopLogprob(token=top.token, logprob=top.logprob, bytes=top.bytes)
                for top in token.top_logprobs or ()
            ),
        )
        for token in wire
    )


# --- usage ------------------------------------------------------------------------------------
def usage_of(wire: object) -> Usage | None:
    """The tokens of a `usage` object; None where it counts neither prompt nor completion.

    A count that is negative, no whole number or beyond `USAGE_TOKENS_MAX` was not reported. A
    part never exceeds its whole. An explicit zero is a zero. Where the total says that reasoning
    stands beside the completion (xAI), or the provider's documents do (Perplexity, known by its
    count of searches), it is counted into it, as everybody else does.
    """
    if not isinstance(wire, dict):
        return None
    prompt = _count(wire.get("prompt_tokens"))
    completion = _count(wire.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    prompt_parts = _object(wire.get("prompt_tokens_details"))
    completion_parts = _object(wire.get("completion_tokens_details"))
    # In OpenAI's place, DeepSeek's, and Moonshot's.
    cached = prompt_parts.get("cached_tokens")
    if cached is None:
        cached = _first(wire, "prompt_cache_hit_tokens", "cached_tokens")
    # In OpenRouter's place, Alibaba's, and that of proxies before Anthropic.
    written = _first(prompt_parts, "cache_write_tokens", "cache_creation_input_tokens")
    if written is None:
        written = wire.get("cache_creation_input_tokens")
    reasoning = _count(completion_parts.get("reasoning_tokens"))
    if reasoning is None and completion is not None and "num_search_queries" in wire:
        reasoning = _count(wire.get("reasoning_tokens"))
        completion += reasoning or 0
    if prompt and completion is not None and reasoning:
        beside = completion + reasoning
        if _count(wire.get("total_tokens")) == prompt + beside:
            completion = beside
    return Usage(
        prompt=prompt,
        cached_read=_part(cached, prompt),
        cached_write=_part(written, prompt),
        prompt_audio=_part(prompt_parts.get("audio_tokens"), prompt),
        completion=completion,
        reasoning=_part(reasoning, completion),
        completion_audio=_part(completion_parts.get("audio_tokens"), completion),
        prompt_image=_part(prompt_parts.get("image_tokens"), prompt),
        completion_image=_part(completion_parts.get("image_tokens"), completion),
    )


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    if type(value) is int:
        return value if 0 <= value <= USAGE_TOKENS_MAX else None
    if isinstance(value, float) and value.is_integer() and 0 <= value <= USAGE_TOKENS_MAX:
        return int(value)
    return None


def _first(parts: dict[str, object], name: str, other: str) -> object:
    value = parts.get(name)
    return parts.get(other) if value is None else value


def _part(value: object, whole: int | None) -> int | None:
    if value is None:
        return None
    count = _count(value)
    return count if count is None or whole is None else min(count, whole)
