"""Billing: the double-entry ledger, its batch writer, meters, leases and the doctor's checks."""

from omni_grpc.billing.lane import Lane, LaneObserver
from omni_grpc.billing.leases import Leases
from omni_grpc.billing.ledger import Ledger
from omni_grpc.billing.meter import AttemptCharge, Meter
from omni_grpc.billing.model import (
    AttemptRecord,
    Balance,
    EntryKind,
    Hold,
    HoldState,
    LedgerEntry,
    UsageRecord,
)
from omni_grpc.billing.operations import AttemptOutcome
from omni_grpc.billing.reaper import Reaper
from omni_grpc.billing.store import LedgerStore

__all__ = [
    "AttemptCharge",
    "AttemptOutcome",
    "AttemptRecord",
    "Balance",
    "EntryKind",
    "Hold",
    "HoldState",
    "Lane",
    "LaneObserver",
    "Leases",
    "Ledger",
    "LedgerEntry",
    "LedgerStore",
    "Meter",
    "Reaper",
    "UsageRecord",
]
