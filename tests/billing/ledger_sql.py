"""The ledger's function called directly, by this version's code or the one before, and its tables
read back as the model's books."""

import re
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import psycopg
from model_books import Account, Asked, Books, Lot, OpenHold, Said, Used, Word

from omni_grpc.billing.batch import outcomes, statement
from omni_grpc.billing.operations import Code, Movement, Operation, Outcome, TransferOp
from omni_grpc.storage import migrations_folder

OWNER, EPOCH = "model", 1

TABLES = (
    "account", "hold", "posting", "usage_record", "request", "request_answer", "credit_lot",
    "account_snapshot", "payment",
)  # fmt: skip
"""The books."""


def apply(
    sql: psycopg.Connection,
    batch: Sequence[Operation],
    *,
    epoch: int = EPOCH,
    now: datetime | None = None,
) -> list[Outcome]:
    """One call of the database function, as the lane makes it; budgets' windows are those of `now`,
    where that is not the database's own time."""
    text, values = statement(OWNER, epoch, 0, batch)
    if now is not None:
        text = text.replace(
            "ledger_windows(%s::text[])", f"ledger_windows(%s::text[], '{now.isoformat()}')"
        )
    cursor = sql.execute(text, values, prepare=True, binary=True)
    return outcomes(batch, cursor.fetchall())


def codes(found: Sequence[Outcome]) -> list[Code]:
    return [outcome.code for outcome in found]


def said(outcome: Outcome) -> Said:
    """What the contract states of an outcome; the rest is not compared."""
    has_balance = outcome.code in (Code.DONE, Code.SHORT)
    return Said(
        outcome.code,
        outcome.target,
        None if outcome.code is Code.UNKNOWN else outcome.amount,
        outcome.posted if has_balance else None,
        outcome.pending if has_balance else None,
        outcome.short_account,
    )


def balance(sql: psycopg.Connection, account: int) -> tuple[int, int]:
    """What is posted and what is pending."""
    row = sql.execute(
        "SELECT credits_posted - debits_posted, debits_pending FROM account WHERE id = %s",
        [account],
    ).fetchone()
    assert row
    return row


# --- the version before -------------------------------------------------------------------------
_MIGRATION = (migrations_folder() / "0001_ledger.sql").read_text()
_SIGNATURE = _MIGRATION.partition("CREATE FUNCTION ledger_apply(")[2].partition(") RETURNS")[0]
_BEFORE = re.findall(r'\b([pfhtq]_\w+) ("char"\[\]|\w+\[\]|\w+)', _SIGNATURE)
_SENT = re.compile(r"(\w+) => (?:ledger_windows\()?%s")
_BEFORE_SQL = (
    "SELECT grp::text, ord, rc, target, amount, posted, pending, short_account, until"
    f" FROM ledger_apply({', '.join(f'%s::{kind}' for _, kind in _BEFORE)})"
)


def apply_as_before(sql: psycopg.Connection, batch: Sequence[Operation]) -> list[Outcome]:
    """One call of the function as the code of the version before makes it."""
    assert all(is_of_before(op) for op in batch)
    text, values = statement(OWNER, EPOCH, 0, batch)
    named = dict(zip(_SENT.findall(text), values, strict=True))
    sent = [named.get(name, "{}") for name, _ in _BEFORE]
    cursor = sql.execute(_BEFORE_SQL, sent, prepare=True, binary=True)
    return outcomes(batch, cursor.fetchall())


def apply_as_last(sql: psycopg.Connection, batch: Sequence[Operation]) -> list[Outcome]:
    """One call as the code made it that knew no payments: the same names, but for theirs."""
    text, values = statement(OWNER, EPOCH, 0, batch)
    names = _SENT.findall(text)
    text = text.replace("ledger_windows(%s::text[])", "%s")
    text = re.sub(r", t_(network|payment) => (%s|'{}')::text\[\]", "", text)
    sent = [
        value
        for name, value in zip(names, values, strict=True)
        if name not in ("t_network", "t_payment")
    ]
    cursor = sql.execute(text, sent, prepare=True, binary=True)
    return outcomes(batch, cursor.fetchall())


def is_of_before(op: Operation) -> bool:
    """Whether the version before had this operation."""
    if isinstance(op, TransferOp):
        return op.kind is Movement.GRANT and op.expire_time is None and op.payment is None
    if op.request is not None and op.request.operation == "C":
        return False
    return (
        getattr(op, "kind", None) != "W"
        and getattr(op, "ends", None) is None
        and getattr(op, "provider_ref", None) is None
    )


# --- the books ----------------------------------------------------------------------------------
def stored_accounts(sql: psycopg.Connection) -> dict[int, Account]:
    rows = sql.execute(
        "SELECT id, kind, credits_posted, debits_posted, debits_pending, debit_limit, entry_count"
        " FROM account"
    )
    return {row[0]: Account(*row[1:]) for row in rows}


def stored_books(sql: psycopg.Connection) -> Books:
    books = Books(stored_accounts(sql))
    for row in sql.execute(
        "SELECT id, origin::text, wallet, amount, legs, leg_amounts, owner, epoch,"
        " lease_until < clock_timestamp(), state::text, provider_ref FROM hold"
    ):
        legs = dict(zip(row[4] or [], row[5] or [], strict=True))
        books.holds[row[0]] = OpenHold(*row[1:4], legs, *row[6:])
    for row in sql.execute(
        "SELECT id, kind::text, origin::text, decider::text, wallet, amount, held, loss, legs,"
        " leg_amounts, entry, balance_after, of, reversed, leg_held FROM posting ORDER BY id, n"
    ):
        legs = dict(zip(row[8], row[9], strict=True)) if row[9] else None
        held = dict(zip(row[8], row[14], strict=True)) if row[14] else None
        books.words.setdefault(row[0], []).append(Word(*row[1:8], legs, *row[10:14], held))
    for row in sql.execute(
        "SELECT hold_id, wallet, outcome::text, estimated, prompt, provider_ref FROM usage_record"
    ):
        books.used[row[0]] = Used(*row[1:])
    for row in sql.execute(
        "SELECT id, wallet, amount, expire_time < clock_timestamp(), expired, open FROM credit_lot"
    ):
        books.lots[row[0]] = Lot(*row[1:])
    for row in sql.execute(
        "SELECT principal, request_id, fingerprint, operation::text, target, amount,"
        " CASE operation WHEN 'C' THEN until < clock_timestamp() END FROM request"
    ):
        books.requests[row[0], row[1]] = Asked(*row[2:])
    for row in sql.execute("SELECT network, payment_id, posting, wallet, amount FROM payment"):
        books.payments[row[0], row[1]] = tuple(row[2:])
    answers = sql.execute("SELECT call_id, sealed FROM request_answer")
    books.answers = dict[UUID, bytes | None](answers.fetchall())
    return books
