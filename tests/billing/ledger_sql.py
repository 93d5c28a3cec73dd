"""The ledger's function called directly, by this version's code or the one before, and its tables
read back as the model's books."""

from collections.abc import Sequence
from uuid import UUID

import psycopg
from model_books import Account, Asked, Books, Lot, OpenHold, Said, Used, Word

from omni_grpc.billing import batch as writer
from omni_grpc.billing.batch import APPLY_SQL, arguments, outcomes
from omni_grpc.billing.operations import Code, Movement, Operation, Outcome, TransferOp

OWNER, EPOCH = "model", 1

TABLES = (
    "account", "hold", "posting", "usage_record", "request", "request_answer", "credit_lot",
    "account_snapshot",
)  # fmt: skip
"""The books."""


def apply(
    sql: psycopg.Connection, batch: Sequence[Operation], *, epoch: int = EPOCH
) -> list[Outcome]:
    """One call of the database function, as the lane makes it."""
    values = arguments(OWNER, epoch, 0, batch)
    cursor = sql.execute(APPLY_SQL, values, prepare=True, binary=True)
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
_KEPT_TRANSFER_COLUMNS = (0, 2, 3, 4)  # without what a transfer is, what it is of, its expiry
_KEPT_REQUEST_COLUMNS = (0, 1, 2, 3, 4)  # without the operation and its target


def _kept() -> list[int]:
    """The places of this version's arguments, after the first three, that the one before sends."""
    place, kept = 0, list[int]()
    for columns, wanted in (
        (writer._FINAL_COLUMNS, range(16)),  # without the provider's name of its answer
        (writer._HOLD_COLUMNS, range(14)),
        (writer._TRANSFER_COLUMNS, _KEPT_TRANSFER_COLUMNS),
        (writer._REQUEST_COLUMNS, _KEPT_REQUEST_COLUMNS),
        (writer._END_COLUMNS, ()),
    ):
        kept += [place + column for column in wanted]
        place += len(columns)
    return kept


_KEPT = _kept()
_BEFORE_SQL = (
    "SELECT grp::text, ord, rc, target, amount, posted, pending, short_account, until"
    " FROM ledger_apply(%s::text, %s::bigint, %s::integer, "
    + ", ".join(f"%s::{writer._TYPES[place]}" for place in _KEPT)
    + ")"
)


def apply_as_before(sql: psycopg.Connection, batch: Sequence[Operation]) -> list[Outcome]:
    """One call of the function as the code of the version before makes it."""
    assert all(is_of_before(op) for op in batch)
    first, rest = (values := arguments(OWNER, EPOCH, 0, batch))[:3], values[3:]
    sent = [*first, *[rest[place] for place in _KEPT]]
    cursor = sql.execute(_BEFORE_SQL, sent, prepare=True, binary=True)
    return outcomes(batch, cursor.fetchall())


def is_of_before(op: Operation) -> bool:
    """Whether the version before had this operation."""
    if isinstance(op, TransferOp):
        return op.kind is Movement.GRANT and op.expire_time is None
    if op.request is not None and op.request.operation == "C":
        return False
    return (
        getattr(op, "kind", None) != "W"
        and getattr(op, "ends", None) is None
        and getattr(op, "provider_ref", None) is None
    )


# --- the books ----------------------------------------------------------------------------------
def stored_books(sql: psycopg.Connection) -> Books:
    books = Books()
    for row in sql.execute(
        "SELECT id, kind, credits_posted, debits_posted, debits_pending, debit_limit, entry_count"
        " FROM account"
    ):
        books.accounts[row[0]] = Account(*row[1:])
    for row in sql.execute(
        "SELECT id, origin::text, wallet, amount, legs, leg_amounts, owner, epoch,"
        " lease_until < clock_timestamp(), state::text, provider_ref FROM hold"
    ):
        legs = dict(zip(row[4] or [], row[5] or [], strict=True))
        books.holds[row[0]] = OpenHold(*row[1:4], legs, *row[6:])
    for row in sql.execute(
        "SELECT id, kind::text, origin::text, decider::text, wallet, amount, held, loss, legs,"
        " leg_amounts, entry, balance_after, of FROM posting ORDER BY id, n"
    ):
        legs = dict(zip(row[8], row[9], strict=True)) if row[9] else None
        books.words.setdefault(row[0], []).append(Word(*row[1:8], legs, *row[10:]))
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
    answers = sql.execute("SELECT call_id, sealed FROM request_answer")
    books.answers = dict[UUID, bytes | None](answers.fetchall())
    return books
