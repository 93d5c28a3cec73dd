"""The doctor's checks: thirteen statements about the books that hold at every commit.

`check` finds every place where one does not, beside running traffic: it reads in short statements
of a bounded number of rows, takes no lock, and never mistakes what is committed while it reads for
a fault. It writes nothing and repairs nothing. docs/ledger.md explains each statement.
"""

from omni_grpc.billing.invariants.check import PriceLoader, Progress, check
from omni_grpc.billing.invariants.model import Invariant, Violation

__all__ = ["Invariant", "PriceLoader", "Progress", "Violation", "check"]
