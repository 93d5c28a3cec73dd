"""The shapes of Google's answers, as much of them as we read, and what their words mean.

The structs are read by msgspec and never leave this dialect. Google leaves out what is zero, empty
or false; a value of a wrong type is refused by msgspec.
"""

from typing import Annotated, Final

import msgspec

from omni_grpc.core.chat import FinishReason, Logprobs, TokenLogprob, TopLogprob
from omni_grpc.core.usage import Usage

CHOICE_INDEX_MAX: Final = 127
"""Highest index of a candidate that is believed; Google's own limit of candidates is 8."""

TOOL_CALLS_MAX: Final = 1_024
"""Most tool calls in one candidate, so that a hostile answer costs no memory."""

USAGE_TOKENS_MAX: Final = 10**9
"""A higher count is no count: a hundred times the longest context window there is."""

_ChoiceIndex = Annotated[int, msgspec.Meta(ge=0, le=CHOICE_INDEX_MAX)]


class WireFunctionCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call, always whole."""

    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()


class WirePart(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A piece of a candidate: text, a thought or a tool call."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: WireFunctionCall | None = None


class WireContent(msgspec.Struct, frozen=True, gc=False):
    """The parts of a candidate."""

    parts: tuple[WirePart, ...] | None = None


class WireToken(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A token with its probability."""

    token: str = ""
    log_probability: float = 0.0


class WireTokens(msgspec.Struct, frozen=True, gc=False):
    """The tokens that could have stood in one place."""

    candidates: tuple[WireToken, ...] | None = None


class WireLogprobs(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The probabilities of a candidate, or of a piece of one."""

    chosen_candidates: tuple[WireToken, ...] | None = None
    top_candidates: tuple[WireTokens, ...] | None = None


class WireCandidate(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A candidate, whole or a piece of one."""

    content: WireContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: _ChoiceIndex | None = None
    logprobs_result: WireLogprobs | None = None


class WirePromptFeedback(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What Google thinks of the prompt; it is blocked where a reason is given."""

    block_reason: str | None = None


class WireAnswer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A whole answer, or one event of a stream: they have the same form."""

    candidates: tuple[WireCandidate, ...] | None = None
    prompt_feedback: WirePromptFeedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()
    model_version: str | None = None
    response_id: object = None
    error: object = None


# --- finish reasons ---------------------------------------------------------------------------
FAILED: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    }
)
"""The reasons by which Google says that what the model wrote is no answer."""

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}


def finish_reason_of(word: str, *, has_calls: bool) -> FinishReason:
    """The domain's word. An unknown one is `stop`: all that is sure is that the answer ended.

    Google ends an answer of tool calls with STOP too.
    """
    finish = _FINISH_REASONS.get(word, "stop")
    return "tool_calls" if has_calls and finish == "stop" else finish


def arguments_of(call: WireFunctionCall) -> str:
    """The arguments of a tool call as they were written; `{}` where it has none.

    Raises:
        UnicodeDecodeError: they are no UTF-8.
    """
    args = bytes(call.args)
    return args.decode() if args.startswith(b"{") else "{}"


# --- log probabilities ------------------------------------------------------------------------
def logprobs_of(pieces: list[WireLogprobs]) -> Logprobs | None:
    """The domain's log probabilities; None where there is no token."""
    content = tuple(token for piece in pieces for token in _tokens_of(piece))
    return Logprobs(content=content) if content else None


def _tokens_of(wire: WireLogprobs) -> tuple[TokenLogprob, ...]:
    tops = wire.top_candidates or ()
    return tuple(
        TokenLogprob(
            token=chosen.token,
            logprob=chosen.log_probability,
            top_logprobs=tuple(
                TopLogprob(token=top.token, logprob=top.log_probability)
                for top in ((tops[place].candidates or ()) if place < len(tops) else ())
            ),
        )
        for place, chosen in enumerate(wire.chosen_candidates or ())
    )


# --- usage ------------------------------------------------------------------------------------
def usage_of(wire: object, *, has_content: bool) -> Usage | None:
    """The tokens of a `usageMetadata` object; None where it counts neither prompt nor answer.

    Google counts thoughts beside the candidates, and what its own tools brought beside the prompt;
    both are counted in here. It leaves out a count of zero: where the candidates' is missing,
    what the total leaves for them is theirs, but not once something of them came (`has_content`),
    since reports in the middle of a stream leave it out too. A count that is negative, no whole
    number or beyond `USAGE_TOKENS_MAX` was not reported. A part never exceeds its whole.
    """
    if not isinstance(wire, dict):
        return None
    prompt = _count(wire.get("promptTokenCount"))
    by_tools = _count(wire.get("toolUsePromptTokenCount")) or 0
    thoughts = _count(wire.get("thoughtsTokenCount"))
    completion = _count(wire.get("candidatesTokenCount"))
    if completion is not None:
        completion += thoughts or 0
    elif not has_content:
        total = _count(wire.get("totalTokenCount"))
        left = None if total is None or prompt is None else total - prompt - by_tools
        completion = thoughts if left is None or left < (thoughts or 0) else left
    if prompt is not None:
        prompt += by_tools
    if prompt is None and completion is None:
        return None
    of_prompt = _by_modality(wire, "promptTokensDetails", "toolUsePromptTokensDetails")
    of_answer = _by_modality(wire, "candidatesTokensDetails")
    return Usage(
        prompt=prompt,
        cached_read=_part(_count(wire.get("cachedContentTokenCount")), prompt),
        prompt_audio=_part(of_prompt.get("AUDIO"), prompt),
        prompt_image=_part(of_prompt.get("IMAGE"), prompt),
        completion=completion,
        reasoning=_part(thoughts, completion),
        completion_audio=_part(of_answer.get("AUDIO"), completion),
        completion_image=_part(of_answer.get("IMAGE"), completion),
    )


def report_in(raw: msgspec.Raw) -> object:
    """A `usageMetadata` object as it stands; None where there is none.

    A streamed answer has one in every event, of which the last counts: it alone need be read.
    """
    if not bytes(raw):
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _by_modality(wire: dict[str, object], *fields: str) -> dict[str, int]:
    """Tokens by modality, of all fields together."""
    counts: dict[str, int] = {}
    for field in fields:
        details = wire.get(field)
        for detail in details if isinstance(details, list) else ():
            if not isinstance(detail, dict):
                continue
            modality, count = detail.get("modality"), _count(detail.get("tokenCount"))
            if isinstance(modality, str) and count is not None:
                counts[modality] = counts.get(modality, 0) + count
    return counts


def _count(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and 0 <= value <= USAGE_TOKENS_MAX:
        return value
    return None


def _part(count: int | None, whole: int | None) -> int | None:
    return count if count is None or whole is None else min(count, whole)
