"""`omni-grpc serve` with books that are never kept, to measure what keeping them costs.

The product has no such mode and must not get one: this stands outside it, and puts a lane into its
wiring that grants every hold and takes every final at once, without a database.
"""

import asyncio
from typing import Final

from omni_grpc import wiring
from omni_grpc.billing import CallJournal, Lane
from omni_grpc.billing.operations import Code, FinalOp, HoldOp, Operation, Outcome
from omni_grpc.cli import main
from omni_grpc.core.money import Price

_POSTED_NANOUSD: Final = 10**15


class UnbilledLane(Lane):
    """Answers as the ledger would for an account with enough credits."""

    def hold(self, op: HoldOp) -> "asyncio.Future[Outcome]":
        """Granted whole."""
        return _done(Outcome(Code.DONE, op.id, op.amount_max, _POSTED_NANOUSD, 0))

    def apply(self, op: Operation, **_: bool) -> "asyncio.Future[Outcome]":
        """Done."""
        return _done(Outcome(Code.DONE, op.id, 0, _POSTED_NANOUSD, 0))


class NoJournal(CallJournal):
    """Writes nothing: the journal is a part of what keeping books costs."""

    def dispatched(self, hold: HoldOp, granted: int, price: Price) -> None:
        """Not written."""

    def final(self, op: FinalOp) -> None:
        """Not written."""


def _done(outcome: Outcome) -> "asyncio.Future[Outcome]":
    result: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    result.set_result(outcome)
    return result


if __name__ == "__main__":
    wiring.CallJournal = NoJournal  # type: ignore[misc]  # as below
    wiring.Lane = UnbilledLane  # type: ignore[misc]  # the one place where books are not kept
    main()
