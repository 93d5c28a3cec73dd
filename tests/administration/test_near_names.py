"""Who asks for what is not there is told what resembles it, as far as the asker may list it."""

import pytest

from omni_grpc.core.errors import NotFound
from omni_grpc.identity import Scope


async def told(office, caller, rpc, **asked):
    with pytest.raises(NotFound) as caught:
        await office.do(caller, rpc, **asked)
    return caught.value


async def test_what_is_not_there_has_a_near_name_and_a_list(office):
    acme = await office.org("acme")
    await office.do(acme, "CreateTeam", parent="orgs/acme", team_id="website")
    error = await told(office, acme, "GetTeam", name="orgs/acme/teams/wbsite")
    assert error.field == "name"
    assert error.message == (
        "There is no `orgs/acme/teams/wbsite`. Did you mean 'website'? ListTeams, "
        "GET /v1/admin/orgs/acme/teams and `omni-grpc teams list --org acme` show what there is."
    )
    error = await told(office, acme, "DeleteTeam", name="orgs/acme/teams/wbsite")
    assert "Did you mean 'website'?" in error.message
    error = await told(office, acme, "ListEnvironments", parent="orgs/acme/teams/wbsite")
    assert (error.field, "Did you mean 'website'?" in error.message) == ("parent", True)
    error = await told(
        office, acme, "GetEnvironment", name="orgs/acme/teams/wbsite/environments/live"
    )
    assert "ListEnvironments" in error.message
    assert "Did you mean" not in error.message


async def test_names_are_told_to_those_alone_who_may_list_them(office):
    await office.org("acme")
    other = await office.org("acmo")
    operator = await office.operator()
    assert (
        "Did you mean 'acme'" in (await told(office, operator, "GetOrg", name="orgs/acmee")).message
    )
    error = await told(office, other, "GetOrg", name="orgs/acmee")
    assert "Did you mean" not in error.message
    assert "ListOrgs" in error.message
    with pytest.raises(NotFound, match=r"Did you mean 'acm[eo]'"):
        await office.identity.get_org("acmeo")
    keys = await office.key("acme", Scope.MANAGEMENT)
    error = await told(office, keys, "GetApiKey", name="orgs/acme/apiKeys/000000000000")
    assert "`omni-grpc keys list --org acme`" in error.message
