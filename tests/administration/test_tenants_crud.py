"""Organisations, teams, environments and users: made, shown, listed, changed, taken away."""

import asyncio

import psycopg
import pytest
from administration_rig import Office

from omni_grpc.core.errors import (
    AlreadyExists,
    EtagMismatch,
    FieldInvalid,
    NotFound,
    ScopeMissing,
    StillNeeded,
)
from omni_grpc.identity import Scope

TEAM = "orgs/acme/teams/web"
ENVIRONMENT = f"{TEAM}/environments/live"


@pytest.fixture
async def acme(office):
    return await office.org("acme")


@pytest.fixture
async def live(office, acme):
    """`acme` with a team and an environment."""
    await office.do(acme, "CreateTeam", parent="orgs/acme", team_id="web", display_name="Web")
    await office.do(acme, "CreateEnvironment", parent=TEAM, environment_id="live")
    return acme


async def test_an_org_is_shown_and_changed_by_its_own(office, acme):
    org = await office.do(acme, "GetOrg", name="orgs/acme")
    assert (org.name, org.account, org.suspended) == ("orgs/acme", "accounts/acme", False)
    changed = await office.do(
        acme,
        "UpdateOrg",
        org={"name": org.name, "etag": org.etag, "low_balance_nanousd": 5_000},
        update_mask=["low_balance_nanousd"],
    )
    assert (changed.display_name, changed.low_balance_nanousd) == ("acme", 5_000)
    assert changed.etag != org.etag
    with pytest.raises(EtagMismatch):
        await office.do(acme, "UpdateOrg", org={"name": org.name, "etag": org.etag})
    whole = await office.do(acme, "UpdateOrg", org={"name": org.name, "display_name": "A"})
    assert (whole.display_name, whole.low_balance_nanousd, whole.suspended) == ("A", None, False)


@pytest.mark.parametrize("low", [0, -1, 10**15 + 1])
async def test_a_low_balance_that_cannot_be_is_refused(office, acme, low):
    with pytest.raises(FieldInvalid) as caught:
        await office.do(acme, "UpdateOrg", org={"name": "orgs/acme", "low_balance_nanousd": low})
    assert caught.value.field == "low_balance_nanousd"


async def test_only_the_operator_suspends_and_never_itself(office, acme):
    operator = await office.operator()
    suspended = {"name": "orgs/acme", "suspended": True}
    with pytest.raises(ScopeMissing):
        await office.do(acme, "UpdateOrg", org=suspended, update_mask=["suspended"])
    # Without a mask it changes what it may.
    assert not (await office.do(acme, "UpdateOrg", org=suspended)).suspended
    found = await office.do(operator, "UpdateOrg", org=suspended, update_mask=["suspended"])
    assert found.suspended
    with pytest.raises(FieldInvalid, match="nobody could undo"):
        await office.do(operator, "UpdateOrg", org=suspended | {"name": "orgs/operator"})
    back = await office.do(operator, "UpdateOrg", org={"name": "orgs/acme", "suspended": False})
    assert not back.suspended


async def test_the_operator_lists_all_orgs_and_others_their_own(office, acme):
    operator = await office.operator()
    for slug in ("bcme", "zcme", "ccme"):
        await office.do(operator, "CreateOrg", org_id=slug)
    names = [org.name for org in await office.rows(operator, "ListOrgs")]
    assert names == [f"orgs/{slug}" for slug in ("acme", "bcme", "ccme", "operator", "zcme")]
    assert [org.name for org in await office.rows(acme, "ListOrgs")] == ["orgs/acme"]


async def test_teams_and_environments_live_and_go(office, live):
    team = await office.do(live, "GetTeam", name=TEAM)
    assert (team.name, team.display_name) == (TEAM, "Web")
    environment = await office.do(live, "GetEnvironment", name=ENVIRONMENT)
    for rpc, field, one in (
        ("UpdateTeam", "team", team),
        ("UpdateEnvironment", "environment", environment),
    ):
        change = {"name": one.name, "display_name": "New", "etag": one.etag}
        changed = await office.do(live, rpc, **{field: change})
        assert (changed.name, changed.display_name) == (one.name, "New")
        with pytest.raises(EtagMismatch):
            await office.do(live, rpc, **{field: change})
        with pytest.raises(FieldInvalid, match="update_mask"):
            await office.do(live, rpc, **{field: {"name": one.name}}, update_mask=["create_time"])
    with pytest.raises(StillNeeded, match="1 environment"):
        await office.do(live, "DeleteTeam", name=TEAM)
    with pytest.raises(EtagMismatch):
        await office.do(live, "DeleteEnvironment", name=ENVIRONMENT, etag=environment.etag)
    await office.do(live, "DeleteEnvironment", name=ENVIRONMENT)
    await office.do(live, "DeleteTeam", name=TEAM)
    for rpc, name in (("GetTeam", TEAM), ("DeleteTeam", TEAM), ("GetEnvironment", ENVIRONMENT)):
        with pytest.raises(NotFound, match=name):
            await office.do(live, rpc, name=name)


async def test_a_place_with_a_valid_key_stays(office, live):
    new = await office.do(live, "CreateApiKey", parent=ENVIRONMENT)
    for rpc, name in (("DeleteEnvironment", ENVIRONMENT), ("DeleteTeam", TEAM)):
        with pytest.raises(StillNeeded, match="1 valid key"):
            await office.do(live, rpc, name=name)
    await office.do(live, "RevokeApiKey", name=new.api_key.name)
    await office.do(live, "DeleteEnvironment", name=ENVIRONMENT)
    await office.do(live, "DeleteTeam", name=TEAM)
    gone = await office.do(live, "GetApiKey", name=new.api_key.name)
    assert gone.parent == "orgs/acme"


async def test_what_belongs_to_a_place_goes_with_it(office, live, database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO rate_limit (org_id, subject_kind, subject_id, slug) "
            "SELECT org_id, 't', id, 'fast' FROM team UNION ALL "
            "SELECT org_id, 'o', id, 'kept' FROM team"
        )
        connection.execute(
            "INSERT INTO budget (org_id, subject_kind, subject_id, slug, unit, amount, period) "
            "SELECT org_id, 't', id, 'month', 'tokens', 1, 'month' FROM team"
        )
    await office.do(live, "DeleteEnvironment", name=ENVIRONMENT)
    await office.do(live, "DeleteTeam", name=TEAM)
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT slug FROM rate_limit").fetchall()
        ended = connection.execute("SELECT delete_time IS NOT NULL FROM budget").fetchall()
    assert (left, ended) == ([("kept",)], [(True,)])
    (last, *_) = await office.rows(live, "ListAuditEntries", parent="orgs/acme")
    assert last.action == "DeleteTeam"
    assert '"rate_limits":["fast"]' in last.old_json
    assert '"budgets":["month"]' in last.old_json


async def test_lists_are_in_pages_by_id_and_never_mixed(office, live):
    other = await office.org("other")
    await office.do(other, "CreateTeam", parent="orgs/other", team_id="aa")
    for slug in ("zz", "bb", "mm", "aa"):
        await office.do(live, "CreateTeam", parent="orgs/acme", team_id=slug)
        await office.do(live, "CreateEnvironment", parent=TEAM, environment_id=slug)
    teams = await office.rows(live, "ListTeams", parent="orgs/acme")
    assert [one.name.rpartition("/")[2] for one in teams] == ["aa", "bb", "mm", "web", "zz"]
    environments = await office.rows(live, "ListEnvironments", parent=TEAM)
    assert [one.name.rpartition("/")[2] for one in environments] == ["aa", "bb", "live", "mm", "zz"]
    first = await office.do(live, "ListTeams", parent="orgs/acme", page_size=1)
    with pytest.raises(FieldInvalid, match="page_token"):
        await office.do(live, "ListEnvironments", parent=TEAM, page_token=first.next_page_token)
    with pytest.raises(NotFound):
        await office.do(live, "ListEnvironments", parent="orgs/acme/teams/nobody")


async def test_an_id_is_taken_once_also_when_ten_ask_at_once(office, acme):
    made = await asyncio.gather(
        *(office.do(acme, "CreateTeam", parent="orgs/acme", team_id="web") for _ in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AlreadyExists) for one in made) == 9


@pytest.mark.parametrize("slug", ["", "a", "Web", "1a", "a" * 64, "a/b", "a\0b", "wéb"])
async def test_a_bad_id_is_a_bad_field(office, live, slug):
    with pytest.raises(FieldInvalid) as caught:
        await office.do(live, "CreateTeam", parent="orgs/acme", team_id=slug)
    assert caught.value.field == "team_id"
    with pytest.raises(FieldInvalid) as caught:
        await office.do(live, "CreateEnvironment", parent=TEAM, environment_id=slug)
    assert caught.value.field == "environment_id"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "orgs/acme",
        "orgs/acme/teams/",
        "orgs/acme/teams/web/",
        "orgs/acme/teams/Web",
        "orgs/acme/teams/web\n",
        "orgs/acme/teams/w\0b",
        "teams/web",
        "orgs/acme/teams/web/environments/live",
        "omni_0123456789ab_secret",
    ],
)
async def test_a_name_of_another_form_is_a_bad_field_and_not_repeated(office, live, name):
    with pytest.raises(FieldInvalid, match=r"`orgs/\{org\}/teams/\{team\}`") as caught:
        await office.do(live, "GetTeam", name=name)
    assert caught.value.field == "name"
    assert "secret" not in caught.value.message


async def test_what_is_not_yours_answers_as_what_is_not_there(office, live):
    """Every operation that takes a name or a parent, for an organisation that is there, or not."""
    stranger = await office.org("stranger")
    asked = {
        "GetOrg": {"name": "orgs/{}"},
        "UpdateOrg": {"org": {"name": "orgs/{}"}},
        "CreateTeam": {"parent": "orgs/{}", "team_id": "web"},
        "GetTeam": {"name": "orgs/{}/teams/web"},
        "ListTeams": {"parent": "orgs/{}"},
        "UpdateTeam": {"team": {"name": "orgs/{}/teams/web"}},
        "DeleteTeam": {"name": "orgs/{}/teams/web"},
        "CreateEnvironment": {"parent": "orgs/{}/teams/web", "environment_id": "live"},
        "GetEnvironment": {"name": "orgs/{}/teams/web/environments/live"},
        "ListEnvironments": {"parent": "orgs/{}/teams/web"},
        "UpdateEnvironment": {"environment": {"name": "orgs/{}/teams/web/environments/live"}},
        "DeleteEnvironment": {"name": "orgs/{}/teams/web/environments/live"},
        "CreateUser": {"parent": "orgs/{}", "issuer": "https://idp", "subject": "me"},
        "GetUser": {"name": "orgs/{}/users/0123456789ab"},
        "ListUsers": {"parent": "orgs/{}"},
        "UpdateUser": {"user": {"name": "orgs/{}/users/0123456789ab"}},
        "DeleteUser": {"name": "orgs/{}/users/0123456789ab"},
        "CreateApiKey": {"parent": "orgs/{}/teams/web"},
        "GetApiKey": {"name": f"orgs/{{}}/apiKeys/{live.principal.key_prefix}"},
        "ListApiKeys": {"parent": "orgs/{}"},
        "RotateApiKey": {"name": f"orgs/{{}}/apiKeys/{live.principal.key_prefix}"},
        "RevokeApiKey": {"name": f"orgs/{{}}/apiKeys/{live.principal.key_prefix}"},
        "ListAuditEntries": {"parent": "orgs/{}"},
        "VerifyAuditLog": {"parent": "orgs/{}"},
    }
    operations = {one.rpc for one in office.operations}
    assert operations - {"CreateOrg", "ListOrgs"} == set(asked)
    for rpc, fields in asked.items():
        answers = set()
        for org in ("acme", "nobody"):
            with pytest.raises(NotFound) as caught:
                await office.do(stranger, rpc, **_filled(fields, org))
            answers.add(caught.value.message.replace(org, "…"))
        assert len(answers) == 1, rpc
    with pytest.raises(ScopeMissing):
        await office.do(stranger, "CreateOrg", org_id="mine")


def _filled(fields, org):
    return {
        name: _filled(value, org) if isinstance(value, dict) else value.format(org)
        for name, value in fields.items()
    }


async def test_every_change_is_in_the_audit_log_with_what_was_and_is(office, live):
    await office.do(live, "UpdateTeam", team={"name": TEAM, "display_name": "Renamed"})
    entries = await office.rows(live, "ListAuditEntries", parent="orgs/acme")
    assert [one.action for one in entries] == [
        "UpdateTeam",
        "CreateEnvironment",
        "CreateTeam",
        "CreateApiKey",
        "CreateOrg",
    ]
    changed = entries[0]
    assert (changed.actor, changed.peer) == (live.principal.key_name, "192.0.2.7")
    assert '"display_name":"Web"' in changed.old_json
    assert '"display_name":"Renamed"' in changed.new_json
    verdict = await office.do(live, "VerifyAuditLog", parent="orgs/acme")
    assert (verdict.entry_count, verdict.first_broken_entry) == (5, "")


async def test_a_refused_change_leaves_no_trace(office, live):
    before = await office.rows(live, "ListAuditEntries", parent="orgs/acme")
    for rpc, asked in (
        ("CreateTeam", {"parent": "orgs/acme", "team_id": "web"}),
        ("DeleteTeam", {"name": TEAM}),
        ("UpdateTeam", {"team": {"name": TEAM, "etag": "77"}}),
        ("CreateApiKey", {"parent": "orgs/acme/teams/nobody"}),
    ):
        with pytest.raises((AlreadyExists, StillNeeded, EtagMismatch, NotFound)):
            await office.do(live, rpc, **asked)
    assert await office.rows(live, "ListAuditEntries", parent="orgs/acme") == before


async def test_who_may_see_may_not_change(office, live):
    viewer = await office.key("acme", Scope.VIEWING)
    assert await office.do(viewer, "GetTeam", name=TEAM)
    with pytest.raises(ScopeMissing, match="management"):
        await office.do(viewer, "DeleteTeam", name=TEAM)
    caller = await office.key("acme", Scope.INFERENCE, Scope.BILLING)
    with pytest.raises(ScopeMissing, match="viewing"):
        await office.do(caller, "GetTeam", name=TEAM)


async def test_another_process_sees_what_one_did(database, live):
    assert (await Office(database).do(live, "GetTeam", name=TEAM)).display_name == "Web"
