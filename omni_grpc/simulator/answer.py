"""What the simulator answers: the same pieces for the same model, messages and seed.

No wire format is known here: a dialect says what was asked (`Asked`) and writes what comes back
(`Answer`). Every piece carries by how many tokens it lengthens the answer, and the counts of an
answer are sums over its pieces.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final, Literal, TypeVar

import msgspec

from omni_grpc.catalog import tokens
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.instances import Json, instance_of
from omni_grpc.simulator.text import TextPiece, demo_text, prose, stable_pieces

__all__ = ("Answer", "Asked", "AskedTool", "Choice", "Counts", "Piece", "compose", "report")

PROSE_TOKENS: Final = 40
"""Length of an answer where nobody says how long it shall be."""

ECHO_CHARS_MAX: Final = 4_000
"""How much of a message is echoed: cutting an unusual text into pieces takes its square."""

_EFFORT_PERCENT: Final = {
    "none": 0, "minimal": 25, "low": 50, "medium": 100, "high": 200, "xhigh": 400,
}  # fmt: skip

PieceKind = Literal["content", "refusal", "reasoning", "tool_name", "tool_arguments"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
_AnyPiece = TypeVar("_AnyPiece", "TextPiece", "Piece")


class AskedTool(msgspec.Struct, frozen=True):
    """A tool that may be called; `schema` is that of its arguments."""

    name: str
    schema: Json


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants, in no dialect.

    `seed_facts` are the model, messages and seed that the answer depends on. `tools` are those
    that may be called; `tool_texts` are the results that came after the last user message. `seen`
    says what of the request was understood, under the fields' names in the OpenAI dialect, for the
    log: a gateway's tests see there what reached its provider.
    """

    model: str
    seed_facts: bytes
    prompt_tokens: int
    user_text: str
    tool_texts: tuple[str, ...] = ()
    tools: tuple[AskedTool, ...] = ()
    tool_must: bool = False
    tool_parallel: bool = True
    form: Literal["text", "json", "schema"] = "text"
    schema: Json = None
    choices: int = 1
    tokens_max: int | None = None
    stop: tuple[str, ...] = ()
    effort: str | None = None
    seen: Mapping[str, Json] = {}


class Piece(msgspec.Struct, frozen=True):
    """What goes out at once. `call` numbers the tool calls of a choice; `call_id` names one."""

    kind: PieceKind
    text: str
    tokens: int = 1
    call: int = 0
    call_id: str = ""


class Choice(msgspec.Struct, frozen=True):
    """One of the answers, whole."""

    pieces: tuple[Piece, ...]
    finish: Finish

    def text(self, kind: PieceKind) -> str:
        """Everything of one kind, joined."""
        return "".join(piece.text for piece in self.pieces if piece.kind == kind)


class Answer(msgspec.Struct, frozen=True):
    """All choices."""

    choices: tuple[Choice, ...]

    @property
    def tokens(self) -> int:
        """All tokens of the answer, reasoning included."""
        return sum(piece.tokens for choice in self.choices for piece in choice.pieces)

    @property
    def reasoning_tokens(self) -> int:
        """Those of them that are reasoning."""
        pieces = (piece for choice in self.choices for piece in choice.pieces)
        return sum(piece.tokens for piece in pieces if piece.kind == "reasoning")


class Counts(msgspec.Struct, frozen=True):
    """What the usage report says of a whole call."""

    prompt: int
    cached: int
    completion: int
    reasoning: int


def report(asked: Asked, answer: Answer, behaviour: Behaviour) -> Counts:
    """The true counts, or what the behaviour says instead."""
    if behaviour.usage == "zero":
        return Counts(0, 0, 0, 0)
    completion = answer.tokens
    if behaviour.usage == "over":
        completion = 2 * max(completion, asked.tokens_max or 0) + 7
    cached = asked.prompt_tokens * behaviour.cached // 100
    return Counts(asked.prompt_tokens, cached, completion, answer.reasoning_tokens)


def compose(asked: Asked, behaviour: Behaviour) -> Answer:
    """The answer to `asked`.

    Raises:
        SchemaUnsupported: no instance of a schema in the request can be made.
    """
    return Answer(tuple(_choice(asked, behaviour, index) for index in range(asked.choices)))


def _choice(asked: Asked, behaviour: Behaviour, index: int) -> Choice:
    digest = hashlib.blake2b(asked.seed_facts, digest_size=16, person=b"%d" % index).digest()
    rng = Random(int.from_bytes(digest))  # noqa: S311 - repeatable on purpose
    effort = _EFFORT_PERCENT.get(asked.effort or "medium", 100)
    thought = prose(rng, behaviour.reasoning * effort // 100)
    pieces = [Piece("reasoning", piece.text, piece.tokens) for piece in thought]
    finish: Finish = "stop"
    if behaviour.refusal:
        refusal = stable_pieces("I am a simulator and was told to refuse this request.")
        pieces += [Piece("refusal", piece.text, piece.tokens) for piece in refusal]
    elif called := _called(asked):
        pieces += _tool_pieces(called, rng)
        finish = "tool_calls"
    else:
        content = _until_stop(_content(asked, behaviour, rng), asked.stop)
        pieces += [Piece("content", piece.text, piece.tokens) for piece in content]
    kept = _within(pieces, None if behaviour.no_limit else asked.tokens_max)
    if len(kept) < len(pieces):
        finish = "length"
    return Choice(tuple(kept), behaviour.finish or finish)


def _content(asked: Asked, behaviour: Behaviour, rng: Random) -> list[TextPiece]:
    count = behaviour.tokens
    if behaviour.say is not None:
        pieces = stable_pieces(behaviour.say)
    elif asked.form != "text":
        pieces = stable_pieces(msgspec.json.encode(_json_answer(asked, rng)).decode())
        count = None  # half an instance is none
    elif asked.tool_texts:
        results = " and ".join(asked.tool_texts)[:ECHO_CHARS_MAX]
        pieces = stable_pieces(f"The tools answered: {results}")
    elif behaviour.style == "echo":
        pieces = stable_pieces(asked.user_text[:ECHO_CHARS_MAX])
    elif behaviour.style == "demo":
        pieces = stable_pieces(demo_text(rng, asked.user_text))
    else:
        return prose(rng, PROSE_TOKENS if count is None else count)
    return pieces if count is None else list(_first(pieces, count))


def _json_answer(asked: Asked, rng: Random) -> Json:
    if asked.form == "schema":
        return instance_of(asked.schema, rng)
    words = "".join(piece.text for piece in prose(rng, 8))
    return {"simulated": True, "answer": words, "number": rng.randrange(100)}


def _called(asked: Asked) -> list[AskedTool]:
    """The tools that the user's text says to call, in its order; one if one must be called."""
    if not asked.tools or (asked.tool_texts and not asked.tool_must):
        return []
    by_name = {tool.name.lower(): tool for tool in asked.tools}
    names = "|".join(sorted(map(re.escape, by_name), key=len, reverse=True))
    said = re.findall(rf"\bcall\s+[`\"']?({names})(?![\w-])", asked.user_text, re.IGNORECASE)
    called = [by_name[name.lower()] for name in said]
    if not called and asked.tool_must:
        called = [asked.tools[0]]
    return called if asked.tool_parallel else called[:1]


def _tool_pieces(called: Sequence[AskedTool], rng: Random) -> list[Piece]:
    pieces: list[Piece] = []
    for number, tool in enumerate(called):
        call_id = f"call_{rng.getrandbits(96):024x}"
        weight = tokens.count_text(tool.name)
        pieces.append(Piece("tool_name", tool.name, weight, number, call_id))
        arguments = msgspec.json.encode(instance_of(tool.schema, rng)).decode()
        pieces += [
            Piece("tool_arguments", piece.text, piece.tokens, number)
            for piece in stable_pieces(arguments)
        ]
    return pieces


def _until_stop(pieces: list[TextPiece], stop: tuple[str, ...]) -> list[TextPiece]:
    text = "".join(piece.text for piece in pieces)
    found = [index for word in stop if word and (index := text.find(word)) >= 0]
    if not found:
        return pieces
    return stable_pieces(text[: min(found)])


def _within(pieces: list[Piece], tokens_max: int | None) -> list[Piece]:
    return pieces if tokens_max is None else list(_first(pieces, tokens_max))


def _first(pieces: Iterable[_AnyPiece], tokens_max: int) -> Iterator[_AnyPiece]:
    """The pieces from the start that fit into `tokens_max`."""
    left = tokens_max
    for piece in pieces:
        left -= piece.tokens
        if left < 0:
            return
        yield piece
