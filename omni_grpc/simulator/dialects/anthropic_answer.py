"""Writing an answer as Anthropic does: one message, or the named events of a stream.

An answer is a row of blocks: thinking, then text, or a block for each tool that is called; and, if
the prompt says so, thinking between them. What a behaviour lies about is lied about here.
"""

from collections.abc import Iterator, Mapping
from typing import Final, cast

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Piece, compose
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialects import anthropic_proofs
from omni_grpc.simulator.dialects.anthropic_usage import UsageReports
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.wire import Event

__all__ = ("MessageWriter",)

REDACTION_TRIGGER: Final = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING"
"""Anthropic documents a text that begins so: in a prompt, it makes the thinking be redacted."""

INTERLEAVING_TRIGGER: Final = "SIMULATED_INTERLEAVED_THINKING"
"""A text in a prompt which makes the thinking come in pieces, one before each other block."""

_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_PING: Final = Event(b'{"type":"ping"}', name="ping")


class _Block(msgspec.Struct):
    """A block on its way out: `whole` as a plain answer has it, `empty` as a stream begins it."""

    whole: dict[str, Json]
    empty: dict[str, Json]
    deltas: list[tuple[dict[str, Json], int]]
    tokens: int = 0
    reasoning: bool = False


class MessageWriter:
    """One answer on its way out. `model` is as the caller wrote it."""

    def __init__(
        self,
        display: str | None,
        asked: Asked,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        model: str,
        usage: UsageReports,
    ) -> None:
        self._hides_thinking = display == "omitted"
        self._asked = asked
        self._choice = answer.choices[0]
        self._behaviour = behaviour
        self._id = answer_id
        self._model = behaviour.as_model or model
        self._usage = usage

    def body(self) -> bytes:
        """The plain answer."""
        content = [block.whole for block in self._blocks()]
        return msgspec.json.encode(self._message(content, self._end(), self._usage.whole()))

    def events(self) -> Iterator[Event]:
        """The streamed answer."""
        nothing = {"stop_reason": None, "stop_sequence": None}
        message = self._message([], nothing, self._usage.first())
        yield _event("message_start", {"message": message})
        yield _PING
        sent = reasoned = 0
        for index, block in enumerate(self._blocks()):
            for event in _block_events(index, block):
                sent, reasoned = sent + event.tokens, reasoned + event.reasoning
                yield event
                if event.tokens and self._behaviour.usage == "every":
                    so_far = self._usage.so_far(sent, reasoned)
                    yield _event("message_delta", {"delta": nothing, "usage": so_far})
        for usage in self._usage.last():
            told = {} if usage is None else {"usage": usage}
            end = {"delta": self._end(), **told}
            yield _event("message_delta", end, is_usage=usage is not None)
        if not self._behaviour.no_done:
            yield _event("message_stop", {})

    def _message(self, content: list[dict[str, Json]], end: object, usage: object) -> object:
        message: dict[str, object] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            **cast("dict[str, object]", end),
        }
        if usage is not None:
            message["usage"] = usage
        return message

    def _end(self) -> dict[str, Json]:
        """Why it ended, and which of the caller's sequences ended it."""
        finish = self._choice.finish
        if finish == "stop" and self._choice.text("refusal"):
            finish = "content_filter"
        word = self._stopped_by() if finish == "stop" and self._asked.stop else None
        end: dict[str, Json] = {
            "stop_reason": _STOP_REASONS[finish] if word is None else "stop_sequence",
            "stop_sequence": word,
        }
        if finish == "content_filter":
            end["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
        return end

    def _stopped_by(self) -> str | None:
        """The sequence that comes where the answer was cut: found by answering without any."""
        unstopped = compose(msgspec.structs.replace(self._asked, stop=()), self._behaviour)
        text, whole = self._choice.text("content"), unstopped.choices[0].text("content")
        rest = whole[len(text) :] if whole.startswith(text) else ""
        return next((word for word in self._asked.stop if word and rest.startswith(word)), None)

    # --- blocks -------------------------------------------------------------------------------
    def _blocks(self) -> Iterator[_Block]:
        pieces = self._choice.pieces
        thought = [piece for piece in pieces if piece.kind == "reasoning"]
        said = [piece for piece in pieces if piece.kind in ("content", "refusal")]
        others: list[_Block] = []
        is_mixed = INTERLEAVING_TRIGGER in self._asked.user_text
        for part in _halves(said) if is_mixed else (said,):
            others += [_text_block(part)] if part else []
        for name in (piece for piece in pieces if piece.kind == "tool_name"):
            arguments = [
                piece
                for piece in pieces
                if piece.kind == "tool_arguments" and piece.call == name.call
            ]
            others.append(_tool_block(name, arguments))
        yield from self._with_thoughts(others, thought, len(others) if is_mixed else 1)

    def _with_thoughts(
        self, others: list[_Block], thought: list[Piece], parts: int
    ) -> Iterator[_Block]:
        """The blocks with the thinking before the first `parts` of them."""
        if not others and thought:
            yield self._thinking(thought, "")
        size = -(-len(thought) // max(parts, 1))
        before: list[str] = []
        for place, block in enumerate(others):
            if share := thought[place * size : (place + 1) * size]:
                yield self._thinking(share, " ".join(before))
            yield block
            kind = str(block.whole["type"])
            before += [] if kind == "text" and before[-1:] == ["text"] else [kind]

    def _thinking(self, pieces: list[Piece], place: str) -> _Block:
        text = "".join(piece.text for piece in pieces)
        count = sum(piece.tokens for piece in pieces)
        if REDACTION_TRIGGER in self._asked.user_text:
            data = anthropic_proofs.redacted(text, place)
            whole: dict[str, Json] = {"type": "redacted_thinking", "data": data}
            return _Block(whole, whole, [], tokens=count, reasoning=True)
        hidden = self._hides_thinking
        shown = "" if hidden else text
        proof = anthropic_proofs.signature(shown, place)
        deltas: list[tuple[dict[str, Json], int]] = []
        if not hidden:
            deltas += [
                ({"type": "thinking_delta", "thinking": piece.text}, piece.tokens)
                for piece in pieces
            ]
        # Thinking that is not shown is paid all the same, with the event that proves it.
        deltas.append(({"type": "signature_delta", "signature": proof}, count if hidden else 0))
        return _Block(
            {"type": "thinking", "thinking": shown, "signature": proof},
            {"type": "thinking", "thinking": "", "signature": ""},
            deltas,
            reasoning=True,
        )


def _halves(pieces: list[Piece]) -> tuple[list[Piece], list[Piece]]:
    middle = (len(pieces) + 1) // 2
    return pieces[:middle], pieces[middle:]


def _text_block(pieces: list[Piece]) -> _Block:
    return _Block(
        {"type": "text", "text": "".join(piece.text for piece in pieces)},
        {"type": "text", "text": ""},
        [({"type": "text_delta", "text": piece.text}, piece.tokens) for piece in pieces],
    )


def _tool_block(name: Piece, arguments: list[Piece]) -> _Block:
    written = "".join(piece.text for piece in arguments)
    try:
        found = cast("Json", msgspec.json.decode(written))
    except msgspec.DecodeError:
        found = {}  # the limit cut it
    begin: dict[str, Json] = {
        "type": "tool_use",
        "id": f"toolu_01{name.call_id.removeprefix('call_')}",
        "name": name.text,
    }
    deltas: list[tuple[dict[str, Json], int]] = [
        ({"type": "input_json_delta", "partial_json": ""}, 0)
    ]
    deltas += [
        ({"type": "input_json_delta", "partial_json": piece.text}, piece.tokens)
        for piece in arguments
    ]
    return _Block({**begin, "input": found}, {**begin, "input": {}}, deltas, tokens=name.tokens)


# --- events -----------------------------------------------------------------------------------
def _block_events(index: int, block: _Block) -> Iterator[Event]:
    def event(name: str, fields: dict[str, object], tokens: int = 0) -> Event:
        reasoning = tokens if block.reasoning else 0
        return _event(name, {"index": index, **fields}, tokens, reasoning)

    yield event("content_block_start", {"content_block": block.empty}, block.tokens)
    for delta, tokens in block.deltas:
        yield event("content_block_delta", {"delta": delta}, tokens)
    yield event("content_block_stop", {})


def _event(
    name: str,
    fields: Mapping[str, object],
    tokens: int = 0,
    reasoning: int = 0,
    *,
    is_usage: bool = False,
) -> Event:
    data = msgspec.json.encode({"type": name, **fields})
    return Event(data, tokens, reasoning, is_usage=is_usage, name=name)
