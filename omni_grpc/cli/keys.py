"""`omni-grpc keys`: API keys, straight on the database."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from omni_grpc.administration.api_keys import (
    ApiKeyRotated,
    CreateApiKey,
    GetApiKey,
    ListApiKeys,
    RevokeApiKey,
    RotateApiKey,
)
from omni_grpc.cli import administering
from omni_grpc.cli.moments import moment_of
from omni_grpc.cli.working import Place, console, print_json, work_in
from omni_grpc.identity import ApiKey, NewKey

COLUMNS = ("name", "parent", "display_name", "scopes", "create_time", "expire_time", "revoke_time")


def run_bootstrap(config: Path | None, *, as_json: bool) -> None:
    """Makes the first admin key."""
    new: NewKey = work_in(Place(config, None), lambda _, rooms: rooms.identity.bootstrap())
    _print_new(new.key, new.secret, as_json=as_json)


def run_create(
    place: Place,
    parent: str,
    name: str,
    scopes: Sequence[str],
    models: Sequence[str],
    expires: str | None,
    *,
    as_json: bool,
) -> None:
    """Makes a key."""
    asked = CreateApiKey(
        parent=parent,
        display_name=name,
        scopes=tuple(scopes),
        models=tuple(models),
        expire_time=None if expires is None else moment_of("--expires", expires),
    )
    new = administering.run(place, "omni-grpc keys create", "CreateApiKey", asked)
    _print_new(new.api_key, new.secret, as_json=as_json)


def run_list(place: Place, parent: str, *, as_json: bool) -> None:
    """Lists all keys in an organisation, a team or an environment."""
    keys = administering.rows(
        place, "omni-grpc keys list", "ListApiKeys", ListApiKeys(parent=parent)
    )
    administering.show_all(keys, COLUMNS, as_json=as_json)


def run_get(place: Place, name: str, *, as_json: bool) -> None:
    """Shows a key."""
    key = administering.run(place, "omni-grpc keys get", "GetApiKey", GetApiKey(name=name))
    administering.show(key, as_json=as_json)


def run_rotate(place: Place, name: str, overlap_hours: float | None, *, as_json: bool) -> None:
    """Replaces a key."""
    overlap = None if overlap_hours is None else timedelta(hours=overlap_hours)
    done: ApiKeyRotated = administering.run(
        place, "omni-grpc keys rotate", "RotateApiKey", RotateApiKey(name=name, overlap=overlap)
    )
    if as_json:
        print_json(done)
        return
    _print_new(done.api_key, done.secret, as_json=False)
    old = done.replaced_api_key
    console.print(f"{old.name} goes on until {old.expire_time:%Y-%m-%d %H:%M} UTC.")


def run_revoke(place: Place, name: str, *, as_json: bool) -> None:
    """Revokes a key."""
    key = administering.run(place, "omni-grpc keys revoke", "RevokeApiKey", RevokeApiKey(name=name))
    if as_json:
        print_json(key)
    else:
        console.print(f"{key.name} is revoked; every worker refuses it within 5 seconds.")


def _print_new(key: ApiKey, secret: str, *, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = msgspec.to_builtins(key)
        print_json(facts | {"secret": secret})
        return
    console.print(f"{key.name} ({', '.join(key.scopes)})")
    console.print("Its secret, shown this once:")
    print(secret)  # noqa: T201 - to be copied: rich must not wrap it
