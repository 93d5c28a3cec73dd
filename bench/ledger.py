"""`make bench-ledger`: measures the ledger alone, on a PostgreSQL with fsync on and a long past.

First a million settled calls are written, so that nothing is measured on small tables. Then the
lane is measured, and beside it, on the same tables, the way in which books are usually kept: one
transaction for each step. At the end the product's own doctor reads everything that was written.
`--quick` takes under a minute, with a shorter past, and is for seeing whether something broke.
"""

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import report
import scenarios
import structlog
from ledger_books import Books
from ledger_results import FULL, ONE_WALLET_CALLERS, PROCESSES, QUICK, Client, Results, Row
from ledger_runs import Runner
from machine import describe
from report import Requirement
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from service import Bench

PARTS: Final = ("lane", "keyed", "replicas", "steps", "calls", "orphans", "outages")
# Keyed calls have a request id, and an answer that is kept.
CLIENTS: Final[dict[Client, str]] = {
    "lane": "lane",
    "keyed": "lane, keyed",
    "psycopg": "steps, psycopg",
    "pgbench": "steps, pgbench",
}

FAULTS_SHOWN: Final = 10


def main() -> None:
    """The script."""
    options = _options()
    plan = QUICK if options.quick else FULL
    if options.postings:
        plan = msgspec.structs.replace(plan, postings=options.postings)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = report.console()
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with progress, Bench() as bench:
        shown = progress.add_task("starting")

        def tell(what: str) -> None:
            progress.update(shown, description=what)

        machine = describe(bench.folder, bench.postgres_version)
        books = Books(bench.database_url, bench.folder / "postgres")
        tell("opening wallets")
        books.open_wallets(plan.wallets)
        began = time.monotonic()
        postings = books.load(
            plan.postings, lambda done: tell(f"writing the past: {done:,} of {plan.postings:,}")
        )
        runner = Runner(books, plan, tell)
        runner.results.postings, runner.results.load_s = postings, time.monotonic() - began
        calls = _measure(options.only or list(PARTS), runner, bench, options.quick, tell)
        runner.examine()
    _show(console, machine, runner.results, calls)
    if options.json is not None:
        options.json.write_bytes(_as_json(machine, runner.results, calls))
        console.print(f"All figures: {options.json}")
    sys.exit(1 if _faults(runner.results) else 0)


def _measure(
    parts: list[str],
    runner: Runner,
    bench: Bench,
    quick: bool,
    tell: Callable[[str], None],
) -> scenarios.Results:
    """Runs the parts in their order; returns what whole calls cost with the ledger and without."""
    found = scenarios.Results()
    for part in PARTS:
        if part not in parts:
            continue
        if part == "calls":
            whole = scenarios.Runner(bench, scenarios.QUICK if quick else scenarios.FULL, tell)
            tell("starting the service")
            whole.ledger(bench.serve())
            found = whole.results
        else:
            getattr(runner, part)()
    return found


# --- what is asked for --------------------------------------------------------------------------
def requirements(results: Results, calls: scenarios.Results) -> list[Requirement]:
    """Every figure that is asked for, with what was measured."""
    return [
        *_rates(results),
        *(one for one in report.requirements(calls) if "ledger" in one.name),
        Requirement(
            name="charged above a hold, or a wallet below zero",
            unit="",
            floor=0,
            goal=0,
            least=False,
            measured=results.overcharges,
        ),
        _longest("first hold after PostgreSQL is back from kill -9", results.first_hold_s, 5, 2),
        _longest("an orphan is unresolved after its lease", results.unresolved_s, 10, 2),
        _bytes(results),
    ]


def _rates(results: Results) -> list[Requirement]:
    many = _by_callers(results.of("lane", one_wallet=False, processes=1))
    one = _by_callers(results.of("lane", one_wallet=True, processes=1))
    three = _by_callers(results.of("lane", one_wallet=True, processes=PROCESSES))
    best = max(many, key=lambda callers: many[callers]) if many else 0
    callers = ONE_WALLET_CALLERS
    return [
        Requirement(
            name="durable ledger operations, 1,000 wallets",
            unit="/s",
            floor=20_000,
            goal=40_000,
            measured=many.get(best),
            note=", ".join(f"{rate:,.0f} at {of}" for of, rate in many.items()) + " callers"
            if many
            else "",
        ),
        Requirement(
            name="one wallet, relative to that",
            unit="",
            floor=0.75,
            goal=1.0,
            measured=one[callers] / many[callers] if one and callers in many else None,
            note=f"{one[callers]:,.0f}/s, {callers} callers each" if one else "",
        ),
        Requirement(
            name="3 processes on one wallet, total against 1",
            unit="",
            floor=0.7,
            goal=0.9,
            measured=three[callers] / one[callers] if three and one else None,
            note=f"{three[callers]:,.0f}/s" if three else "",
        ),
        Requirement(
            name="deadlocks meanwhile",
            unit="",
            floor=0,
            goal=0,
            least=False,
            measured=results.deadlocks if three else None,
        ),
    ]


def _by_callers(rows: list[Row]) -> dict[int, float]:
    """The median rate for each number of callers."""
    return {
        callers: statistics.median(row.per_second for row in rows if row.callers == callers)
        for callers in sorted({row.callers for row in rows})
    }


def _longest(name: str, seconds: list[float], floor: float, goal: float) -> Requirement:
    return Requirement(
        name=name,
        unit=" s",
        floor=floor,
        goal=goal,
        least=False,
        measured=max(seconds) if seconds else None,
        note=f"longest of {len(seconds)}, median {statistics.median(seconds):.2f} s"
        if seconds
        else "",
    )


def _bytes(results: Results) -> Requirement:
    tables, keyed = results.bytes_per_call, sum(results.bytes_per_keyed_call.values())
    note = ", ".join(f"{table} {size:.0f}" for table, size in tables.items() if round(size))
    if keyed:
        note += f"; with a request id and a kept answer {keyed:,.0f}"
    return Requirement(
        name="heap and index of a settled call",
        unit=" B",
        floor=900,
        goal=600,
        least=False,
        measured=sum(tables.values()) if tables else None,
        note=note,
    )


# --- printing -----------------------------------------------------------------------------------
def _show(
    console: Console, machine: dict[str, str], results: Results, calls: scenarios.Results
) -> None:
    console.print()
    console.print(" · ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    console.print(
        f"{results.postings:,} postings and usage records stood there before; they took "
        f"{results.load_s:.0f} s to write.",
        style="dim",
    )
    _show_rows(console, results)
    _show_beside(console, results)
    report.show_requirements(console, requirements(results, calls))
    for fault in _faults(results)[:FAULTS_SHOWN]:
        console.print(f"[bold red]The books are wrong:[/] {fault}", highlight=False)
    if not _faults(results):
        charged = f"{results.debited_nanousd / 1e9:,.2f} USD"
        console.print(
            f"[green]✓[/] Charged exactly what was acknowledged, {charged}; doctor finds no fault."
        )


def _show_rows(console: Console, results: Results) -> None:
    columns = ("wallets", "processes", "callers", "operations/s", "hold p50 ms", "p99 ms")
    used = ("batch", "batch ms", "client\nµs/op", "PostgreSQL\nµs/op", "log\nB/op", "refused")
    shown = report.table("Ledger operations: holds and settles", ("",), columns + used)
    before = None
    for row in results.rows:
        if before not in (None, row.client):
            shown.add_section()
        before = row.client
        shown.add_row(
            CLIENTS[row.client],
            f"{row.wallets:,}",
            str(row.processes),
            f"{row.callers:,}",
            f"{row.per_second:,.0f}",
            f"{row.hold_p50_ms:.2f}" if row.hold_p50_ms else "",
            f"{row.hold_p99_ms:.2f}" if row.hold_p99_ms else "",
            f"{row.batch:.0f}" if row.batch else "",
            f"{row.batch_ms:.2f}" if row.batch else "",
            f"{row.client_us:.0f}",
            f"{row.postgres_us:.0f}",
            f"{row.wal_bytes:.0f}",
            str(row.refused or ""),
        )
    console.print(shown)


def _show_beside(console: Console, results: Results) -> None:
    columns = ("callers or\nconnections", "operations/s", "client\nµs/op", "PostgreSQL\nµs/op")
    shown = report.table(
        "Beside one transaction a step, by turns (medians; pgbench is a client in C)",
        ("wallets", "way"),
        (*columns, "the lane is", "in processor time"),
    )
    for one_wallet in (False, True):
        sides = {
            client: [row for row in results.of(client, one_wallet=one_wallet) if row.turn]
            for client in CLIENTS
        }
        if not sides["lane"]:
            continue
        ours_rate, ours_us = _medians(sides["lane"])
        for client, rows in sides.items():
            if not rows:
                continue
            rate, us = _medians(rows)
            shown.add_row(
                f"{rows[0].wallets:,}",
                CLIENTS[client],
                str(rows[0].callers),
                f"{rate:,.0f}",
                f"{statistics.median(row.client_us for row in rows):.0f}",
                f"{statistics.median(row.postgres_us for row in rows):.0f}",
                "" if client == "lane" else f"{ours_rate / rate:.1f} x",
                "" if client == "lane" else f"{us / ours_us:.1f} x less",
            )
        shown.add_section()
    if shown.row_count:
        console.print(shown)


def _medians(rows: list[Row]) -> tuple[float, float]:
    """Operations a second, and the processor time of one, client and server together."""
    return (
        statistics.median(row.per_second for row in rows),
        statistics.median(row.client_us + row.postgres_us for row in rows),
    )


def _faults(results: Results) -> list[str]:
    found = list(results.violations)
    if results.charged_nanousd != results.debited_nanousd:
        found.append(
            f"{results.charged_nanousd} nano-USD were acknowledged, {results.debited_nanousd} "
            "were debited"
        )
    return found


def _as_json(machine: dict[str, str], results: Results, calls: scenarios.Results) -> bytes:
    """Everything, for programs."""
    document = {
        "machine": machine,
        "requirements": [
            msgspec.to_builtins(one) | {"verdict": one.verdict}
            for one in requirements(results, calls)
        ],
        "ledger": msgspec.to_builtins(results),
        "calls": [
            msgspec.to_builtins(row) | {"per_second": row.found.per_second} for row in calls.rows
        ],
    }
    for row in document["calls"]:  # the key is of this run alone, and still no one's business
        row["load"].pop("api_key")
    return msgspec.json.format(msgspec.json.encode(document))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/ledger.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    parser.add_argument("--postings", type=int, metavar="N", help="how long the past is")
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="measure this part; may be repeated"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
