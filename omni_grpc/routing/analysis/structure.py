"""What the form of a prompt tells: kinds of characters, lines, lengths, parts and tools.

Numbers only, mostly between 0 and 1, none of which knows a word of any language but the few that
programming languages share. No benchmark's form is looked for.
"""

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

_CODE_MARKS: Final = (
    "```",
    "\n    ",
    "def ",
    "import ",
    "return",
    "class ",
    "function",
    "const ",
    "void ",
    "SELECT ",
    "#include",
    "</",
    "=>",
    "->",
    "==",
    "();",
    "self.",
    "::",
)
_ERROR_MARKS: Final = ("Error", "Exception", "Traceback", "error:", "failed")
_MATHS_MARKS: Final = ("\\frac", "\\(", "\\[", "$", "x^", "\\sqrt", "∫", "√", "≤")
_PICTURE_MARKS: Final = ("--ar", "4k", "8k", "photo", "style", "background", "lighting")
_LIST_MARKS: Final = ("\n- ", "\n* ", "\n1", "\n2", "\nB", "\n(b", "\nb", "\n•")
_AGENT_MARKS: Final = ("Action", "Observation", "Thought", "tool", "function_call", "<tool", "$ ")


def _telling(mark: str) -> int:
    """The code of a character that a mark has and most texts have not; `_ASCII` of all beyond."""
    rare = [char for char in mark if not (char.islower() or char == " ")]
    return min(_ASCII, max(map(ord, rare or mark)))


MARKS: Final = tuple(
    tuple((_telling(mark), mark) for mark in marks)
    for marks in (
        _CODE_MARKS,
        _ERROR_MARKS,
        _MATHS_MARKS,
        _PICTURE_MARKS,
        _LIST_MARKS,
        _AGENT_MARKS,
    )
)
"""Each with a character to look for first: most marks need not be searched for in most texts."""

_ENDS: Final = (("?", "\uff1f", "\u061f"), (".", "\u3002"), (":", "\uff1a"))
"""A question, a sentence or an announcement ends so, in several scripts."""
_LENGTH_STEPS: Final = (12, 40, 100, 250, 600, 1_500, 5_000, 20_000)
_FORMATS: Final = ("json_object", "json_schema")


def _group_table() -> Numbers:
    table = np.zeros((_ASCII, len(_ASCII_GROUPS)), dtype=np.float32)
    for place, group in enumerate(_ASCII_GROUPS):
        for char in group:
            table[ord(char), place] = 1.0
    return table


_GROUPS: Final = _group_table()


def structure(view: PromptView) -> Numbers:
    """The numbers of a prompt, `float32[STRUCTURE_COUNT]`."""
    text = view.user
    ascii_counts, script_counts = _counts(text)
    first_line = text.find("\n")
    tail = text[-3:]
    lines = text.count("\n")
    numbers = [
        *[float(view.user_chars > step) for step in _LENGTH_STEPS],
        lines / (8.0 + lines),
        min(first_line if first_line >= 0 else len(text), 400) / 400.0,
        float(text[:1].isupper()),
        float(text[:1].islower()),
        *[float(any(map(tail.__contains__, marks))) for marks in _ENDS],
    ]
    has = [*(ascii_counts > 0).tolist(), not text.isascii()]
    for marks in MARKS:
        hits = sum(map(text.__contains__, [mark for char, mark in marks if has[char]]))
        numbers.append(hits / (1.0 + hits))
        numbers.append(float(hits > 0))
    numbers += _conversation(view)
    kinds = np.concatenate((ascii_counts.astype(np.float32) @ _GROUPS, script_counts))
    # By its square root, so that a few of a kind already tell.
    shares = np.sqrt(kinds / np.float32(max(len(text), 1)))
    return np.concatenate((shares, np.array(numbers, dtype=np.float32)))


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


def _counts(text: str) -> tuple[NDArray[np.intp], Numbers]:
    """How often a text has each ASCII character, and how often each script beyond."""
    scripts = np.zeros(len(SCRIPT_NAMES), dtype=np.float32)
    if text.isascii():
        points: NDArray[np.uint8 | np.uint32] = np.frombuffer(text.encode(), dtype=np.uint8)
        ascii_counts = np.bincount(points, minlength=_ASCII)
    else:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        ascii_counts = np.bincount(points[points < _ASCII], minlength=_ASCII)
        beyond = points[points >= _ASCII]
        ranges = np.bincount(
            np.searchsorted(_STARTS, beyond, side="right") - 1, minlength=len(_SCRIPTS)
        )
        np.add.at(scripts, _SCRIPT_OF, ranges.astype(np.float32))
    return ascii_counts, scripts


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

STRUCTURE_COUNT: Final = len(structure(PromptView(text="", user="")))
"""How many numbers there are."""

CONVERSATION_COUNT: Final = len(_conversation(PromptView(text="", user="")))
"""How many of them, the last ones, are of the conversation and not of the text."""
