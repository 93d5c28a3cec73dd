"""Writing an answer as OpenAI does: one body, or the events of a stream, and its errors.

A stream's chunks share id, created and model; `role` stands in a choice's first delta only, and a
tool call's id, type and name in its first fragment only; one chunk has the finish reason; the
usage comes last and only if it was asked for. What a behaviour lies about is lied about here.
"""

import zlib
from collections.abc import Iterator
from http import HTTPStatus
from itertools import zip_longest
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from omni_grpc.simulator.answer import Answer, Choice, Counts, Piece
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.openai_body import DETAILS_FORMAT, ChatBody, signature_of
from omni_grpc.simulator.dialects.openai_usage import (
    UsageReport,
    last_reports,
    report_so_far,
    whole_report,
)
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import ErrorReply, Event

__all__ = ("ChatWriter", "model_body", "models_body", "refusal", "told_error")

DONE: Final = b"[DONE]"

_MODELS_CREATED: Final = 1_767_225_600
"""When the simulated models are said to have been made: the start of 2026."""

_ERRORS: Final = {
    400: ("invalid_request_error", "invalid_value", "The simulator was told to refuse this."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("permission_error", "permission_denied", "You may not use this model."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("server_error", "request_timeout", "The request took too long."),
    409: ("invalid_request_error", "conflict", "The resource was changed meanwhile."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    422: ("invalid_request_error", "unprocessable", "The request cannot be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    500: ("server_error", "internal_error", "The server had an error."),
    502: ("server_error", "bad_gateway", "The server behind the server had an error."),
    503: ("server_error", "overloaded", "The engine is currently overloaded."),
}

_OTHER_TOKENS: Final = (" the", " a", " it", " and", " one", ",", ".", " so", " all", " no")


class _TopLogprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]


class _Logprob(_TopLogprob, frozen=True):
    top_logprobs: list[_TopLogprob]


class _Logprobs(msgspec.Struct, frozen=True):
    content: list[_Logprob] | None = None
    refusal: list[_Logprob] | None = None


class _Function(msgspec.Struct, frozen=True):
    arguments: str
    name: str | UnsetType = UNSET


class _ToolCall(msgspec.Struct, frozen=True):
    function: _Function
    index: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class _Detail(msgspec.Struct, frozen=True, kw_only=True):
    """A block of reasoning as OpenRouter tells it, or a piece of one."""

    type: str = "reasoning.text"
    text: str | UnsetType = UNSET
    signature: str | UnsetType | None = UNSET
    id: str | None = None
    format: str = DETAILS_FORMAT
    index: int = 0


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message, or a delta of one."""

    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: list[_Detail] | UnsetType = UNSET
    tool_calls: list[_ToolCall] | UnsetType = UNSET


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    message: _Message | UnsetType = UNSET
    delta: _Message | UnsetType = UNSET
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct, frozen=True):
    """A completion, or a chunk of one."""

    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[_Choice]
    usage: UsageReport | UnsetType | None = UNSET


class ChatWriter:
    """One answer on its way out. `created` is in Unix seconds; `model` as the caller wrote it."""

    def __init__(
        self,
        chat: ChatBody,
        answer: Answer,
        behaviour: Behaviour,
        *,
        completion_id: str,
        created: int,
        counts: Counts,
    ) -> None:
        self._chat = chat
        self._answer = answer
        self._behaviour = behaviour
        self._id = completion_id
        self._created = created
        self._counts = counts
        self._model = behaviour.as_model or chat.model
        self._fingerprint = f"fp_{zlib.crc32(self._model.encode()):08x}"

    def body(self) -> bytes:
        """The plain answer."""
        choices = [self._whole(index, one) for index, one in enumerate(self._answer.choices)]
        none = self._behaviour.usage == "none"
        usage = UNSET if none else whole_report(self._counts, self._behaviour)
        return self._completion("chat.completion", choices, usage)

    def events(self) -> Iterator[Event]:
        """The streamed answer, choices taking turns, piece by piece."""
        every = self._behaviour.usage == "every"
        at_first = {"every": (0, 0), "early": (1, 0)}.get(self._behaviour.usage)
        sent = reasoned = 0
        thinking = set(range(len(self._answer.choices)))
        for index, choice in enumerate(self._answer.choices):
            first = _Message(role="assistant", content=_first_content(choice))
            yield self._chunk(index, first, usage_so_far=at_first)
        turns = zip_longest(*(choice.pieces for choice in self._answer.choices))
        for turn in turns:
            for index, piece in enumerate(turn):
                if piece is None:
                    continue
                if piece.kind != "reasoning" and index in thinking:
                    thinking.remove(index)
                    for proof in self._proofs(self._answer.choices[index]):
                        yield self._chunk(index, proof)
                reasoning = piece.tokens if piece.kind == "reasoning" else 0
                sent, reasoned = sent + piece.tokens, reasoned + reasoning
                yield self._chunk(
                    index,
                    self._delta(piece),
                    piece=piece,
                    usage_so_far=(sent, reasoned) if every else None,
                )
        for index, choice in enumerate(self._answer.choices):
            yield self._chunk(
                index,
                _Message(),
                finish=choice.finish,
                usage_so_far=(sent, reasoned) if every else None,
            )
        asked = self._chat.wants_usage or every
        for usage in last_reports(self._counts, self._behaviour) if asked else ():
            data = self._completion("chat.completion.chunk", [], usage)
            yield Event(data, is_usage=True)
        if not self._behaviour.no_done:
            yield Event(DONE)

    def _chunk(
        self,
        index: int,
        delta: _Message,
        *,
        piece: Piece | None = None,
        finish: str | None = None,
        usage_so_far: tuple[int, int] | None = None,
    ) -> Event:
        usage: UsageReport | UnsetType | None = None if self._chat.wants_usage else UNSET
        if usage_so_far is not None:
            usage = report_so_far(self._counts, *usage_so_far)
        choice = _Choice(
            index=index,
            delta=delta,
            logprobs=self._logprobs([piece]) if piece else None,
            finish_reason=finish,
        )
        data = self._completion("chat.completion.chunk", [choice], usage)
        if piece is None:
            return Event(data)
        return Event(data, piece.tokens, piece.tokens if piece.kind == "reasoning" else 0)

    def _completion(
        self, kind: str, choices: list[_Choice], usage: UsageReport | UnsetType | None
    ) -> bytes:
        completion = _Completion(
            id=self._id,
            object=kind,
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            choices=choices,
            usage=usage,
        )
        return msgspec.json.encode(completion)

    def _whole(self, index: int, choice: Choice) -> _Choice:
        calls: list[_ToolCall] = []
        for name in (piece for piece in choice.pieces if piece.kind == "tool_name"):
            arguments = "".join(
                piece.text
                for piece in choice.pieces
                if piece.kind == "tool_arguments" and piece.call == name.call
            )
            function = _Function(arguments, name.text)
            calls.append(_ToolCall(function, id=name.call_id, type="function"))
        refusal = choice.text("refusal") or None
        reasoning = choice.text("reasoning")
        message = _Message(
            role="assistant",
            content=None if calls or refusal else choice.text("content"),
            refusal=refusal,
            reasoning_content=reasoning or UNSET,
            reasoning_details=self._details(reasoning),
            tool_calls=calls or UNSET,
        )
        pieces = list(choice.pieces)
        finish = choice.finish
        logprobs = self._logprobs(pieces)
        return _Choice(index=index, message=message, logprobs=logprobs, finish_reason=finish)

    def _details(self, reasoning: str) -> list[_Detail] | UnsetType:
        if not (reasoning and self._chat.wants_details):
            return UNSET
        return [_Detail(text=reasoning, signature=signature_of(reasoning))]

    def _delta(self, piece: Piece) -> _Message:
        message = _delta(piece)
        if piece.kind == "reasoning" and self._chat.wants_details:
            return msgspec.structs.replace(message, reasoning_details=[_Detail(text=piece.text)])
        return message

    def _proofs(self, choice: Choice) -> Iterator[_Message]:
        """The signature of what was thought: it comes when the thinking is over."""
        reasoning = choice.text("reasoning")
        if reasoning and self._chat.wants_details:
            yield _Message(reasoning_details=[_Detail(signature=signature_of(reasoning))])

    def _logprobs(self, pieces: list[Piece]) -> _Logprobs | None:
        if not self._chat.logprobs:
            return None
        tops = self._chat.top_logprobs or 0
        content = [_logprob(piece.text, tops) for piece in pieces if piece.kind == "content"]
        refusal = [_logprob(piece.text, tops) for piece in pieces if piece.kind == "refusal"]
        return _Logprobs(content or None, refusal or None) if content or refusal else None


def _first_content(choice: Choice) -> str | None:
    kinds = {piece.kind for piece in choice.pieces}
    return None if kinds & {"tool_name", "refusal"} else ""


def _delta(piece: Piece) -> _Message:
    match piece.kind:
        case "content":
            return _Message(content=piece.text)
        case "refusal":
            return _Message(refusal=piece.text)
        case "reasoning":
            return _Message(reasoning_content=piece.text)
        case "tool_name":
            function = _Function("", piece.text)
            call = _ToolCall(function, piece.call, piece.call_id, "function")
            return _Message(tool_calls=[call])
        case "tool_arguments":
            return _Message(tool_calls=[_ToolCall(_Function(piece.text), piece.call)])


def _logprob(text: str, tops: int) -> _Logprob:
    """Made-up but repeatable: the chosen token first, the others ever less likely."""
    logprob = -round(zlib.crc32(text.encode()) % 700 / 1000, 3)
    others = [other for other in _OTHER_TOKENS * 2 if other != text]
    listed = [text, *dict.fromkeys(others)][:tops]
    top = [
        _TopLogprob(token, round(logprob - rank * 1.5, 3), list(token.encode()))
        for rank, token in enumerate(listed)
    ]
    return _Logprob(text, logprob, list(text.encode()), top)


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


def refusal(rejected: Rejected) -> ErrorReply:
    """What a request that is wrong gets."""
    kind, default_code, _ = _ERRORS.get(rejected.status, _ERRORS[500])
    is_vague = rejected.status == HTTPStatus.BAD_REQUEST
    code = rejected.code or (None if is_vague else default_code)
    error = _Error(rejected.message, kind, rejected.param, code)
    return ErrorReply(rejected.status, msgspec.json.encode({"error": error}))


def told_error(status: int, code: str | None = None) -> ErrorReply:
    """The error that a behaviour asked for."""
    kind, default_code, message = _ERRORS.get(status, _ERRORS[500])
    if code == "insufficient_quota":
        kind, message = "insufficient_quota", "You exceeded your current quota."
    error = _Error(message, kind, None, code or default_code)
    return ErrorReply(status, msgspec.json.encode({"error": error}))


class _ModelCard(msgspec.Struct, frozen=True):
    id: str
    object: str
    created: int
    owned_by: str
    description: str


def model_card(model: SimulatedModel) -> _ModelCard:
    """One model as `/v1/models` lists it."""
    return _ModelCard(f"sim/{model.id}", "model", _MODELS_CREATED, "simulator", model.description)


def models_body(models: tuple[SimulatedModel, ...]) -> bytes:
    """The answer of `/v1/models`."""
    cards = [model_card(model) for model in models]
    return msgspec.json.encode({"object": "list", "data": cards})


def model_body(model: SimulatedModel) -> bytes:
    """The answer of `/v1/models/{id}`."""
    return msgspec.json.encode(model_card(model))
