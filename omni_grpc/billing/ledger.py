"""The ledger as its users see it: meters for calls, holds and grants for teams, and reads.

Every change goes through the lane; every read comes from the primary database.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final as Constant
from typing import Self
from uuid import UUID

from omni_grpc.billing.dead_letters import DeadLetter
from omni_grpc.billing.journal import Journal
from omni_grpc.billing.lane import Lane
from omni_grpc.billing.leases import Leases
from omni_grpc.billing.legs import legs_of, tokens_of
from omni_grpc.billing.meter import Meter
from omni_grpc.billing.model import (
    Balance,
    Decision,
    Hold,
    HoldState,
    LedgerEntry,
    UnresolvedAttempt,
    UsageRecord,
)
from omni_grpc.billing.operations import (
    AttemptOutcome,
    Code,
    Decider,
    Final,
    FinalOp,
    HoldOp,
    Movement,
    Operation,
    Origin,
    Outcome,
    Requested,
    RequestKey,
    TransferOp,
)
from omni_grpc.billing.requests import reused
from omni_grpc.billing.shortages import Shortages
from omni_grpc.billing.store import LedgerStore
from omni_grpc.billing.waits import wait_for_hold
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import (
    AlreadyExists,
    FieldInvalid,
    HoldFinal,
    LedgerUnavailable,
    NotFound,
)
from omni_grpc.core.ids import AccountId, CallId, HoldId, KeyId, OrgId, new_hold_id, uuid7
from omni_grpc.core.limits import LEDGER_WAIT_SECONDS_MAX
from omni_grpc.core.missing import no_call
from omni_grpc.core.money import usd_text
from omni_grpc.core.payments import Payment
from omni_grpc.core.tenancy import BudgetRef
from omni_grpc.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Resolution:
    """An operator's word on an unresolved attempt; make one by the class methods."""

    kind: Final
    cost: int
    outcome: AttemptOutcome
    usage: Usage | None

    @classmethod
    def settle(cls, usage: Usage, cost: int) -> Self:
        """The provider's own records say what was used; `cost` is that at the pinned price."""
        return cls(Final.SETTLE, cost, AttemptOutcome.CANCELLED, usage)

    @classmethod
    def void(cls) -> Self:
        """The provider charged nothing: the hold is freed."""
        return cls(Final.VOID, 0, AttemptOutcome.FAILED, None)

    @classmethod
    def write_off(cls, loss: int) -> Self:
        """The hold is freed, and the operator bears `loss`."""
        return cls(Final.WRITE_OFF, loss, AttemptOutcome.UNKNOWN, None)


class Ledger:
    """Holds, settles, grants and reads. Amounts are nano-USD."""

    def __init__(
        self,
        *,
        lane: Lane,
        leases: Leases,
        journal: Journal,
        store: LedgerStore,
        clock: Clock,
        markup_ppm: int,
    ) -> None:
        self._lane = lane
        self._leases = leases
        self._journal = journal
        self._store = store
        self._shortages = Shortages(store)
        self._clock = clock
        self._markup_ppm = markup_ppm

    @property
    def available(self) -> bool:
        """Whether holds can be made now."""
        return self._lane.connected

    def meter(
        self,
        call_id: CallId,
        account_id: AccountId,
        key_id: KeyId,
        budgets: Sequence[BudgetRef] = (),
    ) -> Meter:
        """Opens the meter of a call that must fit into `budgets`; no database work yet."""
        return Meter(
            lane=self._lane,
            leases=self._leases,
            journal=self._journal,
            clock=self._clock,
            call_id=call_id,
            account_id=account_id,
            key_id=key_id,
            budgets=budgets,
            shortages=self._shortages,
            markup_ppm=self._markup_ppm,
        )

    # --- reads ------------------------------------------------------------------------------
    async def balance(self, account_id: AccountId) -> Balance:
        """The balance of an account.

        Raises:
            NotFound: there is no such account.
        """
        found = await self._store.balance(account_id)
        if found is None:
            raise NotFound("There is no such account.")
        return found

    async def entries(
        self, account_id: AccountId, before: int | None, limit: int
    ) -> list[LedgerEntry]:
        """Up to `limit` entries at positions below `before`, newest first."""
        return await self._store.entries(account_id, before, limit)

    async def usage(self, call_id: CallId) -> UsageRecord:
        """What a call used and cost, also while it runs.

        Raises:
            NotFound: no attempt was ever made under this id.
        """
        found = await self._store.usage(call_id)
        if found is None:
            raise no_call(call_id)
        return found

    # --- holds of a team's own work -----------------------------------------------------------
    async def create_hold(
        self,
        *,
        account_id: AccountId,
        org_id: OrgId,
        key_id: KeyId,
        amount: int,
        seconds: int,
        request_id: str,
        budgets: Sequence[BudgetRef] = (),
    ) -> Hold:
        """Sets `amount` aside for `seconds`; it is freed by itself after that.

        It counts in those of `budgets` that count dollars: nobody knows of tokens.

        Raises:
            CreditsExhausted, CreditsHeld: the account has no room.
            BudgetExhausted, BudgetHeld: a budget has none.
            RequestIdReused: the request id stood for something else.
            LedgerUnavailable: not known whether it was made; the same request id finds out.
        """
        op = HoldOp(
            id=new_hold_id(),
            origin=Origin.API,
            wallet=account_id,
            amount_min=amount,
            amount_max=amount,
            legs=legs_of(budgets, (amount, amount)),
            seconds=seconds,
            key_id=key_id,
            request=_key(org_id, request_id, Requested.HOLD, account_id, amount, seconds),
        )
        outcome = await wait_for_hold(self._lane.hold(op))
        if outcome.code is Code.SHORT:
            raise await self._shortages.error(op, outcome)
        _refuse_reused(outcome, request_id)
        return Hold(outcome.target, HoldState.OPEN, amount, expire_time=outcome.until)

    async def settle_hold(
        self,
        *,
        account_id: AccountId,
        org_id: OrgId,
        hold_id: UUID,
        amount: int,
        request_id: str,
    ) -> Hold:
        """Charges `amount` of a hold made by `create_hold`, and frees the rest.

        Raises:
            NotFound: the account has no such hold.
            HoldFinal: it was settled for another amount, or is voided.
            FieldInvalid: more than was held.
            RequestIdReused: the request id stood for something else.
        """
        return await self._finish(
            FinalOp(
                id=hold_id,  # type: ignore[arg-type]  # named by the caller, checked by the ledger
                kind=Final.SETTLE,
                origin=Origin.API,
                wallet=account_id,
                cost=amount,
                request=_key(org_id, request_id, Requested.SETTLE, account_id, hold_id, amount),
            ),
            account_id,
        )

    async def release_hold(
        self, *, account_id: AccountId, org_id: OrgId, hold_id: UUID, request_id: str
    ) -> Hold:
        """Frees a hold made by `create_hold`. Errors are those of `settle_hold`."""
        return await self._finish(
            FinalOp(
                id=hold_id,  # type: ignore[arg-type]  # named by the caller, checked by the ledger
                kind=Final.VOID,
                origin=Origin.API,
                wallet=account_id,
                request=_key(org_id, request_id, Requested.RELEASE, account_id, hold_id),
            ),
            account_id,
        )

    # --- grants -------------------------------------------------------------------------------
    async def grant(
        self,
        *,
        account_id: AccountId,
        org_id: OrgId,
        amount: int,
        reason: str,
        request_id: str,
        expire_time: datetime | None = None,
        payment: Payment | None = None,
    ) -> LedgerEntry:
        """Adds credits to an account, once for a request id of the granting organisation.

        What a `payment` was granted for is granted once for ever, whatever the request id: the
        same again is told the first outcome.

        Of credits with an `expire_time`, what is neither spent nor held by then is taken back;
        credits are spent in the order in which they came.

        Raises:
            FieldInvalid: `expire_time` is over.
            RequestIdReused: the request id stood for something else.
            AlreadyExists: the payment was booked for another account or amount.
            LedgerUnavailable: not known whether it was made; the same request id finds out.
        """
        until = () if expire_time is None else (expire_time.isoformat(),)
        paid = () if payment is None else (payment.network, payment.id)
        key = _key(org_id, request_id, Requested.GRANT, account_id, amount, reason, *until, *paid)
        is_late = expire_time is not None and expire_time <= self._clock.now()
        if is_late and not await self._store.is_known(key):  # no repeat of one that was in time
            raise FieldInvalid("expire_time must be in the future.", field="expire_time")
        outcome = await self._applied(
            TransferOp(
                id=uuid7(),
                kind=Movement.GRANT,
                wallet=account_id,
                amount=amount,
                reference=reason,
                expire_time=expire_time,
                request=key,
                payment=payment,
            )
        )
        if outcome.code is Code.PAYMENT_REUSED:
            raise AlreadyExists(
                "This payment was booked before, for another account or another amount; no credits "
                "were added."
            )
        return await self._entry_of(outcome, request_id)

    async def refund(
        self,
        *,
        account_id: AccountId,
        org_id: OrgId,
        charge_id: UUID,
        amount: int,
        reason: str,
        request_id: str,
    ) -> LedgerEntry:
        """Gives back a part of a charge, or all of it; the charge itself stays as it is.

        Args:
            account_id: the account that was charged.
            org_id: the organisation whose request id it is.
            charge_id: the hold whose settle is refunded.
            amount: how much; with all other refunds of that charge at most the charge.
            reason: shown on the entry.
            request_id: repeated with the same content, the first outcome is told.

        Raises:
            NotFound: the account has no such charge.
            FieldInvalid: more than is left of the charge.
            RequestIdReused: the request id stood for something else.
            LedgerUnavailable: not known whether it was made; the same request id finds out.
        """
        outcome = await self._applied(
            TransferOp(
                id=uuid7(),
                kind=Movement.REFUND,
                wallet=account_id,
                amount=amount,
                reference=reason,
                of=charge_id,
                request=_key(
                    org_id, request_id, Requested.REFUND, account_id, charge_id, amount, reason
                ),
            )
        )
        if outcome.code is Code.UNKNOWN:
            raise NotFound("The account has no such charge.")
        if outcome.code is Code.ABOVE_HOLD:
            raise FieldInvalid(
                f"Only {usd_text(outcome.amount or 0)} USD of this charge is left to be refunded.",
                field="amount_nanousd",
            )
        return await self._entry_of(outcome, request_id)

    # --- what nobody knows ----------------------------------------------------------------------
    async def unresolved(
        self, after: UUID | None, limit: int, account_id: AccountId | None = None
    ) -> list[UnresolvedAttempt]:
        """Up to `limit` attempts whose outcome is not known, in the order of their beginning.

        Args:
            after: the hold after which to go on; None for the first.
            limit: how many.
            account_id: whose; None for all accounts.
        """
        return await self._store.unresolved(after, limit, account_id)

    async def unresolved_attempt(self, hold_id: HoldId) -> UnresolvedAttempt:
        """One of them.

        Raises:
            NotFound: it is none.
        """
        found = await self._store.unresolved_attempt(hold_id)
        if found is None:
            raise NotFound(
                f"There is no unresolved attempt {hold_id}: it is unknown, still runs, or is "
                "resolved already."
            )
        return found

    async def resolve(self, attempt: UnresolvedAttempt, resolution: Resolution) -> int:
        """Ends an unresolved attempt by an operator's word; returns what the account is charged.

        Raises:
            NotFound: it is not unresolved any more.
            LedgerUnavailable: not known yet whether it was done; asking again finds out.
        """
        outcome = await self._applied(
            FinalOp(
                id=attempt.hold_id,
                kind=resolution.kind,
                origin=Origin.ROUTER,
                decider=Decider.OPERATOR,
                wallet=attempt.account_id,
                cost=resolution.cost,
                leg_costs=()
                if resolution.usage is None
                else (tokens_of(resolution.usage),) * attempt.token_legs,
                outcome=resolution.outcome,
                usage=resolution.usage,
                provider_ref=attempt.provider_ref,
            )
        )
        if outcome.code not in (Code.DONE, Code.ALREADY):
            raise NotFound(f"The attempt {attempt.hold_id} is not unresolved any more.")
        return outcome.amount or 0

    async def decision(self, hold_id: HoldId) -> Decision | None:
        """How an attempt's hold ended at first; None while it has not."""
        return await self._store.decision(hold_id)

    async def dead_letters(self, after: int, limit: int) -> list[DeadLetter]:
        """Up to `limit` operations that could not be applied and wait to be sent again."""
        return await self._store.dead_letters(after, limit)

    async def replay(self, letter: DeadLetter) -> Outcome:
        """Sends a dead letter again, and notes it when it was applied.

        Raises:
            Internal: the database refuses it still; it stays where it is.
            msgspec.MsgspecError: it cannot be read.
        """
        outcome = await self._applied(letter.read())
        await self._store.dead_letter_replayed(letter.id)
        return outcome

    # --- calls that are repeated ----------------------------------------------------------------
    async def answer(self, call_id: CallId) -> bytes | None:
        """The sealed answer of a call that is done; None where it is not kept."""
        return await self._store.answer(call_id)

    async def _entry_of(self, outcome: Outcome, request_id: str) -> LedgerEntry:
        _refuse_reused(outcome, request_id)
        entry = await self._store.entry_of(outcome.target)
        if entry is None:
            raise RuntimeError(f"the transfer {outcome.target} has no posting")
        return entry

    async def _finish(self, op: FinalOp, account_id: AccountId) -> Hold:
        outcome = await self._applied(op)
        if op.request is not None:
            _refuse_reused(outcome, op.request.request_id)
        if outcome.code is Code.UNKNOWN:
            raise NotFound(f"The account has no hold {op.id} that was made through the API.")
        if outcome.code is Code.ABOVE_HOLD:
            raise FieldInvalid(
                "The amount is above what was held; settle at most that.", field="amount_nanousd"
            )
        found = await self._store.final_api_hold(account_id, op.id)
        if found is None:
            raise RuntimeError(f"the hold {op.id} is final but has no posting")
        if outcome.code is Code.DECIDED:
            raise HoldFinal(
                f"The hold is {found.state} already"
                + (f" for {found.settled} nano-USD." if found.settled is not None else "."),
                metadata={"state": found.state.value},
            )
        return found

    async def _applied(self, op: Operation) -> Outcome:
        if not self._lane.connected:
            raise LedgerUnavailable(
                "The ledger's database does not answer; nothing was changed.", retry_after_s=1.0
            )
        try:
            async with asyncio.timeout(LEDGER_WAIT_SECONDS_MAX):
                return await asyncio.shield(self._lane.apply(op))
        except TimeoutError:
            raise LedgerUnavailable(
                "The ledger's database is slow to answer and the outcome is not known yet; "
                "the same call with the same request_id finds it out.",
                retry_after_s=1.0,
            ) from None


_WORDS: Constant = {
    Requested.HOLD: "hold",
    Requested.SETTLE: "settle",
    Requested.RELEASE: "release",
    Requested.GRANT: "grant",
    Requested.REFUND: "refund",
}
"""How an operation stands in a fingerprint, which outlives versions of this code."""


def _key(org_id: OrgId, request_id: str, operation: Requested, *content: object) -> RequestKey:
    canonical = "\x1f".join(str(part) for part in (_WORDS[operation], *content))
    fingerprint = hashlib.blake2b(canonical.encode(), digest_size=16).digest()
    return RequestKey(int(org_id), request_id, fingerprint, operation)


def _refuse_reused(outcome: Outcome, request_id: str) -> None:
    if outcome.code is Code.REQUEST_REUSED:
        raise reused(request_id)
