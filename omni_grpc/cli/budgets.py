"""`omni-grpc budgets`: budgets, straight on the database, with a bar of what is spent."""

from datetime import UTC
from typing import Final, NamedTuple

from omni_grpc.administration.budgets import (
    BudgetChange,
    BudgetGiven,
    BudgetShown,
    CreateBudget,
    DeleteBudget,
    GetBudget,
    ListBudgets,
    UpdateBudget,
)
from omni_grpc.billing.budgets import BudgetPeriod
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.working import Place, amount_of, console, print_json, table_of
from omni_grpc.core.money import usd_text

BAR_CHARS: Final = 10


class Given(NamedTuple):
    """What the options say; None was not said."""

    usd: str | None
    tokens: int | None
    name: str | None

    @property
    def amount_nanousd(self) -> int | None:
        """The limit in dollars."""
        return None if self.usd is None else amount_of("--usd", self.usd)


def run_create(
    place: Place, parent: str, budget: str, period: str, zone: str, given: Given, *, as_json: bool
) -> None:
    """Makes a budget."""
    if period not in set(BudgetPeriod):
        raise CommandError(f"--period is one of {', '.join(BudgetPeriod)}.")
    if (given.usd is None) == (given.tokens is None):
        raise CommandError("A budget limits either dollars or tokens: give --usd or --tokens.")
    asked = CreateBudget(
        parent=parent,
        budget_id=budget,
        budget=BudgetGiven(
            display_name=given.name or "",
            amount_nanousd=given.amount_nanousd,
            token_count=given.tokens,
            period=BudgetPeriod(period),
            time_zone=zone,
        ),
    )
    made = administering.run(place, "omni-grpc budgets create", "CreateBudget", asked)
    if as_json:
        print_json(made)
    else:
        console.print(f"{made.name} holds in every worker within 5 seconds.")


def run_list(place: Place, parent: str, *, as_json: bool) -> None:
    """Shows the budgets of one parent."""
    asked = ListBudgets(parent=parent)
    rows = administering.rows(place, "omni-grpc budgets list", "ListBudgets", asked)
    _show(rows, as_json=as_json)


def run_get(place: Place, name: str, *, as_json: bool) -> None:
    """Shows a budget."""
    asked = GetBudget(name=name)
    found = administering.run(place, "omni-grpc budgets get", "GetBudget", asked)
    if as_json:
        print_json(found)
    else:
        _show([found], as_json=False)


def run_update(place: Place, name: str, given: Given, *, as_json: bool) -> None:
    """Changes what the options name."""
    said = {
        "display_name": given.name,
        "amount_nanousd": given.amount_nanousd,
        "token_count": given.tokens,
    }
    mask = tuple(field for field, value in said.items() if value is not None)
    if not mask:
        raise CommandError("Say what shall change: --usd, --tokens or --name.")
    change = BudgetChange(
        name=name,
        display_name=given.name or "",
        amount_nanousd=given.amount_nanousd,
        token_count=given.tokens,
    )
    asked = UpdateBudget(budget=change, update_mask=mask)
    changed = administering.run(place, "omni-grpc budgets update", "UpdateBudget", asked)
    if as_json:
        print_json(changed)
    else:
        _show([changed], as_json=False)


def run_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Ends a budget."""
    administering.run(place, "omni-grpc budgets delete", "DeleteBudget", DeleteBudget(name=name))
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"{name} is gone: it limits nothing any more.")


def _show(rows: list[BudgetShown], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    table = table_of("budget", "each", "limit", "spent", "held", "", "until")
    for column in table.columns[1:-1]:  # a long name and the end may take two lines
        column.no_wrap = True
    for row in rows:
        limit = row.token_count if row.amount_nanousd is None else row.amount_nanousd
        ends = row.window_end_time
        table.add_row(
            row.name,
            row.period.value,
            f"{_amount(row, limit or 0)} {'tokens' if row.amount_nanousd is None else 'USD'}",
            _amount(row, row.spent),
            _amount(row, row.held),
            bar(limit or 0, row.spent, row.held),
            "for ever" if ends is None else f"{ends.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        )
    console.print(table)


def _amount(row: BudgetShown, amount: int) -> str:
    return f"{amount:,}" if row.amount_nanousd is None else usd_text(amount)


def bar(limit: int, spent: int, held: int) -> str:
    """What is spent of a limit, and what is held of it, as a picture and in per cent."""
    if limit == 0:
        return "█" * BAR_CHARS + " 100 %"
    full = min(BAR_CHARS, spent * BAR_CHARS // limit)
    reserved = min(BAR_CHARS, (spent + held) * BAR_CHARS // limit) - full
    left = BAR_CHARS - full - reserved
    return "█" * full + "▒" * reserved + "░" * left + f" {spent * 100 // limit} %"
