"""Invoices: what a provider says that it billed, row by row against what our attempts used.

`compare` finds every row that differs, in either direction, beside running traffic: it reads our
records in slices of a bounded number of rows, and keeps the provider's in a table of the session's
own, so that neither side need fit into memory. It changes nothing in the books.
"""

from omni_grpc.billing.invoices.compare import Progress, compare
from omni_grpc.billing.invoices.model import (
    Billed,
    Comparison,
    Difference,
    InvoiceRow,
    Kind,
    Span,
)
from omni_grpc.billing.invoices.store import InvoiceStore

__all__ = [
    "Billed",
    "Comparison",
    "Difference",
    "InvoiceRow",
    "InvoiceStore",
    "Kind",
    "Progress",
    "Span",
    "compare",
]
