"""`omni-grpc reconcile invoice`: a provider's usage export against our records, row by row."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console

from omni_grpc.billing.invoices import (
    Billed,
    Comparison,
    Difference,
    InvoiceStore,
    Kind,
    Span,
    compare,
)
from omni_grpc.catalog import CatalogStore
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.invoice_file import InvoiceFile, moment_of
from omni_grpc.cli.opening import Rooms, url_of
from omni_grpc.cli.working import Place, amount_of, console, print_json, table_of, work_in
from omni_grpc.core.money import NANO_PER_USD
from omni_grpc.providers import load_specs
from omni_grpc.settings import Settings
from omni_grpc.storage import Timeouts, connect

LOAD_ROWS: Final = 5_000
"""Rows of the file in one statement: some 40 ms of the database."""

TIMEOUTS: Final = Timeouts(statement_s=60.0)
"""An index over a file of millions of rows takes seconds; nothing here locks what calls need."""

OPENROUTER_ID: Final = "openrouter"
progress_console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class InvoiceOptions:
    """The command's options, as they were given."""

    file: Path
    provider: str | None
    columns: tuple[str, ...]
    since: str | None
    until: str | None
    tolerance_usd: str
    limit: int


def run_invoice(place: Place, options: InvoiceOptions, *, as_json: bool) -> None:
    """Compares, shows what differs, and exits 1 if anything does."""
    file = InvoiceFile(options.file, options.columns)
    provider = _provider(options.provider, file)
    tolerance = Decimal(amount_of("--tolerance-usd", options.tolerance_usd, low=0))
    since = None if options.since is None else moment_of("--since", options.since)
    until = None if options.until is None else moment_of("--until", options.until)
    if not file.has_times and (since is None or until is None):
        raise CommandError(
            f"{options.file} does not tell when its rows were: give --since and --until, the time "
            "that it covers, or name the column with --column time=HEADER."
        )

    async def work(settings: Settings, rooms: Rooms) -> tuple[Comparison, list[Difference]]:
        url = url_of(settings)
        shown: list[Difference] = []
        with progress_console.status(f"Reading {options.file}") as status:
            async with await connect(
                url, application_name="omni-grpc reconcile", timeouts=TIMEOUTS
            ) as connection:
                store = InvoiceStore(connection)
                comparison = await _load(store, file, provider, since, until)
                async for difference in compare(
                    store,
                    CatalogStore(rooms.database).prices,
                    comparison,
                    tolerance=tolerance,
                    progress=lambda count: status.update(f"Comparing: {count:,} of our records"),
                ):
                    if len(shown) < options.limit:
                        shown.append(difference)
        return comparison, shown

    comparison, shown = work_in(place, work)
    if as_json:
        print_json(_facts(comparison, shown))
    else:
        _show(comparison, shown)
    if comparison.differences:
        raise typer.Exit(1)


async def _load(
    store: InvoiceStore,
    file: InvoiceFile,
    provider: str,
    since: datetime | None,
    until: datetime | None,
) -> Comparison:
    await store.create()
    rows = file.rows()
    while step := list(islice(rows, LOAD_ROWS)):
        await store.add(step)
    loaded = await store.loaded()
    since = since or loaded.first
    until = until or (loaded.last and loaded.last + timedelta(milliseconds=1))
    if since is None or until is None:
        raise CommandError("The file has no row with a time: give --since and --until.")
    return Comparison(provider, Span(since, until), rows=loaded.rows, theirs=loaded.cost)


def _provider(given: str | None, file: InvoiceFile) -> str:
    known = sorted(spec.id for spec in load_specs())
    if given is None and file.is_openrouters:
        return OPENROUTER_ID
    if given not in known:
        problem = "--provider is wanted" if given is None else f"There is no provider {given!r}"
        raise CommandError(f"{problem}: whose invoice it is, of {', '.join(known)}.")
    return given


# --- for people ---------------------------------------------------------------------------------
def _show(comparison: Comparison, shown: list[Difference]) -> None:
    if shown:
        table = table_of(
            "what", "answer's id", "model", "attempt", "tokens here", "there", "USD here", "there"
        )
        for one in shown:
            table.add_row(
                one.kind,
                one.id,
                one.model,
                str(one.attempt or ""),
                _tokens(one.ours),
                _tokens(one.theirs),
                _cost(one.ours),
                _cost(one.theirs),
            )
        console.print(table)
    hidden = comparison.differences - len(shown)
    if hidden:
        console.print(f"{hidden:,} more are not shown; --limit shows more.")
    span = comparison.span
    console.print(
        f"{comparison.rows:,} rows of {comparison.provider}, {span.since:%Y-%m-%d %H:%M} to "
        f"{span.until:%Y-%m-%d %H:%M} UTC: {comparison.matched:,} match."
    )
    for kind, count in comparison.counts.items():
        if count:
            console.print(f"{count:,} {kind}: {kind.meaning}.", markup=False)
    console.print(
        f"They bill {_usd(comparison.theirs)} USD, here it is {_usd(comparison.ours)} USD: "
        f"a difference of {_usd(comparison.theirs - comparison.ours)} USD."
    )


def _tokens(billed: Billed | None) -> str:
    if billed is None or (billed.prompt is None and billed.completion is None):
        return ""
    return f"{_or_unknown(billed.prompt)} + {_or_unknown(billed.completion)}"


def _cost(billed: Billed | None) -> str:
    return "" if billed is None else _usd(billed.cost)


def _or_unknown(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _usd(nanousd: Decimal | None) -> str:
    if nanousd is None:
        return ""
    text = f"{nanousd / NANO_PER_USD:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- for programs -------------------------------------------------------------------------------
def _facts(comparison: Comparison, shown: list[Difference]) -> dict[str, Any]:  # goes into JSON
    return {
        "provider": comparison.provider,
        "since": comparison.span.since,
        "until": comparison.span.until,
        "rows": comparison.rows,
        "matched": comparison.matched,
        "differences": comparison.differences,
        "counts": {_key(kind): count for kind, count in comparison.counts.items()},
        "theirs_usd": _usd(comparison.theirs),
        "ours_usd": _usd(comparison.ours),
        "difference_usd": _usd(comparison.theirs - comparison.ours),
        "shown": [
            {
                "kind": _key(one.kind),
                "id": one.id,
                "model": one.model,
                "attempt": None if one.attempt is None else str(one.attempt),
                "ours": _billed(one.ours),
                "theirs": _billed(one.theirs),
            }
            for one in shown
        ],
    }


def _key(kind: Kind) -> str:
    return kind.name.lower()


def _billed(billed: Billed | None) -> dict[str, Any] | None:  # as it goes into JSON
    if billed is None:
        return None
    return {
        "prompt_tokens": billed.prompt,
        "completion_tokens": billed.completion,
        "cost_usd": None if billed.cost is None else _usd(billed.cost),
    }
