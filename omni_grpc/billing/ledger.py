"""The ledger as its users see it: meters for calls, holds and grants for teams, and reads.

Every change goes through the lane; every read comes from the primary database.
"""

import asyncio
import hashlib
from typing import Final as Constant
from uuid import UUID

from omni_grpc.billing.lane import Lane
from omni_grpc.billing.leases import Leases
from omni_grpc.billing.meter import Meter, short_error, wait_for_hold
from omni_grpc.billing.model import Balance, Hold, HoldState, LedgerEntry, UsageRecord
from omni_grpc.billing.operations import (
    Code,
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
from omni_grpc.billing.store import LedgerStore
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import (
    FieldInvalid,
    HoldFinal,
    LedgerUnavailable,
    NotFound,
    RequestIdReused,
)
from omni_grpc.core.ids import AccountId, CallId, KeyId, OrgId, new_hold_id, uuid7
from omni_grpc.core.limits import LEDGER_WAIT_SECONDS_MAX


class Ledger:
    """Holds, settles, grants and reads. Amounts are nano-USD."""

    def __init__(
        self, *, lane: Lane, leases: Leases, store: LedgerStore, clock: Clock, markup_ppm: int
    ) -> None:
        self._lane = lane
        self._leases = leases
        self._store = store
        self._clock = clock
        self._markup_ppm = markup_ppm

    @property
    def available(self) -> bool:
        """Whether holds can be made now."""
        return self._lane.connected

    def meter(self, call_id: CallId, account_id: AccountId, key_id: KeyId) -> Meter:
        """Opens the meter of a call; no database work yet."""
        return Meter(
            lane=self._lane,
            leases=self._leases,
            clock=self._clock,
            call_id=call_id,
            account_id=account_id,
            key_id=key_id,
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
            raise NotFound(f"There is no usage record of a call {call_id}.")
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
    ) -> Hold:
        """Sets `amount` aside for `seconds`; it is freed by itself after that.

        Raises:
            CreditsExhausted, CreditsHeld: the account has no room.
            RequestIdReused: the request id stood for something else.
            LedgerUnavailable: not known whether it was made; the same request id finds out.
        """
        outcome = await wait_for_hold(
            self._lane.hold(
                HoldOp(
                    id=new_hold_id(),
                    origin=Origin.API,
                    wallet=account_id,
                    amount_min=amount,
                    amount_max=amount,
                    seconds=seconds,
                    key_id=key_id,
                    request=_key(org_id, request_id, Requested.HOLD, account_id, amount, seconds),
                )
            )
        )
        if outcome.code is Code.SHORT:
            raise short_error(outcome, amount)
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
        self, *, account_id: AccountId, org_id: OrgId, amount: int, reason: str, request_id: str
    ) -> LedgerEntry:
        """Adds credits to an account, once for a request id of the granting organisation.

        Raises:
            RequestIdReused: the request id stood for something else.
            LedgerUnavailable: not known whether it was made; the same request id finds out.
        """
        outcome = await self._applied(
            TransferOp(
                id=uuid7(),
                kind=Movement.GRANT,
                wallet=account_id,
                amount=amount,
                reference=reason,
                request=_key(org_id, request_id, Requested.GRANT, account_id, amount, reason),
            )
        )
        _refuse_reused(outcome, request_id)
        entry = await self._store.entry_of(outcome.target)
        if entry is None:
            raise RuntimeError(f"the grant {outcome.target} has no posting")
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
        raise RequestIdReused(
            f"The request_id {request_id!r} was used before with other content; use a new one."
        )
