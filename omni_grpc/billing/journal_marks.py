"""The marks of a journal that is kept: ends by which it is seen whether the database has all.

A database loses commits from the end. So where it has the last posting that a journal led to, it
has all postings before it; and where it has the last attempt that was left unresolved, the holds
before that. An end that an heir told itself proves nothing of the others, though: the heir tells it
again as soon as it is lost, and what the journal alone knows stays lost. So there are two marks, of
all ends and of those.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Self
from uuid import UUID

from omni_grpc.core.ids import HoldId

_BETWEEN: Final = "s"
"""Between the marks of a name; it stands in none of them."""

_TEXT: Final = re.compile(r"(?:p([01])([0-9a-f]{32}))?(?:u([0-9a-f]{32}))?")


class Mark(NamedTuple):
    """What must be in the ledger if nothing of a journal is lost there."""

    posted: HoldId | None = None
    """The last hold that was posted."""
    number: int = 0
    """Of its posting: 0 for the first word, 1 for the correction."""
    unresolved: HoldId | None = None
    """The last hold that was left unresolved; it is that still, or was posted since."""

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return self.posted is not None or self.unresolved is not None

    @property
    def text(self) -> str:
        """The mark as letters and digits, for a name."""
        posted = f"p{self.number}{self.posted.hex}" if self.posted else ""
        return posted + (f"u{self.unresolved.hex}" if self.unresolved else "")

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The mark of a name; None where it is none."""
        found = _TEXT.fullmatch(text)
        if found is None or not text:
            return None
        number, posted, unresolved = found.groups()
        return cls(
            HoldId(UUID(posted)) if posted else None,
            int(number or 0),
            HoldId(UUID(unresolved)) if unresolved else None,
        )


def text_of(marks: Sequence[Mark]) -> str:
    """Marks as letters and digits, for a name."""
    return _BETWEEN.join(mark.text for mark in marks)


def marks_in(text: str) -> list[Mark]:
    """The marks of a name; empty where it has none that are known here."""
    found = [Mark.read(part) for part in text.split(_BETWEEN)]
    return [] if None in found else [mark for mark in found if mark]
