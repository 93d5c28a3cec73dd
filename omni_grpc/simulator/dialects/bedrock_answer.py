"""Writing an answer as Bedrock's Converse does: one body, or the events of a stream, and errors.

A stream is messageStart, then each block with its index (only a tool's has a start), messageStop
and the metadata with the usage. What a behaviour lies about is lied about here.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import msgspec
from msgspec import Raw

from omni_grpc.simulator.answer import Answer, Choice, Counts, Piece
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.wire import ErrorReply, Event

__all__ = ("ConverseWriter", "refusal", "told_error")

_LATENCY_MS: Final = 1
_FINISHES: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
_REFUSED: Final = "guardrail_intervened"

_ERRORS: Final = {
    400: ("ValidationException", "The simulator was told to refuse this."),
    401: ("UnrecognizedClientException", "The security token included in the request is invalid."),
    403: ("AccessDeniedException", "You don't have access to the model with the specified ID."),
    404: ("ResourceNotFoundException", "Could not resolve the foundation model."),
    408: ("ModelTimeoutException", "The model took too long. Try again."),
    413: ("ValidationException", "The request is too large."),
    424: ("ModelErrorException", "The model had an error."),
    429: ("ThrottlingException", "Too many requests, please wait before trying again."),
    500: ("InternalServerException", "The system encountered an unexpected error."),
    503: ("ServiceUnavailableException", "Bedrock is unable to process your request."),
}
_IN_STREAM: Final = {
    "ThrottlingException": "throttlingException",
    "ValidationException": "validationException",
    "ServiceUnavailableException": "serviceUnavailableException",
    "InternalServerException": "internalServerException",
}
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403

_Json = dict[str, object]


class ConverseWriter:
    """One answer on its way out."""

    def __init__(self, answer: Answer, behaviour: Behaviour, counts: Counts) -> None:
        self._choice = answer.choices[0]
        self._behaviour = behaviour
        self._counts = counts

    def body(self) -> bytes:
        """The plain answer."""
        whole: _Json = {
            "output": {"message": {"role": "assistant", "content": _blocks(self._choice)}},
            "stopReason": _stop_reason(self._choice),
            "metrics": {"latencyMs": _LATENCY_MS},
        }
        if self._behaviour.usage != "none":
            whole["usage"] = self._usage()
        return msgspec.json.encode(whole)

    def events(self) -> Iterator[Event]:
        """The streamed answer."""
        yield _event("messageStart", {"role": "assistant"})
        if self._behaviour.usage == "early":
            yield self._metadata(_usage(self._counts.prompt, self._counts.cached, 1))
        sent = 0
        for index, pieces in enumerate(_grouped(self._choice.pieces)):
            for event in _block_events(index, pieces):
                yield event
                sent += event.tokens
                if self._behaviour.usage == "every" and event.tokens:
                    so_far = _usage(self._counts.prompt, self._counts.cached, sent)
                    yield self._metadata(so_far)
        yield _event("messageStop", {"stopReason": _stop_reason(self._choice)})
        yield from self._last_metadata()

    def _last_metadata(self) -> Iterator[Event]:
        match self._behaviour.usage:
            case "none":
                yield _event("metadata", {"metrics": {"latencyMs": _LATENCY_MS}})
            case "early":
                return
            case "twice":
                yield self._metadata(self._usage())
                yield self._metadata(self._usage())
            case "corrected":
                yield self._metadata(_usage(self._counts.prompt, 0, 1))
                yield self._metadata(self._usage())
            case _:
                yield self._metadata(self._usage())

    def _metadata(self, usage: _Json) -> Event:
        body = {"usage": usage, "metrics": {"latencyMs": _LATENCY_MS}}
        return Event(msgspec.json.encode(body), is_usage=True, name="metadata")

    def _usage(self) -> _Json:
        """The report of the whole; reasoning is never told apart."""
        counts = self._counts
        if self._behaviour.usage == "null":
            return {"inputTokens": None, "outputTokens": None, "totalTokens": None}
        usage = _usage(counts.prompt, counts.cached, counts.completion)
        if self._behaviour.usage == "half":
            del usage["outputTokens"]
        return usage


def _usage(prompt: int, cached: int, completion: int) -> _Json:
    """What was read from a cache stands beside the rest of the input."""
    return {
        "inputTokens": prompt - cached,
        "outputTokens": completion,
        "totalTokens": prompt + completion,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": 0,
    }


def _stop_reason(choice: Choice) -> str:
    if any(piece.kind == "refusal" for piece in choice.pieces):
        return _REFUSED
    return _FINISHES[choice.finish]


# --- blocks -----------------------------------------------------------------------------------
def _grouped(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The pieces of each block: a stretch of text, of reasoning, or one tool's call."""

    def block_of(piece: Piece) -> tuple[str, int]:
        return ("tool" if piece.kind.startswith("tool") else piece.kind, piece.call)

    for _, group in groupby(pieces, block_of):
        yield list(group)


def _blocks(choice: Choice) -> list[_Json]:
    return [_block(pieces) for pieces in _grouped(choice.pieces)]


def _block(pieces: list[Piece]) -> _Json:
    first = pieces[0]
    text = "".join(piece.text for piece in pieces if piece.kind != "tool_name")
    if first.kind == "reasoning":
        return {"reasoningContent": {"reasoningText": {"text": text, "signature": _proof(text)}}}
    if first.kind != "tool_name":
        return {"text": text}
    return {
        "toolUse": {
            "toolUseId": _tool_id(first),
            "name": first.text,
            "input": Raw((_whole_object(text) or "{}").encode()),
        }
    }


def _whole_object(text: str) -> str | None:
    """Arguments that the output limit cut are no JSON, and a plain answer cannot hold them."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return text


def _block_events(index: int, pieces: list[Piece]) -> Iterator[Event]:
    for piece in pieces:
        match piece.kind:
            case "reasoning":
                delta: _Json = {"reasoningContent": {"text": piece.text}}
            case "tool_name":
                use = {"toolUse": {"toolUseId": _tool_id(piece), "name": piece.text}}
                body: _Json = {"start": use, "contentBlockIndex": index}
                yield _event("contentBlockStart", body, piece)
                continue
            case "tool_arguments":
                delta = {"toolUse": {"input": piece.text}}
            case _:
                delta = {"text": piece.text}
        yield _event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}, piece)
    if pieces[0].kind == "reasoning":
        proof = _proof("".join(piece.text for piece in pieces))
        delta = {"reasoningContent": {"signature": proof}}
        yield _event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index})
    yield _event("contentBlockStop", {"contentBlockIndex": index})


def _event(name: str, body: _Json, piece: Piece | None = None) -> Event:
    data = msgspec.json.encode(body)
    if piece is None:
        return Event(data, name=name)
    reasoning = piece.tokens if piece.kind == "reasoning" else 0
    return Event(data, piece.tokens, reasoning, name=name)


def _tool_id(piece: Piece) -> str:
    return "tooluse_" + piece.call_id.removeprefix("call_")


def _proof(text: str) -> str:
    """What stands for the signature of a thought: the same for the same text."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# --- errors -----------------------------------------------------------------------------------
def refusal(rejected: Rejected) -> ErrorReply:
    """What a request that is wrong gets. AWS has no 401: who is unknown may not."""
    kind, _ = _ERRORS.get(rejected.status, _ERRORS[500])
    if rejected.status == _UNAUTHORIZED:
        return _reply(_FORBIDDEN, kind, _ERRORS[_UNAUTHORIZED][1])
    return _reply(rejected.status, rejected.code or kind, rejected.message)


def told_error(status: int, code: str | None) -> ErrorReply:
    """The error that a behaviour asked for."""
    kind, message = _ERRORS.get(status, _ERRORS[500])
    return _reply(status, code or kind, message)


def _reply(status: int, kind: str, message: str) -> ErrorReply:
    return ErrorReply(
        status,
        msgspec.json.encode({"message": message}),
        name=_IN_STREAM.get(kind, "modelStreamErrorException"),
        headers={
            "x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        },
    )
