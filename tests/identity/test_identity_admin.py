"""Organisations and keys on a real PostgreSQL: how they are made, listed, revoked and refused."""

import asyncio
from contextlib import suppress

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_grpc.core.errors import AlreadyExists, FieldInvalid, NotFound, OmniError
from omni_grpc.identity import SCOPES_DEFAULT, Scope

NOT_FOUND_KEY = "orgs/acme/apiKeys/000000000000"
texts = st.text(st.characters(), max_size=70)
slugs = st.sampled_from(["acme", "operator"]) | st.from_regex(r"[a-z][a-z0-9-]+", fullmatch=True)
scope_names = st.sampled_from([scope.value for scope in Scope])


def rows(database_url, query):
    with psycopg.connect(database_url) as connection:
        return connection.execute(query).fetchall()


async def test_an_org_gets_a_wallet_of_its_own(identity, database_url):
    acme = await identity.create_org("acme", "Acme, Inc.")
    other = await identity.create_org("other")
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
        *(identity.create_org("acme") for _ in range(10)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in made) == ["AlreadyExists"] * 9 + ["Org"]
    assert rows(database_url, "SELECT count(*) FROM account WHERE kind = 1") == [(1,)]


async def test_a_bad_or_reserved_slug_is_a_bad_field(identity):
    for slug in ("operator", "", "Acme", "a\0b", "ab\ud800", "a" * 64, "1a"):
        with pytest.raises(FieldInvalid) as caught:
            await identity.create_org(slug)
        assert caught.value.field == "org_id"


async def test_a_bad_display_name_is_a_bad_field(identity, acme_key):
    for name in ("a\0b", "\udfff", "x" * 129):
        with pytest.raises(FieldInvalid):
            await identity.create_org("other", name)
        with pytest.raises(FieldInvalid):
            await identity.create_api_key("acme", display_name=name, created_by="tests")


async def test_an_account_that_is_no_wallet_has_no_org(identity, acme_key):
    with pytest.raises(NotFound):
        await identity.org_of_account(1)  # the operator's funding account


async def test_a_new_key_tells_all_but_its_secret(identity, acme_key):
    key = acme_key.key
    assert acme_key.secret.startswith(f"omni_{key.prefix}_")
    assert key.name == f"orgs/acme/apiKeys/{key.prefix}"
    assert (key.display_name, key.create_by, key.revoke_time) == ("test", "tests", None)
    assert key.scopes == SCOPES_DEFAULT == {Scope.INFERENCE, Scope.BILLING}
    assert (await identity.list_api_keys("acme")).keys == (key,)


async def test_a_key_gets_the_scopes_asked_for(identity, acme_key):
    for asked, granted in (
        ([], {Scope.INFERENCE, Scope.BILLING}),
        (["billing"], {Scope.BILLING}),
        (["inference", "inference"], {Scope.INFERENCE}),
        (frozenset({Scope.BILLING, Scope.INFERENCE}), {Scope.INFERENCE, Scope.BILLING}),
    ):
        new = await identity.create_api_key("acme", scopes=asked, created_by="tests")
        assert new.key.scopes == granted
        assert (await identity.authenticate(new.secret)).scopes == granted


async def test_a_scope_that_an_org_cannot_have_is_a_bad_field(identity, acme_key):
    for scopes in (["admin"], ["inference", "admin"], ["root"], [""], ["Inference"], ["a\0"]):
        with pytest.raises(FieldInvalid) as caught:
            await identity.create_api_key("acme", scopes=scopes, created_by="tests")
        assert caught.value.field == "scopes"


async def test_an_unknown_org_is_not_found(identity):
    for ask in (
        identity.get_org("nobody"),
        identity.create_api_key("nobody", created_by="tests"),
        identity.list_api_keys("nobody"),
    ):
        with pytest.raises(NotFound, match="orgs/nobody"):
            await ask


async def test_pages_hold_every_key_once_in_the_order_of_creation(identity, acme_key):
    made = [acme_key.key]
    for _ in range(6):
        made.append((await identity.create_api_key("acme", created_by="tests")).key)
        await identity.create_org(f"other{len(made)}")
        await identity.create_api_key(f"other{len(made)}", created_by="tests")
    made[2] = await identity.revoke_api_key(made[2].name)
    seen, after = [], None
    while True:
        page = await identity.list_api_keys("acme", after=after, limit=3)
        seen.append(page.keys)
        after = page.next_after
        if after is None:
            break
    assert [len(keys) for keys in seen] == [3, 3, 1]
    assert [key for keys in seen for key in keys] == made


async def test_a_last_page_that_is_full_is_the_last(identity, acme_key):
    await identity.create_api_key("acme", created_by="tests")
    page = await identity.list_api_keys("acme", limit=2)
    assert (len(page.keys), page.next_after) == (2, None)
    past = await identity.list_api_keys("acme", after=page.keys[-1].key_id)
    assert (past.keys, past.next_after) == ((), None)


async def test_a_page_of_no_or_too_many_keys_is_a_bad_field(identity, acme_key):
    for limit in (0, -1, 1_001):
        with pytest.raises(FieldInvalid) as caught:
            await identity.list_api_keys("acme", limit=limit)
        assert caught.value.field == "page_size"


async def test_revoking_twice_is_revoking_once(identity, acme_key):
    first = await identity.revoke_api_key(acme_key.key.name)
    again = await identity.revoke_api_key(acme_key.key.name)
    assert first == again
    assert first.revoke_time is not None
    assert (await identity.list_api_keys("acme")).keys == (first,)


async def test_a_key_is_revoked_under_its_own_org_alone(identity, acme_key):
    await identity.create_org("other")
    with pytest.raises(NotFound):
        await identity.revoke_api_key(f"orgs/other/apiKeys/{acme_key.key.prefix}")
    with pytest.raises(NotFound):
        await identity.revoke_api_key(NOT_FOUND_KEY)
    with pytest.raises(FieldInvalid):
        await identity.revoke_api_key(acme_key.key.prefix)
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
    admin = await identity.create_api_key("operator", scopes=["admin"], created_by="tests")
    await identity.create_api_key("operator", created_by="tests")
    await identity.revoke_api_key(first.key.name)
    with pytest.raises(AlreadyExists):
        await identity.bootstrap()
    await identity.revoke_api_key(admin.key.name)
    again = await identity.bootstrap()
    assert again.key.prefix != first.key.prefix
    assert (await identity.authenticate(again.secret)).key_name == again.key.name


async def test_any_arguments_get_a_typed_answer(identity, acme_key):
    """Fuzzed in one database, since what is refused leaves nothing and slugs rarely repeat."""
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None)
    @given(slug=texts | slugs, name=texts, scopes=st.lists(texts | scope_names, max_size=3))
    def ask(slug, name, scopes):
        for use_case in (
            identity.create_org(slug, name),
            identity.create_api_key(slug, display_name=name, scopes=scopes, created_by="tests"),
            identity.get_org(slug),
            identity.list_api_keys(slug),
            identity.revoke_api_key(name),
            identity.authenticate(name),
        ):
            with suppress(OmniError):
                asyncio.run_coroutine_threadsafe(use_case, loop).result(5)

    await asyncio.to_thread(ask)
