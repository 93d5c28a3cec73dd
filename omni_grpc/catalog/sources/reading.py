"""What a source's reader is given, and what it gives."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts, fault_of
from omni_grpc.catalog.model import Mode
from omni_grpc.catalog.sources.document import SourceError

FAULTS_KEPT: Final = 1_000
"""Models that are told one by one as unreadable; more of them are a document of another form."""


class Reading(msgspec.Struct, frozen=True):
    """What was read, one line for each model that could not be, and counts of what is no offer."""

    offers: tuple[OfferFacts, ...]
    faults: tuple[str, ...]
    left_out: Mapping[str, int] = {}


class Surroundings(msgspec.Struct, frozen=True):
    """What a reader may know beside its document.

    Attributes:
        at: the moment whose prices count.
        offers: the provider, the provider's name and the mode of every offer that is known.
    """

    at: dt.datetime
    offers: Collection[tuple[str, str, Mode]] = ()


Reader = Callable[[object, Surroundings], Reading]
"""Reads a parsed document; raises SourceError where it has another form altogether."""


class Collected:
    """The offers of a document while it is read: each once, each one that the catalog can take."""

    def __init__(self) -> None:
        self._offers: dict[str, OfferFacts] = {}
        self._faults: list[str] = []
        self._left_out: dict[str, int] = {}

    def add(self, facts: OfferFacts) -> None:
        """Take an offer.

        Raises:
            SourceError: it is there already.
        """
        fault = fault_of(facts)
        if fault:
            self.fault(fault)
        elif facts.id in self._offers:
            raise SourceError(f"it lists {facts.id} twice")
        else:
            self._offers[facts.id] = facts

    def fault(self, text: str) -> None:
        """Note a model that cannot be read."""
        self._faults.append(text)

    def leave_out(self, reason: str) -> None:
        """Count what is no offer of this catalog."""
        self._left_out[reason] = self._left_out.get(reason, 0) + 1

    def reading(self) -> Reading:
        """All that was read.

        Raises:
            SourceError: there is no model, or more than half of them cannot be read.
        """
        if not self._offers:
            hint = f": {self._faults[0]}" if self._faults else ""
            raise SourceError(f"it has no model that can be read{hint}")
        if len(self._faults) > max(1, len(self._offers)):
            raise SourceError(f"more than half of its models cannot be read: {self._faults[0]}")
        return Reading(
            tuple(self._offers.values()), tuple(self._faults[:FAULTS_KEPT]), self._left_out
        )


def mapping(value: object, what: str) -> Mapping[str, object]:
    """A JSON object.

    Raises:
        SourceError: it is anything else.
    """
    if not isinstance(value, dict):
        raise SourceError(f"{what} is not an object")
    return value
