"""Random batches of everything that the ledger can be asked; ids come up again, so that every order
of events happens. The same seed gives the same decisions, though not the same ids."""

import dataclasses
import random
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from ledger_model import INT64_MAX
from ledger_rig import (
    BUDGETS,
    FUTURE,
    PAST,
    WALLETS,
    chat_end,
    chat_key,
    expiry_op,
    final_op,
    hold_op,
    refund_op,
    transfer_op,
)

from omni_grpc.billing.operations import (
    ChatEnd,
    Decider,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Movement,
    Operation,
    Origin,
    Requested,
    RequestEnd,
    RequestEndOp,
    RequestKey,
    TransferOp,
)
from omni_grpc.core.ids import ATTEMPTS_MAX, AccountId, attempt_of, call_id_of, new_hold_id
from omni_grpc.core.payments import Payment

T = TypeVar("T")

SIZES = (1, 1, 2, 4, 8, 16, 30)


class Stream:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.holds: list[HoldOp] = []
        self.chats: list[HoldOp] = []
        self.transfers: list[TransferOp] = []
        self.sent: list[list[Operation]] = []

    def batch(self) -> list[Operation]:
        chance = self.random
        if self.sent and chance.random() < 0.08:
            return chance.choice(self.sent[-4:])
        batch: dict[UUID, Operation] = {}
        keys: set[tuple[int, str]] = set()
        paid: set[Payment] = set()
        ended: set[UUID] = set()
        for _ in range(chance.choice(SIZES)):
            op = self._operation()
            key = op.request and (op.request.principal, op.request.request_id)
            ends = op.ends if isinstance(op, FinalOp | RequestEndOp) else None
            payment = op.payment if isinstance(op, TransferOp) else None
            if op.id in batch or key in keys or (ends and ends.call_id in ended):
                continue
            if payment in paid:
                continue
            paid |= {payment} if payment else set()
            batch[op.id] = op
            keys |= {key} if key else set()
            ended |= {ends.call_id} if ends else set()
        if chance.random() < 0.03:
            poison = self._poison()
            batch.setdefault(poison.id, poison)
        found = list(batch.values())
        self.sent.append(found)
        return found

    def _operation(self) -> Operation:
        dice = self.random.random()
        if dice < 0.15:
            return self._transfer()
        if dice < 0.18 and self.chats:
            return self._request_end(self._one_of(self.chats))
        if dice < 0.5 or not self.holds:
            if self.holds and dice < 0.23:
                return self._again(self._one_of(self.holds))
            op = self._chat() if dice < 0.35 else self._hold()
            self.holds.append(op)
            return op
        return self._final(self._one_of(self.holds))

    def _one_of(self, known: Sequence[T]) -> T:
        """One of the last."""
        return self.random.choice(known[-25:])

    def _wallet(self) -> int:
        return self.random.choice(WALLETS[:3])

    # --- transfers ------------------------------------------------------------------------------
    def _transfer(self) -> TransferOp:
        chance = self.random
        if self.transfers and chance.random() < 0.15:
            return self._one_of(self.transfers)
        kind = chance.choice((Movement.GRANT, Movement.GRANT, Movement.REFUND, Movement.EXPIRY))
        wallet = self._wallet() if chance.random() < 0.1 else None
        if kind is Movement.REFUND and self.holds:
            hold = self._one_of(self.holds)
            of = new_hold_id() if chance.random() < 0.05 else hold.id
            amount = chance.choice((1, 1, 2, 3, 5, 50))
            op = refund_op(amount, of, wallet=wallet or hold.wallet)
        elif kind is Movement.EXPIRY and self.transfers:
            grant = self._one_of(self.transfers)
            op = expiry_op(grant.id, wallet=wallet or grant.wallet)
        else:
            expire_time = chance.choice((None, None, PAST, PAST, FUTURE))
            amount = chance.choice((1, 20, 100))
            name = f"0x{chance.randrange(9):064x}"
            payment = Payment("eip155:8453", name) if chance.random() < 0.3 else None
            op = transfer_op(
                amount, wallet=self._wallet(), expire_time=expire_time, payment=payment
            )
        self.transfers.append(op)
        return op

    # --- holds ----------------------------------------------------------------------------------
    def _hold(self) -> HoldOp:
        chance = self.random
        origin = Origin.API if chance.random() < 0.3 else Origin.ROUTER
        high = chance.choice((0, 1, 5, 5, 10, 30, INT64_MAX if chance.random() < 0.05 else 7))
        least = chance.choice((high, high, 0, high // 2))
        legs: list[Leg] = []
        if origin is Origin.ROUTER and chance.random() < 0.4:
            for budget in chance.sample(BUDGETS, chance.choice((1, 2, 3))):
                most = chance.choice((high, high, 0, 3, 12)) if high < 100 else 9
                low = least if most == high else chance.choice((most, most // 2, 0))
                legs.append(Leg(AccountId(budget), low, most))
        wallet = self._wallet()
        hold_id = new_hold_id()
        request = None
        if origin is Origin.API:
            name = f"hold {hold_id}" if chance.random() < 0.8 else f"common {chance.randrange(6)}"
            request = RequestKey(1, name, f"{wallet} {high}".encode(), Requested.HOLD)
        return hold_op(
            high,
            least=least,
            wallet=wallet,
            origin=origin,
            hold_id=hold_id if origin is Origin.API else None,
            legs=legs,
            seconds=chance.choice((3_600, 3_600, -5)),
            request=request,
        )

    def _chat(self) -> HoldOp:
        """The first attempt of a call whose caller named it, or the next one of such a call."""
        chance = self.random
        amount, seconds = chance.choice((0, 3, 5, 10)), chance.choice((3_600, -5, -5))
        if self.chats and chance.random() < 0.3:
            before = self._one_of(self.chats)
            attempt = min(ATTEMPTS_MAX, attempt_of(before.id) + 1)
            hold_id = UUID(int=call_id_of(before.id).int | attempt)
            op = hold_op(
                amount, wallet=before.wallet, hold_id=hold_id, seconds=seconds,
                request=before.request,
            )  # fmt: skip
        else:
            content = b"other" if chance.random() < 0.1 else b"hello"
            key = chat_key(f"chat {chance.randrange(12)}", content, chance.choice((1, 1, 2)))
            op = hold_op(amount, wallet=self._wallet(), seconds=seconds, request=key)
        self.chats.append(op)
        return op

    def _again(self, op: HoldOp) -> HoldOp:
        """The same hold once more, sometimes with other content."""
        if op.request is None and self.random.random() < 0.3:
            return dataclasses.replace(
                op, amount_min=op.amount_max // 2 + 1, amount_max=op.amount_max // 2 + 1, legs=()
            )
        return op

    # --- finals ---------------------------------------------------------------------------------
    def _final(self, hold: HoldOp) -> FinalOp:
        chance = self.random
        hold_id = new_hold_id() if chance.random() < 0.03 else hold.id
        origin = hold.origin if chance.random() < 0.9 else chance.choice(list(Origin))
        kinds = [Final.SETTLE] * 5 + [Final.VOID] * 2 + [Final.LEASE_END] * 2
        if origin is Origin.ROUTER and hold.origin is Origin.ROUTER:
            kinds += [Final.UNRESOLVED]
        decider = Decider.OWNER
        if chance.random() < 0.3:
            decider = chance.choice((Decider.TIME, Decider.OPERATOR))
            kinds = [Final.VOID, Final.WRITE_OFF, Final.SETTLE]
        kind = chance.choice(kinds)
        has_cost = kind in (Final.SETTLE, Final.WRITE_OFF)
        cost = chance.choice((0, 1, 3, 5, 10, 40)) if has_cost else 0
        wallet, request = None, None
        if origin is Origin.API and kind is not Final.LEASE_END:
            wallet = hold.wallet if chance.random() < 0.9 else WALLETS[3]
            if kind is not Final.WRITE_OFF and chance.random() < 0.7:
                name = f"{kind} {hold_id} {chance.randrange(2)}"
                request = RequestKey(1, name, f"{wallet} {cost}".encode(), Requested(kind.value))
        elif chance.random() < 0.05:
            wallet = chance.choice((hold.wallet, WALLETS[3]))
        legs = [chance.choice((0, 2, cost)) for _ in hold.legs] if chance.random() < 0.5 else []
        is_chat = hold.request is not None and hold.request.operation is Requested.CHAT
        return final_op(
            kind,
            hold_id,
            cost,
            origin=origin,
            decider=decider,
            wallet=wallet,
            leg_costs=legs,
            is_estimate=kind is Final.SETTLE and chance.random() < 0.4,
            provider_ref=f"gen-{chance.randrange(9)}" if chance.random() < 0.2 else None,
            request=request,
            ends=self._end_of(hold) if is_chat and chance.random() < 0.5 else None,
        )

    def _end_of(self, hold: HoldOp) -> RequestEnd:
        chance = self.random
        assert hold.request
        if chance.random() < 0.5:
            return chat_end(hold.request, hold.id, ChatEnd.FREE)
        sealed = chance.choice((None, b"", b"sealed"))
        return chat_end(hold.request, hold.id, ChatEnd.DONE, sealed)

    def _request_end(self, hold: HoldOp) -> RequestEndOp:
        return RequestEndOp(call_id_of(hold.id), self._end_of(hold))

    def _poison(self) -> Operation:
        return self.random.choice(
            (
                transfer_op(0),
                transfer_op(-3),
                transfer_op(INT64_MAX + 1),
                hold_op(-1, least=-1),
                hold_op(5, wallet=9_999),
                hold_op(0, legs=[Leg(AccountId(9_999), 0, 0)]),
                hold_op(0, legs=[Leg(AccountId(BUDGETS[2]), 0, INT64_MAX + 1)]),
            )
        )
