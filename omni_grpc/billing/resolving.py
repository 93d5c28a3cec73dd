"""Resolving: an operator's word on attempts of which nobody knows what their provider did.

What a provider says was used is priced at the version that was pinned before the attempt was sent.
An attempt is resolved once; saying the same again changes nothing and has the same outcome.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final as Constant

from omni_grpc.billing.ledger import Ledger, Resolution
from omni_grpc.billing.model import AttemptRecord, Decision, UnresolvedAttempt
from omni_grpc.billing.operations import Decider, Final
from omni_grpc.core.errors import FieldInvalid, HoldFinal, NotFound
from omni_grpc.core.ids import AccountId, HoldId, attempt_of, call_id_of
from omni_grpc.core.money import NanoUsd, Price, charge, usd_text
from omni_grpc.core.usage import Usage

PriceLoader = Callable[[Sequence[int]], Awaitable[Mapping[int, Price]]]
"""Price versions, current or not; what does not exist is left out."""

_Resolve = Callable[[UnresolvedAttempt], Awaitable[Resolution]]
_IsSame = Callable[[Decision, AttemptRecord], bool]

_STATES: Constant = {Final.SETTLE: "settled", Final.VOID: "voided", Final.WRITE_OFF: "written off"}


class Resolver:
    """Ends unresolved attempts. `account_id` None means whosever the attempt is.

    Every method returns the attempt as it then is, and raises:
        NotFound: there is no such attempt of the account, or it still runs.
        HoldFinal: it was ended before in another way.
        LedgerUnavailable: not known yet whether it was done; the same call finds out.
    """

    def __init__(self, ledger: Ledger, prices: PriceLoader) -> None:
        self._ledger = ledger
        self._prices = prices

    async def settle(
        self, hold_id: HoldId, usage: Usage, account_id: AccountId | None = None
    ) -> AttemptRecord:
        """Charges what `usage` costs; what is above the hold is the operator's loss."""

        async def resolution(attempt: UnresolvedAttempt) -> Resolution:
            return Resolution.settle(usage, await self.cost(attempt, usage))

        def is_same(decision: Decision, record: AttemptRecord) -> bool:
            return decision.kind is Final.SETTLE and record.usage == usage

        return await self._end(hold_id, account_id, resolution, is_same)

    async def void(self, hold_id: HoldId, account_id: AccountId | None = None) -> AttemptRecord:
        """Frees the hold: the provider charges nothing."""

        async def resolution(_: UnresolvedAttempt) -> Resolution:
            return Resolution.void()

        def is_same(decision: Decision, _: AttemptRecord) -> bool:
            return decision.kind is Final.VOID

        return await self._end(hold_id, account_id, resolution, is_same)

    async def write_off(
        self, hold_id: HoldId, loss: int | None = None, account_id: AccountId | None = None
    ) -> AttemptRecord:
        """Frees the hold, and books `loss` to the operator; what was held if it is None."""

        async def resolution(attempt: UnresolvedAttempt) -> Resolution:
            return Resolution.write_off(attempt.amount if loss is None else loss)

        def is_same(decision: Decision, record: AttemptRecord) -> bool:
            booked = record.held if loss is None else loss
            return decision.kind is Final.WRITE_OFF and decision.loss == booked

        return await self._end(hold_id, account_id, resolution, is_same)

    async def cost(self, attempt: UnresolvedAttempt, usage: Usage) -> NanoUsd:
        """What `usage` costs at the attempt's pinned price, also above its hold.

        Raises:
            NotFound: the catalog does not know that price version.
        """
        found = await self._prices([attempt.price_version])
        price = found.get(attempt.price_version)
        if price is None:
            raise NotFound(
                f"The catalog has no price version {attempt.price_version}, which was pinned for "
                "this attempt: it cannot be priced. Void it, or write it off."
            )
        try:
            return charge(usage, price, attempt.markup_ppm)
        except ValueError as error:
            raise FieldInvalid(
                f"The attempt cannot be charged by these counts: {error}. Give those that its "
                "price is for.",
                field="settlement",
            ) from None

    async def _end(
        self,
        hold_id: HoldId,
        account_id: AccountId | None,
        resolution: _Resolve,
        is_same: _IsSame,
    ) -> AttemptRecord:
        try:
            attempt = await self._ledger.unresolved_attempt(hold_id)
        except NotFound:
            return await self._ended(hold_id, account_id, is_same)
        _check_account(account_id, attempt.account_id, hold_id)
        decided = await resolution(attempt)
        try:
            await self._ledger.resolve(attempt, decided)
        except NotFound:  # somebody else ended it meanwhile
            return await self._ended(hold_id, account_id, is_same)
        return await self._record(hold_id, account_id)

    async def _ended(
        self, hold_id: HoldId, account_id: AccountId | None, is_same: _IsSame
    ) -> AttemptRecord:
        decision = await self._ledger.decision(hold_id)
        if decision is None:
            raise _none(hold_id)
        record = await self._record(hold_id, account_id)
        if decision.decider is Decider.OPERATOR and is_same(decision, record):
            return record
        state = _STATES[decision.kind]
        raise HoldFinal(
            f"The attempt {hold_id} is {state} already; its account was charged "
            f"{usd_text(record.cost or 0)} USD.",
            metadata={"state": state},
        )

    async def _record(self, hold_id: HoldId, account_id: AccountId | None) -> AttemptRecord:
        call = await self._ledger.usage(call_id_of(hold_id))
        _check_account(account_id, call.account_id, hold_id)
        for record in call.attempts:
            if record.number == attempt_of(hold_id):
                return record
        raise _none(hold_id)


def _check_account(wanted: AccountId | None, found: AccountId, hold_id: HoldId) -> None:
    if wanted not in (None, found):
        raise _none(hold_id)


def _none(hold_id: HoldId) -> NotFound:
    return NotFound(f"There is no unresolved attempt {hold_id}: it is unknown, or still runs.")
