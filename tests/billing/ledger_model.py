"""The ledger's batch function in plain Python: slow, obvious, written from its contract.

It decides one operation after the other on dictionaries. Leases that are over are those of holds
made with a negative time, until they are renewed. A wallet's credits are a pile: what is spent
comes off its oldest, so what is left of a grant that expires is there to be read.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from model_books import (
    FUNDING,
    LOSSES,
    REVENUE,
    Asked,
    Books,
    Credit,
    Lot,
    OpenHold,
    Said,
    Used,
    Word,
)

from omni_grpc.billing.operations import (
    ChatEnd,
    Code,
    Decider,
    Final,
    FinalOp,
    HoldOp,
    Movement,
    Operation,
    Origin,
    Requested,
    RequestEnd,
    RequestEndOp,
    RequestKey,
    TransferOp,
)
from omni_grpc.core.ids import call_id_of
from omni_grpc.core.usage import UsageSource

INT64_MAX = 2**63 - 1


class Refused(Exception):
    """The whole batch is refused; nothing of it happened."""


class Model:
    def __init__(self, books: Books, owner: str = "model", epoch: int = 1) -> None:
        self.books = books
        self.owner = owner
        self.epoch = epoch
        self.piles: dict[int, list[Credit]] = {}
        """The credits of each wallet, oldest first."""
        self.windows: dict[int, int] = {}
        """The accounts of the current windows of budgets that have others than their own."""

    def apply(self, batch: Sequence[Operation]) -> list[Said]:
        """Raises Refused as a whole, or answers every operation."""
        before = copy.deepcopy((self.books, self.piles))
        try:
            return self._apply(batch)
        except Refused:
            self.books, self.piles = before
            raise

    def renew(self, ids: Sequence[UUID]) -> set[UUID]:
        owned = set()
        for hold_id in ids:
            hold = self.books.holds.get(hold_id)
            if hold and hold.state == "O" and self._is_mine(hold):
                hold.is_over = False
                owned.add(hold_id)
        return owned

    def lapse(self) -> None:
        """A long time passes."""
        for hold in self.books.holds.values():
            hold.is_over = True
        for asked in self.books.requests.values():
            if asked.operation == Requested.CHAT:
                asked.is_over = True
        for lot in self.books.lots.values():
            lot.is_over = True

    def forget(self) -> int:
        """Chats' request ids grow old."""
        old = [key for key, asked in self.books.requests.items() if asked.operation == "C"]
        for key in old:
            self.books.answers.pop(self.books.requests.pop(key).target, None)
        return len(old)

    def _is_mine(self, hold: OpenHold) -> bool:
        return (hold.owner, hold.epoch) == (self.owner, self.epoch)

    def _apply(self, batch: Sequence[Operation]) -> list[Said]:
        ids = [op.id for op in batch if not isinstance(op, RequestEndOp)]
        keys = [_key(op.request) for op in batch if op.request]
        if len(set(ids)) < len(ids) or len(set(keys)) < len(keys):
            raise Refused
        batch = [self._in_windows(op) for op in batch]
        answers: list[Said | None] = [None] * len(batch)
        asked: list[tuple[Operation, RequestKey]] = []
        for place, op in enumerate(batch):
            if op.request:
                answers[place] = self._repeated(op, op.request, asked)
        self._payments(batch, answers)
        self._need_accounts(batch)
        todo = [(place, op) for place, op in enumerate(batch) if answers[place] is None]
        self._finals([(place, op) for place, op in todo if isinstance(op, FinalOp)], answers)
        self._transfers_and_holds(todo, answers)
        for asked_op, request in asked:
            self._remember(asked_op, request)
        ends = [op.ends for op in batch if isinstance(op, FinalOp | RequestEndOp) and op.ends]
        for end in sorted(ends, key=lambda end: end.end):  # what is done, then what is free
            self._end_request(end)
        for account in self.books.accounts.values():
            if max(account.credits, account.debits, account.pending) > INT64_MAX:
                raise Refused
        return [answer for answer in answers if answer]

    def _in_windows(self, op: Operation) -> Operation:
        if not isinstance(op, HoldOp):
            return op
        legs = [replace(leg, account=self.windows.get(leg.account, leg.account)) for leg in op.legs]
        return replace(op, legs=tuple(legs))

    def _payments(self, batch: Sequence[Operation], answers: list[Said | None]) -> None:
        """A payment is booked once for ever."""
        paid = [
            (place, op, (op.payment.network, op.payment.id))
            for place, op in enumerate(batch)
            if isinstance(op, TransferOp) and op.payment
        ]
        if len({name for _, _, name in paid}) < len(paid):
            raise Refused
        for place, op, name in paid:
            if answers[place] is None:
                known = self.books.payments.setdefault(name, (op.id, op.wallet, op.amount))
                if known[0] != op.id:
                    is_same = known[1:] == (op.wallet, op.amount)
                    code = Code.REQUEST_REPEATED if is_same else Code.PAYMENT_REUSED
                    answers[place] = Said(code, known[0], known[2])

    def _transfers_and_holds(
        self, todo: list[tuple[int, Operation]], answers: list[Said | None]
    ) -> None:
        for place, op in todo:
            if isinstance(op, TransferOp):
                answers[place] = self._transfer(op)
        first_posted = {key: account.posted for key, account in self.books.accounts.items()}
        for place, op in todo:
            if isinstance(op, HoldOp):
                answers[place] = self._hold(op, first_posted)
            elif isinstance(op, RequestEndOp):
                answers[place] = Said(Code.DONE, op.id)

    def _need_accounts(self, batch: Sequence[Operation]) -> None:
        for op in batch:
            named: set[int] = set()
            if isinstance(op, HoldOp):
                named = {op.wallet, *(leg.account for leg in op.legs)}
            elif isinstance(op, TransferOp):
                named = {op.wallet}
            if not named <= self.books.accounts.keys():
                raise Refused

    # --- finals ---------------------------------------------------------------------------------
    def _finals(self, finals: list[tuple[int, FinalOp]], answers: list[Said | None]) -> None:
        """Holds that are there end first; what comes late takes the room that is left then."""
        late: list[tuple[int, FinalOp]] = []
        for place, op in finals:
            hold = self.books.holds.get(op.id)
            if hold and hold.origin == op.origin and op.wallet in (None, hold.wallet):
                answers[place] = self._end(op, hold)
            else:
                late.append((place, op))
        self._tell_balances([(place, op) for place, op in finals if answers[place]], answers)
        free = {key: account.room for key, account in self.books.accounts.items()}
        for place, op in late:
            answers[place] = self._after_the_end(op, free)
        self._tell_balances(late, answers)

    def _tell_balances(self, finals: list[tuple[int, FinalOp]], answers: list[Said | None]) -> None:
        for place, op in finals:
            known = answers[place]
            if known and known.code is Code.DONE and op.id in self.books.words:
                account = self.books.accounts[self.books.words[op.id][0].wallet]
                answers[place] = replace(known, posted=account.posted, pending=account.pending)

    def _end(self, op: FinalOp, hold: OpenHold) -> Said:
        is_router = hold.origin == Origin.ROUTER
        if op.kind is Final.UNRESOLVED or (op.kind is Final.LEASE_END and is_router):
            if hold.state == "U":
                if op.kind is Final.UNRESOLVED:
                    hold.provider_ref = hold.provider_ref or op.provider_ref
                return Said(Code.ALREADY, op.id)
            if op.kind is Final.LEASE_END and not hold.is_over:
                return Said(Code.RENEWED, op.id)
            hold.state = "U"
            hold.provider_ref = op.provider_ref or hold.provider_ref
            return Said(Code.DONE, op.id)
        if op.kind is Final.LEASE_END and not hold.is_over:
            return Said(Code.RENEWED, op.id)
        if op.kind is not Final.LEASE_END and op.decider is not Decider.OWNER and hold.state == "O":
            return Said(Code.NOT_UNRESOLVED, op.id)
        if op.kind is Final.SETTLE and not is_router and op.cost > hold.amount:
            return Said(Code.ABOVE_HOLD, op.id)
        del self.books.holds[op.id]
        self.books.accounts[hold.wallet].pending -= hold.amount
        for leg, amount in hold.legs.items():
            self.books.accounts[leg].pending -= amount
        word = self._last_word(op, hold)
        self._post(op.id, word)
        for leg, amount in (word.legs or {}).items():
            self.books.accounts[leg].debits += amount
            self.books.accounts[leg].entries += amount > 0
        if is_router:
            self.books.used[op.id] = _used(op, hold.wallet, hold.provider_ref)
        return Said(Code.DONE, op.id, word.amount)

    def _last_word(self, op: FinalOp, hold: OpenHold) -> Word:
        held = hold.legs or None
        if op.kind is Final.WRITE_OFF:
            return Word(
                "W", hold.origin, op.decider, hold.wallet, 0, hold.amount, op.cost, leg_held=held
            )
        if op.kind is not Final.SETTLE:
            decider = Decider.TIME if op.kind is Final.LEASE_END else op.decider
            return Word("V", hold.origin, decider, hold.wallet, 0, hold.amount, leg_held=held)
        charged = min(op.cost, hold.amount)
        costs = [*op.leg_costs, *[op.cost] * len(hold.legs)]
        legs = {
            leg: min(cost, amount)
            for (leg, amount), cost in zip(hold.legs.items(), costs, strict=False)
        }
        return Word(
            "S", hold.origin, op.decider, hold.wallet, charged, hold.amount, op.cost - charged,
            legs or None, leg_held=held,
        )  # fmt: skip

    def _after_the_end(self, op: FinalOp, free: dict[int, int | None]) -> Said:
        words = self.books.words.get(op.id, [])
        if not words or words[0].origin != op.origin or op.wallet not in (None, words[0].wallet):
            return Said(Code.UNKNOWN, op.id)
        first, last = words[0], words[-1]
        if op.kind is Final.SETTLE and op.origin is Origin.ROUTER and len(words) == 1:
            stated = first.amount + first.loss if first.kind == "S" else 0
            if (
                self.books.used[op.id].is_estimated and op.cost > stated
                if first.kind == "S"
                else first.decider != Decider.OWNER
            ):
                room = free[first.wallet]
                assert room is not None
                charged = max(0, min(op.cost, first.held) - first.amount)
                charged = min(charged, max(0, room))
                free[first.wallet] = room - charged
                loss = op.cost - stated - charged
                taken_back = first.loss if first.kind == "W" else 0
                legs = _late_legs(op, first, charged)
                word = Word(
                    "S", "r", op.decider, first.wallet, charged, first.held, loss, legs,
                    reversed=taken_back or None,
                )  # fmt: skip
                self._post(op.id, word)
                for leg, amount in (legs or {}).items():
                    self.books.accounts[leg].debits += amount
                    self.books.accounts[leg].entries += amount > 0
                known = self.books.used[op.id]
                self.books.used[op.id] = _used(op, known.wallet, known.provider_ref)
                return Said(Code.DONE, op.id, charged)
        cost = sum(word.amount + word.loss for word in words if word.kind == "S")
        is_same = (
            (op.kind is Final.SETTLE and last.kind == "S" and cost == op.cost)
            or (op.kind is Final.VOID and last.kind == "V")
            or (op.kind is Final.WRITE_OFF and last.kind == "W")
            or op.kind is Final.LEASE_END
        )
        amount = sum(word.amount for word in words)
        return Said(Code.ALREADY if is_same else Code.DECIDED, op.id, amount)

    def _post(self, word_id: UUID, word: Word) -> None:
        """Every movement of money, but for what budget windows mirror of it."""
        if word.amount < 0 or word.loss < 0:
            raise Refused
        wallet = self.books.accounts[word.wallet]
        other = self.books.accounts[REVENUE if word.kind in "SWR" else FUNDING]
        losses = self.books.accounts[LOSSES]
        if word.kind in "GR":
            wallet.credits += word.amount
            other.debits += word.amount
            self.piles.setdefault(word.wallet, []).append(Credit(word_id, word.amount))
        else:
            wallet.debits += word.amount
            other.credits += word.amount + word.loss
            losses.debits += word.loss
            losses.credits += word.reversed or 0
            other.debits += word.reversed or 0
            if word.kind == "E":
                (lot,) = [pile for pile in self.piles[word.wallet] if pile.id == word.of]
                lot.left -= word.amount
            else:
                _spend(self.piles.get(word.wallet, []), word.amount)
        if word.amount:
            wallet.entries += 1
            word.entry, word.balance_after = wallet.entries, wallet.posted
        self.books.words.setdefault(word_id, []).append(word)

    # --- transfers ------------------------------------------------------------------------------
    def _transfer(self, op: TransferOp) -> Said:
        if op.id in self.books.words:
            said = Said(Code.ALREADY, op.id, self.books.words[op.id][0].amount)
        elif op.kind is Movement.EXPIRY:
            said = self._expire(op)
        elif op.kind is Movement.REFUND:
            said = self._refund(op)
        else:
            said = self._move(op, Word("G", "o", "o", op.wallet, op.amount))
            if op.expire_time:
                is_over = op.expire_time < datetime.now(UTC)
                self.books.lots[op.id] = Lot(op.wallet, op.amount, is_over)
        if op.kind is Movement.EXPIRY and op.of in self.books.lots:
            lot = self.books.lots[op.of]
            (pile,) = [pile for pile in self.piles[lot.wallet] if pile.id == op.of]
            lot.open = lot.open and pile.left > 0
        return said

    def _move(self, op: TransferOp, word: Word) -> Said:
        if word.amount <= 0:
            raise Refused
        self._post(op.id, word)
        wallet = self.books.accounts[op.wallet]
        return Said(Code.DONE, op.id, word.amount, wallet.posted, wallet.pending)

    def _refund(self, op: TransferOp) -> Said:
        words = self.books.words.get(op.of, []) if op.of else []
        charges = [word for word in words if word.kind == "S" and word.wallet == op.wallet]
        if not charges:
            return Said(Code.UNKNOWN, op.id)
        charged = sum(word.amount for word in charges)
        before = [w for ws in self.books.words.values() for w in ws if w.of == op.of]
        refunded = sum(word.amount for word in before)
        if refunded + op.amount > charged:
            return Said(Code.ABOVE_HOLD, op.id, charged - refunded)
        if op.amount <= 0:
            raise Refused
        back = None
        if words[0].leg_held:
            back = {}
            for leg in words[0].leg_held:
                amount = sum((word.legs or {}).get(leg, 0) for word in words)
                given = sum((word.legs or {})[leg] for word in before)
                back[leg] = max(0, amount * (refunded + op.amount) // charged - given)
                self.books.accounts[leg].credits += back[leg]
                self.books.accounts[leg].entries += back[leg] > 0
        return self._move(op, Word("R", "o", "o", op.wallet, op.amount, legs=back, of=op.of))

    def _expire(self, op: TransferOp) -> Said:
        lot = self.books.lots.get(op.of) if op.of else None
        if lot is None or lot.wallet != op.wallet or not lot.open or not lot.is_over:
            return Said(Code.ALREADY, op.id)
        free = copy.deepcopy(self.piles[lot.wallet])
        _spend(free, self.books.accounts[lot.wallet].pending)
        (left,) = [pile.left for pile in free if pile.id == op.of]
        if not left:
            return Said(Code.ALREADY, op.id, 0)
        lot.expired += left
        return self._move(op, Word("E", "o", "t", op.wallet, left, of=op.of))

    # --- holds ----------------------------------------------------------------------------------
    def _hold(self, op: HoldOp, first_posted: dict[int, int]) -> Said:
        opened = self.books.holds.get(op.id)
        if opened:
            is_same = (
                opened.wallet == op.wallet
                and op.amount_min <= opened.amount <= op.amount_max
                and opened.state == "O"
                and self._is_mine(opened)
            )
            if is_same:
                return Said(Code.ALREADY, op.id, opened.amount)
            return Said(Code.DECIDED, op.id)
        if op.id in self.books.words:
            return Said(Code.DECIDED, op.id)
        parts = [(op.wallet, op.amount_min, op.amount_max)]
        parts += [(leg.account, leg.amount_min, leg.amount_max) for leg in op.legs]
        share: tuple[int, int] | None = None
        for number, low, high in parts:
            account = self.books.accounts[number]
            if account.room is None or account.room >= high:
                continue
            if account.room < low and low > 0:
                posted = first_posted[number]
                return Said(Code.SHORT, op.id, None, posted, account.pending, number)
            if high == low:
                continue  # nothing is asked of it
            over = max(0, account.room - low)
            if share is None or over * share[1] < share[0] * (high - low):
                share = (over, high - low)
        grants = [
            high if share is None else low + (high - low) * share[0] // share[1]
            for _, low, high in parts
        ]
        if min(grants) < 0:
            raise Refused
        for (number, _, _), grant in zip(parts, grants, strict=True):
            self.books.accounts[number].pending += grant
        self.books.holds[op.id] = OpenHold(
            op.origin, op.wallet, grants[0],
            {leg.account: grant for leg, grant in zip(op.legs, grants[1:], strict=True)},
            self.owner, self.epoch, op.seconds < 0,
        )  # fmt: skip
        return Said(Code.DONE, op.id, grants[0])

    # --- requests -------------------------------------------------------------------------------
    def _repeated(
        self, op: Operation, request: RequestKey, asked: list[tuple[Operation, RequestKey]]
    ) -> Said | None:
        """What a request id says that was there before; None where the operation goes on."""
        known = self.books.requests.get(_key(request))
        if known is None:
            asked.append((op, request))
            return None
        if known.fingerprint != request.fingerprint:
            return Said(Code.REQUEST_REUSED, known.target, known.amount)
        if request.operation is not Requested.CHAT:
            return Said(Code.REQUEST_REPEATED, known.target, known.amount)
        call = known.target
        if call == call_id_of(op.id):
            return None
        if call in self.books.answers:
            return Said(Code.REQUEST_REPEATED, call)
        holds = [hold for key, hold in self.books.holds.items() if call_id_of(key) == call]
        if any(hold.state == "O" for hold in holds):
            return Said(Code.REQUEST_RUNNING, call)
        charged = self._charged(call)
        if not charged and not known.is_over:
            return Said(Code.REQUEST_RUNNING, call)
        if holds or charged:
            return Said(Code.REQUEST_INTERRUPTED, call, charged)
        asked.append((op, request))
        return None

    def _charged(self, call: UUID) -> int | None:
        """What a call was charged; None where nothing of it was settled."""
        words = [w for key, ws in self.books.words.items() if call_id_of(key) == call for w in ws]
        settles = [word.amount for word in words if word.kind == "S"]
        return sum(settles) if settles else None

    def _remember(self, op: Operation, request: RequestKey) -> None:
        """A request whose operation was refused is free again."""
        asked = Asked(request.fingerprint, request.operation, op.id)
        self.books.requests.pop(_key(request), None)
        if isinstance(op, TransferOp):
            if op.id not in self.books.words:
                return
            asked.amount = op.amount
        elif isinstance(op, HoldOp):
            hold = self.books.holds.get(op.id)
            if hold is None:
                return
            if request.operation is Requested.CHAT:
                asked.target, asked.is_over = call_id_of(op.id), hold.is_over
            else:
                asked.amount = hold.amount
        else:
            assert isinstance(op, FinalOp)
            words = self.books.words.get(op.id, [])
            if not any(
                word.kind == op.kind
                and word.origin == Origin.API
                and word.wallet == op.wallet
                and (op.kind is Final.VOID or word.amount == op.cost)
                for word in words
            ):
                return
            asked.amount = words[0].amount
        self.books.requests[_key(request)] = asked

    def _end_request(self, ends: RequestEnd) -> None:
        known = self.books.requests.get((ends.principal, ends.request_id))
        if known is None or known.operation != "C" or known.target != ends.call_id:
            return
        if ends.end is ChatEnd.DONE:
            if self._charged(ends.call_id) is not None:
                self.books.answers.setdefault(ends.call_id, ends.sealed)
        elif (
            not self._charged(ends.call_id)
            and ends.call_id not in self.books.answers
            and not any(call_id_of(key) == ends.call_id for key in self.books.holds)
        ):
            del self.books.requests[ends.principal, ends.request_id]
        else:
            known.is_over = True


def _key(request: RequestKey) -> tuple[int, str]:
    return request.principal, request.request_id


def _late_legs(op: FinalOp, first: Word, charged: int) -> dict[int, int] | None:
    """What a late word adds to the windows that its hold had reserved on."""
    if first.leg_held is None:
        return None
    before = first.legs or {}
    own = dict(zip(first.leg_held, op.leg_costs, strict=False))
    added = {
        leg: own[leg] - before.get(leg, 0) if leg in own else charged for leg in first.leg_held
    }
    return {
        leg: max(0, min(added[leg], held - before.get(leg, 0)))
        for leg, held in first.leg_held.items()
    }


def _used(op: FinalOp, wallet: int, known_ref: str | None) -> Used:
    if op.outcome is None:
        raise Refused
    usage = op.usage
    return Used(
        wallet,
        op.outcome,
        usage is not None and usage.source is UsageSource.ESTIMATE,
        usage.prompt if usage else None,
        op.provider_ref or known_ref,
    )


def _spend(pile: list[Credit], amount: int) -> None:
    """Takes from the oldest credits first."""
    for credit in pile:
        taken = min(credit.left, amount)
        credit.left -= taken
        amount -= taken
