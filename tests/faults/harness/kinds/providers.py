"""Kinds of faults of callers and providers: those who leave, and those who break their word."""

from harness.history import Step
from harness.journal_steps import StartAbnormal
from harness.ledger_watch_steps import ChangePrice
from harness.points import Point
from harness.registry import Draft, kind
from harness.steps import Await, KillServer, Leave, Release

FAULTS: dict[str, dict[str, object]] = {
    "hangs before headers": {"model": "sim/hang", "deadline_s": 0.4},
    "hangs after headers": {"model": "sim/hang-headers", "deadline_s": 0.4},
    "hangs mid-stream": {"model": "sim/hang-mid", "deadline_s": 0.4},
    "reports no usage": {"model": "sim/no-usage"},
    "reports usage twice": {"model": "sim/usage-twice"},
    "reports zero usage": {"model": "sim/usage-zero"},
    "reports usage above the hold": {"model": "sim/usage-over"},
    "names another model": {"model": "sim/wrong-model"},
    "fails with 429, then another answers": {"model": "faults/429-then-fast"},
    "fails with 500, then another answers": {"model": "faults/500-then-fast"},
    "is cut off, then another answers": {"model": "faults/cut-then-fast"},
    "all fail": {"model": "faults/all-fail"},
    "refuses the content": {"model": "sim/error-400"},
    "error event after partial output": {"model": "sim/error-mid"},
    "truncated answer": {"model": "sim/truncated"},
    "reset mid-stream": {"model": "sim/cut-mid"},
    "closed mid-stream": {"model": "sim/fin-mid"},
    "broken JSON mid-stream": {"model": "sim/bad-json"},
    "never says DONE": {"model": "sim/no-done"},
    "reads half of the prompt from a cache": {"model": "sim/cached"},
}


@kind(
    11,
    "the client cancels after each event; slow readers",
    "left by itself",
    "read slowly",
    *(f"left {point}" for point in Point),
    weight=1.5,
)
def leaving(draft: Draft) -> list[Step]:
    """However a caller goes away, what was generated is charged once, to the token."""
    rng = draft.rng
    steps: list[Step] = draft.crowd(3)
    for _ in range(rng.randrange(1, 5)):
        how = rng.random()
        delay = f",delay_ms={rng.randrange(1, 10)}"
        if how < 0.3:
            after = rng.randrange(6)
            steps.append(draft.chat(stream=True, tokens=rng.randrange(6, 30), leave_after=after,
                                    more=delay, counts="left by itself"))  # fmt: skip
        elif how < 0.5:
            steps.append(draft.chat(leave_ms=rng.randrange(1, 120), more=delay,
                                    counts="left by itself"))  # fmt: skip
        elif how < 0.65:
            steps.append(draft.chat(stream=True, slow_ms=rng.randrange(5, 40), tokens=10,
                                    counts="read slowly"))  # fmt: skip
        else:
            victim = draft.chat(halt=draft.pick())
            steps += [victim, Leave(name=victim.name), Release(name=victim.name)]
    return steps


@kind(12, "providers that hang, lie, refuse, break off", *FAULTS, weight=2)
def bad_providers(draft: Draft) -> list[Step]:
    """Each attempt is charged by what its provider did, and no other."""
    names = draft.rng.sample(list(FAULTS), draft.rng.randrange(2, 7))
    chats = [draft.chat(tokens=12, counts=name, **FAULTS[name]) for name in names]
    return [*draft.crowd(2), *chats, *[Await(name=chat.name) for chat in chats]]


@kind(15, "a price change mid-stream", "price changed mid-stream", weight=0.5)
def price_change(draft: Draft) -> list[Step]:
    """The version is pinned at the hold."""
    model = draft.rng.choice(("sim/slow", "sim/echo", "sim/crlf", "sim/long-line"))
    points = (Point.DISPATCHED, Point.FIRST_TOKEN, Point.MID_STREAM)
    victim = draft.chat(model=model, halt=draft.pick(points), more=",delay_ms=0", tokens=5)
    change = ChangePrice(
        model=model, prompt=draft.rng.randrange(1, 900), completion=draft.rng.randrange(1, 2_000)
    )
    after = draft.chat(model=model, more=",delay_ms=0", tokens=5)
    dies = [KillServer(replica=victim.replica)] if draft.chance(0.2) else []
    return [victim, change, after, *dies, Release(name=victim.name), *draft.crowd(2)]


@kind(25, "two attempts, both billed", "gave up on the first, then another answered", weight=0.15,
      alone=True)  # fmt: skip
def two_billed(draft: Draft) -> list[Step]:
    """The first attempt is given up on when it may have cost something, the second answers."""
    replica = draft.replica()
    victim = draft.chat(replica=replica, model="faults/hang-then-fast", stream=True,
                        counts="gave up on the first, then another answered")  # fmt: skip
    return [
        StartAbnormal(replica=replica, first_byte_s=0.5),
        *draft.crowd(3),
        victim,
        Await(name=victim.name),
    ]
