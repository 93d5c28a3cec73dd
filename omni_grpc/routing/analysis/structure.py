"""What the form of a prompt tells: kinds of characters, lines, lengths, parts and tools.

Numbers only, mostly between 0 and 1, none of which knows a word of any language. No benchmark's
form is looked for.
"""

from bisect import bisect_left
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.analysis.view import PromptView

Numbers = NDArray[np.float32]

_ASCII_GROUPS: Final = (
    "0123456789",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "abcdefghijklmnopqrstuvwxyz",
    " ",
    "\n",
    "\t",
    "{}",
    "[]",
    "()",
    "<>",
    ";",
    "=",
    "+*",
    "/",
    "-",
    "^",
    "\\",
    "$",
    "_",
    "|",
    "#",
    "`",
    '"',
    "'",
    "?",
    "!",
    ":",
    ".",
    ",",
    "%",
    "&@~",
)

_ASCII: Final = 128

_SCRIPTS: Final = (
    (0x80, "latin"),
    (0x370, "greek"),
    (0x400, "cyrillic"),
    (0x530, "right to left"),
    (0x900, "indic"),
    (0xE00, "south-east"),
    (0x1100, "hangul"),
    (0x1200, "other"),
    (0x1E00, "latin"),
    (0x2000, "punctuation"),
    (0x2190, "mathematics"),
    (0x2300, "symbols"),
    (0x2E80, "han"),
    (0x3040, "kana"),
    (0x3100, "han"),
    (0xAC00, "hangul"),
    (0xD7B0, "other"),
    (0xF900, "han"),
    (0xFB00, "other"),
    (0xFF00, "han"),
    (0xFFF0, "other"),
    (0x1D400, "mathematics"),
    (0x1D800, "other"),
    (0x1F000, "emoji"),
    (0x20000, "han"),
    (0x30000, "other"),
)
"""Where ranges of code points start, and what is written in them; coarse, for counting."""

SCRIPT_NAMES: Final = tuple(sorted({name for _, name in _SCRIPTS}))

_STARTS: Final = np.array([start for start, _ in _SCRIPTS], dtype=np.uint32)
_SCRIPT_OF: Final = np.array([SCRIPT_NAMES.index(name) for _, name in _SCRIPTS])

_ITEMS: Final = ("- ", "* ", "1", "2", "B", "(b", "b", "\u2022")
"""How the items of lists begin, choices to choose from among them."""

_ENDS: Final = (("?", "\uff1f", "\u061f"), (".", "\u3002"), (":", "\uff1a"))
"""A question, a sentence or an announcement ends so, in several scripts."""
_LENGTH_STEPS: Final = (12, 40, 100, 250, 600, 1_500, 5_000, 20_000)
_LONGER: Final = [
    [1.0] * steps + [0.0] * (len(_LENGTH_STEPS) - steps) for steps in range(1 + len(_LENGTH_STEPS))
]
"""By how many steps a length is beyond, which of them they are."""
_FORMATS: Final = ("json_object", "json_schema")

_KINDS: Final = len(_ASCII_GROUPS) + len(SCRIPT_NAMES)
"""Kinds of characters."""


def _group_table() -> Numbers:
    table = np.zeros((_ASCII, len(_ASCII_GROUPS)), dtype=np.float32)
    for place, group in enumerate(_ASCII_GROUPS):
        for char in group:
            table[ord(char), place] = 1.0
    return table


_GROUPS: Final = _group_table()


def fill_structure(view: PromptView, numbers: Numbers) -> None:
    """Writes the numbers of a prompt into `float32[STRUCTURE_COUNT]`, all of them zero before."""
    text = view.user
    _count(text, numbers)
    first_line = text.find("\n")
    tail = text[-3:]
    lines = listed = 0
    if first_line >= 0:
        others = text.split("\n")[1:]
        lines = len(others)
        begun = {line[:1] for line in others}
        begun.update([line[:2] for line in others])
        listed = sum(map(begun.__contains__, _ITEMS))
    numbers[_KINDS:] = [
        *_LONGER[bisect_left(_LENGTH_STEPS, view.user_chars)],
        lines / (8.0 + lines),
        min(first_line if first_line >= 0 else len(text), 400) / 400.0,
        text[:1].isupper(),
        text[:1].islower(),
        *[any(map(tail.__contains__, marks)) for marks in _ENDS],
        listed / (1.0 + listed),
        listed > 0,
        *_conversation(view),
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


def _count(text: str, numbers: Numbers) -> None:
    """The shares of the kinds of characters: groups of ASCII, then scripts beyond it.

    By their square roots, so that a few of a kind already tell.
    """
    shares = numbers[:_KINDS]
    if text.isascii():
        points: NDArray[np.uint8 | np.uint32] = np.frombuffer(text.encode(), dtype=np.uint8)
    else:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        beyond = points[points >= _ASCII]
        points = points[points < _ASCII]
        places = _SCRIPT_OF[np.searchsorted(_STARTS, beyond, side="right") - 1]
        shares[len(_ASCII_GROUPS) :] = np.bincount(places, minlength=len(SCRIPT_NAMES))
    ascii_counts = np.bincount(points, minlength=_ASCII).astype(np.float32)
    shares[: len(_ASCII_GROUPS)] = ascii_counts @ _GROUPS
    shares *= np.float32(1.0 / max(len(text), 1))
    np.sqrt(shares, out=shares)


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

_OF_CONVERSATION: Final = len(_conversation(PromptView(text="", user="")))
_OF_LINES: Final = len(_LENGTH_STEPS) + 4 + len(_ENDS) + 2

FORM_COUNT: Final = _KINDS + _OF_LINES
"""How many numbers there are of the text, the first ones."""

STRUCTURE_COUNT: Final = FORM_COUNT + _OF_CONVERSATION
"""How many there are in all: those of the conversation come last."""
