"""`omni-grpc topups list`, `show`, `settle`, `void` and `auto`: straight on the database."""

from collections.abc import Mapping

from omni_grpc.administration.auto_top_ups import AutoTopUpChange, GetAutoTopUp, UpdateAutoTopUp
from omni_grpc.administration.top_up_decisions import ListPendingTopUps, SettleTopUp, VoidTopUp
from omni_grpc.administration.top_ups import GetTopUp, ListTopUps
from omni_grpc.cli import administering
from omni_grpc.cli.working import Place, amount_of

COLUMNS = ("name", "state", "method", "amount_nanousd", "credited_nanousd", "message")
OPTIONS = {
    "threshold_nanousd": "--below",
    "amount_nanousd": "--amount",
    "month_max_nanousd": "--month-max",
}
"""How `auto` calls the fields that it changes."""


def run_list(place: Place, org: str, *, as_json: bool) -> None:
    """Lists the top-ups of an organisation's account."""
    asked = ListTopUps(parent=f"accounts/{org}")
    rows = administering.rows(place, "omni-grpc topups list", "ListTopUps", asked)
    administering.show_all(rows, COLUMNS, as_json=as_json)


def run_pending(place: Place, org: str | None, *, as_json: bool) -> None:
    """Lists those of an organisation, or of all, whose payment's fate is not known."""
    asked = ListPendingTopUps(parent="" if org is None else f"accounts/{org}")
    rows = administering.rows(place, "omni-grpc topups list", "ListPendingTopUps", asked)
    administering.show_all(rows, (*COLUMNS, "create_time"), as_json=as_json)


def run_settle(
    place: Place, name: str, payment: str, *, amount: str | None, reason: str, as_json: bool
) -> None:
    """Credits one with what a transaction brought (dollars)."""
    asked = SettleTopUp(
        name=name,
        payment_id=payment,
        amount_nanousd=None if amount is None else amount_of("--amount", amount),
        reason=reason,
    )
    found = administering.run(place, "omni-grpc topups settle", "SettleTopUp", asked)
    administering.show(found, as_json=as_json)


def run_void(place: Place, name: str, *, reason: str, as_json: bool) -> None:
    """Gives one up."""
    asked = VoidTopUp(name=name, reason=reason)
    found = administering.run(place, "omni-grpc topups void", "VoidTopUp", asked)
    administering.show(found, as_json=as_json)


def run_show(place: Place, name: str, *, as_json: bool) -> None:
    """Shows one."""
    asked = GetTopUp(name=name)
    found = administering.run(place, "omni-grpc topups show", "GetTopUp", asked)
    administering.show(found, as_json=as_json)


def run_auto(
    place: Place, org: str, given: Mapping[str, str | None], *, on: bool | None, as_json: bool
) -> None:
    """Shows whether an account buys by itself, after changing what was given (dollars)."""
    name = f"accounts/{org}/autoTopUp"
    tool = "omni-grpc topups auto"
    changes: dict[str, int | bool | None] = {
        field: amount_of(OPTIONS[field], usd, low=0) or None
        for field, usd in given.items()
        if usd is not None
    }
    if on is not None:
        changes["active"] = on
    if changes:
        change = AutoTopUpChange(name=name, **changes)  # type: ignore[arg-type]  # by their names
        asked = UpdateAutoTopUp(auto_top_up=change, update_mask=tuple(changes))
        found = administering.run(place, tool, "UpdateAutoTopUp", asked)
    else:
        found = administering.run(place, tool, "GetAutoTopUp", GetAutoTopUp(name=name))
    administering.show(found, as_json=as_json)
