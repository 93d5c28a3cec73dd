"""Kinds of faults that strike PostgreSQL, or the way to it."""

from harness.history import Step
from harness.ledger_watch_steps import AwaitUnresolved, CheckServed, RunDoctor
from harness.points import IN_LANE, Point
from harness.proxy import Line, Verdict
from harness.registry import Draft, kind
from harness.steps import (
    Await,
    CutLanes,
    FreezePostgres,
    KillPostgres,
    KillServer,
    LockWallet,
    Release,
    SetLine,
    SilencePools,
    Sleep,
)
from harness.world_steps import BackUp, Restore

TRAPPED = tuple(point for point in IN_LANE if point is not Point.SETTLE_SENT)
BEFORE = (Point.BEFORE_HOLD, Point.FINAL_USAGE)


@kind(
    2,
    "kill -9 of PostgreSQL: a backend, the postmaster, all, in recovery",
    "killed backend",
    "killed postmaster",
    "killed all",
    "killed recovery",
    *(f"killed PostgreSQL {point}" for point in Point),
    weight=4,
)
def kill_postgres(draft: Draft) -> list[Step]:
    """PostgreSQL dies while a call stands at a point, or in the middle of commits."""
    replica = draft.replica()
    what = draft.rng.choice(("backend", "postmaster", "all", "all", "recovery"))
    away = draft.rng.choice((0, 0, 100, 400))
    if draft.chance(0.25):
        crowd = [*draft.crowd(12), *draft.crowd(12)]
        kill = KillPostgres(what=what, replica=replica, away_ms=away,
                            after_ms=draft.rng.randrange(40))  # fmt: skip
        return [*crowd, kill, *draft.crowd(3)]
    victim = draft.chat(replica=replica, halt=draft.pick())
    return [
        *draft.crowd(5),
        victim,
        KillPostgres(what=what, replica=replica, away_ms=away),
        Release(name=victim.name, verdict=draft.rng.choice((Verdict.PASS, Verdict.DROP))),
        *draft.crowd(3),
        Await(name=victim.name),
    ]


@kind(
    4,
    "a proxy that cuts before the answer, resets in COMMIT, hangs",
    *(f"drop {point}" for point in TRAPPED),
    *(f"{verdict} {point}" for point in BEFORE for verdict in ("cut", "reset")),
    weight=4,
)
def break_batches(draft: Draft) -> list[Step]:
    """The batch that holds or settles a call is broken on its way there or back."""
    replica = draft.replica()
    point = draft.pick(TRAPPED)
    victim = draft.chat(replica=replica, halt=point)
    verdicts = [Verdict.DROP, Verdict.DROP]
    verdicts += [Verdict.CUT, Verdict.RESET, Verdict.RESET] if point in BEFORE else []
    if draft.chance(0.04):
        verdicts = [Verdict.HANG]  # ends after five seconds, when the lane gives up on it
    steps: list[Step] = [*draft.crowd(5, replica=replica), victim]
    steps.append(Release(name=victim.name, verdict=draft.rng.choice(verdicts)))
    if draft.chance(0.3):
        steps.append(CutLanes(replica=replica))
    if draft.chance(0.1):
        steps.append(FreezePostgres(replica=replica, ms=draft.rng.randrange(50, 600)))
    if draft.chance(0.1):
        steps.append(KillServer(replica=replica, after_ms=draft.rng.randrange(30)))
    return [*steps, *draft.crowd(3), Await(name=victim.name)]


@kind(
    10,
    "pool exhausted, a forgotten session sitting on a wallet row",
    "sat on the wallet",
    "served beside a locked account",
    "silenced pools",
    weight=0.6,
)
def forgotten_session(draft: Draft) -> list[Step]:
    """One wallet is locked: its calls wait or are refused, another tenant's are served."""
    replica = draft.replica()
    if draft.chance(0.3):
        crowd = draft.crowd(8, replica=replica) or [draft.chat(replica=replica)]
        return [*crowd, SilencePools(replica=replica, ms=draft.rng.randrange(100, 1_200))]
    mine = draft.chat(replica=replica, tokens=12, more=",delay_ms=15")
    theirs = draft.chat(replica=replica, tenant=1, tokens=4)
    late = draft.chat(replica=replica, tenant=1, tokens=4)
    ms = draft.rng.choice((300, 800, 1_600, 2_600))
    lock = LockWallet(ms=ms, meanwhile=(theirs, CheckServed(name=theirs.name)))
    if ms > 1_000:
        # The lane has found out by now, and set this account aside.
        more = (Sleep(ms=1_100), late, CheckServed(name=late.name, ms=1_000))
        lock = LockWallet(ms=ms, meanwhile=(theirs, *more))
    return [*draft.crowd(3, replica=replica), mine, lock, *draft.crowd(3), Await(name=mine.name)]


@kind(
    19,
    "acknowledgement lost, an outage longer than a lease, the reaper before the resend",
    "unresolved while its owner was away",
    *(f"drop {point}" for point in (Point.AFTER_HOLD, Point.SETTLE_COMMITTED)),
    weight=0.4,
)
def long_outage(draft: Draft) -> list[Step]:
    """What was committed is learnt only when others have decided that the owner is gone."""
    replica = draft.replica()
    point = draft.rng.choice((Point.AFTER_HOLD, Point.AFTER_HOLD, Point.SETTLE_COMMITTED))
    running = draft.chat(replica=replica, halt=Point.MID_STREAM, deadline_s=40)
    victim = draft.chat(replica=replica, halt=point, deadline_s=40)
    return [
        running,
        victim,
        SetLine(replica=replica, line=Line.CUT),
        Release(name=victim.name, verdict=Verdict.DROP),
        *draft.crowd(2, replica=(replica + 1) % 3),
        AwaitUnresolved(name=running.name),
        SetLine(replica=replica, line=Line.OPEN),
        Await(name=victim.name),
        Release(name=running.name),
        Await(name=running.name),
    ]


@kind(
    24,
    "restore from an older backup after acknowledged settles",
    "restored after acknowledged settles",
    "restored while calls ran",
    weight=0.4,
    alone=True,
)
def restore_backup(draft: Draft) -> list[Step]:
    """What the database forgot is in the journals of those who live, and of those who do not."""
    replica = draft.replica()
    running = draft.chat(replica=replica, halt=draft.pick((Point.MID_STREAM, Point.FIRST_TOKEN)))
    before = draft.crowd(4)
    since = [draft.chat(awaited=True) for _ in range(draft.rng.randrange(1, 6))]
    dead: list[Step] = []
    if draft.chance(0.3):
        dead = [KillServer(replica=(replica + 1) % 3), Sleep(ms=draft.rng.choice((0, 2_500)))]
    steps: list[Step] = [running, *before, BackUp(), *since, *dead, Restore()]
    if draft.chance(0.5):
        steps = [*before, BackUp(), running, *since, *dead, Restore()]
    return [*steps, Release(name=running.name), *draft.crowd(3), Await(name=running.name)]


@kind(
    27,
    "the doctor and maintenance under load",
    "the doctor looked while calls ran",
    "maintained while calls ran",
    weight=0.6,
)
def doctor_under_load(draft: Draft) -> list[Step]:
    """Reading the books beside traffic finds nothing wrong in them."""
    crowds = [*draft.crowd(12), *draft.crowd(12), draft.chat(more=",delay_ms=20")]
    steps: list[Step] = [
        *crowds,
        RunDoctor(times=draft.rng.randrange(1, 5), maintain=draft.chance(0.5)),
    ]
    if draft.chance(0.3):
        steps.append(KillPostgres(what="all"))
    return [*steps, *draft.crowd(6), RunDoctor(times=2)]
