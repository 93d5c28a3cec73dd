"""The values of budgets: frozen, without I/O. Amounts are in the budget's unit."""

from datetime import datetime
from enum import StrEnum

import msgspec

from omni_grpc.core.ids import OrgId
from omni_grpc.core.tenancy import BudgetUnit


class BudgetPeriod(StrEnum):
    """How long a window lasts, in the budget's time zone."""

    DAY = "day"
    WEEK = "week"
    """From Monday."""

    MONTH = "month"
    TOTAL = "total"
    """For ever."""


class BudgetOwner(msgspec.Struct, frozen=True):
    """Whose budgets: the kind's code in the table, its row, and its organisation."""

    kind: str
    id: int
    org_id: OrgId


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, and how its window of the moment stands."""

    id: int
    slug: str
    display_name: str
    unit: BudgetUnit
    amount: int
    period: BudgetPeriod
    time_zone: str
    revision: int
    create_time: datetime
    spent: int
    held: int
    """What calls in flight and unresolved attempts reserve."""
    window_start_time: datetime
    """That of the window, or of the budget where that is later."""
    window_end_time: datetime | None
    """None for ever."""


class BudgetTold(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook is told of a budget that is nearly spent, or spent."""

    budget: str
    """Its name."""
    unit: BudgetUnit
    amount: int
    spent: int
    held: int
    percent: int
    """The threshold that was reached."""
    window_end_time: datetime | None
