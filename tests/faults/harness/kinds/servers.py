"""Kinds of faults that strike a server's process, or cut it off."""

from harness.history import Step
from harness.journal_steps import StartAbnormal
from harness.ledger_watch_steps import AwaitUnresolved, CheckFenced
from harness.points import IN_PROVIDER, Point
from harness.proxy import Line, Verdict
from harness.registry import Draft, kind
from harness.steps import Await, Freeze, KillServer, Release, SetLine, StartServer, Thaw
from harness.world_steps import ReplaceFrozen, ThawFrozen

KILL_POINTS = tuple(f"killed {point}" for point in Point)
HOUR_SECONDS = 3_600


@kind(
    1,
    "kill -9 of a server at named points and at random",
    *KILL_POINTS,
    "killed while calls ran",
    weight=5,
)
def kill_server(draft: Draft) -> list[Step]:
    """A call is brought to a point, then its server dies; the others go on."""
    replica = draft.replica()
    if draft.chance(0.2):
        crowd = draft.crowd(10, replica=replica) or [draft.chat(replica=replica)]
        steps = [*crowd, KillServer(replica=replica, after_ms=draft.rng.randrange(120))]
    else:
        victim = draft.chat(replica=replica, halt=draft.pick())
        steps = [*draft.crowd(4), victim, KillServer(replica=replica)]
        if draft.chance(0.5):
            # A batch on its way may reach the database after its sender's death, or never.
            verdict = draft.rng.choice((Verdict.PASS, Verdict.DROP))
            steps.append(Release(name=victim.name, verdict=verdict))
    if draft.chance(0.7):
        steps.append(StartServer(replica=replica))
    return [*steps, *draft.crowd(3)]


@kind(3, "SIGSTOP of a server or a lane's backend", "froze a server", weight=1)
def freeze_server(draft: Draft) -> list[Step]:
    """A call stands at a point while its server stands still; then both go on."""
    replica = draft.replica()
    victim = draft.chat(replica=replica, halt=draft.pick())
    ms = draft.rng.choice((100, 200, 400, 800, 1500))
    if draft.chance(0.03):
        ms = draft.rng.choice((6_000, 12_000, 30_000))
    return [
        *draft.crowd(4),
        victim,
        Freeze(replica=replica, ms=ms),
        Release(name=victim.name),
        *draft.crowd(2),
        Await(name=victim.name),
    ]


@kind(
    8,
    "the server's clock is off by an hour",
    "ran an hour ahead",
    "ran an hour behind",
    "killed while calls ran",
    weight=0.4,
    alone=True,
)
def wrong_clock(draft: Draft) -> list[Step]:
    """A replica whose wall clock is wrong serves, is killed, and is recovered by right ones."""
    replica = draft.replica()
    skew = draft.rng.choice((-HOUR_SECONDS, HOUR_SECONDS))
    point = draft.pick()
    victim = draft.chat(replica=replica, halt=point)
    steps: list[Step] = [
        StartAbnormal(replica=replica, clock_s=skew),
        *draft.crowd(4, replica=replica),
        *draft.crowd(3),
        victim,
    ]
    if draft.chance(0.6):
        steps.append(KillServer(replica=replica))
    else:
        steps += [Release(name=victim.name), Await(name=victim.name)]
    return [*steps, *draft.crowd(3)]


@kind(
    18,
    "a server cut off from the database only, past its lease",
    "unresolved while its owner was away",
    "fenced before its lease ended",
    "cut line",
    "silent line",
    weight=0.4,
)
def cut_off(draft: Draft) -> list[Step]:
    """It must stop its provider before anybody else decides; the wallet is spent meanwhile."""
    replica = draft.replica()
    victim = draft.chat(replica=replica, halt=draft.pick(IN_PROVIDER), deadline_s=40)
    line = draft.rng.choice((Line.CUT, Line.SILENT))
    elsewhere = (replica + 1) % 3
    return [
        victim,
        SetLine(replica=replica, line=line),
        *draft.crowd(4, replica=elsewhere),
        AwaitUnresolved(name=victim.name),
        CheckFenced(name=victim.name),
        *draft.crowd(2, replica=elsewhere),
        SetLine(replica=replica, line=Line.OPEN),
        Await(name=victim.name),
    ]


@kind(
    20,
    "SIGSTOP of a worker, a replacement starts, SIGCONT",
    "a replacement started beside a frozen server",
    "unresolved while its owner was away",
    "woke beside its replacement",
    weight=0.4,
)
def replace_frozen(draft: Draft) -> list[Step]:
    """The one that wakes finds its leases gone; what it says of its calls counts once."""
    replica = draft.replica()
    victim = draft.chat(replica=replica, halt=draft.pick(), deadline_s=40)
    steps: list[Step] = [*draft.crowd(3, replica=replica), victim, ReplaceFrozen(replica=replica)]
    steps += draft.crowd(3, replica=replica)
    if draft.chance(0.7):
        steps.append(AwaitUnresolved(name=victim.name))
    return [*steps, ThawFrozen(), Release(name=victim.name), Await(name=victim.name)]


@kind(
    13,
    "settle, void and reaper race; two reapers",
    "unresolved while its owner was away",
    "raced",
    weight=0.5,
)
def reaper_race(draft: Draft) -> list[Step]:
    """Either a team's hold is ended at its last moment, or a stalled server's call is reaped."""
    from harness.kinds.billing import last_moment

    if draft.chance(0.7):
        return last_moment(draft)
    replica = draft.replica()
    victim = draft.chat(replica=replica, halt=draft.pick(IN_PROVIDER), deadline_s=40)
    return [
        victim,
        Freeze(replica=replica),
        AwaitUnresolved(name=victim.name),
        Release(name=victim.name),
        Thaw(replica=replica),
        Await(name=victim.name),
    ]
