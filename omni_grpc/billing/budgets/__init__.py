"""Budgets: what may be spent in each window of time, and who is told when most of it is."""

from omni_grpc.billing.budgets.model import Budget, BudgetOwner, BudgetPeriod, BudgetTold
from omni_grpc.billing.budgets.store import AMOUNT_MAX, BudgetStore, Record
from omni_grpc.billing.budgets.watch import BudgetWatch

__all__ = [
    "AMOUNT_MAX",
    "Budget",
    "BudgetOwner",
    "BudgetPeriod",
    "BudgetStore",
    "BudgetTold",
    "BudgetWatch",
    "Record",
]
