"""Histories: steps that are data, so that they print, repeat from a seed, and can be left out.

A step is a frozen dataclass with one verb. Steps refer to each other by the names of calls alone,
and a step whose call is missing does nothing: so any history without some of its steps is one too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.play import Play

CREDITS = 10**9


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that happens."""

    async def run(self, play: "Play") -> None:
        raise NotImplementedError

    def __str__(self) -> str:
        told = [
            f"{each.name}={getattr(self, each.name)!s}"
            for each in fields(self)
            if getattr(self, each.name) != each.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True)
class History:
    """What a seed stands for: steps, each with the number of the kind of faults it belongs to."""

    seed: int
    steps: tuple[tuple[int, Step], ...]
    credits: int = CREDITS

    @property
    def kinds(self) -> tuple[int, ...]:
        return tuple(sorted({kind for kind, _ in self.steps}))

    def without(self, left_out: Iterable[int]) -> "History":
        gone = set(left_out)
        kept = tuple(step for place, step in enumerate(self.steps) if place not in gone)
        return History(self.seed, kept, self.credits)

    def __str__(self) -> str:
        head = f"seed {self.seed}, {self.credits} nano-USD of credits:"
        return "\n".join([head, *(f"  kind {kind}: {step}" for kind, step in self.steps)])
