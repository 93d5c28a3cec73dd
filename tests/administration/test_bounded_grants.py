"""A key that makes a key, or lets somebody in, gives no more than it has: end, models, limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from administration_rig import EVERYTHING_IN_AN_ORG, Office

from omni_grpc.administration import Access, Caller, Operations
from omni_grpc.administration.budgets import BudgetOperations
from omni_grpc.administration.rate_limits import RateLimitOperations
from omni_grpc.billing.budgets.store import BudgetStore
from omni_grpc.completion import PageTokens
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.identity import Role, Scope, Subjects
from omni_grpc.limits.store import RateLimitStore

ORG = "orgs/acme"
DAY = timedelta(days=1)
INFERENCE = {"parent": ORG, "scopes": ["inference"]}


@pytest.fixture
def office(office: Office) -> Office:
    """With limits and budgets."""
    access = Access(office.identity, Subjects(office.database))
    tokens = PageTokens(b"s" * 32)
    office.operations = Operations(
        office.operations,
        RateLimitOperations(RateLimitStore(office.database), access, tokens),
        BudgetOperations(BudgetStore(office.database), access, tokens),
    )
    return office


@pytest.fixture
async def acme(office: Office) -> Caller:
    return await office.org("acme")


async def made(office: Office, by: Caller, **asked: Any) -> Caller:
    """The key that a caller makes, as a caller."""
    new = await office.do(by, "CreateApiKey", **asked)
    return Caller(await office.identity.authenticate(new.secret), "192.0.2.7", "call")


async def ending(office: Office, by: Caller, org: str = "acme", **more: Any) -> Caller:
    """A key that manages for a day."""
    scopes = ["inference", "billing", "viewing", "management"]
    soon = datetime.now(UTC) + DAY
    asked = {"parent": f"orgs/{org}", "scopes": scopes, "expire_time": soon} | more
    return await made(office, by, **asked)


async def limited(office: Office, by: Caller) -> Caller:
    """A key that manages, and may call ten times a minute."""
    key = await office.key("acme", *EVERYTHING_IN_AN_ORG)
    await office.do(
        by,
        "CreateRateLimit",
        parent=key.principal.key_name,
        rate_limit_id="own",
        rate_limit={"requests_per_minute": 10, "models": ["sim/*"]},
    )
    return key


# --- its end --------------------------------------------------------------------------------------
async def test_a_key_that_ends_makes_none_that_outlives_it(office: Office, acme: Caller) -> None:
    key = await ending(office, acme)
    end = key.principal.expire_time
    assert end is not None
    for later in (None, end + timedelta(seconds=1)):
        with pytest.raises(FieldInvalid, match="your own key ends at") as refused:
            await office.do(key, "CreateApiKey", **INFERENCE, expire_time=later)
        assert refused.value.field == "expire_time"
    child = await made(office, key, **INFERENCE, expire_time=end)
    assert child.principal.expire_time == end


async def test_a_key_that_ends_rotates_nothing_into_a_longer_life(
    office: Office, acme: Caller
) -> None:
    key = await ending(office, acme)
    endless = await office.do(acme, "CreateApiKey", **INFERENCE)
    hour = await office.do(
        acme, "CreateApiKey", **INFERENCE, expire_time=datetime.now(UTC) + timedelta(hours=1)
    )
    for name in (endless.api_key.name, key.principal.key_name):
        with pytest.raises(FieldInvalid, match="your own key ends at"):
            await office.do(key, "RotateApiKey", name=name)
    assert await office.do(key, "RotateApiKey", name=hour.api_key.name)
    assert await office.do(acme, "RotateApiKey", name=key.principal.key_name)


async def test_a_key_that_ends_lets_nobody_in_who_could_make_keys(
    office: Office, acme: Caller
) -> None:
    key = await ending(office, acme)
    asked = {"parent": ORG, "issuer": "https://idp.example"}
    with pytest.raises(FieldInvalid, match="can make keys that do not"):
        await office.do(key, "CreateUser", **asked, subject="a", role=Role.ADMIN)
    user = await office.do(key, "CreateUser", **asked, subject="a", role=Role.DEVELOPER)
    with pytest.raises(FieldInvalid, match="can make keys that do not"):
        await office.do(key, "UpdateUser", user={"name": user.name, "role": Role.ADMIN})


async def test_a_user_whose_session_ends_makes_keys_without_an_end(
    office: Office, acme: Caller
) -> None:
    admin = await office.user("acme", Role.ADMIN)
    assert (await made(office, admin, **INFERENCE)).principal.expire_time is None


async def test_the_operators_keys_are_bound_in_its_own_organisation_alone(
    office: Office, acme: Caller
) -> None:
    operator = await office.operator()
    key = await ending(office, operator, "operator", scopes=["admin"], models=["sim/*"])
    own = {"parent": "orgs/operator", "scopes": ["admin"]}
    with pytest.raises(FieldInvalid, match="your own key ends at"):
        await office.do(key, "CreateApiKey", **own, models=["sim/fast"])
    with pytest.raises(FieldInvalid, match="models"):
        await office.do(key, "CreateApiKey", **own, expire_time=key.principal.expire_time)
    tenants = await made(office, key, **INFERENCE)
    assert (tenants.principal.expire_time, tenants.principal.models) == (None, ())


# --- its limits -----------------------------------------------------------------------------------
async def test_what_a_key_is_limited_to_its_keys_are_too(office: Office, acme: Caller) -> None:
    key = await limited(office, acme)
    budget = {"amount_nanousd": 10**9, "period": "day", "time_zone": "Europe/Berlin"}
    await office.do(
        acme, "CreateBudget", parent=key.principal.key_name, budget_id="own", budget=budget
    )
    child = await made(office, key, **INFERENCE)
    (rule,) = child.principal.rate_rules
    assert (rule.requests_per_minute, rule.models) == (10, ("sim/*",))
    assert rule.name == f"{child.principal.key_name}/rateLimits/own"
    (shown,) = await office.rows(acme, "ListBudgets", parent=child.principal.key_name)
    assert (shown.amount_nanousd, shown.period, shown.time_zone) == tuple(budget.values())
    assert (await made(office, acme, **INFERENCE)).principal.rate_rules == ()
    log = await office.rows(acme, "ListAuditEntries", parent=ORG)
    told = {(one.action, one.resource) for one in log}
    assert ("CreateRateLimit", rule.name) in told
    assert ("CreateBudget", shown.name) in told


async def test_a_rotated_key_keeps_its_limits(office: Office, acme: Caller) -> None:
    key = await limited(office, acme)
    turned = await office.do(acme, "RotateApiKey", name=key.principal.key_name)
    (rule,) = (await office.identity.authenticate(turned.secret)).rate_rules
    assert (rule.name, rule.requests_per_minute) == (f"{turned.api_key.name}/rateLimits/own", 10)


async def test_a_limited_key_gets_no_other_keys_secret(office: Office, acme: Caller) -> None:
    key = await limited(office, acme)
    free = await office.do(acme, "CreateApiKey", **INFERENCE)
    with pytest.raises(FieldInvalid, match="limits of its own"):
        await office.do(key, "RotateApiKey", name=free.api_key.name)
    assert await office.do(key, "RotateApiKey", name=key.principal.key_name)


async def test_a_limited_key_loosens_no_keys_limits(office: Office, acme: Caller) -> None:
    key = await limited(office, acme)
    child = await made(office, key, **INFERENCE)
    for own in (child, key):
        name = f"{own.principal.key_name}/rateLimits/own"
        with pytest.raises(FieldInvalid, match="limits of its own"):
            await office.do(key, "DeleteRateLimit", name=name)
        limit = {"name": name, "requests_per_minute": 1_000}
        with pytest.raises(FieldInvalid, match="limits of its own"):
            await office.do(key, "UpdateRateLimit", rate_limit=limit)
        assert await office.do(acme, "DeleteRateLimit", name=name) is not None


async def test_a_key_with_a_budget_changes_no_keys_budget(office: Office, acme: Caller) -> None:
    key = await office.key("acme", Scope.MANAGEMENT)
    name = f"{key.principal.key_name}/budgets/own"
    budget = {"amount_nanousd": 10**9, "period": "day"}
    await office.do(
        acme, "CreateBudget", parent=key.principal.key_name, budget_id="own", budget=budget
    )
    with pytest.raises(FieldInvalid, match="limits of its own"):
        await office.do(key, "DeleteBudget", name=name)
    change = {"name": name, "amount_nanousd": 10**12}
    with pytest.raises(FieldInvalid, match="limits of its own"):
        await office.do(key, "UpdateBudget", budget=change, update_mask=["amount_nanousd"])
    await office.do(acme, "DeleteBudget", name=name)


async def test_a_limited_key_lets_nobody_in_who_calls_without_its_limits(
    office: Office, acme: Caller
) -> None:
    key = await limited(office, acme)
    asked = {"parent": ORG, "issuer": "https://idp.example", "subject": "b"}
    with pytest.raises(FieldInvalid, match="has limits of its own"):
        await office.do(key, "CreateUser", **asked, role=Role.DEVELOPER)
    assert await office.do(key, "CreateUser", **asked, role=Role.VIEWER)
