"""Writing an answer as Cohere does: one body, or the events of a stream, and its errors.

`billed_units` are what is billed, as counted; `tokens` are more, by what Cohere adds by itself to
a prompt and an answer. Reasoning is a part of the content, or the plan before tool calls where no
thinking was asked for. Refusals have no form of their own: they are text.
"""

import zlib
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Final

import msgspec

from omni_grpc.simulator.answer import Answer, Counts, Piece
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialects.cohere_body import CohereBody
from omni_grpc.simulator.wire import ErrorReply, Event

__all__ = ("ChatWriter", "error_reply", "told_error")

HIDDEN_INPUT_TOKENS: Final = 64
HIDDEN_OUTPUT_TOKENS: Final = 2
"""What `tokens` counts beyond the bill: about Cohere's preamble, and its special tokens."""

_Json = dict[str, object]

_FINISH: Final = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR_TOXIC",
}

_MESSAGES: Final = {
    400: "invalid request: the simulator was told to refuse this.",
    401: "invalid api token",
    402: "Please add or update your payment method at https://dashboard.cohere.com/billing.",
    404: "model not found, make sure the correct model ID was used and that you have access to it.",
    422: "invalid request: the request cannot be processed.",
    429: "You are past the per minute request limit, please wait and try again later.",
    498: "blocked output: please try again with different input",
    499: "request cancelled",
    500: "internal server error, this has been reported to our developers.",
    503: "the service is currently overloaded",
}


def error_reply(status: int, message: str) -> ErrorReply:
    """Cohere's error: a message and the request's id."""
    body = {"id": f"sim-{zlib.crc32(message.encode()):08x}", "message": message}
    return ErrorReply(status, msgspec.json.encode(body))


def told_error(status: int, code: str | None) -> ErrorReply:
    """The error that a behaviour asked for."""
    if code == "insufficient_quota":
        status = HTTPStatus.PAYMENT_REQUIRED
    return error_reply(status, _MESSAGES.get(status, _MESSAGES[500]))


class ChatWriter:
    """One answer on its way out; `is_stopped` says that one of the caller's sequences ended it."""

    def __init__(
        self,
        chat: CohereBody,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        counts: Counts,
        is_stopped: bool,
    ) -> None:
        self._chat = chat
        self._is_stopped = is_stopped
        self._choice = answer.choices[0]
        self._behaviour = behaviour
        self._id = answer_id
        self._counts = counts
        has_calls = any(piece.kind == "tool_name" for piece in self._choice.pieces)
        self._plans = has_calls and chat.thinking is None

    def body(self) -> bytes:
        """The plain answer."""
        message: _Json = {"role": "assistant"}
        content: list[_Json] = []
        calls: list[_Json] = []
        for kind, pieces in self._parts():
            text = "".join(piece.text for piece in pieces if piece.kind != "tool_name")
            if kind == "tool_plan":
                message["tool_plan"] = text
            elif kind == "call":
                calls.append(_call(pieces[0], text))
            else:
                content.append({"type": kind, kind: text})
        if calls:
            message["tool_calls"] = calls
        if content:
            message["content"] = content
        answer: _Json = {"id": self._id, "message": message, **self._end()}
        if self._chat.logprobs:
            answer["logprobs"] = [
                _logprob(piece.text) for piece in self._choice.pieces if _is_text(piece)
            ]
        return msgspec.json.encode(answer)

    def events(self) -> Iterator[Event]:
        """The streamed answer, part by part."""
        empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
        begun: _Json = {"id": self._id, "delta": {"message": {**empty, "citations": []}}}
        yield _event("message-start", begun)
        content = calls = 0
        for kind, pieces in self._parts():
            if kind == "tool_plan":
                for piece in pieces:
                    yield _fragment("tool-plan-delta", {}, {"tool_plan": piece.text}, piece)
            elif kind == "call":
                yield from self._call_events({"index": calls}, pieces)
                calls += 1
            else:
                yield from self._content_events({"index": content}, kind, pieces)
                content += 1
        end = self._end()
        yield _event("message-end", {"delta": end}, is_usage=end.get("usage") is not None)
        if not self._behaviour.no_done:
            yield Event(b"[DONE]")

    def _parts(self) -> Iterator[tuple[str, Sequence[Piece]]]:
        """What the answer is made of, in order: thinking, tool_plan, text, and each call."""
        is_any = False
        for (kind, _), pieces in groupby(self._choice.pieces, self._part_of):
            is_any = True
            yield kind, tuple(pieces)
        if not is_any:
            yield "text", ()

    def _part_of(self, piece: Piece) -> tuple[str, int]:
        if piece.kind == "reasoning":
            return ("tool_plan" if self._plans else "thinking"), 0
        return ("text", 0) if _is_text(piece) else ("call", piece.call)

    def _content_events(self, at: _Json, kind: str, pieces: Sequence[Piece]) -> Iterator[Event]:
        begun = {"message": {"content": {"type": kind, kind: ""}}}
        yield _event("content-start", at | {"delta": begun})
        for piece in pieces:
            more = at
            if kind == "text" and self._chat.logprobs:
                more = at | {"logprobs": _logprob(piece.text)}
            yield _fragment("content-delta", more, {"content": {kind: piece.text}}, piece)
        yield _event("content-end", at)

    def _call_events(self, at: _Json, pieces: Sequence[Piece]) -> Iterator[Event]:
        named = pieces[0]
        yield _fragment("tool-call-start", at, {"tool_calls": _call(named, "")}, named)
        for piece in pieces[1:]:
            fragment: _Json = {"tool_calls": {"function": {"arguments": piece.text}}}
            yield _fragment("tool-call-delta", at, fragment, piece)
        yield _event("tool-call-end", at)

    def _end(self) -> _Json:
        end: _Json = {"finish_reason": self._finish()}
        usage = self._usage()
        if usage is not None:
            end["usage"] = usage
        return end

    def _finish(self) -> str:
        return "STOP_SEQUENCE" if self._is_stopped else _FINISH[self._choice.finish]

    def _usage(self) -> _Json | None:
        counts, lie = self._counts, self._behaviour.usage
        if lie in ("none", "early"):
            return None
        if lie == "half":
            return {"billed_units": {"input_tokens": counts.prompt}}
        if lie == "null":
            return {"billed_units": None, "tokens": None}
        hidden_input, hidden_output = HIDDEN_INPUT_TOKENS, HIDDEN_OUTPUT_TOKENS
        if lie == "zero":
            hidden_input = hidden_output = 0
        return {
            "billed_units": {"input_tokens": counts.prompt, "output_tokens": counts.completion},
            "tokens": {
                "input_tokens": counts.prompt + hidden_input,
                "output_tokens": counts.completion + hidden_output,
            },
            "cached_tokens": counts.cached,
        }


def _is_text(piece: Piece) -> bool:
    return piece.kind in ("content", "refusal")


def _event(kind: str, fields: _Json, *, is_usage: bool = False) -> Event:
    return Event(msgspec.json.encode({"type": kind, **fields}), is_usage=is_usage, name=kind)


def _fragment(kind: str, at: _Json, message: _Json, piece: Piece) -> Event:
    data = msgspec.json.encode({"type": kind, **at, "delta": {"message": message}})
    reasoning = piece.tokens if piece.kind == "reasoning" else 0
    return Event(data, piece.tokens, reasoning, name=kind)


def _call(named: Piece, arguments: str) -> _Json:
    function = {"name": named.text, "arguments": arguments}
    return {"id": named.call_id, "type": "function", "function": function}


def _logprob(text: str) -> _Json:
    """Made-up but repeatable."""
    known = zlib.crc32(text.encode())
    return {"text": text, "token_ids": [known % 250_000], "logprobs": [-(known % 700) / 1000]}
