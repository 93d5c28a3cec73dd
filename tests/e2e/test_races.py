"""Callers that race for the same credits: exactly as many pass as there is room for."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import httpx
import openai
import psycopg
import pytest
from gateway import Gateway, SimulatorThread, Tenant, asking, running, soon
from omni_grpc_client import AsyncOmni, CreditsExhausted, OmniError

CALLERS = 200
ROOM = 50
MODEL = "sim/fast"
OUTPUT_MAX = 64
CHANNELS = 20
"""Connections, not calls, are spread over workers, so one channel would race in one of them."""


@pytest.mark.parametrize(("workers", "more"), [(1, 0), (2, -1)])
async def test_of_200_callers_at_once_exactly_the_50_that_fit_are_answered(
    own_gateway: Gateway, simulator: SimulatorThread, workers: int, more: int
) -> None:
    """The wallet has room for exactly 50 holds; once it is a nano-dollar short of a 51st."""
    own_gateway.workers = workers
    gate = f"race-{workers}"
    prompt = asking(f"gate={gate}")
    with running(own_gateway):
        needed = await _needed(own_gateway, prompt)
        granted = ROOM * needed + more % needed
        tenant = own_gateway.tenant(granted)
        calls_before = len(simulator.simulator.log)
        simulator.close_gate(gate)
        async with AsyncExitStack() as stack:
            calls = await _start(stack, own_gateway, tenant, prompt)
            await soon(
                lambda: simulator.waiting(gate) + sum(call.done() for call in calls) >= CALLERS, 60
            )
            refused = Counter(call.result() for call in calls if call.done())
            assert refused == {"CREDITS_HELD": CALLERS - ROOM}
            assert simulator.waiting(gate) == ROOM
            assert _open_holds(own_gateway) == ROOM  # of which worker's callers is chance
            simulator.open_gate(gate)
            decided = Counter(await asyncio.gather(*calls))
        assert decided == {"ANSWERED": ROOM, "CREDITS_HELD": CALLERS - ROOM}
        sent = simulator.simulator.log[calls_before:]
        costs = [record.prompt_tokens * 150 + record.completion_tokens * 600 for record in sent]
        assert len(costs) == ROOM
        assert min(costs) > 40 * 600
        async with AsyncOmni(own_gateway.grpc, api_key=tenant.api_key) as omni:
            balance = await omni.balance()
            entries = [entry.amount_nanousd async for entry in omni.ledger_entries(page_size=100)]
        assert balance.available_nanousd == granted - sum(costs)
        assert balance.held_nanousd == balance.unresolved_nanousd == 0
        assert Counter(entries) == Counter(-cost for cost in costs) + Counter([granted])


async def _needed(gateway: Gateway, prompt: str) -> int:
    """What one hold takes: a refused caller is told."""
    poor = gateway.tenant(nanousd=0)
    async with AsyncOmni(gateway.grpc, api_key=poor.api_key) as omni:
        with pytest.raises(CreditsExhausted) as refused:
            await omni.chat(MODEL, prompt, max_output_tokens=OUTPUT_MAX)
    assert refused.value.needed_nanousd
    return refused.value.needed_nanousd


async def _start(
    stack: AsyncExitStack, gateway: Gateway, tenant: Tenant, prompt: str
) -> list[asyncio.Task[str]]:
    """All callers at once: gRPC and REST by halves, plain and streamed by turns, no retries."""
    channels = [
        await stack.enter_async_context(
            AsyncOmni(
                gateway.grpc,
                api_key=tenant.api_key,
                channel_options=(("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)),
            )
        )
        for _ in range(CHANNELS)
    ]
    http = await stack.enter_async_context(
        httpx.AsyncClient(
            timeout=60,
            limits=httpx.Limits(max_connections=CALLERS, max_keepalive_connections=0),
            headers={"authorization": f"Bearer {tenant.api_key}"},
        )
    )
    sdk = await stack.enter_async_context(
        openai.AsyncOpenAI(
            base_url=f"{gateway.rest}/v1", api_key=tenant.api_key, max_retries=0, timeout=60
        )
    )
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": OUTPUT_MAX,
    }
    callers: list[Coroutine[Any, Any, str]] = []
    for number in range(CALLERS // 4):
        channel = channels[number % CHANNELS]
        callers.append(_over_grpc(channel, prompt))
        callers.append(_streamed_over_grpc(channel, prompt))
        callers.append(_over_rest(http, f"{gateway.rest}/v1/chat/completions", body))
        callers.append(_streamed_over_rest(sdk, body))
    return [asyncio.create_task(caller) for caller in callers]


async def _over_grpc(omni: AsyncOmni, prompt: str) -> str:
    try:
        await omni.chat(MODEL, prompt, max_output_tokens=OUTPUT_MAX)
    except OmniError as error:
        return str(error.reason)
    return "ANSWERED"


async def _streamed_over_grpc(omni: AsyncOmni, prompt: str) -> str:
    try:
        async with omni.stream_chat(MODEL, prompt, max_output_tokens=OUTPUT_MAX) as stream:
            await stream.result()
    except OmniError as error:
        return str(error.reason)
    return "ANSWERED"


async def _over_rest(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> str:
    answer = await http.post(url, json=body)
    if answer.status_code == 429:
        return str(answer.json()["error"]["omni"]["reason"])
    return "ANSWERED" if answer.status_code == 200 else answer.text


async def _streamed_over_rest(sdk: openai.AsyncOpenAI, body: dict[str, Any]) -> str:
    try:
        async with await sdk.chat.completions.create(**body, stream=True) as stream:
            async for _ in stream:
                pass
    except openai.RateLimitError as error:
        return str(error.code).upper()
    return "ANSWERED"


def _open_holds(gateway: Gateway) -> int:
    with psycopg.connect(gateway.database_url) as connection:
        found = connection.execute("SELECT count(*) FROM hold WHERE state = 'O'").fetchone()
    assert found is not None
    return int(found[0])
