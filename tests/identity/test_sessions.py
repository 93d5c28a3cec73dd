"""Sessions on a real PostgreSQL: who gets one, what it may do, how it ends."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import structlog
from identity_rig import new_key

from omni_grpc.audit import Actor
from omni_grpc.core.errors import ApiKeyInvalid, FieldInvalid, LedgerUnavailable, ScopeMissing
from omni_grpc.core.limits import KEY_CACHE_SECONDS_MAX
from omni_grpc.identity import Role, Scope
from omni_grpc.identity.authenticate import Authenticator
from omni_grpc.identity.keys import KeyHasher, new_key_text
from omni_grpc.identity.session_store import SESSIONS_MAX
from omni_grpc.identity.sessions import SessionCleaner
from omni_grpc.identity.store import IdentityStore
from omni_grpc.identity.user_principal_store import Profile, UserPrincipalStore
from omni_grpc.storage import Timeouts

ISSUER = "https://issuer.example"
SERVER_SECRET = b"a server secret for tests, 32 bytes and more"  # as in conftest.py


@pytest.fixture(autouse=True)
def _today(clock):
    clock.seconds = datetime.now(UTC).timestamp()


@pytest.fixture
async def ada(identity, database):
    """A developer of `acme`, who signed in by a token."""
    await identity.orgs.create(Actor(name="tests"), "acme")
    profile = Profile(issuer=ISSUER, subject="ada", email="ada@acme.example", role=Role.DEVELOPER)
    return await UserPrincipalStore(database).enter("acme", profile, "")


@pytest.fixture
def create(identity):
    return lambda who, ttl=None: identity.sessions.create(who, Actor(name=who.actor), ttl)


async def test_a_session_may_do_what_its_users_role_lets_it_do_at_the_moment(
    identity, create, ada, database, clock
):
    made = await create(ada)
    found = await identity.authenticate(made.token)
    assert (found.user_id, found.key_id, found.org_id) == (ada.user_id, ada.key_id, ada.org_id)
    assert (found.role, found.scopes) == (Role.DEVELOPER, Role.DEVELOPER.scopes)
    assert (made.user.name, made.user.email) == (ada.user_name, "ada@acme.example")
    lowered = Profile(issuer=ISSUER, subject="ada", role=Role.VIEWER)
    await UserPrincipalStore(database).enter("acme", lowered, "")
    clock.seconds += KEY_CACHE_SECONDS_MAX
    assert (await identity.authenticate(made.token)).scopes == {Scope.VIEWING}


async def test_a_session_ends_with_its_time_to_the_second(identity, create, ada, clock):
    made = await create(ada, timedelta(minutes=1))
    left = made.expire_time.timestamp() - clock.seconds
    assert 50 < left < 120  # by the database's clock, which goes on
    assert await identity.authenticate(made.token)
    clock.seconds += left + 0.001
    with pytest.raises(ApiKeyInvalid):
        await identity.authenticate(made.token)


async def test_a_time_to_live_has_bounds(create, ada):
    for ttl in (timedelta(seconds=59), timedelta(hours=24, seconds=1), timedelta(seconds=-1)):
        with pytest.raises(FieldInvalid, match="1 minute to 24 hours"):
            await create(ada, ttl)
    for ttl in (timedelta(minutes=1), timedelta(hours=24)):
        assert await create(ada, ttl)


async def test_only_who_signed_in_gets_one_and_a_session_makes_no_other(identity, create, ada):
    key = await new_key(identity)
    with pytest.raises(ScopeMissing, match="An API key has no sessions"):
        await create(await identity.authenticate(key.secret))
    made = await create(ada)
    with pytest.raises(ScopeMissing, match="A session makes no other"):
        await create(await identity.authenticate(made.token))


async def test_who_was_taken_out_gets_none_and_has_none(identity, create, ada):
    made = await create(ada)
    await identity.authenticate(made.token)
    await identity.delete_user(
        Actor(name="tests"), ada.org_id, "acme", ada.key_prefix, by_owner=True
    )
    with structlog.testing.capture_logs(), pytest.raises(ApiKeyInvalid):
        await identity.authenticate(made.token)
    with pytest.raises(ApiKeyInvalid, match="may not sign in any more"):
        await create(ada)


async def test_a_session_ends_itself_here_at_once_and_soon_elsewhere(
    worker, identity, create, ada, clock
):
    made, other = await create(ada), await create(ada)
    elsewhere = worker()
    session = await elsewhere.authenticate(made.token)
    await identity.authenticate(made.token)
    await identity.sessions.end(session, Actor(name=session.actor))
    await identity.sessions.end(session, Actor(name=session.actor))  # again: nothing changes
    with structlog.testing.capture_logs(), pytest.raises(ApiKeyInvalid):
        await identity.authenticate(made.token)
    assert await elsewhere.authenticate(made.token)
    clock.seconds += KEY_CACHE_SECONDS_MAX
    with structlog.testing.capture_logs(), pytest.raises(ApiKeyInvalid):
        await elsewhere.authenticate(made.token)
    assert await identity.authenticate(other.token)
    for who in (ada, await identity.authenticate((await new_key(identity)).secret)):
        with pytest.raises(FieldInvalid, match="not made with a session"):
            await identity.sessions.end(who, Actor(name=who.actor))


async def test_a_further_session_ends_the_oldest_also_of_many_at_once(
    identity, create, ada, database_url
):
    made = [await create(ada)]
    await identity.authenticate(made[0].token)
    made += await asyncio.gather(*(create(ada) for _ in range(SESSIONS_MAX)))
    with structlog.testing.capture_logs(), pytest.raises(ApiKeyInvalid):
        await identity.authenticate(made[0].token)
    for session in made[1:]:
        assert await identity.authenticate(session.token)
    with psycopg.connect(database_url) as connection:
        valid = "SELECT count(*) FROM api_key WHERE revoke_time IS NULL"
        assert connection.execute(valid).fetchone() == (SESSIONS_MAX,)


async def test_a_session_is_no_key_of_the_organisation(identity, create, ada):
    await create(ada)
    assert await identity.keys.page("o", ada.org_id, 0, 10) == []


async def test_its_token_is_in_no_text_and_no_table(create, ada, database_url):
    with structlog.testing.capture_logs() as logged:
        made = await create(ada)
    secret = made.token.rpartition("_")[2]
    assert secret not in repr(made) + str(made.__rich_repr__()) + str(logged)
    with psycopg.connect(database_url) as connection:
        for table in ("api_key", "audit_entry"):
            rows = connection.execute(f"SELECT t::text FROM {table} t").fetchall()
            assert rows
            assert not any(secret in text for (text,) in rows)


async def test_unknown_wrong_ended_and_expired_sessions_cost_the_same(
    identity, create, ada, database, database_url, clock
):
    """One statement and one hash each, and the same words."""
    asked, hashed = [], []

    class Counted(IdentityStore):
        async def find_key(self, prefix):
            asked.append(prefix)
            return await super().find_key(prefix)

    class Hasher(KeyHasher):
        def digest(self, key_text):
            hashed.append(key_text)
            return super().digest(key_text)

    ended, good = await create(ada), await create(ada)
    session = await identity.authenticate(ended.token)
    await identity.sessions.end(session, Actor(name=session.actor))
    late = await create(ada, timedelta(minutes=1))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE api_key SET expire_time = clock_timestamp() WHERE prefix = %s",
            (late.token.split("_")[1],),
        )
    wrong = good.token[:-1] + ("A" if good.token[-1] != "A" else "B")
    authenticator = Authenticator(Counted(database), Hasher(SERVER_SECRET), clock)
    answers = set()
    for number, token in enumerate((new_key_text(), wrong, ended.token, late.token), 1):
        with structlog.testing.capture_logs(), pytest.raises(ApiKeyInvalid) as caught:
            await authenticator.authenticate(token)
        answers.add(caught.value.message)
        assert (len(asked), len(hashed)) == (number, number)
    assert len(answers) == 1


async def test_what_is_over_is_deleted_and_nothing_else(
    identity, create, ada, database, database_url
):
    key = await new_key(identity)
    old, valid = await create(ada), await create(ada)
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM wallet_nonce")
        connection.execute(
            "UPDATE api_key SET expire_time = clock_timestamp() - interval '25 hours' "
            "WHERE prefix IN (%s, %s)",
            (old.token.split("_")[1], key.key.prefix),
        )
        connection.execute(
            "INSERT INTO wallet_nonce SELECT sha256(n::text::bytea), "
            "clock_timestamp() + n * interval '1 minute' FROM generate_series(-1200, 3) n"
        )
    assert await SessionCleaner(database).clean() == 1 + 1_201
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM wallet_nonce").fetchone() == (3,)
        left = connection.execute("SELECT prefix FROM api_key ORDER BY id").fetchall()
    assert left == [(key.key.prefix,), (valid.token.split("_")[1],)]
    assert await identity.authenticate(valid.token)


@pytest.mark.parametrize("timeouts", [Timeouts()])
async def test_a_database_that_is_away_makes_none(create, ada, door):
    door.shut()
    with pytest.raises(LedgerUnavailable):
        await create(ada)
