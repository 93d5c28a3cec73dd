"""What the ledger says of a call, for tests that compare it with the provider's own log."""

import asyncio

from gateway import Gateway, Tenant
from omni_grpc_client import AsyncOmni, NotFound, UsageRecord

from omni_grpc.simulator import CallRecord

CREDITS = 10**9
"""What a tenant of the tests begins with."""

SETTLED_SECONDS_MAX = 30


def cost(prompt: int, completion: int) -> int:
    """By the prices of sim/fast and most others, in nano-USD: whole for a token of either kind."""
    return prompt * 150 + completion * 600


async def settled(
    gateway: Gateway, tenant: Tenant, record: CallRecord, seconds: float = SETTLED_SECONDS_MAX
) -> UsageRecord:
    """The usage record of a call, once each of its attempts has its charge.

    The provider's own record of it is whole by then: it is written after its answer is sent.
    """
    call_id = record.headers["x-client-request-id"]
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni, asyncio.timeout(seconds):
        while True:
            try:
                usage = await omni.usage(call_id)
            except NotFound:  # its hold was not told of yet
                usage = None
            is_charged = usage and all(one.cost_nanousd is not None for one in usage.attempts)
            if usage and is_charged and record.ended_ms is not None:
                return usage
            await asyncio.sleep(0.01)


async def check_account(gateway: Gateway, tenant: Tenant, *costs: int) -> None:
    """Nothing is held, and the account's only entries are its credits and these charges."""
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            while (balance := await omni.balance()).held_nanousd:
                await asyncio.sleep(0.01)
        assert balance.unresolved_nanousd == 0
        assert balance.available_nanousd == CREDITS - sum(costs)
        entries = [entry.amount_nanousd async for entry in omni.ledger_entries()]
    assert sorted(entries) == sorted([CREDITS, *(-cost for cost in costs if cost)])
