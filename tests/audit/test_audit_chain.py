"""The audit log's chain on a real PostgreSQL: what is written, and every way to break it."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omni_grpc.audit import Actor, AuditFilter, AuditLog, AuditStore, Change, append
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.storage import Connection, Database

ACME = OrgId(7)
OTHER = OrgId(8)
ANN = Actor(name="orgs/acme/users/ann", peer="192.0.2.1", call_id="c-1")


class Thing(msgspec.Struct, frozen=True):
    """A resource."""

    name: str
    size: int = 0


def change(
    n: int = 0,
    org_id: OrgId = ACME,
    *,
    old: Thing | None = None,
    new: Thing | None = None,
    action: str = "UpdateThing",
    resource: str | None = None,
) -> Change:
    return Change(
        org_id=org_id,
        action=action,
        resource=f"orgs/acme/things/{n}" if resource is None else resource,
        old=old,
        new=new,
    )


async def write(database: Database, *changes: Change, actor: Actor = ANN) -> None:
    async def work(connection: Connection) -> None:
        for one in changes:
            await append(connection, actor, one)

    await database.transaction(work)


async def verdict(database: Database, org_id: OrgId = ACME) -> tuple[int, int | None]:
    found = await AuditLog(AuditStore(database)).verify(org_id)
    assert (found.first_broken is None) == (found.fault == "")
    return found.entry_count, found.first_broken


@pytest.fixture
async def five(database: Database) -> None:
    """A log of five entries."""
    await write(database, *(change(n, old=Thing("a", n), new=Thing("a", n + 1)) for n in range(5)))


def framed(text: str | None) -> bytes:
    return b"-" if text is None else f"{len(text.encode())}:".encode() + text.encode()


async def test_a_hash_is_what_the_documentation_says(database: Database) -> None:
    await write(database, change(old=None, new=Thing("für 東京", 3)), actor=Actor(name="tool"))
    [entry] = await AuditStore(database).after(ACME, 0, 10)
    micros = round(
        (entry.create_time - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)
    )
    fields = (
        "7", "1", str(micros), "tool", "", "UpdateThing", "orgs/acme/things/0", None,
        '{"name":"für 東京","size":3}', "",
    )  # fmt: skip
    assert entry.hash == hashlib.sha256(bytes(32) + b"".join(map(framed, fields))).digest()
    assert entry.old_json is None


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(_texts, _texts, _texts, _texts, _texts, st.none() | _texts),
        min_size=1,
        max_size=6,
    )
)
async def test_python_and_sql_agree_on_every_hash(
    database: Database,
    sql: psycopg.Connection,
    rows: list[tuple[str, str, str, str, str, str | None]],
) -> None:
    sql.execute("TRUNCATE audit_entry, audit_head")
    for actor, peer, action, resource, call, name in rows:
        thing = None if name is None else Thing(name)
        one = change(old=thing, new=None, action=action, resource=resource)
        await write(database, one, actor=Actor(name=actor, peer=peer, call_id=call))
    assert await verdict(database) == (len(rows), None)


async def test_fields_cannot_be_shifted_into_each_other(
    database: Database, sql: psycopg.Connection
) -> None:
    await write(database, change(action="ab", resource="c"))
    sql.execute("UPDATE audit_entry SET action = 'a', resource = 'bc'")
    assert await verdict(database) == (1, 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor", "'somebody'"),
        ("peer", "''"),
        ("action", "'DeleteThing'"),
        ("resource", "'orgs/acme/things/9'"),
        ("old_json", "NULL"),
        ("old_json", "''"),
        ("new_json", "new_json || ' '"),
        ("call_id", "'c-2'"),
        ("create_time", "create_time + interval '1 microsecond'"),
        ("hash", "sha256(hash)"),
    ],
)
@pytest.mark.usefixtures("five")
async def test_a_changed_field_is_found(
    database: Database, sql: psycopg.Connection, column: str, value: str
) -> None:
    assert await verdict(database) == (5, None)
    sql.execute(f"UPDATE audit_entry SET {column} = {value} WHERE position = 3".encode())
    assert await verdict(database) == (5, 3)


@pytest.mark.parametrize("position", [1, 3, 5])
@pytest.mark.usefixtures("five")
async def test_a_missing_entry_is_found(
    database: Database, sql: psycopg.Connection, position: int
) -> None:
    sql.execute("DELETE FROM audit_entry WHERE position = %s", (position,))
    assert await verdict(database) == (5, position)


@pytest.mark.usefixtures("five")
async def test_a_gap_that_was_closed_is_found(database: Database, sql: psycopg.Connection) -> None:
    sql.execute("DELETE FROM audit_entry WHERE position = 3")
    sql.execute("UPDATE audit_entry SET position = position - 1 WHERE position > 3")
    assert (await verdict(database))[1] == 3


@pytest.mark.usefixtures("five")
async def test_an_entry_put_in_with_a_hash_of_its_own_is_found(
    database: Database, sql: psycopg.Connection
) -> None:
    sql.execute("UPDATE audit_entry SET position = position + 100 WHERE position > 3")
    sql.execute("UPDATE audit_entry SET position = position - 99 WHERE position > 100")
    sql.execute(
        "INSERT INTO audit_entry SELECT org_id, 4, create_time, 'mallory', peer, action, resource,"
        " old_json, new_json, call_id, hash FROM audit_entry WHERE position = 3"
    )
    sql.execute("UPDATE audit_head SET position = 6")
    assert await verdict(database) == (6, 4)


@pytest.mark.usefixtures("five")
async def test_a_log_rewritten_to_its_end_without_the_end_is_found(
    database: Database, sql: psycopg.Connection
) -> None:
    store = AuditStore(database)
    entries = await store.after(ACME, 3, 10)
    before = (await store.after(ACME, 2, 1))[0].hash
    for entry in entries:  # the last ones anew, each hash right
        forged = msgspec.structs.replace(entry, actor="mallory")
        before = forged.hash_after(before)
        sql.execute(
            "UPDATE audit_entry SET actor = 'mallory', hash = %s WHERE position = %s",
            (before, entry.position),
        )
    assert await verdict(database) == (5, 5)


@pytest.mark.usefixtures("five")
async def test_a_log_without_its_end_is_found(database: Database, sql: psycopg.Connection) -> None:
    sql.execute("DELETE FROM audit_head")
    assert await verdict(database) == (0, 1)
    found = [one async for one in AuditLog(AuditStore(database)).verify_all()]
    assert [(org_id, one.first_broken) for org_id, one in found] == [(ACME, 1)]


async def test_all_logs_are_verified_each_by_itself(
    database: Database, sql: psycopg.Connection
) -> None:
    await write(database, change(1), change(1, OTHER), change(2), change(2, OTHER))
    sql.execute("UPDATE audit_entry SET actor = 'x' WHERE org_id = 8 AND position = 2")
    found = [one async for one in AuditLog(AuditStore(database)).verify_all()]
    assert [(org, one.entry_count, one.first_broken) for org, one in found] == [
        (ACME, 2, None),
        (OTHER, 2, 2),
    ]


async def test_an_empty_log_is_whole(database: Database) -> None:
    assert await verdict(database) == (0, None)


async def test_a_log_longer_than_one_read_is_verified_to_its_end(
    database: Database, sql: psycopg.Connection
) -> None:
    sql.execute(
        "SELECT audit_append(7, 'a', '', 'A', 'r', NULL, NULL, '') FROM generate_series(1, 2500)"
    )
    assert await verdict(database) == (2_500, None)
    sql.execute("UPDATE audit_entry SET peer = 'x' WHERE position = 2400")
    assert await verdict(database) == (2_500, 2_400)


async def test_writers_at_once_make_one_chain(database: Database) -> None:
    await asyncio.gather(*(write(database, change(n)) for n in range(20)))
    assert await verdict(database) == (20, None)


async def test_what_is_rolled_back_leaves_no_gap(database: Database) -> None:
    async def work(connection: Connection) -> None:
        await append(connection, ANN, change(1))
        raise LookupError

    await write(database, change(0))
    with pytest.raises(LookupError):
        await database.transaction(work)
    await write(database, change(2))
    assert await verdict(database) == (2, None)


async def test_a_change_of_the_ledger_is_told_once_in_the_log_of_the_account_s_organisation(
    database: Database, sql: psycopg.Connection
) -> None:
    sql.execute("INSERT INTO account (id, kind, org_id) VALUES (5000, 1, 7)")
    store = AuditStore(database)

    async def told(action: str) -> None:
        await store.append_of_account(
            ANN,
            AccountId(5000),
            action=action,
            resource="accounts/acme/ledgerEntries/1",
            new=Thing("entry", 1),
        )

    await asyncio.gather(*(told("GrantCredits") for _ in range(5)))
    await told("RefundCharge")
    assert await verdict(database) == (2, None)


async def test_entries_are_found_by_actor_action_resource_and_time(database: Database) -> None:
    ben = Actor(name="orgs/acme/users/ben")
    await write(database, change(resource="orgs/acme/teams/a"))
    await write(database, change(resource="orgs/acme/teams/a/environments/e"), actor=ben)
    await write(database, change(resource="orgs/acme/teams/ab", action="DeleteThing"))
    log = AuditLog(AuditStore(database))

    async def positions(**asked: object) -> list[int]:
        found = await log.entries(ACME, AuditFilter(**asked), before=None, limit=10)  # type: ignore[arg-type]
        return [entry.position for entry in found]

    assert await positions() == [3, 2, 1]
    assert await positions(actor=ben.name) == [2]
    assert await positions(action="DeleteThing") == [3]
    assert await positions(resource="orgs/acme/teams/a") == [2, 1]
    assert await positions(resource="orgs/acme/teams") == [3, 2, 1]
    assert await positions(resource="orgs/acme/team") == []
    [first] = await AuditStore(database).after(ACME, 0, 1)
    later = first.create_time + timedelta(microseconds=1)
    assert await positions(start_time=later) == [3, 2]
    assert await positions(end_time=later) == [1]
    found = await log.entries(ACME, AuditFilter(), before=3, limit=1)
    assert [entry.position for entry in found] == [2]
    assert await log.entries(OTHER, AuditFilter(), before=None, limit=10) == []
