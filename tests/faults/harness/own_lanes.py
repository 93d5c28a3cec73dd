"""Ledger lanes of the harness's own, beside those of the servers: to send what no server would."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from harness.prices import Prices
from harness.world import Tenant, World
from omni_grpc.billing import Lane, NoJournal
from omni_grpc.billing.operations import (
    AttemptOutcome,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Movement,
    Origin,
    Requested,
    RequestKey,
    TransferOp,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import (
    AccountId,
    HoldId,
    KeyId,
    PriceVersion,
    hold_id_of,
    new_call_id,
    new_hold_id,
    uuid7,
)
from omni_grpc.core.usage import Usage
from omni_grpc.storage import connect

CONNECT_SECONDS_MAX = 10.0
MODEL = "sim/fast"
PRICES = Prices(150, 75, 600)


class _Nobody:
    """Wants to know nothing of a lane."""

    def batch_applied(self, size: int, seconds: float) -> None: ...
    def connection_changed(self, connected: bool) -> None: ...
    def rows_parked(self, count: int) -> None: ...
    def dead_letter_written(self) -> None: ...


@asynccontextmanager
async def own_lane(world: World) -> AsyncIterator[Lane]:
    """A connected lane for the block."""
    lane = Lane(
        lambda: connect(world.postgres.url(), application_name="faults lane"),
        SystemClock(),
        _Nobody(),
        NoJournal(),
    )
    running = asyncio.create_task(lane.run())
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            while not lane.connected:
                await asyncio.sleep(0.002)
        yield lane
        await lane.close(CONNECT_SECONDS_MAX)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def team_hold(
    tenant: Tenant, amount: int, *, least: int | None = None, legs: tuple[Leg, ...] = ()
) -> HoldOp:
    """A hold such as CreateHold makes, but for its legs."""
    return HoldOp(
        id=new_hold_id(),
        origin=Origin.API,
        wallet=AccountId(tenant.account_id),
        amount_min=amount if least is None else least,
        amount_max=amount,
        legs=legs,
        seconds=900,
        key_id=KeyId(1),
    )


def team_end(tenant: Tenant, hold: HoldOp, kind: Final, cost: int = 0) -> FinalOp:
    return FinalOp(
        id=hold.id,
        kind=kind,
        origin=Origin.API,
        wallet=AccountId(tenant.account_id),
        cost=cost,
    )


def chat_hold(tenant: Tenant, tokens: int, version: int, *, seconds: int = 60) -> HoldOp:
    """A hold such as the router makes for that many prompt tokens."""
    amount = tokens * PRICES.prompt
    return HoldOp(
        id=hold_id_of(new_call_id(), 1),
        origin=Origin.ROUTER,
        wallet=AccountId(tenant.account_id),
        amount_min=amount,
        amount_max=amount,
        seconds=seconds,
        key_id=KeyId(1),
        model=MODEL,
        credential="house",
        price_version=PriceVersion(version),
        markup_ppm=0,
    )


def chat_end(hold: HoldOp, kind: Final, tokens: int = 0, *, given: HoldOp | None = None) -> FinalOp:
    """The end of such a hold; `given` is what a database that lost the hold is told."""
    is_settle = kind is Final.SETTLE
    return FinalOp(
        id=HoldId(UUID(int=hold.id.int)),
        kind=kind,
        origin=Origin.ROUTER,
        wallet=hold.wallet,
        cost=tokens * PRICES.prompt if is_settle else 0,
        outcome=AttemptOutcome.ANSWERED if is_settle else AttemptOutcome.FAILED,
        usage=Usage(prompt=tokens, completion=0) if is_settle else None,
        hold=given,
    )


def grant(tenant: Tenant, amount: int, reference: str) -> TransferOp:
    return TransferOp(
        id=uuid7(),
        kind=Movement.GRANT,
        wallet=AccountId(tenant.account_id),
        amount=amount,
        reference=reference,
        request=RequestKey(tenant.org_id, reference, b"faults", Requested.GRANT),
    )
