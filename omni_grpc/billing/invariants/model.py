"""The invariants by name, and what it looks like when one does not hold."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Invariant(StrEnum):
    """A statement that is true at every commit; `meaning` says which."""

    meaning: str

    I1 = "I1", "credits equal debits over the money accounts"
    I2 = "I2", "stored balances equal those recomputed from the postings"
    I3 = "I3", "what is pending equals the sum of the open and unresolved holds"
    I4 = "I4", "replayed in commit order, no wallet was ever below zero"
    I5 = "I5", "an attempt is open or final, and final once"
    I6 = "I6", "no settle is above its hold, and no refund above its settle"
    I7 = "I7", "the operator's loss is what was reported above the holds or written off"
    I8 = "I8", "no open hold is past its lease"
    I9 = "I9", "every final attempt has its usage record, and every usage record its attempt"
    I10 = "I10", "every charge recomputes from usage, price version and markup"
    I11 = "I11", "every grant and refund was asked for once, and every payment booked once"
    I12 = "I12", "the stored balance is the one after the last entry, and snapshots fit"
    I13 = "I13", "every request id has one outcome"

    def __new__(cls, value: str, meaning: str) -> Self:
        """Makes a member from its name and its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where an invariant does not hold.

    Attributes:
        invariant: which.
        what: what is wrong, in words.
        where: the row, by table and key, such as `account 1003` or `posting 0198…/0`.
        expected: what it should be; amounts are nano-USD.
        found: what it is.
    """

    invariant: Invariant
    what: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return (
            f"{self.invariant} {self.where}: {self.what}; "
            f"expected {self.expected}, found {self.found}"
        )
