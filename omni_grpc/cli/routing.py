"""`omni-grpc routing`: policies and experiments, straight on the database, and their reports."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from rich.table import Table

from omni_grpc.audit import Actor
from omni_grpc.catalog import Catalog
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, console, print_json, table_of, work_in
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.money import NANO_PER_USD
from omni_grpc.routing import (
    Entry,
    Experiment,
    ExperimentReport,
    FileContent,
    Interval,
    Kind,
    Metric,
    Policies,
    Policy,
    PolicyAdmin,
    PolicyFileError,
    Written,
    parse_policies,
)
from omni_grpc.settings import Settings

T = TypeVar("T")

ACTOR: Final = "omni-grpc routing"

_UNITS: Final = {
    Metric.COST: ("USD per call", 1 / NANO_PER_USD, "{:.6f}"),
    Metric.ERRORS: ("errors, %", 100.0, "{:.2f}"),
    Metric.LATENCY_P50: ("p50 ms", 1.0, "{:,.0f}"),
    Metric.LATENCY_P95: ("p95 ms", 1.0, "{:,.0f}"),
    Metric.TOKENS: ("tokens per call", 1.0, "{:,.0f}"),
    Metric.SAVED: ("saved USD per call", 1 / NANO_PER_USD, "{:.6f}"),
}
"""How a metric is shown: its heading, what it is multiplied by, its digits."""


def run_policies_list(place: Place, scope: str | None, *, as_json: bool) -> None:
    """Lists policies."""
    entries = _entries(place, Kind.POLICY, scope)
    if as_json:
        print_json([_facts(entry) for entry in entries])
        return
    table = table_of("policy", "order", "rule", "when", "source", "note")
    for entry in entries:
        policy = entry.item
        if isinstance(policy, Policy):
            facts = msgspec.to_builtins(policy, order="deterministic")
            table.add_row(
                policy.full_name,
                str(policy.order),
                _short(facts["rule"]),
                _short(facts["when"]) or "always",
                entry.source,
                _note(entry, "" if policy.active else "only where it is named"),
            )
    _show(table, entries, "policies")


def run_policies_set(place: Place, file: str, *, as_json: bool) -> None:
    """Makes policies, or replaces them."""
    content = _content(file)
    if content.experiments:
        raise CommandError(f"{file}: has experiments too; `routing experiments set` sets those.")
    _tell_written(_put(place, file, content.policies), as_json=as_json)


def run_policies_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Deletes a policy."""
    _delete(place, name, Kind.POLICY, as_json=as_json)


def run_experiments_list(place: Place, scope: str | None, *, as_json: bool) -> None:
    """Lists experiments."""
    entries = _entries(place, Kind.EXPERIMENT, scope)
    if as_json:
        print_json([_facts(entry) for entry in entries])
        return
    now = SystemClock().now()
    table = table_of("experiment", "arms", "start", "end", "source", "note")
    for entry in entries:
        experiment = entry.item
        if isinstance(experiment, Experiment):
            start, end = experiment.start_time, experiment.end_time
            table.add_row(
                experiment.full_name,
                ", ".join(f"{arm.name} {arm.share_ppm / 10_000:g} %" for arm in experiment.arms),
                "" if start is None else f"{start:%Y-%m-%d %H:%M}",
                "" if end is None else f"{end:%Y-%m-%d %H:%M}",
                entry.source,
                _note(entry, "" if experiment.runs(now) else "does not run"),
            )
    _show(table, entries, "experiments")


def run_experiments_set(place: Place, file: str, *, as_json: bool) -> None:
    """Makes experiments, or replaces them."""
    content = _content(file)
    if content.policies:
        raise CommandError(f"{file}: has policies too; `routing policies set` sets those.")
    _tell_written(_put(place, file, content.experiments), as_json=as_json)


def run_experiments_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Deletes an experiment."""
    _delete(place, name, Kind.EXPERIMENT, as_json=as_json)


def run_experiments_report(place: Place, name: str, *, as_json: bool) -> None:
    """Shows what an experiment found."""

    async def work(admin: PolicyAdmin, _: Rooms) -> ExperimentReport:
        return await admin.report(name)

    report = _with_admin(place, work)
    if as_json:
        print_json(report)
        return
    console.print(_report_table(report))
    for difference in report.differences:
        style = "bold" if difference.shown else ""
        console.print(f"{difference.arm}: {difference.sentence}", style=style)
    for warning in report.warnings:
        console.print(f"[yellow]Doubtful:[/] {warning}")


def _report_table(report: ExperimentReport) -> Table:
    """Each arm's numbers with their intervals."""
    table = table_of("arm", "units", "calls", *(unit for unit, _, _ in _UNITS.values()))
    for arm in report.arms:
        table.add_row(
            arm.arm,
            f"{arm.units:,}",
            f"{arm.calls:,}",
            *(
                _interval(arm.metrics[metric], scale, digits) if metric in arm.metrics else ""
                for metric, (_, scale, digits) in _UNITS.items()
            ),
        )
    return table


def _interval(interval: Interval, scale: float, digits: str) -> str:
    low, high = (
        "?" if end is None else digits.format(end * scale) for end in (interval.low, interval.high)
    )
    return f"{digits.format(interval.value * scale)} ({low} to {high})"


def _content(file: str) -> FileContent:
    """What a file, or the standard input, says.

    Raises:
        CommandError: with every fault.
    """
    raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        return parse_policies(raw, "standard input" if file == "-" else file, alone=False)
    except PolicyFileError as error:
        raise CommandError("nothing was set:\n" + "\n".join(error.faults)) from None


def _put(place: Place, file: str, items: Sequence[Policy | Experiment]) -> tuple[Written, ...]:
    if not items:
        raise CommandError(f"{file}: has nothing to set.")

    async def work(admin: PolicyAdmin, rooms: Rooms) -> tuple[Written, ...]:
        for org in {item.scope.split("/")[1] for item in items if "/" in item.scope}:
            await rooms.identity.get_org(org)
        return await admin.put_all(items, actor=Actor(name=ACTOR))

    return _with_admin(place, work)


def _tell_written(written: Sequence[Written], *, as_json: bool) -> None:
    if as_json:
        print_json([_facts(one.entry) | {"warnings": one.warnings} for one in written])
        return
    for one in written:
        console.print(f"Set {one.entry.item.full_name}; it holds everywhere within 5 seconds.")
        for warning in one.warnings:
            console.print(f"[yellow]Note:[/] {warning}")


def _delete(place: Place, name: str, kind: Kind, *, as_json: bool) -> None:
    async def work(admin: PolicyAdmin, _: Rooms) -> None:
        await admin.delete(name, kind, etag="", actor=Actor(name=ACTOR))

    _with_admin(place, work)
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"Deleted {name}.")


def _entries(place: Place, kind: Kind, scope: str | None) -> list[Entry]:
    async def work(admin: PolicyAdmin, _: Rooms) -> list[Entry]:
        return [entry for entry in await admin.entries(kind) if scope in (None, entry.item.scope)]

    return _with_admin(place, work)


def _with_admin(place: Place, work: Callable[[PolicyAdmin, Rooms], Awaitable[T]]) -> T:
    async def opened(settings: Settings, rooms: Rooms) -> T:
        catalog = Catalog(rooms.database)
        await catalog.load()
        try:
            policies = Policies(
                rooms.database,
                lambda: catalog.snapshot,
                SystemClock(),
                file=settings.policies_file,
            )
        except PolicyFileError as error:
            raise CommandError("\n".join(error.faults)) from None
        await policies.load()
        return await work(PolicyAdmin(policies), rooms)

    return work_in(place, opened)


def _facts(entry: Entry) -> dict[str, Any]:  # as it goes into JSON
    """An entry; the item as a file would have it, and what is known about it."""
    facts: dict[str, Any] = msgspec.to_builtins(entry, order="deterministic")
    return {"name": entry.item.full_name} | facts


def _short(facts: dict[str, Any]) -> str:  # of a rule or a condition
    """What is set, on one line: `cost min_quality=0.7`."""
    kind = [str(facts["kind"])] if "kind" in facts else []
    rest = [f"{name}={_value(value)}" for name, value in facts.items() if value and name != "kind"]
    return " ".join(kind + rest)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}:{one}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ",".join(
            f"{one['model']}:{one['weight']}" if isinstance(one, dict) else str(one)
            for one in value
        )
    return str(value)


def _note(entry: Entry, note: str) -> str:
    if entry.fault:
        return f"cannot be used: {entry.fault}"
    return "hidden by the database's" if entry.hidden else note


def _show(table: Table, entries: Sequence[Entry], what: str) -> None:
    if entries:
        console.print(table)
    else:
        console.print(f"There are no {what}.")
