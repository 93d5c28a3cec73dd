"""`omni-grpc audit`: an organisation's log, read, exported and verified."""

import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import typer
from rich.console import Console

from omni_grpc.administration.audit_log import ListAuditEntries
from omni_grpc.audit import AuditEntry, AuditLog, AuditStore, export_line, read_export
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.moments import moment_of
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, console, print_json, table_of, work_in
from omni_grpc.settings import Settings

TOLD_EVERY: Final = 10_000
"""Entries between two lines about an export's progress."""

_progress: Final = Console(stderr=True, highlight=False)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a list's options say."""

    org: str
    start: str | None
    end: str | None
    actor: str
    action: str
    resource: str
    limit: int


def run_list(place: Place, asked: Asked, *, as_json: bool) -> None:
    """Lists a log, newest first."""
    query = ListAuditEntries(
        parent=f"orgs/{asked.org}",
        start_time=None if asked.start is None else moment_of("--from", asked.start),
        end_time=None if asked.end is None else moment_of("--to", asked.end),
        actor=asked.actor,
        action=asked.action,
        resource=asked.resource,
        page_size=asked.limit,
    )
    page = administering.run(place, "omni-grpc audit list", "ListAuditEntries", query)
    if as_json:
        print_json(page.items)
        return
    table = table_of("entry", "time", "actor", "from", "action", "resource")
    for entry in page.items:
        table.add_row(
            entry.name.rpartition("/")[2],
            f"{entry.create_time:%Y-%m-%d %H:%M:%S}",
            entry.actor,
            entry.peer,
            entry.action,
            entry.resource,
        )
    console.print(table)
    if page.next_page_token:
        console.print(f"There are more than {asked.limit}: see --limit, --to, and audit export.")


def run_export(place: Place, org: str, out: Path | None) -> None:
    """Writes a whole log as JSON lines, oldest first; how far it is goes to standard error."""

    async def work(_: Settings, rooms: Rooms) -> int:
        found = await rooms.identity.get_org(org)
        entries = AuditLog(AuditStore(rooms.database)).oldest_first(found.org_id)
        with ExitStack() as open_files:
            target: BinaryIO = sys.stdout.buffer
            if out is not None:
                target = open_files.enter_context(out.open("xb"))
            return await _write(entries, target)

    try:
        count = work_in(place, work)
    except FileExistsError:
        raise CommandError(f"{out} exists already; nothing was written.") from None
    _progress.print(f"{count:,} entries written.")


async def _write(entries: AsyncIterator[AuditEntry], target: BinaryIO) -> int:
    count = 0
    async for entry in entries:
        target.write(export_line(entry))
        count += 1
        if count % TOLD_EVERY == 0:
            _progress.print(f"{count:,} entries …")
    target.flush()
    return count


def run_verify(place: Place, org: str, export: Path | None, *, as_json: bool) -> None:
    """Computes a log anew, and compares it with an export; exits 1 where it is not whole."""

    async def work(_: Settings, rooms: Rooms) -> dict[str, object]:
        org_id = (await rooms.identity.get_org(org)).org_id
        log = AuditLog(AuditStore(rooms.database))
        verdict = await log.verify(org_id)
        fault = verdict.fault
        if verdict.first_broken is not None:
            fault = f"entry {verdict.first_broken}: {fault}"
        elif export is not None:
            fault = await _differs(log, export, org, org_id)
        return {"entry_count": verdict.entry_count, "whole": not fault, "fault": fault}

    found = work_in(place, work)
    if as_json:
        print_json(found)
    elif found["whole"]:
        console.print(f"The log of {org} is whole: {found['entry_count']:,} entries.")
    else:
        console.print(f"[bold red]The log of {org} is not whole:[/] ", end="")
        console.print(str(found["fault"]), markup=False)
    if not found["whole"]:
        raise typer.Exit(1)


async def _differs(log: AuditLog, export: Path, org: str, org_id: int) -> str:
    """Why an export and the log are not of one piece; empty if they are."""
    try:
        with export.open("rb") as lines:
            last = read_export(lines)
    except ValueError as error:
        return f"{export}: {error}"
    if last is None:
        return ""
    if last.org_id != org_id:
        raise CommandError(f"{export} is not of {org}.")
    held = await log.entry(last.org_id, last.position)
    if held is None:
        return f"entry {last.position}: the export has it, and the log does not."
    return "" if held.hash == last.hash else f"entry {last.position}: the export has another."
