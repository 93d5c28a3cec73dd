"""The SQL of top-ups (migrations/0019_topups.sql and 0022_tenants_and_top_ups.sql).

Each method is one statement or one transaction. Every method raises LedgerUnavailable when the
database is away.
"""

from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.rows import kwargs_row, scalar_row, tuple_row

from omni_grpc.audit import Actor, Change, append
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.core.payments import Payment
from omni_grpc.notices import enqueue
from omni_grpc.storage import Connection, Database
from omni_grpc.topups.model import (
    Begun,
    Decided,
    Method,
    Opened,
    Paid,
    Presented,
    Said,
    State,
    Told,
    TopUp,
)

_COLUMNS: Final = """
id, org_id, account_id, method::text, state::text, automatic, amount, credited, reversed, network,
payment_id, payer, message, reference, checkout_url, offer, return_url, save_card, payment_key,
presented, looked, check_count, create_time, expire_time, pay_time
"""

_INSERT: Final = f"""
INSERT INTO top_up (id, org_id, account_id, method, automatic, amount, request_id, fingerprint,
                    return_url, save_card, expire_time, check_time)
VALUES (%(id)s, %(org_id)s, %(account_id)s, %(method)s, %(automatic)s, %(amount)s, %(request_id)s,
        %(fingerprint)s, %(return_url)s, %(save_card)s,
        clock_timestamp() + make_interval(secs => %(seconds)s),
        clock_timestamp() + make_interval(secs => %(check_seconds)s))
ON CONFLICT DO NOTHING
RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are ours, here and below

_CROWDED: Final = """
SELECT count(*) >= %(most)s AND NOT EXISTS (
         SELECT FROM top_up WHERE org_id = %(org_id)s AND request_id = %(request_id)s)
FROM (SELECT FROM top_up WHERE account_id = %(account_id)s AND state = 'O' LIMIT %(most)s) o
"""

LOW: Final = """
a.active AND a.payment_method <> '' AND o.suspend_time IS NULL
AND w.credits_posted - w.debits_posted - w.debits_pending < a.threshold
AND NOT EXISTS (SELECT FROM top_up t
                 WHERE t.org_id = a.org_id AND t.automatic AND t.state IN ('O', 'P'))
AND (a.month_max IS NULL OR a.month_max >= a.amount + (
  SELECT coalesce(sum(t.amount), 0) FROM top_up t
   WHERE t.org_id = a.org_id AND t.automatic AND t.state IN ('S', 'R')
     AND t.create_time >= date_trunc('month', clock_timestamp(), 'UTC')))
"""
"""When the account (`w`) of an organisation (`o`) buys by its setting (`a`). What was charged and
taken back was charged."""

# Of all servers that saw a low account one makes the top-up: the others wait here, and then see
# either it under way or what it bought.
_STILL_LOW: Final = f"""
SELECT FROM auto_top_up a JOIN org o ON o.id = a.org_id JOIN account w ON w.id = o.account_id
WHERE a.org_id = %s AND a.amount = %s AND {LOW}
"""
_LOCK_AUTOMATIC: Final = "SELECT FROM auto_top_up WHERE org_id = %s FOR UPDATE"

_OF_REQUEST: Final = f"""
SELECT {_COLUMNS}, fingerprint = %s AS same FROM top_up WHERE org_id = %s AND request_id = %s
"""  # noqa: S608

_OPENED: Final = f"""
UPDATE top_up SET reference = %(reference)s, checkout_url = %(checkout_url)s, offer = %(offer)s
WHERE id = %(id)s AND reference = '' AND offer = '' RETURNING {_COLUMNS}
"""  # noqa: S608

_GET: Final = f"SELECT {_COLUMNS} FROM top_up WHERE id = %s"  # noqa: S608

_LIST: Final = f"""
SELECT {_COLUMNS} FROM top_up
WHERE account_id = %s AND (%s::uuid IS NULL OR id < %s) ORDER BY id DESC LIMIT %s
"""  # noqa: S608

# Only an open one takes a payment, and one payment only: whoever comes second waits here.
_BEGIN: Final = f"""
UPDATE top_up SET state = 'P', payment_key = %(key)s, presented = %(text)s, looked = false,
       message = '', check_count = 0,
       check_time = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE id = %(id)s AND state = 'O' RETURNING {_COLUMNS}
"""  # noqa: S608

# From now on a payment may be sent by a look, whatever its first try comes to.
_LOOKED: Final = f"""
UPDATE top_up SET looked = true WHERE id = %(id)s AND state = 'P' AND payment_key = %(key)s
RETURNING {_COLUMNS}
"""  # noqa: S608

_PENDING_OF: Final = f"""
SELECT {_COLUMNS} FROM top_up WHERE account_id = %s AND state = 'P' AND method = %s LIMIT 1
"""  # noqa: S608
_OF_PAYMENT: Final = f"SELECT {_COLUMNS} FROM top_up WHERE payment_key = %s"  # noqa: S608

# Credited is what was booked. One that was given up and paid after all is paid.
_SUCCEEDED: Final = f"""
UPDATE top_up SET state = 'S', credited = %(amount)s, network = %(network)s,
       payment_id = %(payment_id)s, payer = %(payer)s, message = %(message)s, check_time = NULL,
       pay_time = clock_timestamp(), presented = NULL
WHERE id = %(id)s AND state NOT IN ('S', 'R') RETURNING {_COLUMNS}
"""  # noqa: S608

_FAILED: Final = f"""
UPDATE top_up SET state = %(state)s, message = %(message)s, check_time = NULL, payment_key = NULL,
       presented = NULL
WHERE id = %(id)s AND payment_id = '' AND (state = 'O' OR state = 'P' AND %(state)s <> 'E')
RETURNING {_COLUMNS}
"""  # noqa: S608

# An automatic top-up that failed is the last one, until somebody has looked at the card; so is any
# payment that was taken back, which would else be charged anew at once.
_STOP_AUTOMATIC: Final = """
UPDATE auto_top_up SET active = false, fault = %s, revision = revision + 1
WHERE org_id = %s AND active
"""

# What is found out of a payment is said of that payment alone, and not by its first try where a
# look may have sent it meanwhile; nor of one that an operator has said a transaction for.
_REOPENED: Final = f"""
UPDATE top_up SET state = 'O', message = %(message)s, payment_key = NULL, presented = NULL,
       check_count = 0, check_time = expire_time
WHERE id = %(id)s AND state = 'P' AND payment_key = %(key)s AND looked = %(looked)s
  AND presented IS NOT NULL
RETURNING {_COLUMNS}
"""  # noqa: S608

_PENDING: Final = f"""
UPDATE top_up SET state = 'P', message = %(message)s
WHERE id = %(id)s AND state IN ('O', 'P') AND payment_key IS NOT DISTINCT FROM %(key)s
RETURNING {_COLUMNS}
"""  # noqa: S608

_PENDING_AFTER: Final = f"""
SELECT {_COLUMNS} FROM top_up
WHERE state = 'P' AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
  AND (%(after)s::uuid IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s
"""  # noqa: S608

# From now on nobody sends the payment or asks for it: what paid is said.
_RESERVE: Final = f"""
UPDATE top_up SET state = 'P', network = %(network)s, payment_id = %(payment_id)s,
       message = %(message)s, presented = NULL, check_time = NULL
WHERE id = %(id)s AND state IN ('P', 'F')
  AND (network = %(network)s AND payment_id = %(payment_id)s
       OR payment_id = '' AND NOT EXISTS (
         SELECT FROM payment y
          WHERE y.network = %(network)s AND y.payment_id = %(payment_id)s))
RETURNING {_COLUMNS}
"""  # noqa: S608
# A grant is for the top-up that its reason names, as is its request id; see TopUps and Decisions.
_GRANTED: Final = """
SELECT y.network, y.payment_id, y.amount
FROM request q JOIN payment y ON y.posting = q.target
WHERE q.principal = 0 AND q.request_id = 'top-up ' || %s::text
  AND EXISTS (SELECT FROM posting p WHERE p.id = q.target AND p.reference = q.request_id)
"""
_BOUGHT_ANOTHER: Final = """
SELECT EXISTS (
  SELECT FROM payment y JOIN posting p ON p.id = y.posting
   WHERE y.network = %(network)s AND y.payment_id = %(payment_id)s
     AND p.reference LIKE 'top-up %%' AND p.reference <> 'top-up ' || %(id)s::text)
"""
_UNRESERVE: Final = """
UPDATE top_up SET network = '', payment_id = '' WHERE id = %s AND state = 'P'
"""
_VOIDED: Final = f"""
UPDATE top_up SET state = 'F', message = %(message)s, check_time = NULL, payment_key = NULL,
       presented = NULL
WHERE id = %(id)s AND state = 'P' AND payment_id = '' RETURNING {_COLUMNS}
"""  # noqa: S608

# One of all servers looks at each that is due; the next look is later, should it die over this one.
_TAKE_DUE: Final = f"""
UPDATE top_up t SET check_count = t.check_count + 1,
       check_time = clock_timestamp() + make_interval(
         secs => least(%(seconds)s * power(2, least(t.check_count, 12)), %(seconds_max)s))
FROM (SELECT id FROM top_up WHERE check_time <= clock_timestamp() AND state IN ('O', 'P')
      ORDER BY check_time LIMIT %(limit)s FOR UPDATE SKIP LOCKED) d
WHERE t.id = d.id RETURNING {_COLUMNS.replace("id,", "t.id,", 1)}
"""  # noqa: S608

_REVERSE: Final = "SELECT * FROM ledger_reverse_payment(%s, %s, %s, %s, %s, %s)"
_REVERSED: Final = """
UPDATE top_up t SET reversed = x.taken, message = %s,
       state = CASE WHEN x.taken >= t.credited THEN 'R' ELSE 'S' END
FROM (SELECT payment_taken(posting) AS taken FROM payment
       WHERE network = %s AND payment_id = %s) x
WHERE t.network = %s AND t.payment_id = %s
RETURNING t.org_id
"""
_REVERSAL: Final = """
SELECT p.wallet, v.amount FROM payment_reversal v JOIN posting p ON p.id = v.posting AND p.n = 0
WHERE v.network = %s AND v.reversal_id = %s
"""


_SLUG: Final = "SELECT slug FROM org WHERE id = %s"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up to be made. `seconds` is how long it can be paid."""

    id: UUID
    org_id: OrgId
    account_id: AccountId
    method: Method
    amount: int
    request_id: str
    fingerprint: bytes
    seconds: float
    check_seconds: float
    automatic: bool = False
    return_url: str = ""
    save_card: bool = False


class TopUpStore:
    """Top-ups in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_crowded(self, draft: Draft, most: int) -> bool:
        """Whether the draft is new, and its account has so many that wait for their payments."""
        values = msgspec.structs.asdict(draft) | {"most": most}
        return bool(await self._database.fetch_one(_CROWDED, values, row=scalar_row))

    async def insert(self, actor: Actor, draft: Draft) -> tuple[TopUp, bool]:
        """The top-up of the draft's request id, and whether it has the draft's content.

        One that is made now has its entry in the audit log.
        """

        async def work(connection: Connection) -> TopUp | None:
            return await _make(connection, actor, draft)

        made = await self._database.transaction(work)
        if made is not None:
            return made, True
        found = await self._database.fetch_one(
            _OF_REQUEST,
            (draft.fingerprint, draft.org_id, draft.request_id),
            row=kwargs_row(_compared),
        )
        if found is None:
            raise RuntimeError("a top-up is never deleted")
        return found

    async def insert_automatic(self, actor: Actor, draft: Draft) -> TopUp | None:
        """The draft's top-up, if its account is still low and has none under way; else None."""

        async def work(connection: Connection) -> TopUp | None:
            await connection.execute(_LOCK_AUTOMATIC, (draft.org_id,))
            values = (draft.org_id, draft.amount)
            low = await (await connection.execute(_STILL_LOW, values)).fetchone()
            if low is None:
                return None
            return await _make(connection, actor, draft)

        return await self._database.transaction(work)

    async def opened(self, top_up: TopUp, opened: Opened) -> TopUp:
        """Keeps what the payer needs; the first word of several stays."""
        found = await self._one(_OPENED, {"id": top_up.id, **msgspec.structs.asdict(opened)})
        return found or await self.must_get(top_up.id)

    async def get(self, top_up_id: UUID) -> TopUp | None:
        """One by its id."""
        return await self._one(_GET, (top_up_id,))

    async def must_get(self, top_up_id: UUID) -> TopUp:
        """One that is known to be there."""
        found = await self.get(top_up_id)
        if found is None:
            raise RuntimeError(f"the top-up {top_up_id} is gone")
        return found

    async def of_account(
        self, account_id: AccountId, before: UUID | None, limit: int
    ) -> list[TopUp]:
        """Of an account, newest first."""
        return await self._database.fetch_all(
            _LIST, (account_id, before, before, limit), row=kwargs_row(_top_up)
        )

    async def begin(self, top_up: TopUp, presented: Presented, seconds: float) -> TopUp | None:
        """Takes a signed payment for an open one; None where it is not open, or it pays another."""
        values = {"id": top_up.id, "key": presented.key, "text": presented.text}
        try:
            return await self._one(_BEGIN, {**values, "seconds": seconds})
        except UniqueViolation:
            return None

    async def looked(self, top_up: TopUp) -> TopUp | None:
        """Before a payment is looked at, which may send it; None where it is under way no more."""
        return await self._one(_LOOKED, {"id": top_up.id, "key": top_up.payment_key})

    async def pending_of(self, account_id: AccountId, method: Method) -> TopUp | None:
        """One of an account whose payment's fate is not known."""
        return await self._one(_PENDING_OF, (account_id, method.value))

    async def of_payment(self, key: str) -> TopUp | None:
        """The one that a signed payment is for."""
        return await self._one(_OF_PAYMENT, (key,))

    async def succeeded(
        self, top_up: TopUp, paid: Paid, message: str, told: Told, said: Said | None = None
    ) -> TopUp | None:
        """Credited, and told; None where it was before. `said` is by whose word."""

        async def work(connection: Connection) -> TopUp | None:
            cursor = connection.cursor(row_factory=kwargs_row(_top_up))
            values = {
                "id": top_up.id,
                "amount": paid.amount,
                "network": paid.payment.network,
                "payment_id": paid.payment.id,
                "payer": paid.payer,
                "message": message,
            }
            found = await (await cursor.execute(_SUCCEEDED, values)).fetchone()
            if found is not None:
                await _tell(connection, top_up, "top_up.succeeded", told)
                if said is not None:
                    await _record(connection, found, said)
            return found

        return await self._database.transaction(work)

    async def failed(self, top_up: TopUp, state: State, message: str, told: Told) -> TopUp | None:
        """Given up; None where it had ended otherwise. An expiry is not told: nobody tried."""

        async def work(connection: Connection) -> TopUp | None:
            cursor = connection.cursor(row_factory=kwargs_row(_top_up))
            values = {"id": top_up.id, "state": state.value, "message": message}
            found = await (await cursor.execute(_FAILED, values)).fetchone()
            if found is not None and state is State.FAILED:
                if top_up.automatic:
                    await connection.execute(_STOP_AUTOMATIC, (message, top_up.org_id))
                await _tell(connection, top_up, "top_up.failed", told)
            return found

        return await self._database.transaction(work)

    async def pending_after(
        self, account_id: AccountId | None, after: UUID | None, limit: int
    ) -> list[TopUp]:
        """Of an account, or of all: those whose payment's fate is not known, oldest first."""
        values = {"account_id": account_id, "after": after, "limit": limit}
        return await self._database.fetch_all(_PENDING_AFTER, values, row=kwargs_row(_top_up))

    async def reserve(self, top_up: TopUp, payment: Payment, message: str) -> TopUp | None:
        """Says what paid for one, before it is credited.

        None where the payment bought other credits, or where something else ended the top-up, or
        was said of it.
        """
        values = {"id": top_up.id, "network": payment.network, "payment_id": payment.id}
        try:
            return await self._one(_RESERVE, values | {"message": message})
        except UniqueViolation:
            return None

    async def granted(self, top_up: TopUp) -> Paid | None:
        """What it was credited for, also where its row does not say so: who credited it died."""
        found: Any = await self._database.fetch_one(_GRANTED, (top_up.id,), row=tuple_row)
        return found and Paid(payment=Payment(found[0], found[1]), amount=found[2])

    async def bought_another(self, top_up: TopUp, payment: Payment) -> bool:
        """Whether a payment bought another top-up than this."""
        values = {"id": top_up.id, "network": payment.network, "payment_id": payment.id}
        return bool(await self._database.fetch_one(_BOUGHT_ANOTHER, values, row=scalar_row))

    async def unreserve(self, top_up: TopUp) -> None:
        """Takes back what was said, since that payment bought something else."""
        await self._database.execute(_UNRESERVE, (top_up.id,))

    async def voided(self, top_up: TopUp, message: str, told: Told, said: Said) -> TopUp | None:
        """Given up by an operator's word; None where it had ended, or is being settled."""

        async def work(connection: Connection) -> TopUp | None:
            cursor = connection.cursor(row_factory=kwargs_row(_top_up))
            values = {"id": top_up.id, "message": message}
            found = await (await cursor.execute(_VOIDED, values)).fetchone()
            if found is not None:
                await _tell(connection, top_up, "top_up.failed", told)
                await _record(connection, found, said)
            return found

        return await self._database.transaction(work)

    async def reopened(self, top_up: TopUp, message: str) -> TopUp | None:
        """A payment was refused, and another may come; None where it had ended otherwise."""
        values = {"id": top_up.id, "key": top_up.payment_key, "looked": top_up.looked}
        return await self._one(_REOPENED, {**values, "message": message})

    async def pending(self, top_up: TopUp, message: str) -> TopUp | None:
        """Its fate is not known yet; None where it had ended otherwise."""
        values = {"id": top_up.id, "key": top_up.payment_key, "message": message}
        return await self._one(_PENDING, values)

    async def take_due(self, seconds: float, seconds_max: float, limit: int) -> list[TopUp]:
        """Those that this server shall look at now; each again later, at growing distances."""
        return await self._database.fetch_all(
            _TAKE_DUE,
            {"seconds": seconds, "seconds_max": seconds_max, "limit": limit},
            row=kwargs_row(_top_up),
        )

    async def reverse(
        self, reversal: UUID, network: str, name: str, payment_id: str, amount: int, why: str
    ) -> tuple[bool, int] | None:
        """Takes back what a payment bought, once for a reversal's name.

        Returns whether it was done now, and what was taken back then or before; None where no such
        payment was booked.
        """

        async def work(connection: Connection) -> tuple[bool, int] | None:
            values = (reversal, network, name, payment_id, amount, why)
            row: Any = await (await connection.execute(_REVERSE, values)).fetchone()
            if row is None:
                return None
            named = (network, payment_id)
            changed = await connection.execute(_REVERSED, (why, *named, *named))
            top_up = await changed.fetchone()
            if top_up is not None and row[0]:
                await connection.execute(_STOP_AUTOMATIC, (why, top_up[0]))
            return row[0], row[2]

        return await self._database.transaction(work)

    async def reinstated(self, payment: Payment, why: str) -> None:
        """Shows what is still taken back of a payment, after some of it was given back."""
        named = (payment.network, payment.id)
        await self._database.execute(_REVERSED, (why, *named, *named))

    async def reversal(self, network: str, name: str) -> tuple[AccountId, int] | None:
        """Whose wallet a reversal took how much from; None where it took nothing."""
        found: Any = await self._database.fetch_one(_REVERSAL, (network, name), row=tuple_row)
        return None if found is None else (AccountId(found[0]), found[1])

    async def _one(self, query: Any, parameters: Any) -> TopUp | None:  # a literal of this file
        return await self._database.fetch_one(query, parameters, row=kwargs_row(_top_up))


def _top_up(*, method: str, state: str, **columns: Any) -> TopUp:  # as the columns are
    return TopUp(method=Method(method), state=State(state), **columns)


def _compared(*, same: bool, **columns: Any) -> tuple[TopUp, bool]:  # likewise
    return _top_up(**columns), same


async def _make(connection: Connection, actor: Actor, draft: Draft) -> TopUp | None:
    """The draft's top-up and its entry in the audit log; None where its request id is taken."""
    cursor = connection.cursor(row_factory=kwargs_row(_top_up))
    made = await (await cursor.execute(_INSERT, msgspec.structs.asdict(draft))).fetchone()
    if made is not None:
        begun = Begun(
            name=await _name_of(connection, made),
            amount_nanousd=made.amount,
            method=made.method.name.lower(),
            automatic=made.automatic,
            save_card=made.save_card,
        )
        change = Change(org_id=made.org_id, action="CreateTopUp", resource=begun.name, new=begun)
        await append(connection, actor, change)
    return made


async def _record(connection: Connection, top_up: TopUp, said: Said) -> None:
    """Tells the audit log what was decided about a top-up."""
    new = Decided(
        name=await _name_of(connection, top_up),
        state=top_up.state.name.lower(),
        amount_nanousd=top_up.amount,
        credited_nanousd=top_up.credited,
        payment_id=top_up.payment_id,
        reason=said.reason,
    )
    change = Change(org_id=top_up.org_id, action=said.action, resource=new.name, new=new)
    await append(connection, said.actor, change)


async def _name_of(connection: Connection, top_up: TopUp) -> str:
    cursor = connection.cursor(row_factory=scalar_row)
    slug = await (await cursor.execute(_SLUG, (top_up.org_id,))).fetchone()
    return f"accounts/{slug}/topUps/{top_up.id}"


async def _tell(connection: Connection, top_up: TopUp, event: str, told: Told) -> None:
    name = await _name_of(connection, top_up)
    await enqueue(connection, top_up.org_id, event, msgspec.structs.replace(told, top_up=name))
