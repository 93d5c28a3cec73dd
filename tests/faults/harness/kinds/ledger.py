"""Kinds of faults of the ledger's own operations, sent beside the servers' traffic."""

from harness.billing_steps import BadAmounts
from harness.history import Step
from harness.ledger_steps import BudgetRace, BudgetStory, OneBatch, Poison
from harness.registry import Draft, kind

BATCHES = ("hold and void", "lease end and settle", "an end before its hold is visible")


@kind(
    7,
    "budget edges: no room in the key's budget, window change, limit below pending",
    "wallet had room, the budget had not",
    "limit lowered below pending",
    "window changed during a hold",
    weight=0.6,
    alone=True,
)
def budgets(draft: Draft) -> list[Step]:
    """A budget window decides exactly, whatever becomes of its limit."""
    rng = draft.rng
    if draft.chance(0.4):
        holds = rng.randrange(4, 30)
        race = BudgetRace(holds=holds, room=rng.randrange(1, holds), amount=rng.randrange(2, 9_000))
        return [*draft.crowd(4), race, *draft.crowd(2)]
    return [*draft.crowd(4), BudgetStory(seed=rng.randrange(10**9), steps=rng.randrange(8, 40))]


@kind(
    17,
    "int64 edges, zero, negative amounts, a poison operation in a batch",
    "refused an impossible amount",
    "a poison operation shared a batch",
    weight=0.5,
    alone=True,
)
def edges(draft: Draft) -> list[Step]:
    """What can never apply is refused alone; whatever shares its batch goes on."""
    if draft.chance(0.4):
        return [*draft.crowd(4), BadAmounts(name=draft.name(), replica=draft.replica())]
    poison = Poison(
        good=draft.rng.randrange(1, 12),
        poison=draft.rng.choice(("unknown account", "a sum above 2^63")),
        tenant=1,
    )
    return [*draft.crowd(6), poison, *draft.crowd(3)]


@kind(22, "two words on one hold in one batch; an end before its hold is visible", *BATCHES,
      weight=0.6)  # fmt: skip
def one_batch(draft: Draft) -> list[Step]:
    """Whichever way they meet, the hold has one end and no money is stuck."""
    return [*draft.crowd(4), OneBatch(what=draft.rng.choice(BATCHES)), *draft.crowd(2)]
