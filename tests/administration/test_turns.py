"""One organisation's changes at once: they are made in turn, and take nobody else's connections."""

import asyncio

import psycopg
import pytest

from omni_grpc.administration.turns import AT_ONCE_MAX
from omni_grpc.audit import AuditLog
from omni_grpc.core.errors import RateLimited


@pytest.fixture
def held(database_url):
    """The row of acme is locked by somebody else until this is closed."""
    with psycopg.connect(database_url) as connection:
        yield connection


async def test_changes_that_wait_leave_connections_for_everybody_else(office, held):
    acme, other = await office.org("acme"), await office.org("other")
    held.execute("SELECT FROM org WHERE slug = 'acme' FOR UPDATE")
    waiting = [
        asyncio.create_task(
            office.do(acme, "CreateTeam", parent="orgs/acme", team_id=f"team-{number}")
        )
        for number in range(30)
    ]
    await asyncio.sleep(0)
    made = await office.do(other, "CreateTeam", parent="orgs/other", team_id="team")
    assert made.name == "orgs/other/teams/team"
    held.rollback()
    assert len({one.name for one in await asyncio.gather(*waiting)}) == 30


async def test_more_changes_at_once_than_can_wait_are_refused(office, held):
    acme = await office.org("acme")
    operator = await office.operator()
    held.execute("SELECT FROM org WHERE slug = 'acme' FOR UPDATE")

    async def change(number):
        return await office.do(acme, "CreateTeam", parent="orgs/acme", team_id=f"team-{number}")

    waiting = [asyncio.create_task(change(number)) for number in range(AT_ONCE_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited, match="after another"):
        await change(AT_ONCE_MAX)
    held.rollback()
    assert len(await asyncio.gather(*waiting)) == AT_ONCE_MAX
    assert await change(AT_ONCE_MAX)  # the line is gone
    assert await office.do(operator, "CreateTeam", parent="orgs/acme", team_id="theirs")


async def test_a_log_is_verified_once_at_a_time(office, monkeypatch):
    acme = await office.org("acme")
    running, most = 0, 0
    verify = AuditLog.verify

    async def counted(log, org_id):
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await verify(log, org_id)
        finally:
            running -= 1

    monkeypatch.setattr(AuditLog, "verify", counted)
    asked = [office.do(acme, "VerifyAuditLog", parent="orgs/acme") for _ in range(8)]
    verdicts = await asyncio.gather(*asked)
    assert most == 1
    assert {one.fault for one in verdicts} == {""}
