"""Kinds of faults that strike a server's process."""

from harness.history import Step
from harness.points import Point
from harness.proxy import Verdict
from harness.registry import Draft, kind
from harness.steps import Await, Freeze, KillServer, Release, StartServer

KILL_POINTS = tuple(f"killed {point}" for point in Point)


@kind(
    1,
    "kill -9 of a server at named points and at random",
    *KILL_POINTS,
    "killed while calls ran",
    weight=4,
)
def kill_server(draft: Draft) -> list[Step]:
    """A call is brought to a point, then its server dies; the others go on."""
    replica = draft.replica()
    if draft.chance(0.2):
        crowd = draft.crowd(10, replica=replica) or [draft.chat(replica=replica)]
        steps = [*crowd, KillServer(replica=replica, after_ms=draft.rng.randrange(120))]
    else:
        point = draft.pick()
        steps = [
            *draft.crowd(4),
            draft.chat(replica=replica, halt=point),
            KillServer(replica=replica),
        ]
        if draft.chance(0.5):
            # A batch on its way may reach the database after its sender's death, or never.
            verdict = draft.rng.choice((Verdict.PASS, Verdict.DROP))
            steps.append(Release(name=f"c{draft._count}", verdict=verdict))
    if draft.chance(0.7):
        steps.append(StartServer(replica=replica))
    return [*steps, *draft.crowd(3)]


@kind(3, "SIGSTOP of a server or a lane's backend", "froze a server", weight=1)
def freeze_server(draft: Draft) -> list[Step]:
    """A call stands at a point while its server stands still; then both go on."""
    replica = draft.replica()
    victim = draft.chat(replica=replica, halt=draft.pick())
    ms = draft.rng.choice((100, 200, 400, 800, 1500))
    return [
        *draft.crowd(4),
        victim,
        Freeze(replica=replica, ms=ms),
        Release(name=victim.name),
        *draft.crowd(2),
        Await(name=victim.name),
    ]
