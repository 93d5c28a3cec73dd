"""Writing an answer as Google does: one body, or the events of a stream, and its errors.

Each event is an answer of its own with the usage so far; a tool call comes whole, in one event; the
last event of a candidate has its finish reason, and there is no event after it. Thoughts are shown
only if they were asked for and always counted, beside the candidates. Of what a behaviour lies
about is lied here.
"""

import zlib
from collections.abc import Iterator
from http import HTTPStatus
from itertools import zip_longest
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from omni_grpc.simulator.answer import Answer, Choice, Counts, Piece
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.gemini_body import GeminiBody
from omni_grpc.simulator.dialects.gemini_request import count_media
from omni_grpc.simulator.dialects.gemini_signatures import is_strict, sign_call, sign_text
from omni_grpc.simulator.dialects.gemini_usage import (
    Report,
    last_reports,
    report_so_far,
    whole_report,
)
from omni_grpc.simulator.wire import ErrorReply, Event

__all__ = ("GeminiWriter", "refusal", "told_error")

RETRY_DELAY: Final = "2s"
"""What an error of too many requests advises."""

_FINISH: Final = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
_ERRORS: Final = {
    400: ("INVALID_ARGUMENT", "The simulator was told to refuse this."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "The model is not found."),
    408: ("DEADLINE_EXCEEDED", "The request took too long."),
    409: ("ABORTED", "The resource was changed meanwhile."),
    413: ("INVALID_ARGUMENT", "Request payload size exceeds the limit."),
    422: ("INVALID_ARGUMENT", "The request cannot be processed."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "An internal error has occurred."),
    502: ("UNAVAILABLE", "The server behind the server had an error."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The deadline expired before the request was processed."),
}
_TYPE: Final = "type.googleapis.com/google.rpc."
_OTHER_TOKENS: Final = (" the", " a", " it", " and", " one", ",", ".", " so", " all", " no")


class _Message(msgspec.Struct, frozen=True, rename="camel"):
    """An object of the answer; what is unset is left out, as Google leaves out what is empty."""


class _Call(_Message, frozen=True, kw_only=True):
    name: str
    args: Raw
    id: str | UnsetType = UNSET


class _Part(_Message, frozen=True, kw_only=True):
    text: str | UnsetType = UNSET
    thought: bool | UnsetType = UNSET
    function_call: _Call | UnsetType = UNSET
    thought_signature: str | UnsetType = UNSET


class _Content(_Message, frozen=True, kw_only=True):
    parts: list[_Part] | UnsetType = UNSET
    role: str


class _Token(_Message, frozen=True, kw_only=True):
    token: str
    token_id: int
    log_probability: float


class _Tops(_Message, frozen=True, kw_only=True):
    candidates: list[_Token]


class _Logprobs(_Message, frozen=True, kw_only=True):
    chosen_candidates: list[_Token]
    top_candidates: list[_Tops] | UnsetType = UNSET


class _Rating(_Message, frozen=True, kw_only=True):
    category: str
    probability: str
    blocked: bool | UnsetType = UNSET


class _Candidate(_Message, frozen=True, kw_only=True):
    content: _Content
    finish_reason: str | UnsetType = UNSET
    index: int
    safety_ratings: list[_Rating] | UnsetType = UNSET
    logprobs_result: _Logprobs | UnsetType = UNSET


class _Feedback(_Message, frozen=True, kw_only=True):
    block_reason: str


class _Answer(_Message, frozen=True, kw_only=True):
    candidates: list[_Candidate] | UnsetType = UNSET
    prompt_feedback: _Feedback | UnsetType = UNSET
    usage_metadata: Report = UNSET
    model_version: str
    response_id: str


class _Unit(msgspec.Struct, frozen=True):
    """What goes out at once; `tokens` are also those before it that are not shown."""

    part: _Part
    tokens: int
    reasoning: int
    pieces: tuple[Piece, ...] = ()


class GeminiWriter:
    """One answer on its way out; `model` as the caller wrote it."""

    def __init__(
        self,
        chat: GeminiBody,
        model: str,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        counts: Counts,
    ) -> None:
        self._chat = chat
        self._answer = answer
        self._behaviour = behaviour
        self._id = answer_id
        self._counts = counts
        self._media = count_media(chat)
        self._model = behaviour.as_model or model
        self._shows_thoughts = bool(chat.thinking.include_thoughts)
        self._is_strict = is_strict(model)
        self._signs = self._is_strict or answer.reasoning_tokens > 0

    # --- plain --------------------------------------------------------------------------------
    def body(self) -> bytes:
        """The plain answer."""
        usage = whole_report(self._counts, self._behaviour, self._media)
        if self._is_blocked:
            return self._wire([], usage)
        choices = enumerate(self._answer.choices)
        return self._wire([self._whole(index, choice) for index, choice in choices], usage)

    def _whole(self, index: int, choice: Choice) -> _Candidate:
        parts: list[_Part] = []
        for unit in self._units(choice):
            last = parts[-1] if parts else None
            joins = (
                last is not None
                and isinstance(unit.part.text, str)
                and isinstance(last.text, str)
                and last.thought == unit.part.thought
            )
            if last is not None and joins:
                text = f"{last.text}{unit.part.text}"
                parts[-1] = msgspec.structs.replace(last, text=text)
            else:
                parts.append(unit.part)
        if self._signs and parts and isinstance(parts[-1].text, str) and not parts[-1].thought:
            signature = sign_text(parts[-1].text, self._id)
            parts[-1] = msgspec.structs.replace(parts[-1], thought_signature=signature)
        return self._candidate(index, parts, choice.pieces, choice.finish)

    # --- streamed -----------------------------------------------------------------------------
    def events(self) -> Iterator[Event]:
        """The streamed answer, candidates taking turns, part by part."""
        if self._is_blocked:
            yield from self._last_events([])
            return
        sent = reasoned = 0
        choices = [list(self._units(choice)) for choice in self._answer.choices]
        for place, turn in enumerate(zip_longest(*choices)):
            for index, unit in enumerate(turn):
                if unit is None:
                    continue
                sent, reasoned = sent + unit.tokens, reasoned + unit.reasoning
                candidate = self._candidate(index, [unit.part], unit.pieces, None)
                is_first = not place and not index
                usage = report_so_far(
                    self._counts, sent, reasoned, self._behaviour, self._media, is_first=is_first
                )
                yield Event(self._wire([candidate], usage), unit.tokens, unit.reasoning)
        *others, last = enumerate(self._answer.choices)
        for index, choice in others:
            data = self._wire([self._finish(index, choice, choices[index])], UNSET)
            hidden, thought = _hidden(choice, choices[index])
            yield Event(data, hidden, thought)
        index, choice = last
        hidden, thought = _hidden(choice, choices[index])
        first, *more = self._last_events([self._finish(index, choice, choices[index])])
        yield Event(first.data, hidden, thought, is_usage=first.is_usage)
        yield from more

    def _finish(self, index: int, choice: Choice, units: list[_Unit]) -> _Candidate:
        """The end of a candidate: an empty text, which has the signature where no call has it."""
        has_calls = any(unit.part.function_call is not UNSET for unit in units)
        signature = sign_text("", self._id) if self._signs and not has_calls else UNSET
        part = _Part(text="", thought_signature=signature)
        return self._candidate(index, [part], (), choice.finish)

    def _last_events(self, candidates: list[_Candidate]) -> Iterator[Event]:
        reports = last_reports(self._counts, self._behaviour, self._media)
        yield Event(self._wire(candidates, reports[0]), is_usage=reports[0] is not UNSET)
        for report in reports[1:]:
            yield Event(self._wire(None, report), is_usage=True)

    # --- parts --------------------------------------------------------------------------------
    def _units(self, choice: Choice) -> Iterator[_Unit]:
        """What is shown of a candidate; a call that was cut off is not."""
        hidden = thought = 0
        calls: dict[int, list[Piece]] = {}
        for piece in choice.pieces:
            if piece.kind in ("tool_name", "tool_arguments"):
                calls.setdefault(piece.call, []).append(piece)
            elif piece.kind == "reasoning" and not self._shows_thoughts:
                hidden, thought = hidden + piece.tokens, thought + piece.tokens
            else:
                is_thought = piece.kind == "reasoning"
                part = _Part(text=piece.text, thought=True if is_thought else UNSET)
                reasoning = thought + (piece.tokens if is_thought else 0)
                yield _Unit(part, hidden + piece.tokens, reasoning, (piece,))
                hidden = thought = 0
        for number, pieces in calls.items():
            name, arguments = pieces[0], "".join(piece.text for piece in pieces[1:]).encode()
            if not _is_json(arguments):
                return
            signature = sign_call(name.text, arguments, self._id)
            call_id = name.call_id if self._is_strict else UNSET
            part = _Part(
                function_call=_Call(name=name.text, args=Raw(arguments), id=call_id),
                thought_signature=signature if self._signs and number == 0 else UNSET,
            )
            tokens = hidden + sum(piece.tokens for piece in pieces)
            yield _Unit(part, tokens, thought)
            hidden = thought = 0

    def _candidate(
        self, index: int, parts: list[_Part], pieces: tuple[Piece, ...], finish: str | None
    ) -> _Candidate:
        is_blocked = finish == "content_filter"
        rating = _Rating(category="HARM_CATEGORY_HARASSMENT", probability="HIGH", blocked=True)
        return _Candidate(
            content=_Content(parts=parts or UNSET, role="model"),
            finish_reason=UNSET if finish is None else _FINISH[finish],
            index=index,
            safety_ratings=[rating] if is_blocked else UNSET,
            logprobs_result=self._logprobs(pieces),
        )

    def _logprobs(self, pieces: tuple[Piece, ...]) -> _Logprobs | UnsetType:
        config = self._chat.generation_config
        texts = [piece.text for piece in pieces if piece.kind in ("content", "refusal")]
        if not config.response_logprobs or not texts:
            return UNSET
        tops = config.logprobs or 0
        return _Logprobs(
            chosen_candidates=[_tokens(text, 1)[0] for text in texts],
            top_candidates=[_Tops(candidates=_tokens(text, tops)) for text in texts]
            if tops
            else UNSET,
        )

    # --- the whole ----------------------------------------------------------------------------
    @property
    def _is_blocked(self) -> bool:
        """A filter that let nothing through has blocked the prompt."""
        choices = self._answer.choices
        return all(one.finish == "content_filter" and not one.pieces for one in choices)

    def _wire(self, candidates: list[_Candidate] | None, usage: Report) -> bytes:
        """An answer; an empty list of candidates says that the prompt was blocked."""
        blocked = _Feedback(block_reason="PROHIBITED_CONTENT")
        answer = _Answer(
            candidates=candidates or UNSET,
            prompt_feedback=blocked if candidates == [] else UNSET,
            usage_metadata=usage,
            model_version=self._model,
            response_id=self._id,
        )
        return msgspec.json.encode(answer)


def _hidden(choice: Choice, units: list[_Unit]) -> tuple[int, int]:
    """The tokens of a candidate that no unit counts, and those of them that are reasoning."""
    reasoning = sum(piece.tokens for piece in choice.pieces if piece.kind == "reasoning")
    tokens = sum(piece.tokens for piece in choice.pieces)
    return (
        tokens - sum(unit.tokens for unit in units),
        reasoning - sum(unit.reasoning for unit in units),
    )


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    return True


def _tokens(text: str, count: int) -> list[_Token]:
    """Made-up but repeatable: the chosen token first, the others ever less likely."""
    logprob = -round(zlib.crc32(text.encode()) % 700 / 1000, 3)
    others = [other for other in _OTHER_TOKENS * 2 if other != text]
    return [
        _Token(
            token=token,
            token_id=zlib.crc32(token.encode()) % 256_000,
            log_probability=round(logprob - rank * 1.5, 3),
        )
        for rank, token in enumerate([text, *dict.fromkeys(others)][:count])
    ]


# --- errors -----------------------------------------------------------------------------------
def refusal(rejected: Rejected, *, by_key: bool) -> ErrorReply:
    """What a request that is wrong gets; a wrong key is a wrong argument where keys are used."""
    status = rejected.status
    details: list[object] = []
    message = rejected.message
    if rejected.param is not None:
        violation = {"field": rejected.param, "description": rejected.message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if status == HTTPStatus.UNAUTHORIZED and by_key:
        status, message = HTTPStatus.BAD_REQUEST, "API key not valid. Please pass a valid API key."
        details.append(
            {
                "@type": f"{_TYPE}ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
        )
    return _error(status, message, details)


def told_error(status: int, code: str | None) -> ErrorReply:
    """The error that a behaviour asked for."""
    _, message = _ERRORS.get(status, _ERRORS[500])
    details: list[object] = []
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        if code == "insufficient_quota":
            message = "You exceeded your current quota, please check your plan and billing details."
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": RETRY_DELAY})
    elif code is not None:
        details.append({"@type": f"{_TYPE}ErrorInfo", "reason": code, "domain": "googleapis.com"})
    return _error(status, message, details)


def _error(status: int, message: str, details: list[object]) -> ErrorReply:
    word, _ = _ERRORS.get(status, _ERRORS[500])
    error: dict[str, object] = {"code": int(status), "message": message, "status": word}
    if details:
        error["details"] = details
    return ErrorReply(status, msgspec.json.encode({"error": error}))
