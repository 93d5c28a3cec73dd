"""Kinds of faults of billing calls: repeated, reordered, raced, misused."""

from harness.billing_steps import AimAtChat, Deliver, DeliverAgain, Race
from harness.history import Step
from harness.ledger_watch_steps import RaceForCredits
from harness.points import IN_PROVIDER, Point
from harness.proxy import Verdict
from harness.registry import Draft, kind
from harness.steps import (
    Await,
    CutLanes,
    KillPostgres,
    KillServer,
    Release,
    Repeat,
    Sleep,
    StartServer,
)

VERBS_OF_A_HOLD = ("settle", "release")


def _to_many(draft: Draft) -> tuple[int, ...]:
    """Which replicas a request is delivered to, one after the other."""
    return tuple(draft.replica() for _ in range(draft.rng.randrange(1, 6)))


def _fault(draft: Draft) -> list[Step]:
    replica = draft.replica()
    if draft.chance(0.2):
        return [KillServer(replica=replica), StartServer(replica=replica)]
    if draft.chance(0.2):
        return [KillPostgres(what="all")]
    return [CutLanes(replica=replica)] if draft.chance(0.3) else []


@kind(
    5,
    "every billing RPC delivered 1 to 5 times, reordered, to different replicas",
    "delivered several times",
    "delivered late",
    "reused with other content",
    weight=2,
)
def deliver_often(draft: Draft) -> list[Step]:
    """Each is done once, whoever hears of it and however often; other content is refused."""
    rng = draft.rng
    steps: list[Step] = []
    names: list[str] = []
    for _ in range(rng.randrange(1, 3)):
        others = (rng.randrange(1, 10**6),) if draft.chance(0.4) else ()
        amount = rng.randrange(1, 10**7)
        grant = Deliver(verb="grant", name=draft.name(), amount=amount, replicas=_to_many(draft),
                        others=others)  # fmt: skip
        hold = Deliver(verb="hold", name=draft.name(), amount=rng.randrange(1, 10**6),
                       replicas=_to_many(draft))  # fmt: skip
        verb = rng.choice(VERBS_OF_A_HOLD)
        end = Deliver(verb=verb, name=draft.name(), of=hold.name, amount=hold.amount // 2
                      if verb == "settle" else 0, replicas=_to_many(draft))  # fmt: skip
        steps += [grant, hold, *_fault(draft), end]
        names += [grant.name, hold.name, end.name]
    again = [DeliverAgain(name=name, replica=draft.replica()) for name in names]
    rng.shuffle(again)
    return [*draft.crowd(3), *steps, *again]


@kind(
    6,
    "two and three replicas on one wallet with room for k of n",
    "raced for the last credits",
    weight=0.8,
    alone=True,
)
def race_for_credits(draft: Draft) -> list[Step]:
    """Exactly as many pass as there is room for."""
    draft.credits = 0
    callers = draft.rng.randrange(6, 41)
    return [
        RaceForCredits(
            name="r",
            callers=callers,
            room=draft.rng.randrange(1, callers),
            more=draft.rng.choice((0, -1, draft.rng.randrange(10**6))),
            replicas=draft.rng.randrange(2, 4),
        )
    ]


def last_moment(draft: Draft) -> list[Step]:
    """A team's hold ends by its time, is settled and is released in the same moment."""
    hold = Deliver(verb="hold", name=draft.name(), amount=10**6, ttl_s=1)
    ends = tuple(
        Deliver(
            verb=verb,
            name=draft.name(),
            of=hold.name,
            amount=4 * 10**5 if verb == "settle" else 0,
            replicas=(draft.replica(),),
        )
        for verb in draft.rng.choice((("settle", "release"), ("settle",), ("release", "settle")))
    )
    wait = Sleep(ms=draft.rng.choice((0, 900, 990, 1_000, 1_050, 1_500)))
    return [hold, *draft.crowd(3), wait, Race(deliveries=ends), *draft.crowd(2)]


@kind(
    14,
    "credits early, late, twice, never; refunds twice or above the charge",
    "delivered several times",
    "raced",
    weight=0.8,
)
def refunds(draft: Draft) -> list[Step]:
    """Refunds race for what is left of a charge; grants come when they like."""
    rng = draft.rng
    call = draft.chat(awaited=True)
    racing = tuple(
        Deliver(verb="refund", name=draft.name(), of=call.name,
                amount=rng.choice((10, 40, 60, 100, 130)), replicas=_to_many(draft))
        for _ in range(rng.randrange(1, 4))
    )  # fmt: skip
    grant = Deliver(verb="grant", name=draft.name(), amount=rng.randrange(1, 10**6),
                    replicas=_to_many(draft))  # fmt: skip
    again = [DeliverAgain(name=each.name, replica=draft.replica()) for each in (*racing, grant)]
    rng.shuffle(again)
    return [call, *draft.crowd(3), Race(deliveries=racing), *_fault(draft), grant, *again]


@kind(
    21,
    "ReleaseHold and SettleHold(0) aimed at a running chat",
    "aimed release at a running chat",
    "aimed settle at a running chat",
    weight=0.6,
)
def aim_at_chat(draft: Draft) -> list[Step]:
    """A customer cannot free a running chat's hold, nor can another tenant."""
    victim = draft.chat(halt=draft.pick(IN_PROVIDER))
    aims = [
        AimAtChat(name=draft.name(), verb=draft.rng.choice(("release", "settle")),
                  replica=draft.replica(), by_another=draft.chance(0.3))
        for _ in range(draft.rng.randrange(1, 4))
    ]  # fmt: skip
    other = draft.chat(tenant=1)
    return [*draft.crowd(3), other, victim, *aims, Release(name=victim.name), *aims[:1]]


@kind(
    28,
    "the same request_id again, from another tenant, and after a kill",
    "repeated while it ran",
    "killed after its final usage",
    "killed after its settle committed, unacknowledged",
    "killed mid-stream",
    weight=2.5,
)
def same_request_id(draft: Draft) -> list[Step]:
    """A chat's request id pays once, whatever strikes between its first and its last delivery."""
    replica = draft.replica()
    request_id = draft.name()
    halt = draft.pick() if draft.chance(0.8) else None
    first = draft.chat(replica=replica, request_id=request_id, halt=halt)
    stranger = draft.chat(tenant=1, request_id=request_id)
    repeats = [
        Repeat(of=first.name, name=draft.name(), replica=draft.replica(),
               over=draft.rng.choice(("grpc", "rest")), stream=draft.chance(0.5),
               awaited=draft.chance(0.7))
        for _ in range(draft.rng.randrange(2, 5))
    ]  # fmt: skip
    early = [repeats.pop()] if draft.chance(0.4) else []
    fault: list[Step] = [Release(name=first.name)]
    if halt is not None and draft.chance(0.7):
        fault = [KillServer(replica=replica), StartServer(replica=replica)]
        if draft.chance(0.5):
            fault.append(Sleep(ms=draft.rng.choice((100, 2_200))))
    elif halt in (Point.AFTER_HOLD, Point.SETTLE_COMMITTED):
        fault = [Release(name=first.name, verdict=Verdict.DROP)]
    if draft.chance(0.2):
        fault.append(KillPostgres(what="all"))
    return [*draft.crowd(2), first, stranger, *early, *fault, *repeats, Await(name=first.name)]
