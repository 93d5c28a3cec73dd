"""How long a batch gathers: by how many calls are open, since each will have an operation more.

A batch costs much the same for one operation as for ten, here and in the database. With few calls
open nothing is waited for, and where nothing comes only once.
"""

import asyncio
from collections.abc import Sized
from typing import Final as Constant

from omni_grpc.billing.operations import (
    Code,
    Final,
    FinalOp,
    Operation,
    Origin,
    Outcome,
    RequestEndOp,
    TransferOp,
)

GATHER_CALLS_MIN: Constant = 24
"""Open calls of this worker from which its batches are given time to fill."""

GATHER_SECONDS: Constant = 0.001
"""That time: as long as a batch takes in the database."""

GATHER_TIMES_MAX: Constant = 4
"""How often it is given, as long as the batch grows."""

GATHER_SHARE: Constant = 4
"""A batch with a quarter of the open calls in it is full enough."""


class Gathering:
    """Counts the router's holds that were granted here and whose end was not stated yet."""

    def __init__(self) -> None:
        self.open_calls = 0

    def note(self, op: Operation, outcome: Outcome | None) -> None:
        """Counts an operation that has its outcome, or None where it never will.

        A team's holds are no calls: most end by time, in any worker.
        """
        if isinstance(op, TransferOp | RequestEndOp) or op.origin is not Origin.ROUTER:
            return
        if isinstance(op, FinalOp):
            if op.kind is not Final.LEASE_END:
                self.open_calls = max(0, self.open_calls - 1)
        elif outcome is not None and outcome.code in (Code.DONE, Code.ALREADY):
            self.open_calls += 1

    async def gather(self, queue: Sized) -> None:
        """Lets a batch fill while many calls are open and more operations come."""
        for _ in range(GATHER_TIMES_MAX):
            waiting = len(queue)
            if self.open_calls < GATHER_CALLS_MIN or waiting * GATHER_SHARE >= self.open_calls:
                return
            await asyncio.sleep(GATHER_SECONDS)
            if len(queue) == waiting:
                return
