"""Kinds of faults of an upgrade: two versions of the service on one schema."""

from harness.history import Step
from harness.points import IN_PROVIDER
from harness.registry import Draft, kind
from harness.steps import Await, KillPostgres, KillServer, Release, StartServer
from harness.world_steps import StopServer, Upgrade


@kind(
    16,
    "old and new code on one schema; migration under load",
    "migrated while calls ran",
    "old and new code served one wallet",
    weight=0.08,
    alone=True,
    world="old",
)
def upgrade(draft: Draft) -> list[Step]:
    """The schema changes under traffic, both versions serve, then the old one is drained."""
    victim = draft.chat(replica=0, halt=draft.pick(IN_PROVIDER), deadline_s=30)
    slow = {"more": ",delay_ms=25"}
    before = [draft.chat(replica=0, tokens=20, **slow) for _ in range(draft.rng.randrange(1, 6))]
    steps: list[Step] = [*before, victim, Upgrade(), StartServer(replica=1), StartServer(replica=2)]
    steps += [draft.chat(replica=1, awaited=True), draft.chat(replica=0, **slow), *draft.crowd(8)]
    if draft.chance(0.4):
        steps.append(KillPostgres(what="all"))
    if draft.chance(0.4):
        steps += [KillServer(replica=1), StartServer(replica=1)]
    steps += [Release(name=victim.name), Await(name=victim.name)]
    return [*steps, StopServer(replica=0), StartServer(replica=0), *draft.crowd(4)]
