"""Kinds of faults of outside payments."""

from harness.history import Step
from harness.payment_steps import Present, Presentation
from harness.registry import Draft, kind
from harness.steps import CutLanes, KillPostgres, KillServer, StartServer


@kind(
    26,
    "one x402 payment presented as v1, then as v2",
    "presented under two names at once",
    "refused for another amount or account",
    "struck while it was presented",
    weight=0.8,
)
def present_twice(draft: Draft) -> list[Step]:
    """A payment is credited once for ever, by whichever name and whoever dies over it."""
    rng = draft.rng
    steps: list[Step] = [*draft.crowd(3)]
    for _ in range(rng.randrange(1, 4)):
        name, amount = draft.name(), rng.randrange(1, 10**7)
        v1 = Presentation(draft.replica(), 1)
        crowd = [Presentation(draft.replica(), rng.choice((1, 2))) for _ in range(rng.randrange(5))]
        if draft.chance(0.5):
            crowd.append(Presentation(draft.replica(), 2, more=rng.choice((-1, 1, 10**6))))
        if draft.chance(0.3):
            crowd.append(Presentation(draft.replica(), 2, tenant=1))
        strike, after = _strike(draft, v1.replica)
        at_once = [v1, *crowd]
        rng.shuffle(at_once)
        late = (Presentation(draft.replica(), 2), Presentation(draft.replica(), 1))
        steps += [
            Present(name=name, amount=amount, presentations=tuple(at_once), meanwhile=strike),
            Present(name=name, amount=amount, presentations=(Presentation(draft.replica(), 2),)),
            *after,
            Present(name=name, amount=amount, presentations=late),
        ]
    return [*steps, *draft.crowd(2)]


def _strike(draft: Draft, replica: int) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """What happens while a payment is presented, and what mends it afterwards."""
    after_ms = draft.rng.randrange(10)
    if draft.chance(0.5):
        return (KillServer(replica=replica, after_ms=after_ms),), (StartServer(replica=replica),)
    if draft.chance(0.4):
        return (KillPostgres(what=draft.rng.choice(("backend", "all")), after_ms=after_ms),), ()
    return ((CutLanes(replica=replica),), ()) if draft.chance(0.5) else ((), ())
