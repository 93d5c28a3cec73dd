"""`omni-grpc doctor`: are the settings, the database and the books in order?"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from omni_grpc.audit import AuditLog, AuditStore
from omni_grpc.billing.invariants import Invariant, Violation, check
from omni_grpc.catalog import CatalogStore
from omni_grpc.cli.opening import data_folder, database_of, settings_of, url_of
from omni_grpc.storage import Database, pending

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    good: bool
    words: str


def run_doctor(config: Path | None, data_dir: Path | None, *, as_json: bool) -> None:
    """Looks at everything, says what it found, and exits 1 if anything is wrong."""
    findings = asyncio.run(_examine(config, data_dir, quiet=as_json))
    healthy = all(finding.good for finding in findings)
    if as_json:
        content = msgspec.json.encode({"healthy": healthy, "findings": findings})
        print(msgspec.json.format(content).decode())  # noqa: T201 - for programs
    else:
        for finding in findings:
            mark = "[green]✓[/]" if finding.good else "[bold red]✗[/]"
            console.print(f"{mark} {finding.about}: ", end="")
            console.print(finding.words, markup=False)
    if not healthy:
        raise typer.Exit(1)


async def _examine(config: Path | None, data_dir: Path | None, *, quiet: bool) -> list[Finding]:
    from omni_grpc.wiring.configured import configured_providers

    settings = settings_of(config)
    findings = [Finding("settings", good=True, words="every value can be used")]
    providers = configured_providers(settings).ids()
    findings.append(
        Finding(
            "providers",
            good=True,
            words=", ".join(sorted(providers)) or "none configured (dev uses the simulator)",
        )
    )
    if settings.redis_url is not None:
        findings.append(await _redis(settings.redis_url.get_secret_value()))
    folder = None if settings.database_url is not None else data_folder(data_dir)
    async with database_of(settings, folder) as complete:
        url = url_of(complete)
        waiting = await asyncio.to_thread(pending, url)
        if waiting:
            names = ", ".join(f"{found.number:04d}_{found.name}" for found in waiting)
            words = f"{names} not applied; run: omni-grpc migrate"
            return [*findings, Finding("database", good=False, words=words)]
        findings.append(Finding("database", good=True, words="answers, and is up to date"))
        async with Database(url, application_name="omni-grpc doctor") as database:
            store = CatalogStore(database)
            offers = len((await store.read()).offers)
            findings.append(
                Finding("catalog", good=offers > 0, words=f"{offers:,} offers")
                if offers
                else Finding("catalog", good=False, words="empty; run: omni-grpc migrate")
            )
            violations = await _books(database, store, quiet=quiet)
            findings += await _logs(database)
    broken = {violation.invariant for violation in violations}
    findings += [
        Finding(str(invariant), good=True, words=invariant.meaning)
        for invariant in Invariant
        if invariant not in broken
    ]
    findings += [
        Finding(str(violation.invariant), good=False, words=str(violation))
        for violation in violations
    ]
    return findings


async def _redis(url: str) -> Finding:
    from omni_grpc.limits import redis_fault

    fault = await redis_fault(url)
    words = "answers, and runs scripts" if fault is None else f"cannot count limits: {fault}"
    return Finding("redis", good=fault is None, words=words)


async def _logs(database: Database) -> list[Finding]:
    """What the audit logs, computed anew, come to: one finding, or one for each that is broken."""
    logs = entries = 0
    broken = []
    async for org_id, verdict in AuditLog(AuditStore(database)).verify_all():
        logs, entries = logs + 1, entries + verdict.entry_count
        if verdict.first_broken is not None:
            words = f"organisation {org_id}, entry {verdict.first_broken}: {verdict.fault}"
            broken.append(Finding("audit log", good=False, words=words))
    if broken:
        return broken
    return [
        Finding("audit log", good=True, words=f"{entries:,} entries of {logs:,} logs are whole")
    ]


async def _books(database: Database, store: CatalogStore, *, quiet: bool) -> list[Violation]:
    rows: dict[str, int] = {}
    with console.status("Reading the books") as status:

        def progress(part: str, count: int) -> None:
            rows[part] = count
            if not quiet:
                status.update(f"Reading the books: {sum(rows.values()):,} rows ({part})")

        return await check(database, prices=store.prices, progress=progress)
