"""Traffic for reports of usage, straight on the ledger's function, and what they must say of it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from ledger_rig import WALLETS, final_op, hold_op, refund_op, transfer_op

from omni_grpc.billing.batch import outcomes, statement
from omni_grpc.billing.operations import Code, Decider, Final, Operation
from omni_grpc.billing.usage import RoutedCall
from omni_grpc.billing.usage.model import COUNTS
from omni_grpc.core.ids import HoldId, call_id_of, hold_id_of, new_call_id

TASKS = ("", "coding", "chat")

TRUTH = f"""
WITH a AS (
  SELECT u.wallet, u.hold_id, u.key_id, u.model, coalesce(r.task, '') AS task, u.outcome,
         u.estimated, u.prompt, (SELECT coalesce(sum(p.amount), 0) FROM posting p
                     WHERE p.id = u.hold_id AND p.kind = 'S') AS cost,
         (SELECT coalesce(sum(p.amount), 0) FROM posting p WHERE p.of = u.hold_id) AS refunded
    FROM usage_record u
    LEFT JOIN routed_call r ON left(r.call_id::text, 35) = left(u.hold_id::text, 35)),
b AS (
  SELECT wallet, to_timestamp(trunc(extract(epoch FROM uuid_extract_timestamp(hold_id)) / 3600)
           * 3600) AS hour, key_id, model, task,
         (hold_id::text LIKE '%1')::int AS calls, 1 AS attempts,
         (outcome IN ('F', 'R', 'U'))::int AS failed, (outcome = 'C')::int AS cancelled,
         estimated::int AS estimated, coalesce(prompt, 0) AS prompt, cost, refunded,
         0 AS compared, 0 AS premium, 0 AS saved, 0 AS single, 0 AS single_saved
    FROM a
  UNION ALL
  SELECT wallet, to_timestamp(trunc(extract(epoch FROM uuid_extract_timestamp(call_id)) / 3600)
           * 3600), key_id, model, task, 0, 0, 0, 0, 0, 0, 0, 0, 1, premium_nanousd,
         premium_nanousd - cost_nanousd, coalesce(single_nanousd, 0),
         coalesce(single_nanousd - cost_nanousd, 0)
    FROM routed_call WHERE premium_nanousd IS NOT NULL)
SELECT wallet, hour, key_id, model, task, {
    ", ".join(
        f"sum({name})::bigint"
        if name
        in (
            "calls",
            "attempts",
            "failed",
            "cancelled",
            "estimated",
            "prompt",
            "cost",
            "refunded",
            "compared",
            "premium",
            "saved",
            "single",
            "single_saved",
        )
        else "0::bigint"
        for name in COUNTS
    )
}
  FROM b GROUP BY 1, 2, 3, 4, 5
"""
"""The sums from the base tables alone, by another way than the rollups go."""

_ROLLED = f"""
SELECT wallet, start, key_id, model, task, {", ".join(COUNTS)} FROM usage_sum
 WHERE generation = (SELECT generation FROM usage_state WHERE active) AND span = 'h'
"""
_DAYS = _ROLLED.replace("span = 'h'", "span = 'd'")
_READ = f"""
SELECT wallet, start, key_id, model, task, {", ".join(COUNTS)}
  FROM account a CROSS JOIN LATERAL usage_sums(
    a.id, '2000-01-01Z', '2100-01-01Z', 'hour', 'UTC', 2, true, true) WHERE a.kind = 1
"""

_ADDED_UP = f"""
SELECT wallet, start, key_id, model, task, {", ".join(f"sum({name})::bigint" for name in COUNTS)}
  FROM account a CROSS JOIN LATERAL usage_calls(a.id, now() - interval '2 hours', '2100-01-01Z')
 WHERE a.kind = 1 GROUP BY 1, 2, 3, 4, 5
"""

Sums = dict[tuple[Any, ...], dict[str, int]]


def truth(sql: psycopg.Connection) -> Sums:
    return _sums(sql, TRUTH)


def rolled(sql: psycopg.Connection) -> Sums:
    """What is counted into the hours."""
    return _sums(sql, _ROLLED)


def rolled_days(sql: psycopg.Connection) -> Sums:
    """What is counted into the days of UTC."""
    return _sums(sql, _DAYS)


def by_day(sums: Sums) -> Sums:
    """Sums by the hour, added up by the day."""
    found: Sums = {}
    for (wallet, start, *rest), counts in sums.items():
        day = found.setdefault((wallet, start.replace(hour=0), *rest), {})
        for name, count in counts.items():
            day[name] = day.get(name, 0) + count
    return {key: {n: c for n, c in day.items() if c} for key, day in found.items()}


def read(sql: psycopg.Connection) -> Sums:
    """What reports say: the hours, and what is not counted yet."""
    return _sums(sql, _READ)


def added_up(sql: psycopg.Connection) -> Sums:
    """What calls have used, without what was counted."""
    return _sums(sql, _ADDED_UP)


def _sums(sql: psycopg.Connection, query: str) -> Sums:
    found: Sums = {}
    for row in sql.execute(query.encode()):
        sums = dict(zip(COUNTS, row[5:], strict=True))
        if any(sums.values()):  # a row from which everything was moved away is no row
            found[row[:5]] = {name: count for name, count in sums.items() if count}
    return found


def roll(sql: psycopg.Connection, limit: int = 5_000) -> None:
    """Counts all that is over, as one worker does."""
    for (generation,) in sql.execute("SELECT generation FROM usage_state").fetchall():
        while step(sql, generation, limit):
            pass


def step(sql: psycopg.Connection, generation: int = 1, limit: int = 5_000) -> int | None:
    row = sql.execute("SELECT usage_roll(%s, %s)", [generation, limit]).fetchone()
    assert row
    assert row[0] is None or isinstance(row[0], int)
    return row[0]


def roll_twice(sql: psycopg.Connection) -> None:
    """The first look of a generation only notes what runs."""
    roll(sql)
    roll(sql)


def apply(sql: psycopg.Connection, *batch: Operation, lane: int = 0) -> list[Code]:
    cursor = sql.execute(*statement("usage", 1, lane, batch), prepare=True, binary=True)
    return [outcome.code for outcome in outcomes(batch, cursor.fetchall())]


@contextmanager
def another(url: str) -> Iterator[psycopg.Connection]:
    """One more session, whose transaction stays open until it is ended."""
    with psycopg.connect(url) as connection:
        yield connection


def routed(hold_id: UUID, wallet: int, **given: Any) -> RoutedCall:
    fields: dict[str, Any] = {
        "call_id": call_id_of(hold_id),
        "wallet": wallet,
        "key_id": 7,
        "asked": "omni/auto",
        "model": "sim/one",
        "task": "coding",
        "complexity": "hard",
        "policy": "",
        "experiment": "",
        "arm": "",
        "premium_model": "sim/best",
        "premium_version": 1,
        "premium_nanousd": 90,
        "single_model": None,
        "single_nanousd": None,
        "saved_nanousd": 60,
        "cost_nanousd": 30,
        "first_token_ms": None,
        "duration_ms": 12,
        "reason": "OK",
        "attempt_count": 1,
        "tags": {},
        "end_user": "",
    }
    return RoutedCall(**{**fields, **given})


_ROW = (
    "INSERT INTO routed_call (call_id, wallet, key_id, asked, model, task, complexity, policy,"
    " experiment, arm, premium_model, premium_version, premium_nanousd, single_model,"
    " single_nanousd, saved_nanousd, cost_nanousd, first_token_ms, duration_ms, reason,"
    " attempt_count, end_user) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
    " %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)


def write_row(sql: psycopg.Connection, call: RoutedCall) -> None:
    fields = [getattr(call, name) for name in call.__struct_fields__ if name != "tags"]
    sql.execute(_ROW, fields)


def paid_call(
    sql: psycopg.Connection, cost: int = 30, wallet: int = WALLETS[0], lane: int = 0
) -> HoldId:
    """A call of one attempt that was answered."""
    hold_id = hold_id_of(new_call_id(), 1)
    apply(sql, hold_op(max(cost, 1), wallet=wallet, hold_id=hold_id), lane=lane)
    apply(sql, final_op(Final.SETTLE, hold_id, cost, wallet=wallet), lane=lane)
    return hold_id


def give_credits(sql: psycopg.Connection, amount: int = 10**12) -> None:
    for wallet in WALLETS:
        apply(sql, transfer_op(amount, wallet=wallet))


class Traffic:
    """Everything that can happen to a call, in an order that a seed draws."""

    def __init__(self, sql: psycopg.Connection, seed: int) -> None:
        self.sql = sql
        self.random = random.Random(seed)
        self.late: list[tuple[HoldId, int, int]] = []
        self.paid: list[tuple[HoldId, int, int]] = []
        self.rows: list[RoutedCall] = []
        self.kinds: set[str] = set()

    def act(self) -> None:
        kind = self.random.choice(
            ("call", "call", "call", "fallback", "estimate", "lost", "row", "row", "late", "refund")
        )
        self.kinds.add(kind)
        getattr(self, f"_{kind}")()

    def finish(self) -> None:
        while self.rows:
            self._row()

    def _call(self) -> None:
        wallet, cost = self._wallet(), self.random.randint(0, 50)
        hold_id = paid_call(self.sql, cost, wallet)
        if cost:
            self.paid.append((hold_id, wallet, cost))
        self._remember(hold_id, wallet, cost)

    def _fallback(self) -> None:
        wallet, call = self._wallet(), new_call_id()
        for number, kind in ((1, Final.VOID), (2, Final.SETTLE)):
            hold_id = hold_id_of(call, number)
            apply(self.sql, hold_op(20, wallet=wallet, hold_id=hold_id))
            apply(self.sql, final_op(kind, hold_id, 20 * (number - 1), wallet=wallet))
        self._remember(hold_id, wallet, 20)

    def _estimate(self) -> None:
        wallet, hold_id = self._wallet(), hold_id_of(new_call_id(), 1)
        apply(self.sql, hold_op(40, wallet=wallet, hold_id=hold_id))
        apply(self.sql, final_op(Final.SETTLE, hold_id, 10, wallet=wallet, is_estimate=True))
        self.late.append((hold_id, wallet, self.random.randint(11, 60)))
        self._remember(hold_id, wallet, 10)

    def _lost(self) -> None:
        """Nobody knows what became of it; the operator decides, its worker comes back."""
        wallet, hold_id = self._wallet(), hold_id_of(new_call_id(), 1)
        apply(self.sql, hold_op(40, wallet=wallet, hold_id=hold_id))
        apply(self.sql, final_op(Final.UNRESOLVED, hold_id, wallet=wallet))
        kind = self.random.choice((Final.VOID, Final.WRITE_OFF))
        apply(self.sql, final_op(kind, hold_id, 5, decider=Decider.OPERATOR, wallet=wallet))
        self.late.append((hold_id, wallet, self.random.randint(1, 50)))
        self._remember(hold_id, wallet, 0)

    def _late(self) -> None:
        if self.late:
            hold_id, wallet, cost = self.late.pop(self.random.randrange(len(self.late)))
            assert apply(self.sql, final_op(Final.SETTLE, hold_id, cost, wallet=wallet)) == [
                Code.DONE
            ]

    def _refund(self) -> None:
        if self.paid:
            hold_id, wallet, cost = self.paid.pop(self.random.randrange(len(self.paid)))
            apply(self.sql, refund_op(self.random.randint(1, cost), hold_id, wallet=wallet))

    def _row(self) -> None:
        if self.rows:
            write_row(self.sql, self.rows.pop(self.random.randrange(len(self.rows))))

    def _wallet(self) -> int:
        return self.random.choice(WALLETS[:2])

    def _remember(self, hold_id: UUID, wallet: int, cost: int) -> None:
        premium = self.random.choice((None, 5, 90))
        single = self.random.choice((None, 40)) if premium else None
        self.rows.append(
            routed(
                hold_id,
                wallet,
                task=self.random.choice(TASKS),
                premium_nanousd=premium,
                saved_nanousd=premium and premium - cost,
                single_nanousd=single,
                cost_nanousd=cost,
            )
        )


def hour_now() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
