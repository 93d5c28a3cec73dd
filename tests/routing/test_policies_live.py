"""Policies on a real PostgreSQL: set, followed by other workers, refused whole, kept when away."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest
from patient_database import patient_database
from structlog.testing import capture_logs

from omni_grpc.audit import Actor
from omni_grpc.catalog import CatalogSnapshot
from omni_grpc.core.errors import (
    AlreadyExists,
    EtagMismatch,
    FieldInvalid,
    LedgerUnavailable,
    NotFound,
    TooMany,
)
from omni_grpc.routing import Kind, Policies, PolicyAdmin, PolicyFileError, RouteContext, Source
from omni_grpc.routing.experiment import Arm, Experiment
from omni_grpc.routing.policy import Deterministic, Limits, Policy, Region, Score
from omni_grpc.routing.policy_admin import ORG_COUNT_MAX
from omni_grpc.storage import Database, EmbeddedPostgres, migrate

DATABASE = "policies_tests"
ANN = RouteContext(scopes=("orgs/acme", "global"), unit="ann")


class HandClock:
    def __init__(self) -> None:
        self.moment = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@pytest.fixture(scope="module")
def policies_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("policies")
    with EmbeddedPostgres(folder, settings={"fsync": "off"}) as server:
        migrate(server.create_database(DATABASE))
        yield server


@pytest.fixture
def url(policies_server: EmbeddedPostgres) -> str:
    url = policies_server.url(DATABASE)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM routing_rule")
        connection.execute("DELETE FROM routed_call")
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with patient_database(url, "policies tests") as database:
        yield database


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


Worker = Callable[..., Awaitable[Policies]]


@pytest.fixture
def worker(database: Database, clock: HandClock) -> Worker:
    async def make(file: Path | None = None) -> Policies:
        policies = Policies(database, CatalogSnapshot, clock, file=file, poll_s=0.02)
        await policies.load()
        return policies

    return make


@pytest.fixture
async def policies(worker: Worker) -> Policies:
    return await worker()


@pytest.fixture
def admin(policies: Policies) -> PolicyAdmin:
    return PolicyAdmin(policies)


def policy(name: str = "p", scope: str = "global", **fields: object) -> Policy:
    return Policy(name=name, scope=scope, **({"rule": Score()} | fields))  # type: ignore[arg-type]


def renamed(text: str) -> Callable[..., Policy]:
    return lambda entry: msgspec.structs.replace(entry.item, description=text)


def held(policies: Policies) -> str | None:
    found = policies.for_call(ANN, "omni/auto", None, {})
    return None if found is None else found.policy.name


async def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < until, "it did not become true within 40 s"
        await asyncio.sleep(0.01)


async def test_every_change_is_in_the_audit_log_of_whose_calls_it_is_for(
    admin: PolicyAdmin, url: str
) -> None:
    with psycopg.connect(url, autocommit=True) as sql:
        sql.execute("TRUNCATE audit_entry, audit_head, org")
        sql.execute(
            "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE"
            " VALUES (1, 'operator', '', 1), (2, 'acme', '', 2)"
        )
        ann = Actor(name="orgs/acme/apiKeys/0123456789ab", peer="192.0.2.1", call_id="c")
        mine = (await admin.create(policy(scope="orgs/acme/teams/tt"), actor=ann)).entry
        assert mine.update_by == "0123456789ab"
        await admin.change(
            mine.item.full_name, Kind.POLICY, renamed("new"), etag=mine.etag, actor=ann
        )
        await admin.delete(mine.item.full_name, Kind.POLICY, etag="", actor=ann)
        await admin.put_all([policy()], actor=Actor(name="tool"))
        with pytest.raises(FieldInvalid):
            await admin.create(policy("bad name"), actor=ann)
        rows = sql.execute(
            "SELECT org_id, actor, action, resource, old_json IS NULL, new_json IS NULL"
            " FROM audit_entry ORDER BY org_id DESC, position"
        ).fetchall()
        sql.execute("TRUNCATE org")
    name = "orgs/acme/teams/tt/routingPolicies/p"
    assert rows == [
        (2, ann.name, "CreateRoutingPolicy", name, True, False),
        (2, ann.name, "UpdateRoutingPolicy", name, False, False),
        (2, ann.name, "DeleteRoutingPolicy", name, False, True),
        (1, "tool", "CreateRoutingPolicy", "global/routingPolicies/p", True, False),
    ]


async def test_no_organisation_takes_the_room_of_the_others(admin: PolicyAdmin) -> None:
    many = [policy(f"p{n}", scope="orgs/acme") for n in range(ORG_COUNT_MAX)]
    await admin.put_all(many, actor=Actor(name="t"))
    with pytest.raises(TooMany, match="most it can have"):
        await admin.create(policy("more", scope="orgs/acme/teams/tt"), actor=Actor(name="t"))
    await admin.create(policy("more", scope="orgs/other"), actor=Actor(name="t"))
    await admin.create(policy("more"), actor=Actor(name="t"))


async def test_all_organisations_together_leave_room_for_who_runs_the_service(
    admin: PolicyAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_grpc.routing.policy_admin.STORED_COUNT_MAX", 3)
    many = [policy("p", scope=f"orgs/acme-{n}") for n in range(3)]
    await admin.put_all(many, actor=Actor(name="t"))
    with pytest.raises(TooMany, match="most there can be"):
        await admin.create(policy("p", scope="orgs/other"), actor=Actor(name="t"))
    await admin.create(policy("more"), actor=Actor(name="t"))


async def take_all(admin: PolicyAdmin, org: str) -> int:
    """How many policies an organisation can have that makes as many as it can."""
    for number in range(100):
        try:
            await admin.create(policy(f"p{number}", scope=org), actor=Actor(name="t"))
        except TooMany as refused:
            assert "most it can have" in refused.message
            return number
    raise AssertionError("there is no end")


async def test_however_many_take_all_they_can_there_is_room_for_one_more(
    admin: PolicyAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_grpc.routing.policy_admin.STORED_COUNT_MAX", 40)
    monkeypatch.setattr("omni_grpc.routing.policy_admin.ORG_COUNT_MAX", 4)
    monkeypatch.setattr("omni_grpc.routing.policy_admin.ROOM_SHARE", 4)
    taken = [await take_all(admin, f"orgs/greedy-{number}") for number in range(10)]
    assert (taken[0], max(taken), min(taken)) == (4, 4, 1), taken
    assert sum(taken) < 40
    # What one has stays, and can be changed and replaced.
    await admin.put_all([policy("p0", scope="orgs/greedy-0")], actor=Actor(name="t"))
    await admin.create(policy("first", scope="orgs/late"), actor=Actor(name="t"))


async def test_a_policy_holds_at_once_here_and_soon_in_every_other_worker(
    policies: Policies, admin: PolicyAdmin, worker: Worker
) -> None:
    other = await worker()
    following = asyncio.create_task(other.run())
    try:
        written = await admin.create(policy(), actor=Actor(name="key"))
        assert held(policies) == "global/routingPolicies/p"
        assert written.entry.update_by == "key"
        await eventually(lambda: held(other) == "global/routingPolicies/p")
        await admin.delete(
            "global/routingPolicies/p", Kind.POLICY, etag="", actor=Actor(name="key")
        )
        assert held(policies) is None
        await eventually(lambda: held(other) is None)
    finally:
        following.cancel()


async def test_what_is_kept_comes_back_as_it_was_set(admin: PolicyAdmin, worker: Worker) -> None:
    rich = policy(
        "rich",
        "orgs/acme",
        rule=Region(regions=("eu",), policy="base"),
        limits=Limits(deny_models=("x",), max_cost_nanousd=5),
        fallbacks=("a/b",),
        description="für alle 😀",
        order=-3,
        active=False,
    )
    await admin.put_all(
        [rich, policy("base", rule=Deterministic(models=("m",)))], actor=Actor(name="t")
    )
    again = await worker()
    assert {entry.item.full_name: entry.item for entry in again.entries(Kind.POLICY)}[
        rich.full_name
    ] == rich


async def test_an_etag_guards_against_a_change_that_was_not_seen(admin: PolicyAdmin) -> None:
    name = (await admin.create(policy(), actor=Actor(name="a"))).entry.item.full_name
    first = (await admin.get(name, Kind.POLICY)).etag

    await admin.change(name, Kind.POLICY, renamed("one"), etag=first, actor=Actor(name="b"))
    with pytest.raises(EtagMismatch, match="changed by b"):
        await admin.change(name, Kind.POLICY, renamed("two"), etag=first, actor=Actor(name="a"))
    with pytest.raises(EtagMismatch):
        await admin.delete(name, Kind.POLICY, etag=first, actor=Actor(name="a"))
    with pytest.raises(AlreadyExists):
        await admin.create(policy(), actor=Actor(name="a"))
    kept = (await admin.get(name, Kind.POLICY)).item
    assert kept.description == "one"


async def test_what_is_wrong_changes_nothing(policies: Policies, admin: PolicyAdmin) -> None:
    await admin.create(policy("good"), actor=Actor(name="t"))
    wrong = [
        policy("w", rule=Deterministic(models=())),
        policy("l", rule=Region(regions=("eu",), policy="l")),
        policy("r", rule=Region(regions=("eu",), policy="gone")),
        policy("Bad"),
        Experiment(name="e", arms=(Arm(name="b", share_ppm=2_000_000),)),
        Experiment(name="e", arms=(Arm(name="b", share_ppm=1, policy="gone"),)),
    ]
    for item in wrong:
        with pytest.raises(FieldInvalid):
            await admin.put_all([policy("also"), item], actor=Actor(name="t"))
    assert [entry.item.name for entry in policies.entries(Kind.POLICY)] == ["good"]
    assert policies.entries(Kind.EXPERIMENT) == ()


async def test_a_loop_over_two_changes_is_refused_and_told_whole(admin: PolicyAdmin) -> None:
    await admin.create(policy("a"), actor=Actor(name="t"))
    await admin.create(policy("b", rule=Region(regions=("eu",), policy="a")), actor=Actor(name="t"))
    back = policy("a", rule=Region(regions=("eu",), policy="b"))
    with pytest.raises(FieldInvalid, match=r"loop: .*a -> .*b -> .*a"):
        await admin.change(
            "global/routingPolicies/a", Kind.POLICY, lambda _: back, etag="", actor=Actor(name="t")
        )


async def test_what_something_needs_cannot_be_deleted(admin: PolicyAdmin) -> None:
    served = Experiment(name="e", arms=(Arm(name="b", share_ppm=1, policy="p"),))
    await admin.put_all([policy(), served], actor=Actor(name="t"))
    with pytest.raises(FieldInvalid, match="served by the policy 'p'"):
        await admin.delete("global/routingPolicies/p", Kind.POLICY, etag="", actor=Actor(name="t"))
    await admin.delete("global/experiments/e", Kind.EXPERIMENT, etag="", actor=Actor(name="t"))
    await admin.delete("global/routingPolicies/p", Kind.POLICY, etag="", actor=Actor(name="t"))
    with pytest.raises(NotFound):
        await admin.delete("global/routingPolicies/p", Kind.POLICY, etag="", actor=Actor(name="t"))
    with pytest.raises(FieldInvalid, match="must have the form"):
        await admin.get("global/experiments/e", Kind.POLICY)


async def test_of_two_who_write_at_once_none_undoes_the_other(
    admin: PolicyAdmin, worker: Worker
) -> None:
    other = PolicyAdmin(await worker())
    writers = [
        (admin if n % 2 else other).create(policy(f"p{n}"), actor=Actor(name="t"))
        for n in range(10)
    ]
    await asyncio.gather(*writers)
    assert len(await admin.entries(Kind.POLICY)) == 10


async def test_an_experiment_begins_when_it_is_made_and_keeps_that(
    admin: PolicyAdmin, clock: HandClock
) -> None:
    made = Experiment(name="e", arms=(Arm(name="b", share_ppm=100_000),))
    began = clock.moment
    await admin.put_all([made], actor=Actor(name="t"))
    clock.moment += timedelta(days=3)
    more = Experiment(name="e", arms=(Arm(name="b", share_ppm=200_000),))
    (written,) = await admin.put_all([more], actor=Actor(name="t"))
    assert isinstance(written.entry.item, Experiment)
    assert written.entry.item.start_time == began
    assert "runs, and units may now change their arms" in written.warnings[0]
    (beside,) = await admin.put_all(
        [Experiment(name="f", arms=(Arm(name="b", share_ppm=1, models=("new/model",)),))],
        actor=Actor(name="t"),
    )
    assert [warning.split(" ")[0:4] for warning in beside.warnings] == [
        ["the", "catalog", "knows", "no"],
        ["global/experiments/e", "runs", "at", "the"],
    ]


FILE = "policies:\n  - {name: p, description: file, rule: {kind: score}}\n"


async def test_the_database_holds_over_the_file_until_it_is_deleted(
    worker: Worker, tmp_path: Path
) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(FILE)
    policies = await worker(path)
    admin = PolicyAdmin(policies)
    with pytest.raises(FieldInvalid, match="stands in the policies file"):
        await admin.delete("global/routingPolicies/p", Kind.POLICY, etag="", actor=Actor(name="t"))
    await admin.create(policy(description="database"), actor=Actor(name="t"))
    entries = policies.entries(Kind.POLICY)
    assert [(entry.source, entry.hidden) for entry in entries] == [
        (Source.DATABASE, False),
        (Source.FILE, True),
    ]
    found = policies.for_call(ANN, "omni/auto", None, {})
    assert found is not None
    assert found.policy.policy.description == "database"
    await admin.delete("global/routingPolicies/p", Kind.POLICY, etag="", actor=Actor(name="t"))
    found = policies.for_call(ANN, "omni/auto", None, {})
    assert found is not None
    assert found.policy.policy.description == "file"


async def test_a_changed_file_is_read_and_a_wrong_one_is_told_and_changes_nothing(
    worker: Worker, tmp_path: Path
) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(FILE)
    policies = await worker(path)
    following = asyncio.create_task(policies.run())
    try:
        with capture_logs() as logs:
            path.write_text(FILE + "  - {name: Wrong, rule: {kind: score}}\n")
            await eventually(lambda: any(e["event"] == "policies_file_refused" for e in logs))
        refused = next(entry for entry in logs if entry["event"] == "policies_file_refused")
        assert "line 3: policies[1].name" in refused["faults"][0]
        assert held(policies) == "global/routingPolicies/p"
        path.unlink()
        path.write_text(FILE.replace("name: p", "name: other"))
        await eventually(lambda: held(policies) == "global/routingPolicies/other")
        # A change that leaves size and times as they were is seen when one is told of it.
        before = path.stat()
        path.write_text(FILE.replace("name: p", "name: othes"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        policies.wake()
        await eventually(lambda: held(policies) == "global/routingPolicies/othes")
        with capture_logs() as logs:
            path.unlink()
            await eventually(lambda: any(e["event"] == "policies_file_refused" for e in logs))
        assert held(policies) == "global/routingPolicies/othes"
    finally:
        following.cancel()


async def test_a_wrong_file_at_the_start_is_an_error(
    database: Database, clock: HandClock, tmp_path: Path
) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text("policies: [{name: p}]")
    with pytest.raises(PolicyFileError, match="rule: is missing"):
        Policies(database, CatalogSnapshot, clock, file=path)


async def test_before_the_database_was_read_no_call_is_routed_as_if_nothing_held(
    clock: HandClock,
) -> None:
    async with Database("postgresql://127.0.0.1:1/none", application_name="t") as away:
        policies = Policies(away, CatalogSnapshot, clock)
        assert policies.takes_named
        with pytest.raises(LedgerUnavailable):
            policies.for_call(ANN, "omni/auto", None, {})
        with pytest.raises(LedgerUnavailable):
            await policies.refresh()


async def test_a_row_of_a_newer_release_is_left_out_and_told(
    url: str, policies: Policies, admin: PolicyAdmin
) -> None:
    await admin.create(policy("known"), actor=Actor(name="t"))
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO routing_rule (kind, scope, name, content, revision, update_by) VALUES "
            """('policy', 'global', 'new', '{"name": "new", "rule": {"kind": "oracle"}}', 9, 'n')"""
        )
        connection.execute("UPDATE routing_state SET version = version + 1")
    with capture_logs() as logs:
        assert await policies.refresh()
    assert [entry["name"] for entry in logs if entry["event"] == "routing_rule_unreadable"] == [
        "new"
    ]
    assert [entry.item.name for entry in policies.entries(Kind.POLICY)] == ["known"]


async def test_a_report_is_made_from_the_calls_that_were_recorded(
    url: str, admin: PolicyAdmin
) -> None:
    await admin.put_all(
        [Experiment(name="e", arms=(Arm(name="b", share_ppm=500_000),))], actor=Actor(name="t")
    )
    rows = [
        (uuid.UUID(int=(n + 1) << 64), n % 5, "b" if n % 2 else "control", 1_000 * (1 + n % 2),
         f"user-{n % 60}" if n % 3 else "", 100 + n)
        for n in range(300)
    ]  # fmt: skip
    with psycopg.connect(url) as connection:
        connection.cursor().executemany(
            "INSERT INTO routed_call (call_id, wallet, key_id, asked, model, task, complexity, "
            "policy, experiment, arm, cost_nanousd, duration_ms, reason, attempt_count, end_user) "
            "VALUES (%s, 1, %s, 'omni/auto', 'a/b', '', '', '', 'global/experiments/e', %s, %s, "
            "%s, 'OK', 1, %s)",
            [(call, key, arm, cost, ms, user) for call, key, arm, cost, user, ms in rows],
        )
    report = await admin.report("global/experiments/e")
    assert [(arm.arm, arm.calls, arm.cost_nanousd) for arm in report.arms] == [
        ("control", 150, 150_000),
        ("b", 150, 300_000),
    ]
    with pytest.raises(NotFound):
        await admin.report("global/experiments/gone")
    with pytest.raises(NotFound, match="Did you mean 'e'"):
        await admin.report("global/experiments/ee")
