"""`omni-grpc statements`: an account's month, and receipts."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from omni_grpc.administration.statements import GetReceipt, GetStatement
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.working import Place, console, print_json, table_of
from omni_grpc.core.money import usd_text


def run_show(place: Place, org: str, month: str, *, as_json: bool) -> None:
    """Shows a month's sums."""
    found = _statement(place, "show", org, month)
    if as_json:
        print_json({k: v for k, v in msgspec.structs.asdict(found).items() if k != "csv"})
        return
    table = table_of("", "USD")
    for field in ("opening", "granted", "charged", "refunded", "expired", "closing"):
        table.add_row(field, usd_text(getattr(found, f"{field}_nanousd")))
    console.print(table)
    if not found.final:
        console.print("The month is not over: this is what there is by now.")


def run_export(place: Place, org: str, month: str, out: Path | None) -> None:
    """Writes a month's rows as CSV."""
    text = _statement(place, "export", org, month).csv.encode()
    if out is None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return
    try:
        with out.open("xb") as target:
            target.write(text)
    except FileExistsError:
        raise CommandError(f"{out} exists already; nothing was written.") from None


def run_receipt(place: Place, name: str, *, as_json: bool) -> None:
    """Shows the receipt of a top-up."""
    found = administering.run(
        place, "omni-grpc statements receipt", "GetReceipt", GetReceipt(name=name)
    )
    if as_json:
        print_json(found)
    else:
        console.print(found.text, markup=False, end="")


def _statement(place: Place, command: str, org: str, month: str) -> Any:
    asked = GetStatement(month=month, account=f"accounts/{org}")
    return administering.run(place, f"omni-grpc statements {command}", "GetStatement", asked)
