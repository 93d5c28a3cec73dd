"""What stands around the words of a prompt: its length, its ends, turns, parts and tools.

Numbers only, mostly between 0 and 1, none of which knows a word of any language. No benchmark's
form is looked for.
"""

from bisect import bisect_left
from typing import Final

from omni_grpc.routing.analysis.view import PromptView

_ENDS: Final = [frozenset(marks) for marks in ("?\uff1f\u061f", ".\u3002", ":\uff1a")]
"""A question, a sentence or an announcement ends so, in several scripts."""
_LENGTH_STEPS: Final = (12, 40, 100, 250, 600, 1_500, 5_000, 20_000)
_LONGER: Final = [
    [1.0] * steps + [0.0] * (len(_LENGTH_STEPS) - steps) for steps in range(1 + len(_LENGTH_STEPS))
]
"""By how many steps a length is beyond, which of them they are."""
_FORMATS: Final = ("json_object", "json_schema")


def structure(view: PromptView) -> list[float]:
    """The numbers of a prompt, `STRUCTURE_COUNT` of them."""
    text = view.user
    first_line = text.find("\n")
    tail = text[-3:]
    return [
        *_LONGER[bisect_left(_LENGTH_STEPS, view.user_chars)],
        min(first_line if first_line >= 0 else len(text), 400) / 400.0,
        text[:1].isupper(),
        text[:1].islower(),
        *[not marks.isdisjoint(tail) for marks in _ENDS],
        *(_ALONE if view.is_alone else _conversation(view)),
    ]


def _conversation(view: PromptView) -> list[float]:
    """What surrounds the words: turns, system prompt, tools, parts, form of the answer."""
    turns = view.turns
    return [
        float(turns > 1),
        turns / (4.0 + turns),
        float(bool(view.system)),
        len(view.system) / 400.0,
        float(bool(view.earlier)),
        float(view.tool_count > 0),
        view.tool_count / (3.0 + view.tool_count),
        _named(view),
        float(view.tool_results > 0),
        float(view.images > 0),
        float(view.images > 0 and view.user_chars == 0),
        float(view.images_before > 0),
        float(view.audios > 0),
        float(view.files > 0),
        *[float(view.response_format == name) for name in _FORMATS],
    ]


def _named(view: PromptView) -> float:
    """How much the last turn speaks of what the tools do: the share of tool words found in it."""
    if not view.tools or not view.user:
        return 0.0
    said = view.user.lower()
    words = {
        word for word in view.tools.lower().replace("_", " ").split() if len(word) >= _WORD_CHARS
    }
    if not words:
        return 0.0
    hits = sum(word[:_STEM_CHARS] in said for word in words)
    return hits / (2.0 + hits)


_WORD_CHARS: Final = 4
"""Shorter words of a tool's name say little."""
_STEM_CHARS: Final = 6
"""So that "booking" is found by "bookings"."""

_ALONE: Final = _conversation(PromptView(text="", user=""))
"""Of words with nothing around them."""

STRUCTURE_COUNT: Final = len(structure(PromptView(text="", user="")))
"""How many numbers there are."""

CONVERSATION_COUNT: Final = len(_ALONE)
"""How many of them, the last ones, are of the conversation and not of the text."""
