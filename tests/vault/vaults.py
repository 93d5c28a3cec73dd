"""Tenants that have credentials, and vaults that open them."""

import os
from datetime import UTC, datetime

import psycopg

from omni_grpc.core.ids import OrgId
from omni_grpc.storage import Connection, Database
from omni_grpc.vault import MasterKeys, Owner, Secret, Stored, Vault

SECRET = "sk-tenant-0123456789abcdefghijklmnopqrstuvwxyz"


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class Counted:
    """Counts credentials that did not open."""

    def __init__(self) -> None:
        self.unusable = 0

    def credential_unusable(self) -> None:
        self.unusable += 1


class Tenants:
    """Makes owners: organisations, teams and environments."""

    def __init__(self, url: str) -> None:
        self._url = url

    def org(self, slug: str) -> Owner:
        org_id = self._one("SELECT nextval('account_id')", ())
        self._one(
            "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE "
            "VALUES (%s, %s, '', ledger_open_wallet(%s)) RETURNING id",
            (org_id, slug, org_id),
        )
        return Owner("o", org_id, OrgId(org_id), f"orgs/{slug}")

    def team(self, org: Owner, slug: str) -> Owner:
        team = self._one(
            "INSERT INTO team (org_id, slug, display_name) VALUES (%s, %s, '') RETURNING id",
            (org.id, slug),
        )
        return Owner("t", team, org.org_id, f"{org.name}/teams/{slug}")

    def environment(self, team: Owner, slug: str) -> Owner:
        found = self._one(
            "INSERT INTO environment (org_id, team_id, slug, display_name) "
            "VALUES (%s, %s, %s, '') RETURNING id",
            (team.org_id, team.id, slug),
        )
        return Owner("e", found, team.org_id, f"{team.name}/environments/{slug}")

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute(statement.encode(), values)

    def _one(self, statement: str, values: tuple[object, ...]) -> int:
        with psycopg.connect(self._url) as connection:
            row = connection.execute(statement.encode(), values).fetchone()
        assert row is not None
        return int(row[0])


def keys(*keys: bytes) -> MasterKeys:
    return MasterKeys(keys or (os.urandom(32),))


def vault_of(
    database: Database, keys: MasterKeys, counted: Counted | None = None
) -> tuple[Vault, HandClock]:
    clock = HandClock()
    return Vault(database, keys, clock, counted), clock


async def untold(connection: Connection, old: Stored | None, new: Stored | None) -> None:
    """Writes no audit entry."""


async def stored(
    vault: Vault, owner: Owner, slug: str, *, provider: str = "openai", text: str = SECRET
) -> Stored:
    return await vault.create(
        owner,
        slug,
        provider,
        Secret(text, {"OPENAI_ORG": "o-1"}),
        weight=1,
        fee_ppm=None,
        active=True,
        told=untold,
    )


async def secrets(vault: Vault, org: Owner, *nearer: Owner) -> dict[str, list[str | None]]:
    """By provider, the texts of the secrets that a scope's calls use."""
    team = next((one.id for one in nearer if one.kind == "t"), None)
    environment = next((one.id for one in nearer if one.kind == "e"), None)
    found = await vault.sets(org.org_id, team, environment)
    return {
        one.provider: [
            None if member.secret is None else member.secret.text for member in one.members
        ]
        for one in found
    }
