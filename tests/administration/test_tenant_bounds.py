"""How much an organisation may have: nobody gets past it, also when many try at once."""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from administration_rig import Office

from omni_grpc.administration import Caller
from omni_grpc.core.errors import AlreadyExists, TooMany
from omni_grpc.core.limits import ENVIRONMENTS_MAX, KEYS_MAX, TEAMS_MAX
from omni_grpc.identity.user_principal_store import Profile, UserPrincipalStore

ORG = "orgs/acme"
TEAM = f"{ORG}/teams/t1"


@pytest.fixture
async def acme(office: Office) -> Caller:
    return await office.org("acme")


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def fill_teams(sql: psycopg.Connection, org_id: int, count: int) -> None:
    sql.execute(
        "INSERT INTO team (org_id, slug, display_name)"
        " SELECT %s, 't' || n, '' FROM generate_series(1, %s) n",
        (org_id, count),
    )


def fill_keys(sql: psycopg.Connection, org_id: int, first: int, count: int, end: str) -> None:
    """Keys with these numbers, which end as `end` says in SQL."""
    sql.execute(
        "INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by,"  # type: ignore[arg-type]  # its parts are ours
        " revoke_time, expire_time)"
        f" SELECT %s, lpad(n::text, 12, '0'), sha256('x'), '', '{{inference}}', 't', {end}"
        " FROM generate_series(%s::int, %s::int) n",
        (org_id, first, first + count - 1),
    )


async def at_once(office: Office, by: Caller, rpc: str, *asked: dict[str, Any]) -> list[Any]:
    return await asyncio.gather(
        *(office.do(by, rpc, **one) for one in asked), return_exceptions=True
    )


async def test_teams_are_bounded_also_at_once(
    office: Office, acme: Caller, sql: psycopg.Connection
) -> None:
    fill_teams(sql, acme.principal.org_id, TEAMS_MAX - 1)
    asked = [{"parent": ORG, "team_id": f"new-{n}"} for n in range(4)]
    done = await at_once(office, acme, "CreateTeam", *asked)
    refused = [one for one in done if isinstance(one, TooMany)]
    assert len(refused) == 3, done
    assert (refused[0].field, refused[0].metadata) == ("parent", {"limit": str(TEAMS_MAX)})
    assert f"{TEAMS_MAX:,} teams" in refused[0].message
    with pytest.raises(AlreadyExists):
        await office.do(acme, "CreateTeam", parent=ORG, team_id="t1")
    await office.do(acme, "DeleteTeam", name=TEAM)
    assert await office.do(acme, "CreateTeam", parent=ORG, team_id="again")
    other = await office.org("other")
    assert await office.do(other, "CreateTeam", parent="orgs/other", team_id="web")


async def test_environments_of_a_team_are_bounded(
    office: Office, acme: Caller, sql: psycopg.Connection
) -> None:
    fill_teams(sql, acme.principal.org_id, 2)
    sql.execute(
        "INSERT INTO environment (org_id, team_id, slug, display_name) SELECT org_id, id, 'e' || n,"
        " '' FROM team, generate_series(1, %s) n WHERE slug = 't1'",
        (ENVIRONMENTS_MAX,),
    )
    with pytest.raises(TooMany, match=f"`{TEAM}` has {ENVIRONMENTS_MAX} environments"):
        await office.do(acme, "CreateEnvironment", parent=TEAM, environment_id="live")
    other = f"{ORG}/teams/t2"
    assert await office.do(acme, "CreateEnvironment", parent=other, environment_id="live")


async def test_valid_keys_are_bounded_and_others_count_for_nothing(
    office: Office, acme: Caller, sql: psycopg.Connection
) -> None:
    org_id = acme.principal.org_id
    fill_keys(sql, org_id, 1, 50, "clock_timestamp(), NULL")
    fill_keys(sql, org_id, 51, 50, "NULL, clock_timestamp()")
    fill_keys(sql, org_id, 101, KEYS_MAX - 2, "NULL, NULL")
    asked = [{"parent": ORG, "scopes": ["inference"]}] * 3
    done = await at_once(office, acme, "CreateApiKey", *asked)
    (made,) = [one for one in done if not isinstance(one, Exception)]
    assert sum(isinstance(one, TooMany) for one in done) == 2, done
    with pytest.raises(TooMany, match=f"{KEYS_MAX:,} valid keys"):
        await office.do(acme, "RotateApiKey", name=made.api_key.name)
    await office.do(acme, "RevokeApiKey", name=made.api_key.name)
    assert await office.do(acme, "CreateApiKey", **asked[0])


async def test_valid_keys_are_counted_by_their_index(
    office: Office, acme: Caller, sql: psycopg.Connection
) -> None:
    from omni_grpc.identity.api_key_store import _COUNT

    fill_keys(sql, acme.principal.org_id, 1, 5_000, "clock_timestamp(), NULL")
    sql.execute("ANALYZE api_key")
    values = {"org_id": acme.principal.org_id, "now": "now", "limit": KEYS_MAX}
    plan = sql.execute(f"EXPLAIN {_COUNT}".encode(), values).fetchall()
    assert "api_key_valid" in str(plan)


async def test_users_are_bounded_however_they_come_in(
    office: Office, acme: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_grpc.identity.user_store.USERS_MAX", 2)
    asked = {"parent": ORG, "issuer": "https://idp.example"}
    first, _ = [await office.do(acme, "CreateUser", **asked, subject=name) for name in "ab"]
    with pytest.raises(TooMany, match="2 users"):
        await office.do(acme, "CreateUser", **asked, subject="c")
    signing_in = UserPrincipalStore(office.database)
    known = Profile(issuer="https://idp.example", subject="a")
    new = Profile(issuer="https://idp.example", subject="c")
    assert await signing_in.enter("acme", known, "192.0.2.7")
    with pytest.raises(TooMany):
        await signing_in.enter("acme", new, "192.0.2.7")
    await office.do(acme, "DeleteUser", name=first.name)
    assert await signing_in.enter("acme", new, "192.0.2.7")
