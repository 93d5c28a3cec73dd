"""Kinds of faults that strike what a server keeps on its disk."""

from harness.history import Step
from harness.journal_steps import (
    FewerWorkers,
    FullDisk,
    HurtJournal,
    PowerLoss,
    RoomAgain,
    StartAbnormal,
)
from harness.points import IN_PROVIDER
from harness.registry import Draft, kind
from harness.steps import Await, KillServer, Release, StartServer


@kind(
    9,
    "slow fsync, full disk, torn journal",
    "synced slowly",
    "no room for the journal",
    "torn tail",
    weight=0.7,
    alone=True,
)
def bad_disk(draft: Draft) -> list[Step]:
    """A journal that cannot be written refuses calls, and loses none that ran."""
    replica = draft.replica()
    victim = draft.chat(replica=replica, halt=draft.pick())
    what = draft.rng.random()
    before = [draft.chat(replica=replica, awaited=True) for _ in range(4)]
    if what < 0.15:
        slow = StartAbnormal(replica=replica, sync_ms=draft.rng.choice((200, 700)))
        dies = [KillServer(replica=replica)] if draft.chance(0.5) else []
        return [slow, *draft.crowd(6, replica=replica), victim, *dies, Release(name=victim.name)]
    if what < 0.6:
        full = FullDisk(replica=replica, room_bytes=draft.rng.randrange(1_500))
        steps: list[Step] = [*before, victim, full, *draft.crowd(5, replica=replica)]
        if draft.chance(0.3):
            steps.append(KillServer(replica=replica))
        else:
            steps += [Release(name=victim.name), Await(name=victim.name)]
        return [*steps, RoomAgain(replica=replica), *draft.crowd(3, replica=replica)]
    torn = HurtJournal(replica=replica, how="torn", seed=draft.rng.randrange(10**9))
    return [*before, victim, KillServer(replica=replica), torn, StartServer(replica=replica)]


@kind(
    23,
    "power loss before fdatasync, a flipped byte, four workers become two",
    "power was lost",
    "power was lost before a sync",
    "a byte was flipped",
    weight=0.7,
    alone=True,
)
def lost_records(draft: Draft) -> list[Step]:
    """What no journal survives is charged at most, or stays listed; never freed, never above."""
    replica = draft.replica()
    before = [draft.chat(replica=replica, awaited=True) for _ in range(3)]
    victim = draft.chat(replica=replica, halt=draft.pick())
    what = draft.rng.random()
    if what < 0.35:
        slow = StartAbnormal(replica=replica, sync_ms=draft.rng.choice((1, 50, 200)))
        crowd = draft.crowd(6, replica=replica)
        return [slow, *before, *crowd, victim, PowerLoss(replica=replica), *draft.crowd(2)]
    if what < 0.9:
        flip = HurtJournal(replica=replica, how="flipped", seed=draft.rng.randrange(10**9))
        return [
            *before,
            *draft.crowd(4, replica=replica),
            victim,
            KillServer(replica=replica),
            flip,
        ]
    many = [draft.chat(replica=replica, halt=draft.pick(IN_PROVIDER)) for _ in range(4)]
    return [
        StartAbnormal(replica=replica, workers=4, sync_ms=1),
        *draft.crowd(6, replica=replica),
        *many,
        KillServer(replica=replica),
        FewerWorkers(replica=replica, workers=2),
        *draft.crowd(4, replica=replica),
    ]
