"""What is read from the ledger's tables; no money moves here. See migrations/*_ledger*.sql."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import tuple_row

from omni_grpc.billing.dead_letters import DeadLetter
from omni_grpc.billing.journal_marks import Mark
from omni_grpc.billing.model import (
    AttemptRecord,
    Balance,
    Decision,
    EntryKind,
    Hold,
    HoldState,
    LedgerEntry,
    OwnedHold,
    UnresolvedAttempt,
    UsageRecord,
    WindowUse,
)
from omni_grpc.billing.operations import (
    AttemptOutcome,
    ChatEnd,
    Decider,
    Final,
    RequestEnd,
    RequestKey,
)
from omni_grpc.core.ids import ATTEMPTS_MAX, AccountId, CallId, HoldId, attempt_of, call_id_of
from omni_grpc.core.tenancy import BudgetUnit
from omni_grpc.core.usage import COMMON_COUNTS, UsageSource, usage_of
from omni_grpc.storage import Database

_DEBITS = (EntryKind.CHARGE, EntryKind.EXPIRY, EntryKind.REVERSAL)
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
_KNOWN = "SELECT 1 FROM request WHERE principal = %s AND request_id = %s AND fingerprint = %s"
_ATTEMPTS = """
SELECT u.hold_id, u.wallet, u.model, u.outcome::text, p.held, p.amount, u.price_version,
       u.markup_ppm, u.estimated, u.prompt, u.cached_read, u.cached_write, u.prompt_audio,
       u.completion, u.reasoning, u.completion_audio, p.create_time, u.provider_ref, u.rare_counts,
       (SELECT o.credential FROM own_attempt o WHERE o.hold_id = u.hold_id)
  FROM usage_record u
  JOIN LATERAL (SELECT sum(amount)::bigint AS amount, max(held) AS held,
                       max(create_time) AS create_time
                  FROM posting WHERE id = u.hold_id) p ON true
 WHERE u.hold_id BETWEEN %s AND %s
"""
_RUNNING = """
SELECT id, wallet, model, state::text, amount, price_version, markup_ppm, provider_ref,
       nullif(credential, 'house')
  FROM hold WHERE id BETWEEN %s AND %s AND origin = 'r'
"""
_API_HOLD_FINAL = """
SELECT kind::text, held, amount FROM posting
 WHERE id = %s AND wallet = %s AND origin = 'a' AND n = 0
"""
_LAPSED = """
SELECT id, origin::text, wallet FROM hold
 WHERE state = 'O' AND lease_until < clock_timestamp()
   AND (origin = 'a' OR lease_until < clock_timestamp() - make_interval(secs => %s))
 ORDER BY lease_until LIMIT %s
"""
_OPEN_HOLDS = (
    "SELECT count(*) FILTER (WHERE state = 'O'), count(*) FILTER (WHERE state = 'U') FROM hold"
)
_OF_OWNER = """
SELECT h.id, h.wallet, r.principal, r.request_id
  FROM hold h JOIN account a ON a.id = h.wallet
  LEFT JOIN request r ON r.principal = a.org_id AND r.operation = 'C'
                     AND r.target = overlay(h.id::text PLACING '0' FROM 36)::uuid
 WHERE h.owner = %s AND h.origin = 'r'
"""
_UNRESOLVED_COLUMNS = (
    "id, wallet, amount, model, provider_ref, price_version, markup_ppm, owner, lease_until,"
    " (SELECT count(*)::int FROM unnest(legs) l JOIN budget_window w ON w.account_id = l"
    " JOIN budget b ON b.id = w.budget_id WHERE b.unit = 'tokens'), nullif(credential, 'house')"
)
_LOST = """
SELECT m.ord::int
  FROM unnest(%s::uuid[], %s::smallint[], %s::uuid[])
       WITH ORDINALITY m(posted, n, unresolved, ord)
 WHERE (m.posted IS NOT NULL
        AND NOT EXISTS (SELECT FROM posting p WHERE p.id = m.posted AND p.n = m.n))
    OR (m.unresolved IS NOT NULL
        AND NOT EXISTS (SELECT FROM posting p WHERE p.id = m.unresolved)
        AND NOT EXISTS (SELECT FROM hold h WHERE h.id = m.unresolved AND h.state = 'U'))
"""
_STANDING = """
SELECT count(*) FILTER (WHERE p.id IS NULL AND (x.posted OR h.id IS NULL)),
       (array_agg(p.id ORDER BY p.create_time DESC) FILTER (WHERE p.id IS NOT NULL))[1],
       (array_agg(p.n ORDER BY p.create_time DESC) FILTER (WHERE p.id IS NOT NULL))[1],
       (array_agg(p.id ORDER BY p.create_time DESC)
        FILTER (WHERE p.id IS NOT NULL AND x.believed))[1],
       (array_agg(p.n ORDER BY p.create_time DESC)
        FILTER (WHERE p.id IS NOT NULL AND x.believed))[1]
  FROM unnest(%s::uuid[], %s::boolean[], %s::boolean[]) x(id, posted, believed)
  LEFT JOIN posting p ON p.id = x.id
  LEFT JOIN hold h ON h.id = x.id AND h.state = 'U'
"""
_UNRESOLVED = f"""
SELECT {_UNRESOLVED_COLUMNS} FROM hold
 WHERE state = 'U' AND id > %s AND (%s::bigint IS NULL OR wallet = %s) ORDER BY id LIMIT %s
"""  # noqa: S608 - columns of ours
_UNRESOLVED_ONE = f"SELECT {_UNRESOLVED_COLUMNS} FROM hold WHERE state = 'U' AND id = %s"  # noqa: S608
_DECISION = """
SELECT kind::text, decider::text, amount, loss FROM posting
 WHERE id = %s AND n = 0 AND origin = 'r'
"""
_UNRESOLVED_SINCE = f"""
SELECT {_UNRESOLVED_COLUMNS} FROM hold
 WHERE state = 'U' AND lease_until < clock_timestamp() - make_interval(secs => 3600 * %s)
 ORDER BY lease_until LIMIT %s
"""  # noqa: S608 - columns of ours
_DEAD_LETTERS = """
SELECT id, target, operation, sqlstate, cause, create_time, replay_time FROM dead_letter
 WHERE replay_time IS NULL AND id > %s ORDER BY id LIMIT %s
"""
_DEAD_LETTER_REPLAYED = "UPDATE dead_letter SET replay_time = clock_timestamp() WHERE id = %s"
_ANSWER = "SELECT sealed FROM request_answer WHERE call_id = %s"
_DUE_LOTS = """
SELECT id, wallet FROM credit_lot WHERE open AND expire_time <= clock_timestamp()
 ORDER BY expire_time LIMIT %s
"""
_HAS_SNAPSHOT = """
SELECT EXISTS (SELECT FROM account_snapshot
                WHERE account = 1 AND day = (clock_timestamp() AT TIME ZONE 'UTC')::date)
"""
_WINDOW = """
SELECT coalesce(budget_name(b), b.slug) AS budget, b.unit, a.debit_limit AS amount,
       a.debits_posted - a.credits_posted AS spent, a.debits_pending AS held,
       nullif(w.end_time, 'infinity') AS end_time
  FROM budget_window w JOIN budget b ON b.id = w.budget_id JOIN account a ON a.id = w.account_id
 WHERE w.account_id = %s
"""
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

    async def window(self, account_id: int) -> WindowUse | None:
        """What a budget's window has, by its account; None if it is no window's."""
        row = await self._database.fetch_one(_WINDOW, [account_id], row=tuple_row)
        return None if row is None else WindowUse(row[0], BudgetUnit(row[1]), *row[2:])

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

    async def is_known(self, key: RequestKey) -> bool:
        """Whether this was requested before, under this request id and with this content."""
        asked = [key.principal, key.request_id, key.fingerprint]
        return await self._database.fetch_one(_KNOWN, asked, row=tuple_row) is not None

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
                usage=usage_of(
                    row[9 : 9 + COMMON_COUNTS],
                    row[18],
                    UsageSource.ESTIMATE if row[8] else UsageSource.PROVIDER,
                ),
                end_time=row[16],
                provider_ref=row[17],
                credential=row[19],
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
                provider_ref=row[7],
                credential=row[8],
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

    async def lapsed_holds(self, grace_seconds: float, limit: int) -> list[tuple[UUID, str, int]]:
        """Open holds past their lease, with origin and wallet: the API's, after a grace all."""
        rows = await self._database.fetch_all(_LAPSED, [grace_seconds, limit], row=tuple_row)
        return [(row[0], row[1], row[2]) for row in rows]

    async def open_router_holds(self, owner: str) -> list[OwnedHold]:
        """The holds of one worker's calls that are not final."""
        rows = await self._database.fetch_all(_OF_OWNER, [owner], row=tuple_row)
        return [OwnedHold(HoldId(row[0]), AccountId(row[1]), _freed(*row)) for row in rows]

    async def lost(self, marks: Sequence[Mark]) -> list[Mark]:
        """Those of `marks` whose ends the database does not have."""
        columns = [
            [mark.posted for mark in marks],
            [mark.number for mark in marks],
            [mark.unresolved for mark in marks],
        ]
        rows = await self._database.fetch_all(_LOST, columns, row=tuple_row)
        return [marks[ord_ - 1] for (ord_,) in rows]

    async def standing(
        self, ends: Mapping[HoldId, bool], believed: Collection[HoldId]
    ) -> tuple[int, list[Mark]]:
        """How many of `ends` the database does not have, and the marks of those that it has.

        That is read at one moment: of a database that is put back to an older state just now it
        never says that the last is there because it has forgotten which was the last.

        Args:
            ends: holds that ended, and whether they were posted; others were left unresolved.
            believed: those of them that have a mark of their own besides.
        """
        columns = [list(ends), list(ends.values()), [hold_id in believed for hold_id in ends]]
        row = await self._database.fetch_one(_STANDING, columns, row=tuple_row)
        missing, posted, number, own, own_number = row or (len(ends), None, None, None, None)
        unresolved = [hold_id for hold_id, was_posted in ends.items() if not was_posted]
        of_believed = [hold_id for hold_id in unresolved if hold_id in believed]
        marks = (
            Mark(posted, number or 0, unresolved[-1] if unresolved else None),
            Mark(own, own_number or 0, of_believed[-1] if of_believed else None),
        )
        return missing, [mark for mark in dict.fromkeys(marks) if mark]

    # --- unresolved attempts --------------------------------------------------------------------
    async def unresolved(
        self, after: UUID | None, limit: int, account_id: AccountId | None
    ) -> list[UnresolvedAttempt]:
        """Unresolved attempts in the order of their ids, which is that of their beginning."""
        rows = await self._database.fetch_all(
            _UNRESOLVED, [after or UUID(int=0), account_id, account_id, limit], row=tuple_row
        )
        return [_unresolved(row) for row in rows]

    async def unresolved_attempt(self, hold_id: HoldId) -> UnresolvedAttempt | None:
        """One unresolved attempt; None if it is none, or none any more."""
        row = await self._database.fetch_one(_UNRESOLVED_ONE, [hold_id], row=tuple_row)
        return None if row is None else _unresolved(row)

    async def decision(self, hold_id: HoldId) -> Decision | None:
        """The first word on an attempt's hold; None while there is none."""
        row = await self._database.fetch_one(_DECISION, [hold_id], row=tuple_row)
        return None if row is None else Decision(Final(row[0]), Decider(row[1]), row[2], row[3])

    async def unresolved_since(self, hours: float, limit: int) -> list[UnresolvedAttempt]:
        """Those whose lease ended more than so many hours ago, oldest first."""
        rows = await self._database.fetch_all(_UNRESOLVED_SINCE, [hours, limit], row=tuple_row)
        return [_unresolved(row) for row in rows]

    # --- dead letters ---------------------------------------------------------------------------
    async def dead_letters(self, after: int, limit: int) -> list[DeadLetter]:
        """Those that wait to be sent again, oldest first."""
        rows = await self._database.fetch_all(_DEAD_LETTERS, [after, limit], row=tuple_row)
        return [DeadLetter(*row) for row in rows]

    async def dead_letter_replayed(self, number: int) -> None:
        """Notes that one was applied at last."""
        await self._database.execute(_DEAD_LETTER_REPLAYED, [number])

    # --- what goes on by time -------------------------------------------------------------------
    async def answer(self, call_id: CallId) -> bytes | None:
        """The sealed answer of a call that is done; None where it is not kept."""
        row = await self._database.fetch_one(_ANSWER, [call_id], row=tuple_row)
        return None if row is None or row[0] is None else bytes(row[0])

    async def due_lots(self, limit: int) -> list[tuple[UUID, AccountId]]:
        """Grants that expire by now and of which something may be left, with their wallets."""
        rows = await self._database.fetch_all(_DUE_LOTS, [limit], row=tuple_row)
        return [(row[0], AccountId(row[1])) for row in rows]

    async def forget_requests(self, hours: int, limit: int) -> int:
        """Forgets request ids of chats that are older, with their answers; how many."""
        row = await self._database.fetch_one(
            "SELECT ledger_forget_requests(%s, %s)", [hours, limit], row=tuple_row
        )
        return 0 if row is None else int(row[0])

    async def has_snapshot_of_today(self) -> bool:
        """Whether today's snapshot is whole: the first account's is written last."""
        row = await self._database.fetch_one(_HAS_SNAPSHOT, [], row=tuple_row)
        return bool(row and row[0])

    async def snapshot(self, before: int, limit: int) -> int | None:
        """Takes today's snapshot of the next accounts below `before`; the last one's id."""
        row = await self._database.fetch_one(
            "SELECT ledger_snapshot(%s, %s)", [before, limit], row=tuple_row
        )
        return None if row is None else row[0]

    async def hold_counts(self) -> tuple[int, int]:
        """How many holds are open, and how many unresolved."""
        row = await self._database.fetch_one(_OPEN_HOLDS, [], row=tuple_row)
        return (0, 0) if row is None else (row[0], row[1])


def _freed(
    hold_id: UUID, _wallet: int, principal: int | None, request_id: str | None
) -> RequestEnd | None:
    if principal is None or request_id is None:
        return None
    return RequestEnd(principal, request_id, call_id_of(hold_id), ChatEnd.FREE)


def _unresolved(row: tuple[Any, ...]) -> UnresolvedAttempt:
    return UnresolvedAttempt(*row)


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
        amount=-amount if kind in _DEBITS else amount,
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
