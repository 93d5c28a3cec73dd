"""Billing: the double-entry ledger, its batch writer, meters, leases and the doctor's checks."""

from omni_grpc.billing.charge import AttemptCharge, Sealer
from omni_grpc.billing.charges import charge_of_call
from omni_grpc.billing.dead_letters import DeadLetter
from omni_grpc.billing.housekeeper import Housekeeper
from omni_grpc.billing.journal import CallJournal, NoJournal
from omni_grpc.billing.lane import Lane, LaneObserver
from omni_grpc.billing.leases import Leases
from omni_grpc.billing.ledger import Ledger, Resolution
from omni_grpc.billing.meter import Meter
from omni_grpc.billing.model import (
    AttemptRecord,
    Balance,
    EntryKind,
    Hold,
    HoldState,
    LedgerEntry,
    UnresolvedAttempt,
    UsageRecord,
)
from omni_grpc.billing.operations import (
    AttemptOutcome,
    ChatEnd,
    FinalOp,
    RequestEnd,
    RequestKey,
)
from omni_grpc.billing.reaper import Reaper
from omni_grpc.billing.recovery import Recovered, Recovery
from omni_grpc.billing.requests import (
    RequestRepeatedError,
    chat_request_key,
    paid_request_key,
)
from omni_grpc.billing.resolving import Resolver
from omni_grpc.billing.store import LedgerStore

__all__ = [
    "AttemptCharge",
    "AttemptOutcome",
    "AttemptRecord",
    "Balance",
    "CallJournal",
    "ChatEnd",
    "DeadLetter",
    "EntryKind",
    "FinalOp",
    "Hold",
    "HoldState",
    "Housekeeper",
    "Lane",
    "LaneObserver",
    "Leases",
    "Ledger",
    "LedgerEntry",
    "LedgerStore",
    "Meter",
    "NoJournal",
    "Reaper",
    "Recovered",
    "Recovery",
    "RequestEnd",
    "RequestKey",
    "RequestRepeatedError",
    "Resolution",
    "Resolver",
    "Sealer",
    "UnresolvedAttempt",
    "UsageRecord",
    "charge_of_call",
    "chat_request_key",
    "paid_request_key",
]
