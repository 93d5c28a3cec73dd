"""What is read from the ledger's tables; nothing here writes. See migrations/0001_ledger.sql."""

from datetime import datetime
from uuid import UUID

from psycopg.rows import tuple_row

from omni_grpc.billing.model import (
    AttemptRecord,
    Balance,
    EntryKind,
    Hold,
    HoldState,
    LedgerEntry,
    UsageRecord,
)
from omni_grpc.billing.operations import AttemptOutcome
from omni_grpc.core.ids import ATTEMPTS_MAX, AccountId, CallId, attempt_of, call_id_of
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.storage import Database

_BALANCE = """
SELECT a.credits_posted - a.debits_posted, a.debits_pending,
       coalesce((SELECT sum(h.amount) FROM hold h WHERE h.wallet = a.id AND h.state = 'U'), 0),
       clock_timestamp()
  FROM account a WHERE a.id = %s
"""
_ENTRIES = """
SELECT entry, kind::text, amount, balance_after, id, origin::text, reference, create_time
  FROM posting WHERE wallet = %s AND entry < %s ORDER BY entry DESC LIMIT %s
"""
_ENTRY_OF = """
SELECT entry, kind::text, amount, balance_after, id, origin::text, reference, create_time
  FROM posting WHERE id = %s AND n = 0 AND entry IS NOT NULL
"""
_ATTEMPTS = """
SELECT u.hold_id, u.wallet, u.model, u.outcome::text, p.held, p.amount, u.price_version,
       u.markup_ppm, u.estimated, u.prompt, u.cached_read, u.cached_write, u.prompt_audio,
       u.completion, u.reasoning, u.completion_audio, p.create_time
  FROM usage_record u
  JOIN LATERAL (SELECT sum(amount)::bigint AS amount, max(held) AS held,
                       max(create_time) AS create_time
                  FROM posting WHERE id = u.hold_id) p ON true
 WHERE u.hold_id BETWEEN %s AND %s
"""
_RUNNING = """
SELECT id, wallet, model, state::text, amount, price_version, markup_ppm
  FROM hold WHERE id BETWEEN %s AND %s AND origin = 'r'
"""
_API_HOLD_FINAL = """
SELECT kind::text, held, amount FROM posting
 WHERE id = %s AND wallet = %s AND origin = 'a' AND n = 0
"""
_LAPSED = """
SELECT id, origin::text FROM hold
 WHERE state = 'O' AND lease_until < clock_timestamp()
   AND (origin = 'a' OR lease_until < clock_timestamp() - make_interval(secs => %s))
 ORDER BY lease_until LIMIT %s
"""
_OPEN_HOLDS = (
    "SELECT count(*) FILTER (WHERE state = 'O'), count(*) FILTER (WHERE state = 'U') FROM hold"
)
_OUTCOMES = {outcome.value: outcome.name.lower() for outcome in AttemptOutcome}


class LedgerStore:
    """Reads balances, entries, usage records and holds from the primary database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balance(self, account_id: AccountId) -> Balance | None:
        """The balance of an account; None if there is no such account."""
        row = await self._database.fetch_one(_BALANCE, [account_id], row=tuple_row)
        if row is None:
            return None
        posted, pending, unresolved, read_time = row
        return Balance(posted, pending - int(unresolved), int(unresolved), read_time)

    async def entries(
        self, account_id: AccountId, before: int | None, limit: int
    ) -> list[LedgerEntry]:
        """Up to `limit` entries at positions below `before`, newest first."""
        rows = await self._database.fetch_all(
            _ENTRIES, [account_id, 2**63 - 1 if before is None else before, limit], row=tuple_row
        )
        return [_entry(*row) for row in rows]

    async def entry_of(self, posting_id: UUID) -> LedgerEntry | None:
        """The entry that a posting made."""
        row = await self._database.fetch_one(_ENTRY_OF, [posting_id], row=tuple_row)
        return None if row is None else _entry(*row)

    async def usage(self, call_id: CallId) -> UsageRecord | None:
        """A call's attempts, running ones included; None if no attempt was ever held."""
        span = [call_id, UUID(int=call_id.int | ATTEMPTS_MAX)]
        # Holds become final and not the other way round: read in this order, none is missed.
        running = await self._database.fetch_all(_RUNNING, span, row=tuple_row)
        final = await self._database.fetch_all(_ATTEMPTS, span, row=tuple_row)
        if not final and not running:
            return None
        attempts = [
            AttemptRecord(
                number=attempt_of(row[0]),
                model=row[2],
                outcome=_OUTCOMES[row[3]],
                held=row[4],
                cost=row[5],
                price_version=row[6],
                markup_ppm=row[7],
                usage=Usage(
                    prompt=row[9],
                    cached_read=row[10],
                    cached_write=row[11],
                    prompt_audio=row[12],
                    completion=row[13],
                    reasoning=row[14],
                    completion_audio=row[15],
                    source=UsageSource.ESTIMATE if row[8] else UsageSource.PROVIDER,
                ),
                end_time=row[16],
            )
            for row in final
        ] + [
            AttemptRecord(
                number=attempt_of(row[0]),
                model=row[2],
                outcome="running" if row[3] == "O" else "unresolved",
                held=row[4],
                cost=None,
                price_version=row[5],
                markup_ppm=row[6],
                usage=None,
                end_time=None,
            )
            for row in running
        ]
        # A hold that became final between the two reads stands in both; its end is the truth.
        by_number = {attempt.number: attempt for attempt in reversed(attempts)}
        return UsageRecord(
            call_id=call_id,
            account_id=AccountId((final or running)[0][1]),
            attempts=tuple(by_number[number] for number in sorted(by_number)),
        )

    async def final_api_hold(self, account_id: AccountId, hold_id: UUID) -> Hold | None:
        """A settled or voided hold made through the API."""
        row = await self._database.fetch_one(_API_HOLD_FINAL, [hold_id, account_id], row=tuple_row)
        if row is None:
            return None
        kind, held, amount = row
        if kind == "S":
            return Hold(hold_id, HoldState.SETTLED, held, settled=amount)
        return Hold(hold_id, HoldState.VOIDED, held)

    async def lapsed_holds(self, grace_seconds: float, limit: int) -> list[tuple[UUID, str]]:
        """Open holds past their lease: the API's at once, the router's after a grace."""
        rows = await self._database.fetch_all(_LAPSED, [grace_seconds, limit], row=tuple_row)
        return [(row[0], row[1]) for row in rows]

    async def hold_counts(self) -> tuple[int, int]:
        """How many holds are open, and how many unresolved."""
        row = await self._database.fetch_one(_OPEN_HOLDS, [], row=tuple_row)
        return (0, 0) if row is None else (row[0], row[1])


def _entry(
    position: int,
    kind: str,
    amount: int,
    balance_after: int,
    posting_id: UUID,
    origin: str,
    reference: str | None,
    create_time: datetime,
) -> LedgerEntry:
    return LedgerEntry(
        position=position,
        kind=EntryKind(kind),
        amount=-amount if kind == EntryKind.CHARGE else amount,
        balance_after=balance_after,
        reference=_reference(posting_id, origin, reference),
        create_time=create_time,
    )


def _reference(posting_id: UUID, origin: str, reference: str | None) -> str:
    if reference is not None:
        return reference
    if origin == "r":
        return str(call_id_of(posting_id))
    return f"holds/{posting_id}"
