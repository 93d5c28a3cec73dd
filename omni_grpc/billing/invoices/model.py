"""The rows of an invoice, and what comparing them with our records finds.

Costs are the provider's, without our markup, in nano-USD as Decimal: providers print fractions.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Billed:
    """What an answer used and cost, as one side says; None is not said."""

    prompt: int | None
    completion: int | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """One row of a provider's export. `number` counts the file's rows from 1."""

    number: int
    id: str
    model: str
    time: datetime | None
    billed: Billed


@dataclass(frozen=True, slots=True)
class Span:
    """The time that an invoice covers, from `since` to before `until`."""

    since: datetime
    until: datetime


class Kind(StrEnum):
    """How the two sides differ; `meaning` says it in words."""

    meaning: str

    DIFFERS = "differs", "both sides know it, with other tokens or another cost"
    UNRESOLVED = "unresolved", "they billed it, and here it waits to be resolved"
    TWICE = "twice", "they billed it more than once"
    MISSING_HERE = "missing here", "they billed it, and no attempt here has that id"
    MISSING_THERE = "missing there", "an attempt here was charged, and they did not bill it"
    UNNAMED = "unnamed", "an attempt here was charged, and its answer was never named"

    def __new__(cls, value: str, meaning: str) -> Self:
        """Makes a member from its name and its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the same on both sides. `attempt` is our hold's id, where we have one."""

    kind: Kind
    id: str
    model: str
    attempt: UUID | None
    ours: Billed | None
    theirs: Billed | None


@dataclass(slots=True)
class Comparison:
    """What a whole comparison found. Totals are nano-USD over everything that was compared."""

    provider: str
    span: Span
    rows: int = 0
    matched: int = 0
    ours: Decimal = Decimal(0)
    theirs: Decimal = Decimal(0)
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))

    @property
    def differences(self) -> int:
        """How many rows differ."""
        return sum(self.counts.values())
