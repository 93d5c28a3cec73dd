"""Where a model's reasoning stood in its turn: between which of its words and calls.

A turn keeps its text in one piece and its calls in one row, and each block of reasoning says how
much of both came before it. Some providers refuse a turn whose blocks come back in another order.
Blocks that say nothing stand before everything else.
"""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec

from omni_grpc.core.chat import Message, Part, ReasoningBlock, RefusalPart, TextPart

_place = attrgetter("text_before", "calls_before")


class Words(NamedTuple):
    """The characters `start` to `end` of a turn's text."""

    start: int
    end: int


class Calls(NamedTuple):
    """The calls `start` to `end` of a turn."""

    start: int
    end: int


def interleaved(
    blocks: Iterable[ReasoningBlock], chars: Words, calls: Calls
) -> Iterator[ReasoningBlock | Words | Calls]:
    """A turn in its order: its blocks, and what of its text and its calls stands between them.

    `chars` and `calls` are all that there is of both; a place beyond them is at their end.
    """
    said, called = chars.start, calls.start
    for block in sorted(blocks, key=_place):
        words = Words(said, min(block.text_before, chars.end))
        if words.end > words.start:
            yield words
            said = words.end
        made = Calls(called, min(block.calls_before, calls.end))
        if made.end > made.start:
            yield made
            called = made.end
        yield block
    if said < chars.end:
        yield Words(said, chars.end)
    if called < calls.end:
        yield Calls(called, calls.end)


def is_interleaved(blocks: Iterable[ReasoningBlock]) -> bool:
    """Whether any block stood behind words or calls."""
    return any(block.text_before or block.calls_before for block in blocks)


def is_text(content: str | Sequence[Part] | None) -> bool:
    """Whether a turn says words alone."""
    return not isinstance(content, tuple) or all(
        isinstance(part, TextPart | RefusalPart) for part in content
    )


def turn_of(
    message: Message, blocks: Iterable[ReasoningBlock]
) -> Iterator[ReasoningBlock | tuple[Part, ...] | Calls]:
    """An assistant's turn of words and calls in its order; `blocks` are those of its reasoning."""
    content = message.content
    said = (TextPart(text=content),) if isinstance(content, str) else content or ()
    parts: tuple[Part, ...] = said
    if message.refusal:
        parts = (*parts, RefusalPart(refusal=message.refusal))
    whole = Words(0, chars_of(parts)), Calls(0, len(message.tool_calls))
    for item in interleaved(blocks, *whole):
        yield tuple(words_of(parts, item)) if isinstance(item, Words) else item


def chars_of(parts: Iterable[Part]) -> int:
    """How many characters some parts say."""
    return sum(len(text_of(part)) for part in parts)


def words_of(parts: Iterable[Part], words: Words) -> Iterator[Part]:
    """Some of what the parts say, in its parts; the mark of one that was cut stays at its end."""
    begin = 0
    for part in parts:
        text = text_of(part)
        piece = text[max(words.start - begin, 0) : max(words.end - begin, 0)]
        begin += len(text)
        if not piece:
            continue
        if isinstance(part, TextPart):
            cache = part.cache if words.end >= begin else None
            yield msgspec.structs.replace(part, text=piece, cache=cache)
        else:
            yield RefusalPart(refusal=piece)


def text_of(part: Part) -> str:
    """What a part says; what is no text says nothing."""
    match part:
        case TextPart():
            return part.text
        case RefusalPart():
            return part.refusal
        case _:
            return ""
