"""Organisations and keys on a real PostgreSQL: how they are made, listed, revoked and refused."""

import asyncio
from contextlib import suppress

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_rig import TESTS, keys_of, new_key, revoke

from omni_grpc.core.errors import AlreadyExists, FieldInvalid, NotFound, OmniError
from omni_grpc.identity import SCOPES_DEFAULT, KeyGrant, OrgPath, Scope, parse_scopes

texts = st.text(st.characters(), max_size=70)
slugs = st.sampled_from(["acme", "operator"]) | st.from_regex(r"[a-z][a-z0-9-]+", fullmatch=True)


def rows(database_url, query):
    with psycopg.connect(database_url) as connection:
        return connection.execute(query).fetchall()


async def test_an_org_gets_a_wallet_of_its_own(identity, database_url):
    acme = await identity.orgs.create(TESTS, "acme", "Acme, Inc.")
    other = await identity.orgs.create(TESTS, "other")
    assert (acme.name, acme.display_name, other.display_name) == (
        "orgs/acme",
        "Acme, Inc.",
        "other",
    )
    assert acme.create_time.tzinfo is not None
    wallets = rows(database_url, "SELECT org_id, id FROM account WHERE kind = 1 ORDER BY id")
    assert wallets == [(acme.org_id, acme.account_id), (other.org_id, other.account_id)]
    assert await identity.get_org("acme") == acme
    assert await identity.org_of_account(acme.account_id) == acme


async def test_a_taken_slug_is_refused_and_leaves_no_wallet(identity, database_url):
    made = await asyncio.gather(
        *(identity.orgs.create(TESTS, "acme") for _ in range(10)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in made) == ["AlreadyExists"] * 9 + ["Org"]
    assert rows(database_url, "SELECT count(*) FROM account WHERE kind = 1") == [(1,)]


async def test_a_bad_or_reserved_slug_is_a_bad_field(identity):
    for slug in ("operator", "", "Acme", "a\0b", "ab\ud800", "a" * 64, "1a"):
        with pytest.raises(FieldInvalid) as caught:
            await identity.orgs.create(TESTS, slug)
        assert caught.value.field == "org_id"


async def test_a_bad_display_name_is_a_bad_field(identity, acme_key):
    for name in ("a\0b", "\udfff", "x" * 129):
        with pytest.raises(FieldInvalid):
            await identity.orgs.create(TESTS, "other", name)
        with pytest.raises(FieldInvalid):
            await new_key(identity, display_name=name)


async def test_an_account_that_is_no_wallet_has_no_org(identity, acme_key):
    with pytest.raises(NotFound):
        await identity.org_of_account(1)  # the operator's funding account


async def test_a_new_key_tells_all_but_its_secret(identity, acme_key):
    key = acme_key.key
    assert acme_key.secret.startswith(f"omni_{key.prefix}_")
    assert key.name == f"orgs/acme/apiKeys/{key.prefix}"
    assert (key.display_name, key.parent, key.revoke_time) == ("test", "orgs/acme", None)
    assert set(key.scopes) == SCOPES_DEFAULT == {Scope.INFERENCE, Scope.BILLING}
    assert [found for _, found in await keys_of(identity)] == [key]


async def test_a_key_gets_the_scopes_asked_for(identity, acme_key):
    for asked, granted in (
        ([], {Scope.INFERENCE, Scope.BILLING}),
        (["billing"], {Scope.BILLING}),
        (["inference", "inference"], {Scope.INFERENCE}),
        (["management", "viewing"], {Scope.MANAGEMENT, Scope.VIEWING}),
    ):
        new = await new_key(identity, scopes=parse_scopes(asked))
        assert set(new.key.scopes) == granted
        assert (await identity.authenticate(new.secret)).scopes == granted


async def test_a_scope_that_nobody_can_have_is_a_bad_field():
    for scopes in (["root"], [""], ["Inference"], ["a\0"]):
        with pytest.raises(FieldInvalid) as caught:
            parse_scopes(scopes)
        assert caught.value.field == "scopes"


async def test_an_admin_key_of_an_ordinary_org_is_a_bad_field(identity, acme_key):
    with pytest.raises(FieldInvalid) as caught:
        await new_key(identity, scopes=frozenset({Scope.ADMIN, Scope.INFERENCE}))
    assert caught.value.field == "scopes"


async def test_lists_show_the_oldest_key_first_and_no_other_orgs(identity, acme_key):
    made = [acme_key.key]
    for _ in range(6):
        made.append((await new_key(identity)).key)
        await identity.orgs.create(TESTS, f"other{len(made)}")
        await new_key(identity, f"other{len(made)}")
    made[2] = await revoke(identity, made[2])
    seen, after = [], 0
    while page := await keys_of(identity, after=after, limit=3):
        seen += [key for _, key in page]
        after = page[-1][0]
    assert seen == made


async def test_revoking_twice_is_revoking_once(identity, acme_key):
    first = await revoke(identity, acme_key.key)
    again = await revoke(identity, acme_key.key)
    assert first == again
    assert first.revoke_time is not None
    assert [key for _, key in await keys_of(identity)] == [first]


async def test_a_key_is_revoked_under_its_own_org_alone(identity, acme_key):
    await identity.orgs.create(TESTS, "other")
    with pytest.raises(NotFound):
        await revoke(identity, acme_key.key, org="other")
    assert await identity.authenticate(acme_key.secret)


async def test_bootstrap_makes_one_admin_key_even_when_ten_ask_at_once(worker, database_url):
    asked = await asyncio.gather(*(worker().bootstrap() for _ in range(10)), return_exceptions=True)
    refused = [one for one in asked if isinstance(one, AlreadyExists)]
    (new,) = [one for one in asked if one not in refused]
    assert len(refused) == 9
    assert "omni-grpc keys create" in refused[0].message
    principal = await worker().authenticate(new.secret)
    assert principal.org_slug == "operator"
    assert principal.scopes == frozenset(Scope)
    assert rows(database_url, "SELECT count(*) FROM account WHERE kind = 1") == [(1,)]
    assert rows(database_url, "SELECT count(*) FROM org") == [(1,)]


async def test_bootstrap_works_again_when_every_admin_key_is_revoked(identity):
    first = await identity.bootstrap()
    admin = await new_key(identity, "operator", scopes=frozenset({Scope.ADMIN}))
    await new_key(identity, "operator")
    await revoke(identity, first.key)
    with pytest.raises(AlreadyExists):
        await identity.bootstrap()
    await revoke(identity, admin.key)
    again = await identity.bootstrap()
    assert again.key.prefix != first.key.prefix
    assert (await identity.authenticate(again.secret)).key_name == again.key.name


async def test_any_arguments_get_a_typed_answer(identity, acme_key):
    """Fuzzed in one database, since what is refused leaves nothing and slugs rarely repeat."""
    loop = asyncio.get_running_loop()
    org = await identity.get_org("acme")

    @settings(max_examples=60)
    @given(slug=texts | slugs, name=texts)
    def ask(slug, name):
        grant = KeyGrant(display_name=name)
        for use_case in (
            identity.orgs.create(TESTS, slug, name),
            identity.get_org(slug),
            identity.teams.create(TESTS, org.org_id, OrgPath(org="acme"), slug, name),
            identity.keys.create(TESTS, org.org_id, OrgPath(org="acme"), grant),
            identity.users.create(
                TESTS, org.org_id, issuer=slug, subject=name, email=name, by_owner=True
            ),
            identity.authenticate(name),
        ):
            with suppress(OmniError):
                asyncio.run_coroutine_threadsafe(use_case, loop).result(5)

    await asyncio.to_thread(ask)
