r"""Prompts that were written for this project: templates by class, family and language.

A file of `prompts/` is one class. `== family | language | flags` opens a family; a line is a
template; `<<name>>` is filled from `slots/`. A line that opens with `I:` has a picture beside it,
with `E:` earlier turns (`asked || answered >> now asked`), with `S:` it is a system prompt of its
family. A line feed is written `\n`.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from omni_grpc.routing.analysis.view import view_of
from task_training.rows import (
    OTHER_TRADES,
    UNKNOWN,
    Row,
    chance,
    common_system,
    dressed,
    request_of,
    some_tools,
)

FOLDER = Path(__file__).parent
_SLOT = re.compile(r"<<(\w+)>>")
_NEEDS = {
    "coding": (UNKNOWN, 1, 0),
    "reasoning": (1, 0, 0),
    "chat": (0, 0, 0),
    "summarization": (0, 0, 0),
    "translation": (0, 0, 0),
    "image": (0, 0, 1),
    "agent_step": (UNKNOWN, UNKNOWN, 0),
}
"""Reasoning, code, creativity: of a class, where a family does not say otherwise."""

_GREETING_HARDNESS = 0.03
"""Nobody records how models answer a greeting; it is set by hand that they all can."""

_COPIES = 10
"""Prompts made of a template that has slots."""

_GRID_COPIES = 2
_GRID_ROUNDS = 3
_CHOICE = re.compile(r"\(\((.*?)\)\)")

_BORROWED_SHARE = 0.5
"""How many English documents come from recorded texts."""

_HEADER_WORDS_MAX = 4
"""So that a line of code which opens with two equal signs is no header."""

_TOOL_SHARE = 0.05
"""How many prompts of other classes carry tools that have nothing to do with them."""


def written_rows(passages: dict[str, list[str]]) -> list[Row]:
    """All prompts of all templates; `passages` are more texts, by slot, from other data."""
    slots = _slots()
    for name, texts in passages.items():
        slots.setdefault((name, "en"), []).extend(texts)
    rows: list[Row] = []
    for task, family, language, flags, lines in [*_by_class(), *_by_language(), *_by_grid()]:
        systems = [line[2:].strip() for line in lines if line.startswith("S:")]
        for line in lines:
            if line.startswith("S:"):
                continue
            copies = _COPIES if "<<" in line or systems else 3
            if family.endswith("-grid"):
                copies = _GRID_COPIES
            for copy in range(copies):
                rng = chance(task, family, line, str(copy))
                fill = _Filler(slots, language, rng)
                rows.append(_row(task, family, language, flags, line, systems, fill, copy))
    return rows


class _Filler:
    """Fills slots, in one language where it has its own values."""

    def __init__(
        self, slots: dict[tuple[str, str], list[str]], language: str, rng: random.Random
    ) -> None:
        self.rng = rng
        self._slots = slots
        self._language = language

    def __call__(self, template: str) -> str:
        return _SLOT.sub(lambda found: self._value(found.group(1)), template).replace("\\n", "\n")

    def _value(self, name: str) -> str:
        if name == "any":
            name = self.rng.choice(("short", "doc", "own", "segment"))
        if name == "own" and self._language == "en":
            name = "short"
        if name == "doc" and self._language == "en" and self.rng.random() < _BORROWED_SHARE:
            name = self.rng.choice(("passage", "segments"))
        if name == "segments":
            known = self._slots["segment", "en"]
            return "\n".join(self.rng.choice(known) for _ in range(self.rng.randint(1, 5)))
        known = self._slots.get((name, self._language)) or self._slots.get((name, "en"))
        if not known:  # languages with few texts of their own borrow an English one
            known = self._slots["short", "en"]
        return self(self.rng.choice(known))


def _row(
    task: str,
    family: str,
    language: str,
    flags: dict[str, str],
    line: str,
    systems: list[str],
    fill: _Filler,
    copy: int,
) -> Row:
    rng = fill.rng
    system = fill(rng.choice(systems)) if systems else None
    before: list[tuple[str, str]] = []
    image = line.startswith("I:")
    text = line[2:].strip() if image else line
    if line.startswith("E:"):
        earlier, text = line[2:].split(">>", 1) if ">> " not in line else _split_last(line[2:])
        asked, answered = earlier.split("||")
        before.append((fill(asked.strip()), fill(answered.strip())))
        text = text.strip()
    text = fill(text)
    if copy and not image:
        text = dressed(text, rng)
    if system is None:
        system = common_system(rng)
    tools: tuple[tuple[str, str], ...] = ()
    if "tools" in flags:
        tools = some_tools(flags["tools"], rng)
    elif rng.random() < _TOOL_SHARE and task != "agent_step":
        tools = some_tools(rng.choice(OTHER_TRADES), rng)
    reasoning, code, creativity = _NEEDS[task]
    if flags.get("needs") == "creativity":
        creativity = 1
    if task == "image" and image:
        creativity = 0
    request = request_of(
        text,
        system=system,
        before=before,
        tools=tools,
        image=image,
        results="results" in flags,
    )
    return Row(
        view=view_of(request),
        task=task,
        source=f"own/{task}/{family}",
        own=True,
        template=line,
        reasoning=reasoning,
        code=code,
        creativity=creativity,
        hardness=_GREETING_HARDNESS if family == "small-talk" else None,
        language=language,
    )


def _split_last(line: str) -> tuple[str, str]:
    earlier, text = line.rsplit(">> ", 1)
    return earlier, text


Family = tuple[str, str, str, dict[str, str], list[str]]


def _by_class() -> Iterator[Family]:
    for path in sorted((FOLDER / "prompts").glob("*.txt")):
        for family, language, flags, lines in _families(path):
            yield path.stem, family, language, flags, lines


def _by_language() -> Iterator[Family]:
    """More of every class in other languages."""
    yield from _mixed(FOLDER / "languages/languages.txt", "2")


def _by_grid() -> Iterator[Family]:
    """Lines with `((one|another))`: each of many combinations is a template of its own."""
    for task, family, language, flags, lines in _mixed(FOLDER / "grids/grids.txt", "grid"):
        yield task, family, language, flags, [one for line in lines for one in _combined(line)]


def _combined(line: str) -> list[str]:
    rng = chance("grid", line)
    sizes = [len(found.group(1).split("|")) for found in _CHOICE.finditer(line)]
    count = max(sizes, default=1)
    made = (
        _CHOICE.sub(lambda found: rng.choice(found.group(1).split("|")), line)
        for _ in range(count * _GRID_ROUNDS)
    )
    return list(dict.fromkeys(made))


def _mixed(path: Path, suffix: str) -> Iterator[Family]:
    """A file by languages; each line opens with its class."""
    for language, _, _, lines in _families(path):
        by_task: dict[str, list[str]] = {}
        for line in lines:
            task, text = line.split(": ", 1)
            by_task.setdefault(task, []).append(text)
        for task, texts in by_task.items():
            agent = task == "agent_step" and suffix != "grid"
            flags = {"tools": "any"} if agent else {}
            yield task, f"{language}-{suffix}", language, flags, texts


def _families(path: Path) -> Iterator[tuple[str, str, dict[str, str], list[str]]]:
    family, language, flags, lines = "", "en", dict[str, str](), list[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            if lines:
                yield family, language, flags, lines
            family, *rest = (piece.strip() for piece in line[3:].split("|"))
            language, rest = (rest[0], rest[1:]) if rest else (family, [])
            flags = dict(flag.split("=") for piece in rest for flag in piece.split())
            lines = []
        elif line.strip():
            lines.append(line)
    yield family, language, flags, lines


def _slots() -> dict[tuple[str, str], list[str]]:
    slots: dict[tuple[str, str], list[str]] = {}
    for path in sorted((FOLDER / "slots").glob("*.txt")):
        values: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("== ") and len(line.split()) <= _HEADER_WORDS_MAX:
                name, _, language = (piece.strip() for piece in line[3:].partition("|"))
                values = slots.setdefault((name, language or "en"), [])
            elif line.strip():
                values.append(line)
    return slots
