"""What a worker writes down about its calls, as those see it who have something to tell."""

from collections.abc import AsyncIterator
from typing import NoReturn, Protocol

from omni_grpc.billing.operations import FinalOp, HoldOp
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import HoldId
from omni_grpc.core.money import Price
from omni_grpc.core.usage import Usage


class Journal(Protocol):
    """What a worker writes down about its calls."""

    def opened(self, owner: str, epoch: int, ledger: str) -> None:
        """The worker has its name in the ledger of this name; before that there is no hold."""

    def dispatched(self, hold: HoldOp, granted: int, price: Price) -> None:
        """A provider is about to be called under `hold`, which was granted `granted` nano-USD.

        Raises:
            LedgerUnavailable: that cannot be written down, so nothing may be sent.
        """

    def progress(
        self, hold_id: HoldId, usage: Usage | None, provider_ref: str | None = None
    ) -> None:
        """What is known by now of a call that runs; each replaces the one before. Never raises."""

    def final(self, op: FinalOp) -> None:
        """The end of a hold, before it is told to anybody. Never raises."""

    def acknowledged(self, hold_id: HoldId) -> None:
        """The database has committed the end that was written for this hold."""

    def retained(self) -> AsyncIterator[FinalOp]:
        """The ends that were acknowledged and are still kept, oldest first, some of them twice.

        Asking for them says that the database has lost some. They are read in a thread, some at a
        time: the event loop runs on.
        """


class NoJournal:
    """The journal of a process that calls no provider."""

    def opened(self, owner: str, epoch: int, ledger: str) -> None:
        """Nothing is written."""

    def dispatched(self, hold: HoldOp, granted: int, price: Price) -> NoReturn:  # noqa: ARG002 - the protocol's arguments
        """Refuses."""
        raise LedgerUnavailable("This process keeps no journal, so it may not call a provider.")

    def progress(
        self, hold_id: HoldId, usage: Usage | None, provider_ref: str | None = None
    ) -> None:
        """Nothing is written."""

    def final(self, op: FinalOp) -> None:
        """Nothing is written."""

    def acknowledged(self, hold_id: HoldId) -> None:
        """Nothing is written."""

    async def retained(self) -> AsyncIterator[FinalOp]:
        """Nothing is kept."""
        nothing: tuple[FinalOp, ...] = ()
        for op in nothing:
            yield op
