"""Clients that go away: what the provider sent until then is charged, once, and nothing else.

The simulator's own log says what it sent and what it read; each test compares the books with it.
"""

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from books import CREDITS, SETTLED_SECONDS_MAX, check_account, cost, settled
from gateway import Gateway, SimulatorThread, Tenant, running, soon
from left_chats import (
    CHATS,
    answered_after,
    heard_left,
    heard_of_one_more,
    marked,
    on_both_transports,
    past_deadline,
    reached,
)
from omni_grpc_client import AsyncOmni, NotFound, UsageRecord

from omni_grpc.simulator import CallRecord

TOKENS = 6
NOTICED_MS_MAX = 15_000
"""For a busy machine; a provider that is not left goes on for a minute."""


async def _charged(gateway: Gateway, tenant: Tenant, record: CallRecord) -> UsageRecord:
    """The usage record of a call, when it is charged; it must be for what the provider sent."""
    usage = await settled(gateway, tenant, record)
    assert record.outcome != "running"
    (attempt,) = usage.attempts
    assert attempt.prompt_tokens == record.prompt_tokens
    assert attempt.completion_tokens == record.completion_tokens
    assert attempt.cost_nanousd == _cost(record)
    return usage


def _cost(record: CallRecord) -> int:
    return cost(record.prompt_tokens, record.completion_tokens)


async def _check_cancelled(
    gateway: Gateway, tenant: Tenant, record: CallRecord, left_ms: float
) -> None:
    """The provider was left at once, and the account paid for what it had sent."""
    assert await soon(lambda: record.gone_ms is not None)
    assert record.outcome == "cancelled"
    assert record.gone_ms is not None
    assert record.gone_ms - left_ms < NOTICED_MS_MAX
    assert record.notice_ms is not None
    assert record.notice_ms < NOTICED_MS_MAX
    usage = await _charged(gateway, tenant, record)
    assert usage.attempts[0].outcome == "cancelled"
    await check_account(gateway, tenant, _cost(record))


# --- while nothing of an answer has come ------------------------------------------------------
@on_both_transports
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [
        "hang_after=request",
        "headers_ms=60000",
        "gate=never",
        "pause_after=request,pause_s=60",
        "hang_after=headers",
        "first_ms=60000",
        "delay_ms=30000",
    ],
)
async def test_a_call_left_before_its_answer_costs_the_prompt_that_was_read(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    transport: str,
    stream: bool,
    behaviour: str,
) -> None:
    simulator.close_gate("never")
    prompt, mark = marked(behaviour)
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=stream)
    record = await reached(simulator, mark)
    left_ms = simulator.now_ms()
    await chat.leave()
    await _check_cancelled(gateway, tenant, record, left_ms)
    assert record.completion_tokens == 0


# --- after each event of a stream -------------------------------------------------------------
@on_both_transports
@pytest.mark.parametrize("wait", ["gate=never,gate_after", "pause_s=60,pause_after", "hang_after"])
@pytest.mark.parametrize("tokens", range(1, TOKENS + 1))
async def test_a_stream_left_after_each_delta_costs_the_tokens_that_were_sent(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    transport: str,
    wait: str,
    tokens: int,
) -> None:
    """At the last of them nothing but the finish reason and the usage is missing."""
    simulator.close_gate("never")
    prompt, mark = marked(f"tokens={TOKENS},{wait}={tokens}")
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=True)
    await chat.read(tokens)
    record = await reached(simulator, mark, tokens)
    left_ms = simulator.now_ms()
    await chat.leave()
    await _check_cancelled(gateway, tenant, record, left_ms)
    assert record.completion_tokens == tokens


@on_both_transports
async def test_what_the_client_never_read_is_charged_as_it_was_sent(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    """The client leaves at the first event, when the provider has sent five tokens."""
    prompt, mark = marked("tokens=40,hang_after=5")
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=True)
    await chat.read(0)
    record = await reached(simulator, mark, 5)
    left_ms = simulator.now_ms()
    await chat.leave()
    await _check_cancelled(gateway, tenant, record, left_ms)


@on_both_transports
async def test_a_stream_left_when_all_was_sent_is_charged_once(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    """The books say answered or cancelled, by who came first; the cost is the same."""
    prompt, mark = marked(f"tokens={TOKENS}")
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=True)
    await chat.read(TOKENS)
    await chat.leave()
    record = await reached(simulator, mark, TOKENS)
    await _charged(gateway, tenant, record)
    await check_account(gateway, tenant, _cost(record))


# --- deadlines --------------------------------------------------------------------------------
@on_both_transports
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", ["request", "headers", "3"])
async def test_a_deadline_ends_a_call_and_charges_what_was_sent(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    transport: str,
    stream: bool,
    tokens: str,
) -> None:
    record, timeout_s = await past_deadline(
        gateway, tenant, simulator, transport, f"hang_after={tokens}", stream=stream
    )
    await _check_cancelled(gateway, tenant, record, record.received_ms + 1000 * timeout_s)


# --- before the provider was reached ----------------------------------------------------------
@on_both_transports
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_left_while_its_hold_is_awaited_is_never_sent_nor_charged(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str, stream: bool
) -> None:
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        await omni.balance()  # the key is known now, so that nothing but the hold is awaited
    prompt, mark = marked("tokens=1")
    with _wallet_locked(gateway, tenant) as connection:
        chat = await CHATS[transport].send(gateway, tenant, prompt, stream=stream)
        assert await soon(lambda: _waits_for_lock(connection))
        before = heard_left(gateway)
        await chat.leave()
        assert await heard_of_one_more(gateway, before)  # and then the hold is granted
    await check_account(gateway, tenant)
    assert simulator.record_asked(mark) is None


@on_both_transports
async def test_a_stream_left_while_its_settle_is_awaited_is_charged_as_answered(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    gate = f"settle-{transport}"
    simulator.close_gate(gate)
    prompt, mark = marked(f"tokens={TOKENS},gate={gate},gate_after=3")
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=True)
    await chat.read(3)
    with _wallet_locked(gateway, tenant) as connection:
        simulator.open_gate(gate)
        assert await soon(lambda: _waits_for_lock(connection))
        before = heard_left(gateway)
        await chat.leave()
        assert await heard_of_one_more(gateway, before)
    record = await reached(simulator, mark, TOKENS)
    usage = await _charged(gateway, tenant, record)
    assert usage.attempts[0].outcome == "answered"
    await check_account(gateway, tenant, _cost(record))


@on_both_transports
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_left_while_its_provider_is_being_connected_costs_nothing(
    own_gateway: Gateway, transport: str, stream: bool
) -> None:
    with _deaf_address() as address:
        own_gateway.simulator_url = f"http://{address}/v1"
        with running(own_gateway):
            tenant = own_gateway.tenant(CREDITS)
            chat = await CHATS[transport].send(own_gateway, tenant, "Go on.", stream=stream)
            async with AsyncOmni(own_gateway.grpc, api_key=tenant.api_key) as omni:
                async with asyncio.timeout(30):
                    while not (await omni.balance()).held_nanousd:
                        await asyncio.sleep(0.01)
            await chat.leave()
            await check_account(own_gateway, tenant)


@contextmanager
def _wallet_locked(
    gateway: Gateway, tenant: Tenant
) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """Holds the tenant's wallet for the block: the ledger waits for it."""
    with psycopg.connect(gateway.database_url) as connection:
        connection.execute(
            "SELECT FROM account a JOIN org o ON o.id = a.org_id WHERE o.slug = %s FOR UPDATE OF a",
            [tenant.org],
        )
        yield connection
        connection.rollback()


def _waits_for_lock(connection: "psycopg.Connection[tuple[Any, ...]]") -> bool:
    found = connection.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    ).fetchone()
    return found is not None


@contextmanager
def _deaf_address() -> Iterator[str]:
    """An address whose queue of connections is full: connecting to it never ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(address)
            yield f"127.0.0.1:{address[1]}"
        finally:
            for client in waiting:
                client.close()


# --- at random moments ------------------------------------------------------------------------
async def test_sixty_streams_left_at_random_moments_cost_what_the_log_says(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """Tokens of 1 to 5 ms on both transports; every fifth call is left by its deadline.

    The seed is the test's own, to be repeated.
    """
    rng = random.Random(20_240_611)

    async def call(number: int) -> str:
        behaviour = f"tokens={rng.randrange(1, 100)},delay_ms={rng.uniform(1, 5):.3f}"
        prompt, mark = marked(behaviour)
        patience_s, by_deadline = rng.uniform(0.02, 0.4), number % 5 == 0
        chat = await CHATS["rest" if number % 2 else "grpc"].send(
            gateway, tenant, prompt, stream=True, timeout_s=patience_s if by_deadline else 60
        )
        if by_deadline:
            await chat.end()
        else:
            await asyncio.sleep(patience_s)
        await chat.leave()
        return mark

    marks = await asyncio.gather(*(call(number) for number in range(60)))
    await _check_all_charged(gateway, tenant, simulator, marks)


async def test_calls_left_in_their_first_milliseconds_leave_no_hold(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """Here the hold is being granted, or the provider being called, in the moment of leaving."""
    rng = random.Random(20_240_612)

    async def call(number: int) -> str:
        stream = number % 4 < 2
        prompt, mark = marked("tokens=3" if stream else "hang_after=headers")
        chat = await CHATS["rest" if number % 2 else "grpc"].send(
            gateway, tenant, prompt, stream=stream
        )
        await asyncio.sleep(rng.uniform(0, 0.02))
        await chat.leave()
        return mark

    marks: list[str] = []
    for first in range(0, 120, 8):
        marks += await asyncio.gather(*(call(number) for number in range(first, first + 8)))
    marks += [await answered_after(gateway, tenant, over, "tokens=3") for over in CHATS]
    await _check_all_charged(gateway, tenant, simulator, marks)


async def _check_all_charged(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, marks: list[str]
) -> None:
    """Each call that reached the provider is charged for what it was sent, no other is."""
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            while (await omni.balance()).held_nanousd:
                await asyncio.sleep(0.02)
        called = [record for mark in marks if (record := simulator.record_asked(mark))]
        differences = []
        for record in called:
            try:
                attempt = (await omni.usage(record.headers["x-client-request-id"])).attempts[0]
            except NotFound:
                attempt = None
            if attempt is None or attempt.cost_nanousd != _cost(record):
                differences.append((attempt, record))
    assert not differences
    assert called
    await check_account(gateway, tenant, *map(_cost, called))
