"""The tables that a run prints, the requirements that it is held against, and its JSON."""

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec
from mock_provider import WORDS
from rich import box
from rich.console import Console
from rich.table import Table
from scenarios import Results, on_time
from service import Measured

WIDTH: Final = 150
CHUNKS: Final = WORDS + 3
GROWTH_MB_MAX: Final = 5.0
"""What an allocator may keep between two looks without it being growth."""

FOREIGN_CORES_MAX: Final = 0.1
"""Above this, other work on the machine has changed the figures."""


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that is asked for. `least` says whether more is better."""

    name: str
    unit: str
    floor: float
    goal: float
    measured: float | None
    least: bool = True
    note: str = ""

    @property
    def verdict(self) -> str:
        """`goal`, `floor`, `missed`, or `not measured`."""
        if self.measured is None:
            return "not measured"
        for name, bound in (("goal", self.goal), ("floor", self.floor)):
            if self.measured >= bound if self.least else self.measured <= bound:
                return name
        return "missed"


def find(results: Results, name: str, callers: int) -> Measured | None:
    """The first measurement of a name and a number of callers."""
    for row in results.rows:
        if row.name == name and row.load.callers == callers:
            return row
    return None


def requirements(results: Results) -> list[Requirement]:
    """Every figure that is asked for, with what was measured."""
    return [
        _rate(results, "REST unary", 64, 2_500, 5_000),
        _rate(results, "gRPC unary", 64, 2_000, 4_000),
        _rate(results, "gRPC stream", 16, 300, 1_000),
        _rate(results, "REST stream", 16, 600, 2_000),
        *_live(results),
        _added(results, "REST unary"),
        _added(results, "gRPC unary"),
        *_memory(results),
        *_ledger(results),
        *_mix(results),
    ]


def _rate(results: Results, name: str, callers: int, floor: float, goal: float) -> Requirement:
    row = find(results, name, callers)
    return Requirement(
        name=f"{name}, billed, {callers} callers",
        unit="/s",
        floor=floor,
        goal=goal,
        measured=row.found.per_second if row else None,
    )


def _live(results: Results) -> list[Requirement]:
    words = {"rest": "REST", "grpc": "gRPC"}
    return [
        Requirement(
            name=f"live streams of 50 tokens/s over {words[search.transport]}, p99 delay < 100 ms",
            unit="",
            floor=300,
            goal=800,
            measured=search.most,
        )
        for search in results.live
    ]


def _added(results: Results, name: str) -> Requirement:
    row, direct = find(results, name, 1), find(results, "provider unary", 1)
    both = row is not None and direct is not None
    return Requirement(
        name=f"added p50 at one caller, {name}",
        unit=" ms",
        floor=2.0,
        goal=1.0,
        least=False,
        measured=row.found.p50_ms - direct.found.p50_ms if both else None,
    )


def _memory(results: Results) -> list[Requirement]:
    counts = sorted(results.memory_mb)
    if not counts:
        return []
    first, last = results.memory_mb[counts[0]], results.memory_mb[counts[-1]]
    return [
        Requirement(
            name=f"resident memory after {counts[-1]:,} calls",
            unit=" MB",
            floor=220,
            goal=140,
            least=False,
            measured=last,
        ),
        Requirement(
            name=f"its growth after the first {counts[0]:,}",
            unit=" MB",
            floor=GROWTH_MB_MAX,
            goal=GROWTH_MB_MAX,
            least=False,
            measured=last - first,
        ),
    ]


def _ledger(results: Results) -> list[Requirement]:
    found: list[Requirement] = []
    for name in ("REST unary", "gRPC unary", "REST stream"):
        rows = {
            word: [row for row in results.rows if row.name == f"ledger {name}, {word}"]
            for word in ("on", "off")
        }
        if not rows["on"]:
            continue
        rate = {
            word: statistics.median(row.found.per_second for row in of) for word, of in rows.items()
        }
        ours = {word: statistics.median(row.server_us for row in of) for word, of in rows.items()}
        theirs = statistics.median(row.postgres_us for row in rows["on"])
        found.append(
            Requirement(
                name=f"{name}: calls/s with the ledger on / off",
                unit="",
                floor=0.85,
                goal=0.95,
                measured=rate["on"] / rate["off"],
                note=f"{rate['on']:,.0f}/s, {rate['off']:,.0f}/s",
            )
        )
        found.append(
            Requirement(
                name=f"{name}: processor time of the ledger a call",
                unit=" µs",
                floor=120,
                goal=60,
                least=False,
                measured=ours["on"] - ours["off"] + theirs,
                note=f"service {ours['on'] - ours['off']:.0f}, PostgreSQL {theirs:.0f}",
            )
        )
    return found


def _mix(results: Results) -> list[Requirement]:
    found: list[Requirement] = []
    together = [row for row in results.rows if row.name.endswith(": together")]
    for row in together:
        mix = row.name.removesuffix(": together")
        alone = next(
            other
            for other in results.rows
            if other.name == f"{mix}: alone" and other.transport == row.transport
        )
        side = "REST" if row.transport == "rest" else "gRPC"
        found.append(
            Requirement(
                name=f"{mix}: rate that {side} keeps",
                unit="",
                floor=0.25,
                goal=0.4,
                measured=row.found.per_second / alone.found.per_second,
                note=f"{alone.found.per_second:,.0f} → {row.found.per_second:,.0f}/s, p99 "
                f"{alone.found.p99_ms:.1f} → {row.found.p99_ms:.1f} ms",
            )
        )
    return found


# --- printing -----------------------------------------------------------------------------------
def console() -> Console:
    """Where the tables go: as wide as they are, also into a file."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
    for column in left:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table


def show(console: Console, machine: dict[str, str], results: Results) -> None:
    """Prints everything."""
    console.print()
    console.print(" · ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    _show_rows(console, results)
    if results.live:
        _show_live(console, results)
    show_requirements(console, requirements(results))
    if results.books:
        console.print(f"[bold red]The books are wrong:[/] {results.books}", highlight=False)
    else:
        console.print("[green]✓[/] Charged exactly what was answered; doctor finds no fault.")
    _warn_of_others(console, results)


def _show_rows(console: Console, results: Results) -> None:
    columns = ("callers", "calls/s", "chunks/s", "p50 ms", "p99 ms", "max ms")
    used = ("service\nµs/call", "PostgreSQL\nµs/call", "caller\ncores", "errors")
    shown = table("Loads", ("load",), columns + used)
    before = ""
    for row in results.rows:
        if row.load.kind == "live":
            continue
        if before and row.name.split()[0] != before:
            shown.add_section()
        before = row.name.split()[0]
        found = row.found
        shared = row.name.endswith("together")
        shown.add_row(
            f"{row.name} ({'REST' if row.transport == 'rest' else 'gRPC'})"
            if row.name.startswith("mix")
            else row.name,
            str(row.load.callers),
            f"{found.per_second:,.0f}",
            f"{CHUNKS * found.per_second:,.0f}" if row.load.kind == "stream" else "",
            f"{found.p50_ms:.2f}",
            f"{found.p99_ms:.2f}",
            f"{found.max_ms:.1f}",
            "" if shared else f"{row.server_us:.0f}",
            "" if shared or row.name.startswith("provider") else f"{row.postgres_us:.0f}",
            f"{found.client_cpu_s / found.seconds:.2f}",
            _errors(row),
        )
    console.print(shown)


def _errors(row: Measured) -> str:
    if not row.found.errors:
        return ""
    worst = max(row.found.errors, key=lambda why: row.found.errors[why])
    return f"[red]{row.found.error_count}: {worst[:60]}[/]"


def _show_live(console: Console, results: Results) -> None:
    columns = ("streams", "tokens/s", "delay p50 ms", "p99 ms", "max ms")
    used = ("service\ncores", "caller\ncores", "on time")
    shown = table("Live streams, 50 tokens/s each", ("over",), columns + used)
    for search in results.live:
        for row in sorted(search.tried, key=lambda row: row.load.callers):
            found = row.found
            shown.add_row(
                "REST" if search.transport == "rest" else "gRPC",
                str(row.load.callers),
                f"{found.tokens / found.seconds:,.0f}",
                f"{found.delay_p50_ms:.1f}",
                f"{found.delay_p99_ms:.1f}",
                f"{found.delay_max_ms:.1f}",
                f"{row.server_cpu_s / found.seconds:.2f}",
                f"{found.client_cpu_s / found.seconds:.2f}",
                "[green]yes[/]" if on_time(row) else f"[red]no[/] {_errors(row)}",
            )
        shown.add_section()
    console.print(shown)


def show_requirements(console: Console, found: list[Requirement]) -> None:
    shown = table("Requirements", ("",), ("floor", "goal", "measured", "met"))
    shown.add_column("")
    colour = {"goal": "green", "floor": "yellow", "missed": "bold red", "not measured": "dim"}
    for one in found:
        shown.add_row(
            one.name,
            _number(one.floor, one.unit),
            _number(one.goal, one.unit),
            "" if one.measured is None else _number(one.measured, one.unit),
            f"[{colour[one.verdict]}]{one.verdict}[/]",
            one.note,
        )
    console.print(shown)


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{unit}"


def _warn_of_others(console: Console, results: Results) -> None:
    foreign = [row.foreign_cores for row in results.rows]
    if foreign and statistics.median(foreign) > FOREIGN_CORES_MAX:
        console.print(
            f"[yellow]Other processes used {statistics.median(foreign):.1f} cores (median) while "
            "this ran: rates and delays are worse than this machine's, ratios less so.[/]"
        )


def as_json(machine: dict[str, str], results: Results) -> bytes:
    """Everything, for programs."""
    document = {
        "machine": machine,
        "requirements": [
            msgspec.to_builtins(one) | {"verdict": one.verdict} for one in requirements(results)
        ],
        "rows": [
            msgspec.to_builtins(row)
            | {
                "per_second": row.found.per_second,
                "server_us": row.server_us,
                "postgres_us": row.postgres_us,
            }
            for row in results.rows
        ],
        "live": [{"transport": search.transport, "most": search.most} for search in results.live],
        "memory_mb": {str(count): value for count, value in results.memory_mb.items()},
        "books": results.books or "exact",
    }
    for row in document["rows"]:  # the key is of this run alone, and still no one's business
        row["load"].pop("api_key")
    return msgspec.json.format(msgspec.json.encode(document))
