"""Providers that say nothing: what they did nobody knows, so the money stays reserved.

The service runs as a process whose only difference is that its provider is waited for less.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from books import cost
from gateway import Gateway, RestCall, SimulatorThread, Tenant, running, soon
from gateway_fixtures import check_books
from left_chats import MODEL, marked, on_both_transports
from omni_grpc_client import AsyncOmni, AttemptRecord, OmniError

from omni_grpc.providers import Providers, ProviderSettings
from omni_grpc.simulator import CallRecord
from omni_grpc.storage import EmbeddedPostgres

FIRST_BYTE_S = 1.0
BETWEEN_BYTES_S = 1.2


@pytest.fixture(scope="module", params=["stops", "bills on"])
def impatient(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Gateway]:
    """By default a provider whose bill a cancel stops."""
    name, admin_key = template
    bills_on = str(request.param == "bills on").lower()
    url = postgres.create_database(f"e2e_impatient_{bills_on}", template=name)
    folder = tmp_path_factory.mktemp("impatient")
    (folder / "providers.yaml").write_text(
        "- id: sim\n"
        f"  timeouts: {{first_byte_s: {FIRST_BYTE_S}, between_bytes_s: {BETWEEN_BYTES_S}}}\n"
        f"  bills_after_cancel: {bills_on}\n"
    )
    gateway = Gateway(url, simulator.base_url, folder, admin_key)
    with running(gateway):
        yield gateway
    check_books(url, folder)


@pytest.fixture
async def provider(simulator: SimulatorThread) -> AsyncIterator[Providers]:
    """The provider, to be asked for its records."""
    providers = Providers({"sim": ProviderSettings(base_url=simulator.base_url)})
    await providers.open()
    yield providers
    await providers.close()


stops = pytest.mark.parametrize("impatient", ["stops"], indirect=True)
bills_on = pytest.mark.parametrize("impatient", ["bills on"], indirect=True)
streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


async def _failed(
    gateway: Gateway, tenant: Tenant, prompt: str, *, transport: str, stream: bool
) -> str:
    """The reason for which a call failed."""
    if transport == "grpc":
        async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
            try:
                if stream:
                    async with omni.stream_chat(MODEL, prompt) as answer:
                        await answer.result()
                else:
                    await omni.chat(MODEL, prompt)
            except OmniError as error:
                return str(error.reason)
        return "OK"
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "stream": stream,
    }
    async with await RestCall.send(gateway, tenant.api_key, body) as call:
        status, headers = await call.head()
        if headers["content-type"] == "application/json":
            content = await call.body(headers)
            return "OK" if status == 200 else str(content["error"]["omni"]["reason"])
        events = [event async for event in call.events()]
        return str(events[-1]["error"]["omni"]["reason"]) if "error" in events[-1] else "OK"


async def _end(
    gateway: Gateway,
    simulator: SimulatorThread,
    behaviour: str,
    *,
    transport: str,
    stream: bool,
) -> tuple[str, AttemptRecord, CallRecord, tuple[int, int, int]]:
    """Why it failed, its attempt, what the provider saw, and what is spent, held, unresolved."""
    tenant = gateway.tenant()
    prompt, mark = marked(behaviour)
    reason = await _failed(gateway, tenant, prompt, transport=transport, stream=stream)
    record = await soon(lambda: simulator.record_asked(mark))
    assert record is not None
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        async with asyncio.timeout(30):
            while (balance := await omni.balance()).held_nanousd:
                await asyncio.sleep(0.01)
        (attempt,) = (await omni.usage(record.headers["x-client-request-id"])).attempts
    spent = 10**9 - balance.posted_nanousd
    return reason, attempt, record, (spent, balance.held_nanousd, balance.unresolved_nanousd)


# --- nothing of an answer ---------------------------------------------------------------------
@stops
@on_both_transports
async def test_a_provider_that_sends_no_byte_leaves_its_attempt_unresolved(
    impatient: Gateway, simulator: SimulatorThread, transport: str
) -> None:
    reason, attempt, record, money = await _end(
        impatient, simulator, "hang_after=request", transport=transport, stream=True
    )
    assert reason == "DEADLINE"
    assert (attempt.outcome, attempt.provider_ref) == ("unresolved", "")
    assert money == (0, 0, attempt.held_nanousd)
    assert await soon(lambda: record.gone_ms is not None)
    assert record.gone_ms is not None
    # The simulator's clock began a moment after ours.
    waited_s = (record.gone_ms - record.received_ms) / 1000
    assert 0.9 * FIRST_BYTE_S < waited_s < FIRST_BYTE_S + 15


@stops
@on_both_transports
async def test_a_provider_that_is_silent_after_its_headers_leaves_its_attempt_unresolved(
    impatient: Gateway, simulator: SimulatorThread, provider: Providers, transport: str
) -> None:
    """It has named its answer: its own record can tell what it billed."""
    reason, attempt, record, money = await _end(
        impatient, simulator, "hang_after=headers,bills_on,tokens=9", transport=transport,
        stream=True,
    )  # fmt: skip
    assert reason == "DEADLINE"
    assert (attempt.outcome, attempt.provider_ref) == ("unresolved", record.id)
    assert money == (0, 0, attempt.held_nanousd)
    async with asyncio.timeout(30):
        while (found := await provider.lookup("sim", attempt.provider_ref)) is None:
            await asyncio.sleep(0.01)
    assert (found.prompt, found.completion) == (record.prompt_tokens, 9)


@stops
async def test_a_plain_answer_that_stops_in_its_middle_leaves_its_attempt_unresolved(
    impatient: Gateway, simulator: SimulatorThread
) -> None:
    reason, attempt, _, money = await _end(
        impatient, simulator, "hang_after=headers", transport="rest", stream=False
    )
    assert reason == "DEADLINE"
    assert attempt.outcome == "unresolved"
    assert money == (0, 0, attempt.held_nanousd)


@stops
async def test_a_caller_is_told_that_the_cost_is_not_known(
    impatient: Gateway, simulator: SimulatorThread
) -> None:
    tenant = impatient.tenant()
    for fault in ("request", "headers"):
        prompt, _ = marked(f"hang_after={fault}")
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
        }
        async with await RestCall.send(impatient, tenant.api_key, body) as call:
            told, answer = await call.answer()
        assert told == 504
        assert "What it may have cost is held until that is known." in answer["error"]["message"]
        assert "charged" not in answer["error"]["message"]


# --- something of it --------------------------------------------------------------------------
@stops
@on_both_transports
async def test_a_provider_that_falls_silent_is_charged_for_what_came(
    impatient: Gateway, simulator: SimulatorThread, transport: str
) -> None:
    reason, attempt, record, money = await _end(
        impatient, simulator, "tokens=30,hang_after=5", transport=transport, stream=True
    )
    assert reason == "INTERRUPTED"
    assert (attempt.outcome, attempt.completion_tokens) == ("cancelled", 5)
    assert attempt.provider_ref == record.id
    assert money == (cost(record.prompt_tokens, 5), 0, 0)


# --- lost connections -------------------------------------------------------------------------
LOST = ["cut_after=request", "cut=fin,cut_after=request", "cut_after=headers"]


@stops
@streamed_or_plain
@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_connection_is_free_where_it_stops_the_bill(
    impatient: Gateway, simulator: SimulatorThread, fault: str, stream: bool
) -> None:
    reason, attempt, _, money = await _end(
        impatient, simulator, fault, transport="rest", stream=stream
    )
    assert reason == "PROVIDER_UNAVAILABLE"
    assert (attempt.outcome, attempt.cost_nanousd) == ("failed", 0)
    assert money == (0, 0, 0)


@bills_on
@streamed_or_plain
@pytest.mark.parametrize("fault", [f"{fault},bills_on,tokens=9" for fault in LOST])
async def test_a_lost_connection_is_unresolved_where_the_provider_bills_on(
    impatient: Gateway, simulator: SimulatorThread, fault: str, stream: bool
) -> None:
    reason, attempt, record, money = await _end(
        impatient, simulator, fault, transport="rest", stream=stream
    )
    assert reason == "INTERRUPTED"
    assert attempt.outcome == "unresolved"
    assert money == (0, 0, attempt.held_nanousd)
    assert record.billed_completion_tokens == 9


@bills_on
async def test_a_refusal_is_free_also_where_the_provider_bills_on(
    impatient: Gateway, simulator: SimulatorThread
) -> None:
    _, attempt, _, money = await _end(
        impatient, simulator, "status=503", transport="rest", stream=True
    )
    assert (attempt.outcome, attempt.cost_nanousd) == ("failed", 0)
    assert money == (0, 0, 0)
