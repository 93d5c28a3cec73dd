"""What goes wrong with a settle, when a test asks for it: each strikes once, in order."""

from collections import deque
from enum import StrEnum
from typing import Final

__all__ = ("Accident", "Accidents")

QUEUED_MAX: Final = 1_000
"""Accidents that may wait to strike."""


class Accident(StrEnum):
    """How the next settle ends. See docs/simulator.md."""

    LATE = "late"
    """It is settled at once, and answered after `release`."""

    NEVER = "never"
    """Nothing is settled, and the connection is cut without an answer."""

    LOST = "lost"
    """It is settled, and the connection is cut without an answer."""

    TWICE = "twice"
    """It is settled, and settled again; the second answer is told."""

    PENDING = "pending"
    """It is sent to the chain, which holds it until `land` or `drop`."""

    ERROR_AFTER = "error_after"
    """It is settled, and answered with a 500."""

    ERROR_BEFORE = "error_before"
    """Nothing is settled, and the answer is a 500."""

    WRONG_NETWORK = "wrong_network"
    """It is settled, and said to be on another network."""

    UNKNOWN = "unknown"
    """It is settled, and said to have failed for a reason that tells nothing."""

    STRICTER = "stricter"
    """Nothing is settled: it refuses a limit of compute units that it took when it verified."""

    FORGED = "forged"
    """Nothing is settled, and a transaction is named that is on no chain."""


class Accidents:
    """Those that are still to strike."""

    def __init__(self) -> None:
        self._waiting: deque[Accident] = deque(maxlen=QUEUED_MAX)

    def add(self, accident: Accident) -> None:
        """Let it strike the next settle that none of those before strikes."""
        self._waiting.append(accident)

    def strike(self) -> Accident | None:
        """What strikes now."""
        return self._waiting.popleft() if self._waiting else None
