"""The operator's commands that are alone in their kind, straight on the database."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from omni_grpc.cli.opening import Rooms, settings_of, url_of
from omni_grpc.cli.sources import all_facts, seed_catalog
from omni_grpc.cli.working import Place, console, print_json, work_in
from omni_grpc.storage import Database, migrate

T = TypeVar("T")


def run_migrate(config: Path | None, *, as_json: bool) -> None:
    """Applies pending migrations and seeds the catalog."""
    settings = settings_of(config)
    url = url_of(settings)
    facts = all_facts(settings.providers_file)
    applied = migrate(url)

    async def work() -> int:
        async with Database(url, application_name="omni-grpc migrate") as database:
            return (await seed_catalog(database, facts)).offers

    offers = asyncio.run(work())
    if as_json:
        print_json({"applied": [f"{a.number:04d}_{a.name}" for a in applied], "offers": offers})
        return
    for one in applied:
        console.print(f"[green]✓[/] {one.number:04d}_{one.name} ({one.duration_s:.2f} s)")
    console.print(f"The database is up to date; the catalog has {offers:,} offers.")


def run_catalog_seed(config: Path | None, data_dir: Path | None, *, as_json: bool) -> None:
    """Brings the catalog to the packages' facts."""
    facts = all_facts(settings_of(config).providers_file)
    report = _with_rooms(config, data_dir, lambda rooms: seed_catalog(rooms.database, facts))
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        console.print(
            f"{report.offers:,} offers, {report.priced:,} with a price; {report.changes:,} changed."
        )


def _with_rooms(
    config: Path | None, data_dir: Path | None, work: Callable[[Rooms], Awaitable[T]]
) -> T:
    return work_in(Place(config, data_dir), lambda _settings, rooms: work(rooms))
