"""Usage: what calls used, cost and saved, in sums that stay fast and in lists.

The ledger's postings and usage records are the truth of every cost; beside them each call leaves a
row of what the ledger does not know. Both are counted into sums by the hour, each event once.
"""

from omni_grpc.billing.usage.filter import parse_call_filter
from omni_grpc.billing.usage.log import CallLog, CallLogObserver
from omni_grpc.billing.usage.model import (
    Bucket,
    CallFilter,
    CallPage,
    CallQuery,
    Dimension,
    ListedCall,
    RoutedCall,
    UsagePage,
    UsagePosition,
    UsageQuery,
    UsageSummary,
    UsageSums,
)
from omni_grpc.billing.usage.reports import UsageReports
from omni_grpc.billing.usage.roller import UsageRoller
from omni_grpc.billing.usage.store import UsageStore, time_of

__all__ = [
    "Bucket",
    "CallFilter",
    "CallLog",
    "CallLogObserver",
    "CallPage",
    "CallQuery",
    "Dimension",
    "ListedCall",
    "RoutedCall",
    "UsagePage",
    "UsagePosition",
    "UsageQuery",
    "UsageReports",
    "UsageRoller",
    "UsageStore",
    "UsageSummary",
    "UsageSums",
    "parse_call_filter",
    "time_of",
]
