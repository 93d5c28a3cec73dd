"""Credentials in the database: whose calls use which, changes, rotation, keys that are wrong."""

import os

import pytest
from vaults import SECRET, Counted, Tenants, keys, secrets, stored, untold, vault_of

from omni_grpc.core.errors import (
    AlreadyExists,
    EtagMismatch,
    FeatureUnsupported,
    FieldInvalid,
    NotFound,
    TooMany,
)
from omni_grpc.storage import Database
from omni_grpc.vault import CREDENTIALS_MAX, CredentialStore, MasterKeys, Rotation, Secret
from omni_grpc.vault.envelope import Envelope
from omni_grpc.vault.master_keys import key_id


async def unchecked(provider: str, secret: Secret) -> None:
    """Every provider takes every secret."""


async def test_calls_use_those_of_the_nearest_owner_provider_by_provider(
    database: Database, tenants: Tenants
) -> None:
    vault, _ = vault_of(database, keys())
    acme, other = tenants.org("acme"), tenants.org("other")
    team = tenants.team(acme, "web")
    environment = tenants.environment(team, "prod")
    await stored(vault, acme, "a", text="org-secret-openai")
    await stored(vault, acme, "b", provider="anthropic", text="org-secret-anthropic")
    await stored(vault, team, "a", text="team-secret-openai")
    await stored(vault, environment, "a", provider="groq", text="environment-secret-groq")
    whole = ["org-secret-anthropic"]
    assert await secrets(vault, acme) == {"openai": ["org-secret-openai"], "anthropic": whole}
    assert await secrets(vault, acme, team) == {
        "openai": ["team-secret-openai"],
        "anthropic": whole,
    }
    assert await secrets(vault, acme, team, environment) == {
        "openai": ["team-secret-openai"],
        "anthropic": whole,
        "groq": ["environment-secret-groq"],
    }
    assert await secrets(vault, other) == {}


async def test_names_are_those_of_the_owner(database: Database, tenants: Tenants) -> None:
    vault, _ = vault_of(database, keys())
    acme = tenants.org("acme")
    team = tenants.team(acme, "web")
    environment = tenants.environment(team, "prod")
    for owner, provider in ((acme, "openai"), (team, "groq"), (environment, "xai")):
        await stored(vault, owner, "main", provider=provider)
    found = await vault.sets(acme.org_id, team.id, environment.id)
    assert {one.provider: one.members[0].name for one in found} == {
        "openai": "orgs/acme/providerCredentials/main",
        "groq": "orgs/acme/teams/web/providerCredentials/main",
        "xai": "orgs/acme/teams/web/environments/prod/providerCredentials/main",
    }


async def test_one_that_is_not_active_leaves_the_calls_to_the_next_owner(
    database: Database, tenants: Tenants
) -> None:
    vault, _ = vault_of(database, keys())
    acme = tenants.org("acme")
    team = tenants.team(acme, "web")
    await stored(vault, acme, "a", text="org-secret")
    await stored(vault, team, "a", text="team-secret")
    await vault.update(team, "a", "", {"active": False}, check=unchecked, told=untold)
    assert await secrets(vault, acme, team) == {"openai": ["org-secret"]}


async def test_a_change_elsewhere_holds_within_seconds(
    database: Database, tenants: Tenants
) -> None:
    master = keys()
    vault, clock = vault_of(database, master)
    elsewhere, _ = vault_of(database, master)
    acme = tenants.org("acme")
    await stored(vault, acme, "a")
    assert await secrets(vault, acme) == {"openai": [SECRET]}
    await elsewhere.update(acme, "a", "1", {"secret": "another"}, check=unchecked, told=untold)
    assert await secrets(vault, acme) == {"openai": [SECRET]}
    clock.seconds += 2.1
    assert await secrets(vault, acme) == {"openai": ["another"]}
    await elsewhere.delete(acme, "a", "2", untold)
    clock.seconds += 2.1
    assert await secrets(vault, acme) == {}


async def test_changing_one_part_keeps_the_other(database: Database, tenants: Tenants) -> None:
    vault, _ = vault_of(database, keys())
    acme = tenants.org("acme")
    await stored(vault, acme, "a")
    await vault.update(acme, "a", "", {"variables": {"X": "y"}}, check=unchecked, told=untold)
    found = await vault.named("orgs/acme/providerCredentials/a")
    assert found is not None
    assert found.secret is not None
    assert (found.secret.text, dict(found.secret.variables)) == (SECRET, {"X": "y"})


async def test_what_cannot_be_done_is_said(database: Database, tenants: Tenants) -> None:
    vault, _ = vault_of(database, keys())
    acme = tenants.org("acme")
    await stored(vault, acme, "a")
    with pytest.raises(AlreadyExists):
        await stored(vault, acme, "a")
    with pytest.raises(EtagMismatch):
        await vault.update(acme, "a", "7", {"weight": 2}, check=unchecked, told=untold)
    with pytest.raises(EtagMismatch):
        await vault.delete(acme, "a", "7", untold)
    with pytest.raises(NotFound):
        await vault.update(acme, "b", "", {"weight": 2}, check=unchecked, told=untold)
    with pytest.raises(NotFound):
        await vault.delete(acme, "b", "", untold)
    gone = tenants.team(acme, "web")
    tenants.execute("DELETE FROM team")
    with pytest.raises(NotFound):
        await stored(vault, gone, "a")


async def test_an_owner_has_so_many_at_most(database: Database, tenants: Tenants) -> None:
    vault, _ = vault_of(database, keys())
    acme = tenants.org("acme")
    await stored(vault, acme, "a")
    tenants.execute(
        "INSERT INTO provider_credential SELECT nextval('provider_credential_id'), org_id, "
        "subject_kind, subject_id, 'c' || n, provider, sealed, sealed_key, master_key_id "
        "FROM provider_credential, generate_series(2, %s) n",
        CREDENTIALS_MAX,
    )
    with pytest.raises(TooMany, match="as many as there may be"):
        await stored(vault, acme, "b")


async def test_without_a_master_key_nothing_is_kept_and_it_says_what_to_set(
    database: Database, tenants: Tenants
) -> None:
    vault, _ = vault_of(database, MasterKeys())
    with pytest.raises(FeatureUnsupported, match="OMNI_CREDENTIAL_MASTER_KEY"):
        await stored(vault, tenants.org("acme"), "a")


async def test_a_wrong_master_key_makes_it_unusable_and_is_told_once(
    database: Database, tenants: Tenants, counted: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    right, _ = vault_of(database, keys())
    wrong, clock = vault_of(database, keys(), counted)
    acme = tenants.org("acme")
    await stored(right, acme, "a")
    for _ in range(3):
        assert await secrets(wrong, acme) == {"openai": [None]}
        clock.seconds += 2.1
    assert counted.unusable == 1
    said = capsys.readouterr()
    assert "orgs/acme/providerCredentials/a" in said.out + said.err
    with pytest.raises(FieldInvalid, match="Give both"):
        await wrong.update(acme, "a", "", {"secret": "x"}, check=unchecked, told=untold)
    await wrong.update(
        acme, "a", "", {"secret": "new", "variables": {}}, check=unchecked, told=untold
    )
    assert await secrets(wrong, acme) == {"openai": ["new"]}


async def test_a_row_that_was_moved_does_not_open(
    database: Database, tenants: Tenants, counted: Counted
) -> None:
    vault, _ = vault_of(database, keys(), counted)
    victim, thief = tenants.org("victim"), tenants.org("thief")
    await stored(vault, victim, "a")
    await stored(vault, thief, "a", text="thief's own")
    tenants.execute(
        "UPDATE provider_credential t SET sealed = v.sealed, sealed_key = v.sealed_key "
        "FROM provider_credential v WHERE v.org_id = %s AND t.org_id = %s",
        victim.id,
        thief.id,
    )
    assert await secrets(vault, thief) == {"openai": [None]}
    tenants.execute(
        "UPDATE provider_credential SET org_id = %s, subject_id = %s, slug = 'b' WHERE org_id = %s",
        thief.id,
        thief.id,
        victim.id,
    )
    vault, _ = vault_of(database, keys(), counted)
    assert await secrets(vault, thief) == {"openai": [None, None]}


async def test_a_rotation_goes_in_batches_and_says_what_is_left(
    database: Database, tenants: Tenants
) -> None:
    old, new, lost = os.urandom(32), os.urandom(32), os.urandom(32)
    acme = tenants.org("acme")
    before, _ = vault_of(database, keys(old))
    for slug in ("a", "b", "c", "d", "e"):
        await stored(before, acme, slug, text=f"secret-{slug}")
    elsewhere, _ = vault_of(database, keys(lost))
    await stored(elsewhere, acme, "f")
    store = CredentialStore(database)
    rotation = Rotation(store, MasterKeys([new, old]))
    steps = [(step.done, step.unusable) async for step in rotation.run(rows_at_once=2)]
    assert steps == [(2, 0), (4, 0), (5, 1)]
    assert await rotation.left() == {key_id(new): 5, key_id(lost): 1}
    after, _ = vault_of(database, keys(new))
    assert await secrets(after, acme) == {"openai": [*(f"secret-{one}" for one in "abcde"), None]}
    assert [step async for step in rotation.run()][-1].done == 0


async def test_a_rotation_loses_no_change_that_comes_between(
    database: Database, tenants: Tenants
) -> None:
    old, new = os.urandom(32), os.urandom(32)
    acme = tenants.org("acme")
    vault, _ = vault_of(database, keys(new, old))
    before, _ = vault_of(database, keys(old))
    read = await stored(before, acme, "a")
    await vault.update(acme, "a", "", {"secret": "changed"}, check=unchecked, told=untold)
    assert not await CredentialStore(database).rewrapped(
        read, Envelope(read.sealed, read.sealed_key, key_id(old))
    )
    assert await secrets(vault, acme) == {"openai": ["changed"]}
