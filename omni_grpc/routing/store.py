"""All SQL of policies and experiments, and of what experiments are reported from.

Every write happens in one transaction that begins by locking the one row of `routing_state` and
ends by raising its version: writers take turns, each decides on what the one before it wrote, and a
reader sees a whole version. Every method raises LedgerUnavailable while the database is away.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, LiteralString, TypeAlias
from uuid import UUID

import msgspec
import structlog
from psycopg.rows import args_row, kwargs_row, scalar_row

from omni_grpc.audit import Actor, Change, append, log_of
from omni_grpc.routing.experiment import Experiment
from omni_grpc.routing.experiment_report import ArmCall
from omni_grpc.routing.policy_model import Policy
from omni_grpc.storage import Connection, Database

log = structlog.get_logger(__name__)

Item: TypeAlias = Policy | Experiment

CALLS_AT_ONCE: Final = 10_000
"""Calls read by one statement, well within its time limit."""

ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
VERSION: Final = "SELECT version FROM routing_state"
LOCK_VERSION: Final = "SELECT version FROM routing_state FOR UPDATE"
RAISE_VERSION: Final = """
UPDATE routing_state SET version = version + 1, update_time = clock_timestamp() RETURNING version
"""
RULES: Final = """
SELECT kind, scope, name, content::text, revision, create_time, update_time, update_by
FROM routing_rule ORDER BY kind, scope, name
"""
PUT: Final = """
INSERT INTO routing_rule (kind, scope, name, content, revision, update_by)
VALUES (%s, %s, %s, %s::jsonb, %s, %s)
ON CONFLICT (kind, scope, name) DO UPDATE
SET content = excluded.content, revision = excluded.revision, update_by = excluded.update_by,
    update_time = clock_timestamp()
RETURNING create_time, update_time
"""
REMOVE: Final = "DELETE FROM routing_rule WHERE kind = %s AND scope = %s AND name = %s"
CALLS: Final = """
SELECT c.call_id, c.arm, coalesce(nullif(c.end_user, ''), 'key ' || c.key_id) AS unit,
       c.cost_nanousd, c.reason, c.duration_ms, t.tokens, c.saved_nanousd
FROM routed_call c
CROSS JOIN LATERAL (
  SELECT coalesce(sum(coalesce(u.prompt, 0) + coalesce(u.completion, 0)), 0)::bigint AS tokens
  FROM usage_record u WHERE u.hold_id BETWEEN c.call_id AND ledger_last_attempt(c.call_id)) t
WHERE c.experiment = %s AND c.call_id < %s
ORDER BY c.call_id DESC LIMIT %s
"""

_LAST_CALL: Final = UUID(int=2**128 - 1)
"""Above every call's id, which begins with its time."""


class Kind(StrEnum):
    """What a row is."""

    POLICY = "policy"
    EXPERIMENT = "experiment"

    @classmethod
    def of(cls, item: Item) -> "Kind":
        """That of a policy or an experiment."""
        return cls.POLICY if isinstance(item, Policy) else cls.EXPERIMENT


class Stored(msgspec.Struct, frozen=True):
    """A policy or an experiment as the database has it; `revision` is its etag."""

    item: Item
    revision: int
    create_time: datetime
    update_time: datetime
    update_by: str


class Content(msgspec.Struct, frozen=True):
    """Everything at one version, ordered by kind, scope and name."""

    version: int = 0
    rows: tuple[Stored, ...] = ()


_RESOURCES: Final = {Kind.POLICY: "RoutingPolicy", Kind.EXPERIMENT: "Experiment"}


class Changes(msgspec.Struct, frozen=True):
    """What shall be written, and what taken away."""

    put: tuple[Item, ...] = ()
    remove: tuple[Item, ...] = ()


Decide: TypeAlias = Callable[[Content], Changes]
"""Given all that is stored: what shall change; or it raises."""


class PolicyStore:
    """Policies and experiments in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """The version now."""
        found = await self._database.fetch_one(VERSION, row=scalar_row)
        return int(found or 0)

    async def read(self) -> Content:
        """Everything, at one version. What this release cannot read is left out, and logged."""

        async def work(connection: Connection) -> Content:
            await connection.execute(ONE_SNAPSHOT)
            return await _content(connection, VERSION)

        return await self._database.transaction(work)

    async def change(self, decide: Decide, *, actor: Actor) -> tuple[Stored, ...]:
        """Write rows and take rows away, all or none; returns those that were written.

        Args:
            decide: called once, while nobody else can write; what it raises undoes everything.
            actor: who asks for it; the audit log has the change of each item.
        """

        async def work(connection: Connection) -> tuple[Stored, ...]:
            content = await _content(connection, LOCK_VERSION)
            changes = decide(content)
            cursor = connection.cursor(row_factory=scalar_row)
            version = int(await (await cursor.execute(RAISE_VERSION)).fetchone() or 0)
            for item in changes.remove:
                await connection.execute(REMOVE, (Kind.of(item).value, item.scope, item.name))
            name = actor.name.rpartition("/")[2]
            written = tuple([await _put(connection, item, version, name) for item in changes.put])
            await _record(connection, actor, content, changes)
            return written

        return await self._database.transaction(work)

    async def calls(self, experiment: str, limit: int) -> Sequence[ArmCall]:
        """The newest calls of an experiment, at most `limit` of them."""
        found: list[tuple[UUID, ArmCall]] = []
        before = _LAST_CALL
        while len(found) < limit:
            count = min(CALLS_AT_ONCE, limit - len(found))
            rows = await self._database.fetch_all(
                CALLS, (experiment, before, count), row=kwargs_row(_call)
            )
            found += rows
            if len(rows) < count:
                break
            before = rows[-1][0]
        return [call for _, call in found]


async def _record(connection: Connection, actor: Actor, before: Content, changes: Changes) -> None:
    """Tells the audit log of the organisation whose calls an item is for, or the operator's."""
    held = {(Kind.of(row.item), row.item.full_name): row.item for row in before.rows}
    rows = [(held.get((Kind.of(item), item.full_name)), item) for item in changes.put]
    both: list[tuple[Item | None, Item | None]] = [*rows, *((one, None) for one in changes.remove)]
    for old, new in both:
        item = old or new
        if item is None:
            raise ValueError("a change has one side at least")
        verb = "Create" if old is None else "Delete" if new is None else "Update"
        org = item.scope.split("/")[1] if item.scope.startswith("orgs/") else ""
        change = Change(
            org_id=await log_of(connection, org),
            action=f"{verb}{_RESOURCES[Kind.of(item)]}",
            resource=item.full_name,
            old=old,
            new=new,
        )
        await append(connection, actor, change)


async def _put(connection: Connection, item: Item, version: int, actor: str) -> Stored:
    text = msgspec.json.encode(item, order="deterministic").decode()
    cursor = connection.cursor(row_factory=args_row(_times))
    row = (Kind.of(item).value, item.scope, item.name, text, version, actor)
    found = await (await cursor.execute(PUT, row)).fetchone()
    if found is None:
        raise TypeError("the database returned no row for what it wrote")
    return Stored(item, version, *found, actor)


async def _content(connection: Connection, statement: LiteralString) -> Content:
    numbers = connection.cursor(row_factory=scalar_row)
    held = await (await numbers.execute(statement)).fetchone()
    cursor = connection.cursor(row_factory=args_row(_stored))
    rows = await (await cursor.execute(RULES)).fetchall()
    return Content(int(held or 0), tuple(row for row in rows if row is not None))


def _stored(
    kind: str,
    scope: str,
    name: str,
    content: str,
    revision: int,
    create_time: datetime,
    update_time: datetime,
    update_by: str,
) -> Stored | None:
    try:
        item: Item
        if kind == Kind.POLICY:
            item = msgspec.json.decode(content, type=Policy)
        else:
            item = msgspec.json.decode(content, type=Experiment)
    except msgspec.MsgspecError as error:
        # Of a newer release, whose workers run beside this one during an upgrade.
        log.error("routing_rule_unreadable", kind=kind, scope=scope, name=name, error=str(error))
        return None
    return Stored(item, revision, create_time, update_time, update_by)


def _times(create_time: datetime, update_time: datetime) -> tuple[datetime, datetime]:
    return create_time, update_time


def _call(
    *,
    call_id: UUID,
    arm: str,
    unit: str,
    cost_nanousd: int,
    reason: str,
    duration_ms: int,
    tokens: int,
    saved_nanousd: int | None,
) -> tuple[UUID, ArmCall]:
    return call_id, ArmCall(
        arm=arm,
        unit=unit,
        cost_nanousd=cost_nanousd,
        reason=reason,
        latency_ms=duration_ms,
        tokens=tokens,
        saved_nanousd=saved_nanousd,
    )
