"""The ledger's batch function in plain Python: slow, obvious, written from its contract.

It decides one operation after the other on dictionaries. Leases that are over are those of holds
made with a negative time, until they are renewed.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from omni_grpc.billing.operations import (
    Code,
    Final,
    FinalOp,
    HoldOp,
    Operation,
    Origin,
    TransferOp,
)

INT64_MAX = 2**63 - 1
FUNDING, REVENUE, LOSSES = 1, 100, 200
WALLET, BUDGET = 1, 2


class Refused(Exception):
    """The whole batch is refused; nothing of it happened."""


@dataclass
class Account:
    kind: int
    credits: int = 0
    debits: int = 0
    pending: int = 0
    limit: int | None = None
    entries: int = 0

    @property
    def posted(self) -> int:
        return self.credits - self.debits

    @property
    def room(self) -> int | None:
        """What holds may still take; None is no limit."""
        if self.kind == WALLET:
            return self.posted - self.pending
        if self.limit is not None:
            return self.posted - self.pending + self.limit
        return None


@dataclass
class OpenHold:
    origin: str
    wallet: int
    amount: int
    legs: dict[int, int]
    owner: str
    epoch: int
    is_over: bool
    state: str = "O"


@dataclass
class Word:
    """One posting."""

    kind: str
    origin: str
    decider: str
    wallet: int
    amount: int
    held: int = 0
    loss: int = 0
    legs: dict[int, int] | None = None
    entry: int | None = None
    balance_after: int | None = None


@dataclass
class Asked:
    """A request row."""

    fingerprint: bytes
    operation: str
    target: UUID
    amount: int | None


@dataclass(frozen=True)
class Said:
    """The answer to an operation, as far as the contract states it."""

    code: Code
    target: UUID
    amount: int | None = None
    posted: int | None = None
    pending: int | None = None
    short_account: int | None = None


@dataclass
class Books:
    accounts: dict[int, Account] = field(default_factory=dict)
    holds: dict[UUID, OpenHold] = field(default_factory=dict)
    words: dict[UUID, list[Word]] = field(default_factory=dict)
    requests: dict[tuple[int, str], Asked] = field(default_factory=dict)


class Model:
    def __init__(self, books: Books, owner: str = "model", epoch: int = 1) -> None:
        self.books = books
        self.owner = owner
        self.epoch = epoch

    def apply(self, batch: Sequence[Operation]) -> list[Said]:
        """Raises Refused as a whole, or answers every operation."""
        before = copy.deepcopy(self.books)
        try:
            return self._apply(batch)
        except Refused:
            self.books = before
            raise

    def renew(self, ids: Sequence[UUID]) -> set[UUID]:
        owned = set()
        for hold_id in ids:
            hold = self.books.holds.get(hold_id)
            if hold and hold.state == "O" and self._is_mine(hold):
                hold.is_over = False
                owned.add(hold_id)
        return owned

    def _is_mine(self, hold: OpenHold) -> bool:
        return (hold.owner, hold.epoch) == (self.owner, self.epoch)

    def _apply(self, batch: Sequence[Operation]) -> list[Said]:
        ids = [op.id for op in batch]
        keys = [(op.request.principal, op.request.request_id) for op in batch if op.request]
        if len(set(ids)) < len(ids) or len(set(keys)) < len(keys):
            raise Refused
        answers: dict[UUID, Said] = {}
        asked: list[Operation] = []
        for op in batch:
            known = op.request and self.books.requests.get(
                (op.request.principal, op.request.request_id)
            )
            if op.request and known:
                is_same = known.fingerprint == op.request.fingerprint
                code = Code.REQUEST_REPEATED if is_same else Code.REQUEST_REUSED
                answers[op.id] = Said(code, known.target, known.amount)
            elif op.request:
                asked.append(op)
        self._need_accounts(batch)
        todo = [op for op in batch if op.id not in answers]
        self._finals([op for op in todo if isinstance(op, FinalOp)], answers)
        for op in todo:
            if isinstance(op, TransferOp):
                answers[op.id] = self._transfer(op)
        self._room_for_answers([op for op in todo if isinstance(op, TransferOp)], answers)
        first_room = {key: account.posted for key, account in self.books.accounts.items()}
        for op in todo:
            if isinstance(op, HoldOp):
                answers[op.id] = self._hold(op, first_room)
        for op in asked:
            self._remember(op)
        for account in self.books.accounts.values():
            if max(account.credits, account.debits, account.pending) > INT64_MAX:
                raise Refused
        return [answers[op.id] for op in batch]

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
    def _finals(self, finals: Sequence[FinalOp], answers: dict[UUID, Said]) -> None:
        free = {key: account.room for key, account in self.books.accounts.items()}
        touched: dict[UUID, int] = {}
        for op in finals:
            hold = self.books.holds.get(op.id)
            if hold and hold.origin == op.origin and op.wallet in (None, hold.wallet):
                answers[op.id] = self._end(op, hold)
            else:
                answers[op.id] = self._after_the_end(op, free)
            if answers[op.id].code is Code.DONE and op.id in self.books.words:
                touched[op.id] = self.books.words[op.id][0].wallet
        for hold_id, wallet in touched.items():
            answers[hold_id] = self._with_balance(answers[hold_id], wallet)

    def _with_balance(self, said: Said, wallet: int) -> Said:
        account = self.books.accounts[wallet]
        return Said(said.code, said.target, said.amount, account.posted, account.pending)

    def _end(self, op: FinalOp, hold: OpenHold) -> Said:
        is_router = hold.origin == Origin.ROUTER
        if op.kind is Final.UNRESOLVED or (op.kind is Final.LEASE_END and is_router):
            if hold.state == "U":
                return Said(Code.ALREADY, op.id)
            if op.kind is Final.LEASE_END and not hold.is_over:
                return Said(Code.RENEWED, op.id)
            hold.state = "U"
            return Said(Code.DONE, op.id)
        if op.kind is Final.LEASE_END and not hold.is_over:
            return Said(Code.RENEWED, op.id)
        if op.kind is Final.SETTLE and not is_router and op.cost > hold.amount:
            return Said(Code.ABOVE_HOLD, op.id)
        del self.books.holds[op.id]
        wallet = self.books.accounts[hold.wallet]
        wallet.pending -= hold.amount
        for leg, amount in hold.legs.items():
            self.books.accounts[leg].pending -= amount
        if op.kind is not Final.SETTLE:
            decider = "t" if op.kind is Final.LEASE_END else op.decider
            self._post(op.id, Word("V", hold.origin, decider, hold.wallet, 0, held=hold.amount))
            return Said(Code.DONE, op.id, 0)
        charged = min(op.cost, hold.amount)
        costs = [*op.leg_costs, *[op.cost] * len(hold.legs)]
        legs = {
            leg: min(cost, amount)
            for (leg, amount), cost in zip(hold.legs.items(), costs, strict=False)
        }
        self._post(
            op.id,
            Word(
                "S", hold.origin, op.decider, hold.wallet, charged, hold.amount,
                op.cost - charged, legs or None,
            ),
        )  # fmt: skip
        for leg, amount in legs.items():
            self.books.accounts[leg].debits += amount
            self.books.accounts[leg].entries += amount > 0
        return Said(Code.DONE, op.id, charged)

    def _after_the_end(self, op: FinalOp, free: dict[int, int | None]) -> Said:
        words = self.books.words.get(op.id, [])
        if op.kind is Final.SETTLE and op.origin is Origin.ROUTER and len(words) == 1:
            void = words[0]
            if void.kind == "V" and void.origin == Origin.ROUTER and void.decider != "o":
                room = free[void.wallet]
                assert room is not None
                charged = min(op.cost, void.held, max(room, 0))
                free[void.wallet] = room - charged
                loss = op.cost - charged
                word = Word("S", "r", "o", void.wallet, charged, void.held, loss)
                self._post(op.id, word)
                return Said(Code.DONE, op.id, charged)
        last = words[-1] if words else None
        if last is None or last.origin != op.origin or op.wallet not in (None, last.wallet):
            return Said(Code.UNKNOWN, op.id)
        is_same = (
            (op.kind is Final.SETTLE and last.kind == "S" and last.amount + last.loss == op.cost)
            or (op.kind is Final.VOID and last.kind == "V")
            or op.kind is Final.LEASE_END
        )
        return Said(Code.ALREADY if is_same else Code.DECIDED, op.id, last.amount)

    def _post(self, word_id: UUID, word: Word) -> None:
        if word.amount < 0 or word.loss < 0:
            raise Refused
        wallet = self.books.accounts[word.wallet]
        if word.kind == "G":
            wallet.credits += word.amount
            self.books.accounts[FUNDING].debits += word.amount
        else:
            wallet.debits += word.amount
            self.books.accounts[REVENUE].credits += word.amount + word.loss
            self.books.accounts[LOSSES].debits += word.loss
        if word.amount:
            wallet.entries += 1
            word.entry, word.balance_after = wallet.entries, wallet.posted
        self.books.words.setdefault(word_id, []).append(word)

    # --- transfers and holds --------------------------------------------------------------------
    def _transfer(self, op: TransferOp) -> Said:
        if op.id in self.books.words:
            return Said(Code.ALREADY, op.id, op.amount)
        if op.amount <= 0:
            raise Refused
        self._post(op.id, Word("G", "o", "o", op.wallet, op.amount))
        return Said(Code.DONE, op.id, op.amount)

    def _room_for_answers(self, transfers: Sequence[TransferOp], answers: dict[UUID, Said]) -> None:
        for op in transfers:
            if answers[op.id].code is Code.DONE:
                answers[op.id] = self._with_balance(answers[op.id], op.wallet)

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
            if account.room < low:
                posted = first_posted[number]
                return Said(Code.SHORT, op.id, None, posted, account.pending, number)
            if share is None or (account.room - low) * share[1] < share[0] * (high - low):
                share = (account.room - low, high - low)
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
    def _remember(self, op: Operation) -> None:
        """A request whose operation was refused is free again."""
        assert op.request
        amount: int | None
        if isinstance(op, TransferOp):
            kind, amount = "G", op.amount
        elif isinstance(op, HoldOp):
            if op.id not in self.books.holds:
                return
            kind, amount = "H", self.books.holds[op.id].amount
        else:
            kind = str(op.kind)
            words = self.books.words.get(op.id, [])
            if not any(
                word.kind == op.kind
                and word.origin == Origin.API
                and word.wallet == op.wallet
                and (op.kind is Final.VOID or word.amount == op.cost)
                for word in words
            ):
                return
            amount = words[0].amount
        key = (op.request.principal, op.request.request_id)
        self.books.requests[key] = Asked(op.request.fingerprint, kind, op.id, amount)
