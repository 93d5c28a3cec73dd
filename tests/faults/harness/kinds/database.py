"""Kinds of faults that strike PostgreSQL, or the way to it."""

from harness.history import Step
from harness.points import IN_LANE, Point
from harness.proxy import Verdict
from harness.registry import Draft, kind
from harness.steps import Await, CutLanes, FreezePostgres, KillPostgres, Release


@kind(
    2,
    "kill -9 of PostgreSQL: a backend, the postmaster, all, in recovery",
    "killed backend", "killed postmaster", "killed all", "killed recovery",
    *(f"killed PostgreSQL {point}" for point in Point),
    weight=3,
)  # fmt: skip
def kill_postgres(draft: Draft) -> list[Step]:
    """PostgreSQL dies while a call stands at a point."""
    replica = draft.replica()
    what = draft.rng.choice(("backend", "postmaster", "all", "all", "recovery"))
    victim = draft.chat(replica=replica, halt=draft.pick())
    return [
        *draft.crowd(5),
        victim,
        KillPostgres(what=what, replica=replica, away_ms=draft.rng.choice((0, 0, 100, 400))),
        Release(name=victim.name, verdict=draft.rng.choice((Verdict.PASS, Verdict.DROP))),
        *draft.crowd(3),
        Await(name=victim.name),
    ]


@kind(
    4,
    "a proxy that cuts before the answer, resets in COMMIT, hangs",
    *(f"{verdict.name.lower()} {point}" for point in IN_LANE if point is not Point.SETTLE_SENT
      for verdict in ((Verdict.DROP, Verdict.CUT, Verdict.RESET) if "unack" not in point
                      else (Verdict.DROP,))),
    weight=3,
)  # fmt: skip
def break_batches(draft: Draft) -> list[Step]:
    """The batch that holds or settles a call is broken on its way there or back."""
    replica = draft.replica()
    point = draft.pick(point for point in IN_LANE if point is not Point.SETTLE_SENT)
    victim = draft.chat(replica=replica, halt=point)
    sent = point in (Point.BEFORE_HOLD, Point.FINAL_USAGE)
    verdicts = [Verdict.DROP, Verdict.DROP]
    verdicts += [Verdict.CUT, Verdict.RESET, Verdict.RESET] if sent else []
    if draft.chance(0.04):
        verdicts = [Verdict.HANG]  # ends after five seconds, when the lane gives up on it
    steps: list[Step] = [*draft.crowd(5, replica=replica), victim]
    steps.append(Release(name=victim.name, verdict=draft.rng.choice(verdicts)))
    if draft.chance(0.3):
        steps.append(CutLanes(replica=replica))
    if draft.chance(0.1):
        steps.append(FreezePostgres(replica=replica, ms=draft.rng.randrange(50, 600)))
    return [*steps, *draft.crowd(3), Await(name=victim.name)]
