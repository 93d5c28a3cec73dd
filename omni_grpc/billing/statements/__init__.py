"""What an account had, bought and used in a month, to the last billionth of a dollar."""

from omni_grpc.billing.statements.model import Month, Statement, parse_month
from omni_grpc.billing.statements.receipt import Receipt, receipt_of
from omni_grpc.billing.statements.statements import Statements
from omni_grpc.billing.statements.store import StatementStore

__all__ = [
    "Month",
    "Receipt",
    "Statement",
    "StatementStore",
    "Statements",
    "parse_month",
    "receipt_of",
]
