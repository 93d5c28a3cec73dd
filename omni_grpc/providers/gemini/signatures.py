"""Where a thought's signature stood in an answer, so that it goes back to the same part.

Google signs parts, and wants each signature back in the part that it came with. The domain keeps an
answer's text in one piece, so the mark of a signed text says which characters of it the part had.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from omni_grpc.core.chat import ReasoningBlock

FORMAT: Final = "gemini"

UNSIGNED: Final = "skip_thought_signature_validator"
"""Stands in for a signature of a call that another model made, or whose signature was lost.

Google documents it for conversations that come from elsewhere; without any, models that demand
signatures refuse the request.
"""

_THOUGHT: Final = "thought"
_TEXT_MARK: Final = re.compile(r"text:([0-9]{1,9}):([0-9]{1,9})")


class Signed(msgspec.Struct, frozen=True):
    """The characters `start` to `end` of a text, with their part's signature, if it had one."""

    start: int
    end: int
    signature: str | None


def of_call(signature: str, call_id: str) -> ReasoningBlock:
    """The block of a signed tool call."""
    return ReasoningBlock(kind="encrypted", format=FORMAT, data=signature, id=call_id)


def of_text(signature: str, start: int, end: int) -> ReasoningBlock:
    """The block of a signed text, the characters `start` to `end` of the answer's."""
    mark = f"text:{start}:{end}"
    return ReasoningBlock(kind="encrypted", format=FORMAT, data=signature, id=mark)


def of_thought(signature: str, text: str) -> ReasoningBlock:
    """The block of a signed thought."""
    return ReasoningBlock(kind="encrypted", format=FORMAT, data=signature, id=_THOUGHT, text=text)


def thoughts_in(blocks: Iterable[ReasoningBlock]) -> Iterator[tuple[str, str]]:
    """The signed thoughts among the blocks: text and signature."""
    for block in blocks:
        if block.format == FORMAT and block.id == _THOUGHT and block.data:
            yield block.text, block.data


def calls_in(blocks: Iterable[ReasoningBlock]) -> dict[str, str]:
    """The signatures of tool calls among the blocks, by the calls' ids."""
    return {
        block.id: block.data
        for block in blocks
        if block.format == FORMAT and block.id and block.data
    }


def cut(text: str, blocks: Iterable[ReasoningBlock]) -> Iterator[Signed]:
    """`text` in the parts that it had; a mark that does not fit it is left out."""
    position = 0
    marks = (_mark(block) for block in blocks if block.format == FORMAT)
    for mark in sorted(filter(None, marks), key=lambda mark: (mark.start, mark.end)):
        if mark.start < position or mark.end > len(text):
            continue
        if mark.start > position:
            yield Signed(position, mark.start, None)
        yield mark
        position = mark.end
    if position < len(text):
        yield Signed(position, len(text), None)


def _mark(block: ReasoningBlock) -> Signed | None:
    found = _TEXT_MARK.fullmatch(block.id or "")
    if found is None or not block.data:
        return None
    start, end = int(found[1]), int(found[2])
    return Signed(start, end, block.data) if start <= end else None
