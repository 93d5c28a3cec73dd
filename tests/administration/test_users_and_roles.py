"""Users: roles, owners, who may give what, and the end of sessions."""

import asyncio

import psycopg
import pytest
from administration_rig import ISSUER, TESTS, Office

from omni_grpc.core.errors import (
    AlreadyExists,
    ApiKeyInvalid,
    FieldInvalid,
    NotFound,
    ScopeMissing,
    StillNeeded,
)
from omni_grpc.identity import KeyGrant, OrgPath, Role, Scope

WALLET = "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV"


@pytest.fixture
async def acme(office):
    return await office.org("acme")


def user_of(caller):
    return caller.principal.user_name


async def test_a_user_is_let_in_shown_changed_and_taken_out(office, acme):
    made = await office.do(
        acme,
        "CreateUser",
        parent="orgs/acme",
        issuer=ISSUER,
        subject="ann",
        email="ann@example.com",
    )
    assert (made.role, made.email) == (Role.VIEWER, "ann@example.com")
    assert await office.do(acme, "GetUser", name=made.name) == made
    changed = await office.do(
        acme, "UpdateUser", user={"name": made.name, "role": "developer"}, update_mask=["role"]
    )
    assert (changed.role, changed.email) == (Role.DEVELOPER, "ann@example.com")
    with pytest.raises(FieldInvalid, match=r"user\.role"):
        await office.do(acme, "UpdateUser", user={"name": made.name}, update_mask=["role"])
    kept = await office.do(acme, "UpdateUser", user={"name": made.name})
    assert (kept.role, kept.email) == (Role.DEVELOPER, "")
    await office.do(acme, "DeleteUser", name=made.name)
    with pytest.raises(NotFound):
        await office.do(acme, "GetUser", name=made.name)
    again = await office.do(acme, "CreateUser", parent="orgs/acme", issuer=ISSUER, subject="ann")
    assert again.name != made.name


async def test_a_subject_is_in_an_organisation_once(office, acme):
    other = await office.org("other")
    asked = {"issuer": ISSUER, "subject": "ann"}
    made = await asyncio.gather(
        *(office.do(acme, "CreateUser", parent="orgs/acme", **asked) for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AlreadyExists) for one in made) == 4
    assert await office.do(other, "CreateUser", parent="orgs/other", **asked)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issuer", ""),
        ("issuer", "idp"),
        ("issuer", "https://i\0"),
        ("issuer", "https://" + "i" * 2048),
        ("subject", ""),
        ("subject", "s" * 256),
        ("subject", "a\nb"),
        ("email", "ann"),
        ("email", "a" * 251 + "@b.c"),
        ("display_name", "n" * 129),
    ],
)
async def test_a_user_that_cannot_be_is_a_bad_field(office, acme, field, value):
    asked = {"issuer": ISSUER, "subject": "ann"} | {field: value}
    with pytest.raises(FieldInvalid) as caught:
        await office.do(acme, "CreateUser", parent="orgs/acme", **asked)
    assert caught.value.field == field


async def test_a_wallet_is_a_user_by_its_address(office, acme):
    asked = {"parent": "orgs/acme", "issuer": "wallet:solana"}
    made = await office.do(acme, "CreateUser", subject=WALLET, **asked)
    assert made.subject == WALLET
    with pytest.raises(FieldInvalid, match="base58"):
        await office.do(acme, "CreateUser", subject="0xabc", **asked)


async def test_users_are_listed_oldest_first_in_pages(office, acme):
    other = await office.org("other")
    await office.do(other, "CreateUser", parent="orgs/other", issuer=ISSUER, subject="x")
    made = [
        await office.do(acme, "CreateUser", parent="orgs/acme", issuer=ISSUER, subject=f"u{n}")
        for n in range(5)
    ]
    await office.do(acme, "DeleteUser", name=made[2].name)
    assert await office.rows(acme, "ListUsers", parent="orgs/acme") == [*made[:2], *made[3:]]


async def test_only_owners_and_the_operator_make_owners(office, acme):
    admin = await office.user("acme", Role.ADMIN)
    asked = {"parent": "orgs/acme", "issuer": ISSUER, "role": "owner"}
    for caller in (acme, admin):
        with pytest.raises(ScopeMissing, match="Only an owner"):
            await office.do(caller, "CreateUser", subject="boss", **asked)
        user = {"name": user_of(admin), "role": "owner"}
        with pytest.raises(ScopeMissing, match="Only an owner"):
            await office.do(caller, "UpdateUser", user=user, update_mask=["role"])
    first = await office.do(await office.operator(), "CreateUser", subject="boss", **asked)
    owner = await office.user("acme", Role.OWNER)
    second = await office.do(owner, "CreateUser", subject="second", **asked)
    for caller in (acme, admin):
        for rpc, change in (
            ("UpdateUser", {"user": {"name": first.name, "display_name": "Hacked"}}),
            ("DeleteUser", {"name": second.name}),
        ):
            with pytest.raises(ScopeMissing, match="Only an owner"):
                await office.do(caller, rpc, **change)


async def test_the_last_owner_stays_one(office, acme):
    owner = await office.user("acme", Role.OWNER)
    operator = await office.operator()
    for caller in (owner, operator):
        with pytest.raises(StillNeeded, match="last owner"):
            await office.do(caller, "DeleteUser", name=user_of(owner))
        user = {"name": user_of(owner), "role": "admin"}
        with pytest.raises(StillNeeded, match="last owner"):
            await office.do(caller, "UpdateUser", user=user, update_mask=["role"])
    renamed = {"name": user_of(owner), "display_name": "Boss"}
    assert (await office.do(owner, "UpdateUser", user=renamed)).role is Role.OWNER


async def test_two_owners_cannot_take_each_other_out_at_once(office, acme):
    owners = [await office.user("acme", Role.OWNER, subject=f"o{n}") for n in range(2)]
    done = await asyncio.gather(
        office.do(owners[0], "DeleteUser", name=user_of(owners[1])),
        office.do(owners[1], "DeleteUser", name=user_of(owners[0])),
        return_exceptions=True,
    )
    assert sum(isinstance(one, StillNeeded) for one in done) == 1


async def test_nobody_gives_a_role_that_may_more_than_the_giver(office, acme):
    manager = await office.key("acme", Scope.MANAGEMENT)
    asked = {"parent": "orgs/acme", "issuer": ISSUER}
    assert await office.do(manager, "CreateUser", subject="v", role="viewer", **asked)
    for role in ("developer", "admin"):
        with pytest.raises(ScopeMissing, match="billing"):
            await office.do(manager, "CreateUser", subject=role, role=role, **asked)
    viewer = await office.user("acme", Role.VIEWER)
    user = {"name": user_of(viewer), "role": "admin"}
    with pytest.raises(ScopeMissing):
        await office.do(manager, "UpdateUser", user=user, update_mask=["role"])
    for caller in (viewer, await office.user("acme", Role.DEVELOPER)):
        with pytest.raises(ScopeMissing, match="management"):
            await office.do(caller, "CreateUser", subject="x", **asked)


async def test_a_deleted_user_has_no_session_any_more(office, acme, database, database_url):
    new = await office.identity.keys.create(
        TESTS, acme.principal.org_id, OrgPath(org="acme"), KeyGrant()
    )
    viewer = await office.user("acme", Role.VIEWER)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE api_key SET user_id = %s, scopes = '{}' WHERE prefix = %s",
            (viewer.principal.user_id, new.key.prefix),
        )
    elsewhere = Office(database)
    for one in (office, elsewhere):
        assert (await one.identity.authenticate(new.secret)).user_name == user_of(viewer)
    await office.do(acme, "DeleteUser", name=user_of(viewer))
    with pytest.raises(ApiKeyInvalid):
        await office.identity.authenticate(new.secret)
    with pytest.raises(ApiKeyInvalid):
        await Office(database).identity.authenticate(new.secret)


async def test_who_may_call_some_models_lets_nobody_in_who_may_call_all(office, acme):
    limited = await office.key(
        "acme",
        Scope.INFERENCE,
        Scope.BILLING,
        Scope.VIEWING,
        Scope.MANAGEMENT,
        models=("sim/fast",),
    )
    asked = {"parent": "orgs/acme", "issuer": ISSUER, "subject": "ann"}
    for role in (Role.DEVELOPER, Role.ADMIN):
        with pytest.raises(FieldInvalid, match="sim/fast alone"):
            await office.do(limited, "CreateUser", **asked, role=role.value)
    made = await office.do(limited, "CreateUser", **asked, role="viewer")
    with pytest.raises(FieldInvalid, match="sim/fast alone"):
        await office.do(
            limited, "UpdateUser", user={"name": made.name, "role": "admin"}, update_mask=["role"]
        )
    found = await office.do(acme, "GetUser", name=made.name)
    assert found.role is Role.VIEWER
