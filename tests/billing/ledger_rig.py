"""Lanes, leases, meters and ledgers as a worker wires them, with hands on their clocks."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psycopg

from omni_grpc.billing import CallJournal, Lane, Leases, Ledger, LedgerStore, Meter, Reaper
from omni_grpc.billing.operations import (
    AttemptOutcome,
    ChatEnd,
    Decider,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Movement,
    Origin,
    Requested,
    RequestEnd,
    RequestKey,
    TransferOp,
)
from omni_grpc.core.ids import (
    AccountId,
    HoldId,
    KeyId,
    OrgId,
    call_id_of,
    hold_id_of,
    new_call_id,
    new_hold_id,
    uuid7,
)
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.payments import Payment
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.storage import Database, connect

T = TypeVar("T")

WALLETS = (1000, 1001, 1002, 1003)
"""Wallets of the organisations 1 to 4, without credits."""

BUDGETS = (2001, 2002, 2003)
"""Budgets of organisation 1 without end, and the accounts of their windows, without a limit."""

PRICE_BOOK: Mapping[int, Price] = {
    1: Price(1, (Rate(Unit.PROMPT, 0, 1_000_000), Rate(Unit.COMPLETION, 0, 2_000_000))),
    2: Price(
        2,
        (
            Rate(Unit.PROMPT, 0, 2_500_000_001),
            Rate(Unit.PROMPT, 1_000, 5_000_000_003),
            Rate(Unit.CACHED_READ, 0, 250_000_007),
            Rate(Unit.COMPLETION, 0, 10_000_000_001),
            Rate(Unit.REASONING, 0, 20_000_000_009),
        ),
    ),
    3: Price(3, (Rate(Unit.PROMPT, 0, 0), Rate(Unit.COMPLETION, 0, 0))),
}
UNIT_PRICE = PRICE_BOOK[1]
"""A prompt token costs 1 nano-USD, a token of the answer 2."""


async def load_prices(versions: Sequence[int]) -> Mapping[int, Price]:  # read as a constant
    return {version: PRICE_BOOK[version] for version in versions if version in PRICE_BOOK}


def fill_template(url: str) -> None:
    with psycopg.connect(url) as connection:
        for org, wallet in enumerate(WALLETS, 1):
            found = connection.execute("SELECT ledger_open_wallet(%s)", [org]).fetchone()
            assert found == (wallet,)
        for budget in BUDGETS:
            open_budget(connection, budget)
        connection.execute("SELECT setval('account_id', 100000)")  # away from those


def open_budget(
    connection: psycopg.Connection, budget: int, *, org: int = 1, limit: int | None = None
) -> None:
    """A budget without end, whose window has an account of the same id."""
    connection.execute(
        "INSERT INTO account (id, kind, org_id, debit_limit) VALUES (%s, 2, %s, %s)",
        [budget, org, limit],
    )
    connection.execute(
        "INSERT INTO budget (id, org_id, subject_kind, subject_id, slug, unit, amount, period)"
        " VALUES (%s, %s, 'o', %s, 'budget-' || %s::text, 'nanousd', 0, 'total')",
        [budget, org, org, budget],
    )
    connection.execute(
        "INSERT INTO budget_window (budget_id, start_time, end_time, account_id)"
        " VALUES (%s, '-infinity', 'infinity', %s)",
        [budget, budget],
    )


def daily_budget(connection: psycopg.Connection, budget: int, amount: int) -> None:
    """A budget of organisation 1 for each day of UTC, which has no window yet."""
    connection.execute(
        "INSERT INTO budget (id, org_id, subject_kind, subject_id, slug, unit, amount, period)"
        " VALUES (%s, 1, 'o', 1, 'daily-' || %s::text, 'nanousd', %s, 'day')",
        [budget, budget, amount],
    )


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class Watch:
    """Notes what a lane tells its observer."""

    batches: list[int] = field(default_factory=list)
    connected: list[bool] = field(default_factory=list)
    parked: list[int] = field(default_factory=list)
    dead_letters: int = 0
    on_batch: Callable[[], None] = lambda: None

    def batch_applied(self, size: int, seconds: float) -> None:
        self.batches.append(size)
        self.on_batch()

    def connection_changed(self, connected: bool) -> None:
        self.connected.append(connected)

    def rows_parked(self, count: int) -> None:
        self.parked.append(count)

    def dead_letter_written(self) -> None:
        self.dead_letters += 1


@dataclass
class Worker:
    """What one worker process has of billing."""

    lane: Lane
    leases: Leases
    ledger: Ledger
    reaper: Reaper
    watch: Watch
    clock: HandClock | RealClock

    def meter(self, wallet: int = WALLETS[0]) -> Meter:
        return self.ledger.meter(new_call_id(), AccountId(wallet), KeyId(7))

    async def grant(self, amount: int, wallet: int = WALLETS[0]) -> None:
        await self.ledger.grant(
            account_id=AccountId(wallet),
            org_id=OrgId(1),
            amount=amount,
            reason="test",
            request_id=str(uuid7()),
        )

    async def available(self, wallet: int = WALLETS[0]) -> int:
        return (await self.ledger.balance(AccountId(wallet))).available


class Rig:
    """Makes workers on one database and ends their tasks."""

    def __init__(self, url: str, database: Database) -> None:
        self.url = url
        self.database = database
        self.store = LedgerStore(database)
        self.books_are_clean = True
        self._tasks: list[asyncio.Task[None]] = []
        self._folder = tempfile.TemporaryDirectory()

    async def worker(
        self,
        *,
        url: str | None = None,
        clock: HandClock | RealClock | None = None,
        markup_ppm: int = 0,
        wait: bool = True,
        **lane_settings: float,
    ) -> Worker:
        clock = clock or RealClock()
        watch = Watch()
        address = url or self.url
        journal = CallJournal(Path(self._folder.name), clock)
        lane = Lane(
            lambda: connect(address, application_name="lane"),
            clock,
            watch,
            journal,
            **lane_settings,
        )
        leases = Leases(lane, clock)
        worker = Worker(
            lane=lane,
            leases=leases,
            ledger=Ledger(
                lane=lane,
                leases=leases,
                journal=journal,
                store=self.store,
                clock=clock,
                markup_ppm=markup_ppm,
            ),
            reaper=Reaper(lane, self.store, clock),
            watch=watch,
            clock=clock,
        )
        self.start(lane.run())
        if wait:
            await until(lambda: lane.connected)
        return worker

    def start(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        return task

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._folder.cleanup()


async def until(true: Callable[[], bool], seconds: float = 40.0) -> None:
    """Polls, for a bounded time."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.002)


# --- operations -------------------------------------------------------------------------------
def hold_op(
    amount: int,
    *,
    least: int | None = None,
    wallet: int = WALLETS[0],
    origin: Origin = Origin.ROUTER,
    hold_id: UUID | None = None,
    legs: Sequence[Leg] = (),
    seconds: int = 60,
    request: RequestKey | None = None,
) -> HoldOp:
    is_router = origin is Origin.ROUTER
    return HoldOp(
        id=HoldId(hold_id or (hold_id_of(new_call_id(), 1) if is_router else new_hold_id())),
        origin=origin,
        wallet=AccountId(wallet),
        amount_min=amount if least is None else least,
        amount_max=amount,
        legs=tuple(legs),
        seconds=seconds,
        key_id=KeyId(7),
        model="sim/one" if is_router else None,
        credential="house" if is_router else None,
        price_version=1 if is_router else None,
        markup_ppm=0 if is_router else None,
        request=request,
    )


def final_op(
    kind: Final,
    hold_id: UUID,
    cost: int = 0,
    *,
    origin: Origin = Origin.ROUTER,
    decider: Decider = Decider.OWNER,
    wallet: int | None = None,
    leg_costs: Sequence[int] = (),
    is_estimate: bool = False,
    provider_ref: str | None = None,
    request: RequestKey | None = None,
    ends: RequestEnd | None = None,
) -> FinalOp:
    """A final whose usage is `cost` prompt tokens at one nano-USD each."""
    usage = None
    if origin is Origin.ROUTER and kind is Final.SETTLE:
        source = UsageSource.ESTIMATE if is_estimate else UsageSource.PROVIDER
        usage = Usage(prompt=cost, source=source)
    outcomes = {
        Final.SETTLE: AttemptOutcome.ANSWERED,
        Final.VOID: AttemptOutcome.FAILED,
        Final.WRITE_OFF: AttemptOutcome.UNKNOWN,
    }
    return FinalOp(
        id=HoldId(hold_id),
        kind=kind,
        origin=origin,
        decider=decider,
        wallet=None if wallet is None else AccountId(wallet),
        cost=cost,
        leg_costs=tuple(leg_costs),
        outcome=outcomes.get(kind) if origin is Origin.ROUTER else None,
        usage=usage,
        provider_ref=provider_ref,
        request=request,
        ends=ends,
    )


def resolve_op(kind: Final, hold_id: UUID, cost: int = 0) -> FinalOp:
    """The operator's word on an unresolved hold."""
    return final_op(kind, hold_id, cost, decider=Decider.OPERATOR)


def transfer_op(
    amount: int,
    *,
    wallet: int = WALLETS[0],
    expire_time: datetime | None = None,
    request: RequestKey | None = None,
    payment: Payment | None = None,
) -> TransferOp:
    transfer_id = uuid7()
    return TransferOp(
        id=transfer_id,
        kind=Movement.GRANT,
        wallet=AccountId(wallet),
        amount=amount,
        reference="test",
        expire_time=expire_time,
        request=request or RequestKey(1, str(transfer_id), b"grant", Requested.GRANT),
        payment=payment,
    )


def refund_op(
    amount: int, of: UUID, *, wallet: int = WALLETS[0], request: RequestKey | None = None
) -> TransferOp:
    transfer_id = uuid7()
    return TransferOp(
        id=transfer_id,
        kind=Movement.REFUND,
        wallet=AccountId(wallet),
        amount=amount,
        reference="sorry",
        of=of,
        request=request or RequestKey(1, str(transfer_id), b"refund", Requested.REFUND),
    )


def expiry_op(of: UUID, *, wallet: int = WALLETS[0]) -> TransferOp:
    """Takes back what is free of a grant whose time is over; the ledger finds how much."""
    return TransferOp(id=uuid7(), kind=Movement.EXPIRY, wallet=AccountId(wallet), amount=0, of=of)


PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2200, 1, 1, tzinfo=UTC)


def chat_key(request_id: str, content: bytes = b"hello", principal: int = 1) -> RequestKey:
    """The request id of a chat."""
    return RequestKey(principal, request_id, content, Requested.CHAT)


def chat_end(
    key: RequestKey, hold_id: UUID, end: ChatEnd, sealed: bytes | None = None
) -> RequestEnd:
    return RequestEnd(key.principal, key.request_id, call_id_of(hold_id), end, sealed)
