"""One statement tells all of a caller: whose it is, what limits it, until when it may call."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from omni_grpc.core.errors import ApiKeyInvalid, OrgSuspended
from omni_grpc.core.limits import KEY_CACHE_SECONDS_MAX
from omni_grpc.core.tenancy import BudgetUnit
from omni_grpc.identity import Role
from omni_grpc.identity.store import IdentityStore


@pytest.fixture
def sql(database_url):
    """Runs statements on the test's database; the one column of what they return."""

    def run(statement, *parameters):
        with psycopg.connect(database_url) as connection:
            cursor = connection.execute(statement, parameters)
            return [row[0] for row in cursor.fetchall()] if cursor.description else []

    return run


@pytest.fixture
def placed(sql, acme_key):
    """The key of `acme` in the environment `orgs/acme/teams/web/environments/live`."""
    (org,) = sql("SELECT org_id FROM api_key WHERE prefix = %s", acme_key.key.prefix)
    (team,) = sql(
        "INSERT INTO team (org_id, slug, display_name) VALUES (%s, 'web', '') RETURNING id", org
    )
    (environment,) = sql(
        "INSERT INTO environment (org_id, team_id, slug, display_name) "
        "VALUES (%s, %s, 'live', '') RETURNING id",
        org,
        team,
    )
    (key,) = sql(
        "UPDATE api_key SET team_id = %s, environment_id = %s, models = '{sim/fast,openai/*}' "
        "WHERE prefix = %s RETURNING id",
        team,
        environment,
        acme_key.key.prefix,
    )
    return {"o": org, "t": team, "e": environment, "k": key}


def limit_all(sql, placed):
    """A rate limit and a budget of each subject, and of subjects that are not the key's."""
    for kind, subject in placed.items():
        for owner, slug in ((subject, f"{kind}-own"), (subject + 1_000, "foreign")):
            sql(
                "INSERT INTO rate_limit (org_id, subject_kind, subject_id, slug, models, "
                "requests_per_minute) VALUES (1, %s, %s, %s, '{sim/*}', 60)",
                kind,
                owner,
                slug,
            )
            sql(
                "INSERT INTO budget (org_id, subject_kind, subject_id, slug, unit, amount, period) "
                "VALUES (1, %s, %s, %s, 'tokens', 5, 'day')",
                kind,
                owner,
                slug,
            )
    sql("UPDATE budget SET delete_time = now() WHERE slug = 'o-own'")


async def test_a_key_brings_its_place_and_all_its_limits(identity, acme_key, sql, placed):
    limit_all(sql, placed)
    found = await identity.authenticate(acme_key.secret)
    assert (found.team_id, found.team_slug) == (placed["t"], "web")
    assert (found.environment_id, found.environment_slug) == (placed["e"], "live")
    assert found.models == ("sim/fast", "openai/*")
    environment = "orgs/acme/teams/web/environments/live"
    assert [rule.name for rule in found.rate_rules] == [
        "orgs/acme/rateLimits/o-own",
        "orgs/acme/teams/web/rateLimits/t-own",
        f"{environment}/rateLimits/e-own",
        f"{acme_key.key.name}/rateLimits/k-own",
    ]
    assert {(r.models, r.requests_per_minute, r.concurrent) for r in found.rate_rules} == {
        (("sim/*",), 60, None)
    }
    assert [one.id for one in found.budgets] == sql(
        "SELECT id FROM budget WHERE slug IN ('t-own', 'e-own', 'k-own') ORDER BY id"
    )
    assert {one.unit for one in found.budgets} == {BudgetUnit.TOKENS}
    assert not found.has_credentials
    assert (found.user_name, found.role, found.expire_time, found.suspended) == (
        None,
        None,
        None,
        False,
    )


async def test_credentials_of_its_own_place_are_known_and_no_others(worker, acme_key, sql, placed):
    (credential,) = sql(
        "INSERT INTO provider_credential (id, org_id, subject_kind, subject_id, slug, provider, "
        "sealed, sealed_key, master_key_id) VALUES (1, %s, 'e', %s, 'own', 'sim', '', '', 'a') "
        "RETURNING id",
        placed["o"],
        placed["e"] + 1,
    )
    assert not (await worker().authenticate(acme_key.secret)).has_credentials
    for active in (True, False):
        sql(
            "UPDATE provider_credential SET subject_id = %s, active = %s WHERE id = %s",
            placed["e"],
            active,
            credential,
        )
        assert (await worker().authenticate(acme_key.secret)).has_credentials is active


@pytest.fixture
def session(sql, placed, acme_key):
    """The key of `acme` as a session of a developer."""
    (user,) = sql(
        "INSERT INTO org_user (org_id, code, issuer, subject, role) "
        "VALUES (%s, '0123456789ab', 'https://idp', 'ann', 'developer') RETURNING id",
        placed["o"],
    )
    sql("UPDATE api_key SET user_id = %s, scopes = '{}' WHERE id = %s", user, placed["k"])
    return user


async def test_a_session_is_its_user_with_the_role_of_the_moment(
    worker, acme_key, sql, session, placed
):
    found = await worker().authenticate(acme_key.secret)
    assert (found.user_id, found.key_id) == (session, -session)
    assert found.actor == found.user_name == "orgs/acme/users/0123456789ab"
    assert (found.role, found.scopes) == (Role.DEVELOPER, Role.DEVELOPER.scopes)
    sql("UPDATE org_user SET role = 'viewer'")
    assert (await worker().authenticate(acme_key.secret)).scopes == Role.VIEWER.scopes
    sql("UPDATE org_user SET delete_time = now()")
    with pytest.raises(ApiKeyInvalid):
        await worker().authenticate(acme_key.secret)


async def test_a_user_is_found_as_itself_in_each_of_its_organisations(
    identity, database, sql, session, placed
):
    store = IdentityStore(database)
    limit_all(sql, placed)
    (found,) = await store.principals_of_user("https://idp", "ann")
    assert (found.user_id, found.key_id, found.org_slug) == (session, -session, "acme")
    assert [rule.name for rule in found.rate_rules] == ["orgs/acme/rateLimits/o-own"]
    assert await store.principals_of_user("https://idp", "ann", org_slug="acme") == [found]
    assert await store.principals_of_user("https://idp", "ann", org_slug="other") == []
    assert await store.principals_of_user("https://other", "ann") == []


async def test_an_expired_key_is_refused_also_while_it_is_cached(worker, clock, acme_key, sql):
    here = worker()
    ends = datetime.now(UTC) + timedelta(days=1)
    clock.seconds = ends.timestamp() - 1
    sql("UPDATE api_key SET expire_time = %s", ends)
    assert (await here.authenticate(acme_key.secret)).expire_time == ends
    clock.seconds += 1
    with pytest.raises(ApiKeyInvalid, match="expired"):
        await here.authenticate(acme_key.secret)
    sql("UPDATE api_key SET expire_time = now() - interval '1 second'")
    clock.seconds = 0
    with pytest.raises(ApiKeyInvalid, match="expired"):
        await worker().authenticate(acme_key.secret)


async def test_a_suspended_organisation_is_told_so_within_five_seconds(
    identity, clock, acme_key, sql
):
    assert await identity.authenticate(acme_key.secret)
    sql("UPDATE org SET suspend_time = now()")
    clock.seconds += KEY_CACHE_SECONDS_MAX
    with pytest.raises(OrgSuspended, match="orgs/acme"):
        await identity.authenticate(acme_key.secret)
    sql("UPDATE org SET suspend_time = NULL")
    clock.seconds += KEY_CACHE_SECONDS_MAX
    assert await identity.authenticate(acme_key.secret)
