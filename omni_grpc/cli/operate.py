"""The operator's commands: migrate, orgs, keys and catalog, straight on the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.table import Table

from omni_grpc.cli.opening import Rooms, settings_of, url_of
from omni_grpc.cli.sources import all_facts, seed_catalog
from omni_grpc.cli.working import Place, console, print_json, work_in
from omni_grpc.core.ids import KeyId
from omni_grpc.identity import ApiKey, NewKey
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


def run_keys_bootstrap(config: Path | None, *, as_json: bool) -> None:
    """Makes the first admin key."""
    new = _with_rooms(config, None, lambda rooms: rooms.identity.bootstrap())
    _print_new_key(new, as_json=as_json)


def run_keys_create(
    config: Path | None,
    data_dir: Path | None,
    org: str,
    name: str,
    scopes: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Makes a key."""
    new = _with_rooms(
        config,
        data_dir,
        lambda rooms: rooms.identity.create_api_key(
            org, display_name=name, scopes=scopes, created_by="omni-grpc keys create"
        ),
    )
    _print_new_key(new, as_json=as_json)


def run_keys_list(config: Path | None, data_dir: Path | None, org: str, *, as_json: bool) -> None:
    """Lists all keys of an organisation."""

    async def work(rooms: Rooms) -> list[ApiKey]:
        keys: list[ApiKey] = []
        after: KeyId | None = None
        while True:
            page = await rooms.identity.list_api_keys(org, after=after)
            keys += page.keys
            after = page.next_after
            if after is None:
                return keys

    keys = _with_rooms(config, data_dir, work)
    if as_json:
        print_json([_key_facts(key) for key in keys])
        return
    table = Table("key", "name", "scopes", "created", "revoked")
    for key in keys:
        table.add_row(
            key.name,
            key.display_name,
            ", ".join(sorted(key.scopes)),
            f"{key.create_time:%Y-%m-%d %H:%M}",
            f"{key.revoke_time:%Y-%m-%d %H:%M}" if key.revoke_time else "",
        )
    console.print(table)


def run_keys_revoke(
    config: Path | None, data_dir: Path | None, name: str, *, as_json: bool
) -> None:
    """Revokes a key."""
    key = _with_rooms(config, data_dir, lambda rooms: rooms.identity.revoke_api_key(name))
    if as_json:
        print_json(_key_facts(key))
    else:
        console.print(f"{key.name} is revoked; every worker refuses it within 5 seconds.")


def run_orgs_create(
    config: Path | None, data_dir: Path | None, org: str, name: str, *, as_json: bool
) -> None:
    """Makes an organisation."""
    made = _with_rooms(config, data_dir, lambda rooms: rooms.identity.create_org(org, name))
    if as_json:
        print_json({"name": made.name, "account": f"accounts/{made.slug}"})
    else:
        console.print(f"{made.name} with the account accounts/{made.slug}.")


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


def _key_facts(key: ApiKey) -> dict[str, Any]:  # as it goes into JSON
    return {
        "name": key.name,
        "display_name": key.display_name,
        "scopes": sorted(key.scopes),
        "create_time": key.create_time.isoformat(),
        "revoke_time": key.revoke_time.isoformat() if key.revoke_time else None,
    }


def _print_new_key(new: NewKey, *, as_json: bool) -> None:
    if as_json:
        print_json(_key_facts(new.key) | {"secret": new.secret})
        return
    console.print(f"{new.key.name} ({', '.join(sorted(new.key.scopes))})")
    console.print("Its secret, shown this once:")
    print(new.secret)  # noqa: T201 - to be copied: rich must not wrap it
