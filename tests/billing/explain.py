"""Whether what several writers were told, and what the books say, has an explanation: some order of
the operations, one at a time, in which the model gives each the same answer and ends with the same
books. No operation may stand before one that was answered before it was asked.

An operation that was sent again after a lost connection may have been done once without an answer;
one whose caller was told that the ledger is away may have been done or not. Both are steps that an
explanation may leave out.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ledger_model import Model, Refused
from model_books import LOSSES, REVENUE, Account, Books, Said

from omni_grpc.billing.operations import Code, Operation, Outcome

LOOKS_MAX = 5_000
"""Orders that are tried before a search is given up, which is counted."""


@dataclass
class Step:
    """One operation by one writer. Moments are counted, not measured."""

    op: Operation
    owner: str
    epoch: int
    asked: int
    answered: int | None = None
    """None: it may be left out."""

    outcome: Outcome | None = None
    last_of: list["Step"] = field(default_factory=list)
    """Steps that stand before it, if they stand at all."""


class Unexplained(AssertionError):
    """No order of the operations explains what was seen."""


@dataclass
class Search:
    """Looks for an order of `steps` that leads from a model to `books`."""

    steps: Sequence[Step]
    books: Books
    looks: int = 0
    seen: set[tuple[frozenset[int], str]] = field(default_factory=set)

    def explain(self, model: Model) -> Model | None:
        """The model after an order that explains all; None where the search was given up.

        Raises:
            Unexplained: there is none.
        """
        found = self._look(model, frozenset(range(len(self.steps))))
        if found is None and self.looks <= LOOKS_MAX:
            raise Unexplained(self._story(model))
        return found

    def _look(self, model: Model, left: frozenset[int]) -> Model | None:
        if all(self.steps[place].answered is None for place in left) and self._ends(model):
            return model
        key = (left, repr(model.books))
        if key in self.seen or self.looks > LOOKS_MAX:
            return None
        self.seen.add(key)
        for place in sorted(left, key=self._order):
            if not self._may_be_next(place, left):
                continue
            self.looks += 1
            step = self.steps[place]
            following = self._after(model, step)
            gone = {other for other in left if any(self.steps[other] is x for x in step.last_of)}
            found = following and self._look(following, left - gone - {place})
            if found:
                return found
        return None

    def _order(self, place: int) -> tuple[bool, int]:
        step = self.steps[place]
        return step.answered is None, step.answered or step.asked

    def _may_be_next(self, place: int, left: frozenset[int]) -> bool:
        step = self.steps[place]
        for other in left - {place}:
            answered = self.steps[other].answered
            if answered is not None and answered < step.asked:
                return False
        return True

    def _after(self, model: Model, step: Step) -> Model | None:
        """The model after `step`; None where it would answer or post something else."""
        following = copy.deepcopy(model)
        following.owner, following.epoch = step.owner, step.epoch
        try:
            (said,) = following.apply([step.op])
        except Refused:
            return None
        if step.outcome is not None and _core(step.outcome) != _core(said):
            return None
        words = following.books.words.get(step.op.id, [])
        posted = self.books.words.get(step.op.id, [])
        return following if words == posted[: len(words)] else None

    def _ends(self, model: Model) -> bool:
        return model.books == self.books

    def _story(self, model: Model) -> str:
        lines = [f"nothing explains these {len(self.steps)} operations:"]
        for step in self.steps:
            told = "maybe" if step.outcome is None else repr(_core(step.outcome))
            lines.append(f"  {step.asked}-{step.answered} {step.owner}: {step.op} -> {told}")
        lines += [f"from {model.books}", f"to   {self.books}"]
        return "\n".join(lines)


def _core(said: Outcome | Said) -> tuple[Code, UUID, int | None, int | None]:
    """What an answer says in every order: not how full the wallet was after its batch."""
    amount = None if said.code is Code.UNKNOWN else said.amount
    return said.code, said.target, amount, said.short_account


def of_one_lane(books: Books) -> Books:
    """The books as if all were posted by the first lane, as the model knows it."""
    for first in (REVENUE, LOSSES):
        lanes = [books.accounts.pop(number) for number in range(first, first + 16)]
        books.accounts[first] = Account(
            lanes[0].kind,
            sum(account.credits for account in lanes),
            sum(account.debits for account in lanes),
        )
    return books
