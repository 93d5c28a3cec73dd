"""The kinds of faults by number, and how a history is drawn from a seed."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.history import CREDITS, History, Step
from harness.points import IN_PROVIDER, Point
from harness.steps import Chat

MIXED_SHARE = 0.15
"""How many histories have a second kind after the first, on the same wallet."""

REPLICAS = 3


@dataclass(eq=False)
class Draft:
    """What a kind draws its steps with: chance from the seed, and fresh names."""

    rng: random.Random
    prefix: str = "c"
    credits: int = CREDITS
    _count: int = field(default=0)

    def name(self) -> str:
        self._count += 1
        return f"{self.prefix}{self._count}"

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def replica(self) -> int:
        return self.rng.randrange(REPLICAS)

    def chat(self, **given: object) -> Chat:
        """A call of random form, but for what is given."""
        rng = self.rng
        halt = given.get("halt")
        drawn: dict[str, object] = {
            "name": self.name(),
            "replica": self.replica(),
            "over": rng.choice(("grpc", "rest")),
            "stream": halt in IN_PROVIDER[1:] or rng.random() < 0.7,
            "tokens": rng.randrange(2, 24),
        }
        return Chat(**(drawn | given))  # type: ignore[arg-type]  # fields by name

    def crowd(self, most: int, **given: object) -> list[Step]:
        """Some calls that simply run, a few milliseconds a token."""
        delay = {"more": f",delay_ms={self.rng.randrange(1, 12)}"}
        return [self.chat(**(delay | given)) for _ in range(self.rng.randrange(most + 1))]

    def pick(self, points: Iterable[Point] = Point) -> Point:
        return self.rng.choice(list(points))


Make = Callable[[Draft], list[Step]]


@dataclass(frozen=True)
class Kind:
    """One kind of faults. `wanted` are the overlaps that a run must have seen."""

    number: int
    name: str
    make: Make
    wanted: tuple[str, ...]
    weight: float = 1.0
    alone: bool = False
    """Whether it cannot share its wallet or its world with another kind."""
    world: str = "new"
    """`old` where it begins with the version of the service before, on its schema."""


KINDS: dict[int, Kind] = {}


def kind(
    number: int,
    name: str,
    *wanted: str,
    weight: float = 1.0,
    alone: bool = False,
    world: str = "new",
) -> Callable[[Make], Make]:
    """Registers the function that draws the steps of a kind."""

    def register(make: Make) -> Make:
        assert number not in KINDS, f"kind {number} stands twice"
        KINDS[number] = Kind(number, name, make, wanted, weight, alone, world)
        return make

    return register


def history_of(seed: int, only: int | None = None) -> History:
    """The history that a seed stands for, of all kinds or of one."""
    rng = random.Random(f"{seed}/{only}")
    if only is not None:
        numbers = [only]
    else:
        known = sorted(KINDS)
        weights = [KINDS[number].weight for number in known]
        numbers = rng.choices(known, weights)
        second = rng.choices(known, weights)
        if rng.random() < MIXED_SHARE and not any(KINDS[n].alone for n in numbers + second):
            numbers += second
    steps: list[tuple[int, Step]] = []
    draft = Draft(rng)
    for number in numbers:
        steps += [(number, step) for step in KINDS[number].make(draft)]
    return History(seed, tuple(steps), draft.credits)
