"""Clients that go away from a provider that bills on: it is read on, and what it says is charged.

The simulator's log says what it sent and what it billed; each test compares the books with it.
"""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from books import check_account, cost, settled
from gateway import Gateway, SimulatorThread, Tenant, running, soon
from gateway_fixtures import check_books
from left_chats import (
    CHATS,
    answered_after,
    marked,
    on_both_transports,
    past_deadline,
    reached,
)
from omni_grpc_client import AttemptRecord

from omni_grpc.completion.endings import DRAINS_AT_ONCE_MAX
from omni_grpc.simulator import CallRecord
from omni_grpc.storage import EmbeddedPostgres

LEASE_S = 6
CAP_S = LEASE_S / 2
LATE_S = 10
"""What a busy machine may need beside; without a cap nothing would end."""

BILLS_ON = {
    "OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true",
    "OMNI_HOLD_LEASE_S": str(LEASE_S),
}

streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@pytest.fixture(scope="module")
def gateway(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway whose provider bills on, with a short lease: its provider is read on for 3 s."""
    name, admin_key = template
    url = postgres.create_database("e2e_drain", template=name)
    folder = tmp_path_factory.mktemp("drain")
    with running(Gateway(url, simulator.base_url, folder, admin_key, environment=BILLS_ON)) as it:
        yield it
    check_books(url, folder)


@pytest.fixture
def tenant(gateway: Gateway) -> Tenant:
    return gateway.tenant()


async def _leave(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    transport: str,
    behaviour: str,
    *,
    stream: bool,
    read: int | None = None,
) -> tuple[CallRecord, float]:
    """Leaves a call once the provider has it, or once so many tokens were read; its record."""
    prompt, mark = marked(f"bills_on,{behaviour}")
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=stream)
    if stream and read is not None:
        await chat.read(read)
    record = await reached(simulator, mark)
    left_ms = simulator.now_ms()
    await chat.leave()
    return record, left_ms


async def _attempt(gateway: Gateway, tenant: Tenant, record: CallRecord) -> AttemptRecord:
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    return attempt


def _counts(attempt: AttemptRecord) -> tuple[int | None, int | None]:
    return attempt.prompt_tokens, attempt.completion_tokens


# --- read to the end --------------------------------------------------------------------------
@on_both_transports
@streamed_or_plain
@pytest.mark.parametrize(
    "behaviour",
    [
        "tokens=30,delay_ms=10",
        "tokens=30,headers_ms=500",
        "tokens=30,first_ms=500",
        "tokens=30,pause_after=request,pause_s=0.5",
        "tokens=30,pause_after=headers,pause_s=0.5",
    ],
)
async def test_a_call_that_was_left_is_charged_by_what_the_provider_says_at_its_end(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    transport: str,
    stream: bool,
    behaviour: str,
) -> None:
    read = 3 if "delay_ms" in behaviour else None
    record, left_ms = await _leave(
        gateway, tenant, simulator, transport, behaviour, stream=stream, read=read
    )
    attempt = await _attempt(gateway, tenant, record)
    assert record.outcome == "finished"
    assert record.ended_ms is not None
    assert record.ended_ms > left_ms
    assert (attempt.outcome, attempt.estimated) == ("cancelled", False)
    assert _counts(attempt) == (record.prompt_tokens, 30)
    assert record.billed_completion_tokens == 30
    await check_account(gateway, tenant, cost(record.prompt_tokens, 30))


@on_both_transports
async def test_usage_that_never_comes_is_counted_to_the_end(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    behaviour = "tokens=30,delay_ms=10,usage=none"
    record, _ = await _leave(gateway, tenant, simulator, transport, behaviour, stream=True, read=3)
    attempt = await _attempt(gateway, tenant, record)
    assert (attempt.outcome, attempt.estimated) == ("cancelled", True)
    assert _counts(attempt) == (record.prompt_tokens, 30)
    await check_account(gateway, tenant, cost(record.prompt_tokens, 30))


@on_both_transports
@streamed_or_plain
async def test_a_call_past_its_deadline_is_read_on_while_its_caller_is_told_at_once(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str, stream: bool
) -> None:
    gate = f"late-{uuid.uuid4().hex}"
    simulator.close_gate(gate)
    behaviour = f"bills_on,tokens=30,gate={gate},gate_after=5"
    try:
        record, _ = await past_deadline(
            gateway, tenant, simulator, transport, behaviour, stream=stream
        )
        assert record.outcome == "running"
    finally:
        simulator.open_gate(gate)
    attempt = await _attempt(gateway, tenant, record)
    assert (attempt.estimated, attempt.completion_tokens) == (False, 30)
    await check_account(gateway, tenant, cost(record.prompt_tokens, 30))


# --- not to the end ---------------------------------------------------------------------------
@on_both_transports
@pytest.mark.parametrize("hang", ["request", "headers", "5"])
async def test_a_stream_without_an_end_is_left_at_the_cap_and_charged_by_our_count(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str, hang: str
) -> None:
    came = 5 if hang == "5" else 0
    record, left_ms = await _leave(
        gateway, tenant, simulator, transport, f"tokens=30,hang_after={hang}",
        stream=True, read=came or None,
    )  # fmt: skip
    attempt = await _attempt(gateway, tenant, record)
    assert (attempt.outcome, attempt.estimated) == ("cancelled", True)
    assert _counts(attempt) == (record.prompt_tokens, came)
    assert record.gone_ms is not None
    assert CAP_S - 0.1 < (record.gone_ms - left_ms) / 1000 < CAP_S + LATE_S
    assert record.billed_completion_tokens == 30
    await check_account(gateway, tenant, cost(record.prompt_tokens, came))


@on_both_transports
async def test_a_plain_call_without_an_end_is_left_at_the_cap_and_charged_its_prompt(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    record, left_ms = await _leave(
        gateway, tenant, simulator, transport, "tokens=30,hang_after=request", stream=False
    )
    attempt = await _attempt(gateway, tenant, record)
    assert (attempt.outcome, attempt.estimated) == ("cancelled", True)
    assert record.gone_ms is not None
    assert CAP_S - 0.1 < (record.gone_ms - left_ms) / 1000 < CAP_S + LATE_S
    await check_account(gateway, tenant, cost(record.prompt_tokens, 0))


@streamed_or_plain
async def test_a_provider_that_refuses_after_all_costs_nothing(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    record, _ = await _leave(
        gateway, tenant, simulator, "rest", "headers_ms=300,status=503", stream=stream
    )
    attempt = await _attempt(gateway, tenant, record)
    assert (attempt.outcome, attempt.cost_nanousd) == ("failed", 0)
    await check_account(gateway, tenant)


async def test_an_answer_that_breaks_off_unseen_is_charged_as_far_as_it_came(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    record, _ = await _leave(
        gateway, tenant, simulator, "rest", "tokens=30,delay_ms=20,error_after=12",
        stream=True, read=3,
    )  # fmt: skip
    attempt = await _attempt(gateway, tenant, record)
    assert (attempt.outcome, attempt.estimated, attempt.completion_tokens) == ("failed", True, 12)
    await check_account(gateway, tenant, cost(record.prompt_tokens, 12))


async def test_a_call_that_was_left_before_it_was_sent_is_never_sent(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """Calls that are left in their first milliseconds, while they are held for and sent."""
    called = []
    for number in range(40):
        prompt, mark = marked("bills_on,tokens=3")
        chat = await CHATS["rest"].send(gateway, tenant, prompt, stream=number % 2 == 0)
        await asyncio.sleep(number / 10_000)
        await chat.leave()
        called.append(mark)
    called.append(await answered_after(gateway, tenant, "rest", "bills_on,tokens=3"))
    records = [record for mark in called if (record := simulator.record_asked(mark))]
    for record in records:
        attempt = await _attempt(gateway, tenant, record)
        assert _counts(attempt) == (record.prompt_tokens, 3)
    await check_account(gateway, tenant, *(cost(one.prompt_tokens, 3) for one in records))


# --- bounds -----------------------------------------------------------------------------------
async def test_no_more_providers_are_read_on_than_may_be(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    """Those above the limit are stopped at once, and charged by our count of what came."""
    above = 8
    own_gateway.environment["OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL"] = "true"
    simulator.close_gate("full")
    behaviour = "tokens=9,gate=full,gate_after=2"

    async def leave(tenant: Tenant, count: int) -> list[CallRecord]:
        calls = [
            _leave(own_gateway, tenant, simulator, "rest", behaviour, stream=True, read=2)
            for _ in range(count)
        ]
        return [record for record, _ in await asyncio.gather(*calls)]

    with running(own_gateway):
        tenant = own_gateway.tenant()
        read_on: list[CallRecord] = []
        while len(read_on) < DRAINS_AT_ONCE_MAX:
            read_on += await leave(tenant, 8)
        stopped = await leave(tenant, above)
        assert await soon(lambda: all(record.gone_ms is not None for record in stopped))
        assert all(record.outcome == "running" for record in read_on)
        simulator.open_gate("full")
        for records, came in ((read_on, 9), (stopped, 2)):
            for record in records:
                attempt = await _attempt(own_gateway, tenant, record)
                assert (attempt.completion_tokens, attempt.estimated) == (came, came == 2)
        await check_account(
            own_gateway,
            tenant,
            *(cost(record.prompt_tokens, 9) for record in read_on),
            *(cost(record.prompt_tokens, 2) for record in stopped),
        )


async def test_an_unseen_answer_is_read_no_further_than_its_hold_reaches(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    prompt, mark = marked("bills_on,tokens=20000,delay_ms=1,no_limit")
    chat = await CHATS["rest"].send(gateway, tenant, prompt, stream=True, output_tokens_max=100)
    await chat.read(3)
    await chat.leave()
    record = await reached(simulator, mark)
    attempt = await _attempt(gateway, tenant, record)
    assert record.outcome == "cancelled"
    assert record.completion_tokens < 8_000  # of 20,000, at one a millisecond on a busy machine
    assert attempt.cost_nanousd == attempt.held_nanousd
    await check_account(gateway, tenant, attempt.cost_nanousd)


# --- a stop of the service --------------------------------------------------------------------
@streamed_or_plain
@pytest.mark.parametrize("behaviour", ["tokens=30,delay_ms=50", "tokens=30,hang_after=5"])
async def test_a_stopping_service_waits_for_the_providers_it_reads_on_and_settles(
    own_gateway: Gateway, simulator: SimulatorThread, stream: bool, behaviour: str
) -> None:
    own_gateway.environment |= BILLS_ON
    with running(own_gateway):
        tenant = own_gateway.tenant()
        record, _ = await _leave(
            own_gateway, tenant, simulator, "grpc", behaviour, stream=stream,
            read=3 if stream else None,
        )  # fmt: skip
        began = asyncio.get_running_loop().time()
        await asyncio.to_thread(own_gateway.stop)
        assert asyncio.get_running_loop().time() - began < CAP_S + LATE_S
    own_gateway.grpc = own_gateway.rest = ""
    with running(own_gateway):
        attempt = await _attempt(own_gateway, tenant, record)
        ended = "hang" not in behaviour
        came = 30 if ended else 5 if stream else 0
        assert (attempt.outcome, attempt.estimated) == ("cancelled", not ended)
        assert _counts(attempt) == (record.prompt_tokens, came)
        await check_account(own_gateway, tenant, cost(record.prompt_tokens, came))


def test_the_page_of_the_ledger_says_how_long_and_how_many() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()
    assert f"at most {DRAINS_AT_ONCE_MAX} at once" in page.replace("\n", " ")
