"""Streams that were cut or left and were billed nothing, or wrongly, as users of other gateways
reported it; see docs/peers.md."""

import asyncio
import json
import random
from collections.abc import Iterator

import pytest
from books import CREDITS, check_account, cost, settled
from gateway import (
    Gateway,
    HttpConnection,
    RestCall,
    SimulatorThread,
    Tenant,
    chat_body,
    running,
    soon,
)
from gateway_fixtures import check_books
from left_chats import CHATS, MODEL, marked, on_both_transports, reached
from omni_grpc_client import AsyncOmni, AttemptRecord

from omni_grpc.simulator import CallRecord
from omni_grpc.storage import EmbeddedPostgres

LEASE_S = 4
CAP_S = LEASE_S / 2


@pytest.fixture(scope="module")
def billing_on(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway whose provider bills a call to its end, whoever leaves it."""
    name, admin_key = template
    url = postgres.create_database("peers_billing_on", template=name)
    folder = tmp_path_factory.mktemp("billing_on")
    settings = {
        "OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true",
        "OMNI_HOLD_LEASE_S": str(LEASE_S),
    }
    with running(Gateway(url, simulator.base_url, folder, admin_key, environment=settings)) as it:
        yield it
    check_books(url, folder)


async def left(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    behaviour: str,
    *,
    read: int | None,
    transport: str = "rest",
    stream: bool = True,
) -> CallRecord:
    """The record of a call that was left once its provider had it, or so much of it was read."""
    prompt, mark = marked(behaviour)
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=stream)
    if read is not None:
        await chat.read(read)
    record = await reached(simulator, mark, read or 0)
    await chat.leave()
    return record


async def charged(gateway: Gateway, tenant: Tenant, record: CallRecord) -> AttemptRecord:
    """The one attempt of a call, once it has its charge."""
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    return attempt


def calls_of(simulator: SimulatorThread, mark: str) -> list[CallRecord]:
    return [record for record in simulator.simulator.log if mark in record.behaviour]


def streamed(gateway: Gateway, tenant: Tenant, prompt: str, model: str = MODEL) -> list[str]:
    """The events of a whole stream over REST, which begins well."""
    with HttpConnection(gateway, tenant.api_key) as connection:
        answer = connection.ask(body=chat_body(model, prompt, stream=True))
    assert answer.status == 200
    return answer.events


# --- callers who leave ------------------------------------------------------------------------
@on_both_transports
async def test_litellm_14457_usage_of_a_stream_whose_client_went_away(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    """BerriAI/litellm#14457: usage comes in the last chunk, so a client that went away before it
    left no usage at all.

    Here what was sent is counted, and the record says that it is an estimate.
    """
    record = await left(
        gateway, tenant, simulator, "tokens=40,hang_after=5", read=5, transport=transport
    )
    attempt = await charged(gateway, tenant, record)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (record.prompt_tokens, 5)
    assert (attempt.outcome, attempt.estimated) == ("cancelled", True)
    await check_account(gateway, tenant, cost(record.prompt_tokens, 5))


@on_both_transports
async def test_litellm_13245_a_plain_call_whose_client_went_away(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    """BerriAI/litellm#13245: a disconnect from a call that is not streamed went unnoticed.

    Here the provider is stopped at once, and the prompt that it read is charged.
    """
    record = await left(
        gateway, tenant, simulator, "delay_ms=60000", read=None, transport=transport, stream=False
    )
    assert await soon(lambda: record.outcome == "cancelled")
    attempt = await charged(gateway, tenant, record)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (record.prompt_tokens, 0)
    await check_account(gateway, tenant, cost(record.prompt_tokens, 0))


async def test_litellm_33736_a_client_that_disconnects_does_not_pay_nothing(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """BerriAI/litellm#33736: a streaming client that disconnected paid nothing, and no row said
    that there had been a call. #35958 and #37558: it came back on another route.

    Here twenty calls that are left on both transports leave twenty charges.
    """
    calls = [
        left(
            gateway, tenant, simulator, f"tokens=40,hang_after={number + 1}", read=number + 1,
            transport="rest" if number % 2 else "grpc",
        )
        for number in range(20)
    ]  # fmt: skip
    records = await asyncio.gather(*calls)
    costs = []
    for record in records:
        attempt = await charged(gateway, tenant, record)
        assert attempt.completion_tokens == record.completion_tokens > 0
        costs.append(attempt.cost_nanousd or 0)
    assert all(costs)
    await check_account(gateway, tenant, *costs)


async def test_litellm_30630_a_cancelled_stream_behind_a_fallback(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """BerriAI/litellm#30630: the fix for cancelled streams did nothing where the router had wrapped
    the stream for fallbacks.

    Here the first model fails before its first byte, the second one is left in its answer: the
    first costs nothing, the second what it sent, at its own price.
    """
    prompt, mark = marked("status=503,tokens=20,pause_after=5,pause_s=60")
    chat = await CHATS["rest"].send(gateway, tenant, prompt, stream=True, fallbacks=["sim/vision"])
    await chat.read(5)
    await chat.leave()
    first, second = calls_of(simulator, mark)
    assert await soon(lambda: second.outcome == "cancelled")
    failed, cancelled = (await settled(gateway, tenant, second)).attempts
    assert (failed.model, failed.outcome, failed.cost_nanousd) == (
        f"sim/{first.model}",
        "failed",
        0,
    )
    assert (cancelled.model, cancelled.outcome) == (f"sim/{second.model}", "cancelled")
    assert cancelled.completion_tokens == 5
    assert (cancelled.cost_nanousd or 0) > 0
    await check_account(gateway, tenant, cancelled.cost_nanousd or 0)


async def test_llmgateway_3331_an_abort_right_before_the_usage(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """theopenco/llmgateway GHSA-724j-f2pf-phf7, PR#3331: who read the whole answer and closed the
    connection before the last chunk was billed 0 tokens.

    Here the whole answer is charged.
    """
    record = await left(gateway, tenant, simulator, "tokens=40,hang_after=40", read=40)
    attempt = await charged(gateway, tenant, record)
    assert not record.usage_sent
    assert attempt.completion_tokens == 40
    await check_account(gateway, tenant, cost(record.prompt_tokens, 40))


async def test_new_api_5235_a_disconnect_gives_back_only_what_was_not_used(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """QuantumNous/new-api#5235: a disconnect gave back all that had been taken beforehand."""
    record = await left(gateway, tenant, simulator, "tokens=40,hang_after=12", read=12)
    attempt = await charged(gateway, tenant, record)
    assert (attempt.held_nanousd or 0) > (attempt.cost_nanousd or 0) > 0
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        balance = await omni.balance()
    assert balance.posted_nanousd == CREDITS - cost(record.prompt_tokens, 12)
    assert (balance.held_nanousd, balance.unresolved_nanousd) == (0, 0)


@on_both_transports
async def test_new_api_7062_a_client_gone_before_the_first_token(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    """QuantumNous/new-api#7062: a client gone while its provider worked was billed 0.

    The provider has read the prompt, and bills it; so it is charged.
    """
    record = await left(
        gateway, tenant, simulator, "first_ms=60000", read=None, transport=transport
    )
    attempt = await charged(gateway, tenant, record)
    assert attempt.cost_nanousd == cost(record.prompt_tokens, 0) > 0
    await check_account(gateway, tenant, cost(record.prompt_tokens, 0))


async def test_typescript_sdk_194_the_usage_of_a_cancelled_call_can_be_asked_for(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """OpenRouterTeam/typescript-sdk#194: who aborts a stream gets no usage, and has no way to ask.

    Here the call's id came with the headers, and its usage record is there after the cancel.
    """
    prompt, mark = marked("tokens=40,hang_after=7")
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "stream": True}
    async with await RestCall.send(gateway, tenant.api_key, body) as call:
        _, headers = await call.head()
        record = await reached(simulator, mark, 7)
    assert headers["x-request-id"] == record.headers["x-client-request-id"]
    assert (await charged(gateway, tenant, record)).completion_tokens == 7


async def test_bifrost_3357_the_books_agree_with_the_providers_bill(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """maximhq/bifrost#3357: over a month 25 % less was billed than the providers charged, by
    streams that had been left.

    Here a hundred calls of every kind are answered, left, cut or refused, at moments drawn from a
    fixed seed; what was charged is, to the token, what the provider's own log bills.
    """
    rng = random.Random(3_357)

    async def one(number: int) -> str:
        tokens, at = rng.randrange(1, 60), rng.randrange(1, 60)
        behaviour = rng.choice(
            [
                f"tokens={tokens}", f"tokens={tokens},delay_ms=2", f"tokens=60,hang_after={at}",
                f"tokens=60,error_after={at}", f"tokens=60,cut=fin,cut_after={at}",
                "status=500", f"tokens={tokens},usage=none", f"tokens={tokens},usage=every",
            ]
        )  # fmt: skip
        prompt, mark = marked(behaviour)
        chat = await CHATS["rest" if number % 2 else "grpc"].send(
            gateway, tenant, prompt, stream=True, timeout_s=20
        )
        if "hang" in behaviour or rng.random() < 0.3:
            await asyncio.sleep(rng.uniform(0.02, 0.3))
        else:
            await chat.end()
        await chat.leave()
        return mark

    marks: list[str] = []
    for start in range(0, 100, 10):
        marks += await asyncio.gather(*(one(number) for number in range(start, start + 10)))
    records = [record for mark in marks for record in calls_of(simulator, mark)]
    assert len(records) > 80
    costs = []
    for record in records:
        attempt = await charged(gateway, tenant, record)
        assert record.outcome != "running"
        billed = cost(record.billed_prompt_tokens, record.billed_completion_tokens)
        if record.completion_tokens == 0 and record.outcome in ("error", "cut"):
            billed = 0  # nothing of an answer came: the operator's, not the caller's
        assert attempt.cost_nanousd == billed, record
        costs.append(billed)
    await check_account(gateway, tenant, *costs)


# --- providers that bill on -------------------------------------------------------------------
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_litellm_36008_a_reader_of_its_own_drains_to_the_terminal_usage(
    billing_on: Gateway, simulator: SimulatorThread, stream: bool
) -> None:
    """BerriAI/litellm#34147, PR#36008: Bedrock bills an interrupted stream to its end, and what
    had been streamed until then was all that was charged.

    Here the stream is read on, unseen, to the usage at its end.
    """
    tenant = billing_on.tenant()
    record = await left(
        billing_on, tenant, simulator, "bills_on,tokens=40,delay_ms=10,cached=50",
        read=3 if stream else None, stream=stream,
    )  # fmt: skip
    attempt = await charged(billing_on, tenant, record)
    assert (attempt.completion_tokens, attempt.estimated) == (40, False)
    assert attempt.cached_read_tokens == record.cached_tokens > 0
    assert record.billed_completion_tokens == 40


async def test_openrouter_docs_a_cancel_that_stops_no_bill_is_charged_by_our_count_at_worst(
    billing_on: Gateway, simulator: SimulatorThread
) -> None:
    """OpenRouter's page on streaming: cancelling stops the bill at some providers, not at all.

    Here a provider that never ends is left after half a lease, and what came is charged: never
    nothing, never more than came. What it billed beyond it stands in its own records.
    """
    tenant = billing_on.tenant()
    record = await left(billing_on, tenant, simulator, "bills_on,tokens=40,hang_after=9", read=9)
    attempt = await charged(billing_on, tenant, record)
    assert (attempt.completion_tokens, attempt.estimated) == (9, True)
    assert record.ended_ms is not None
    assert record.gone_ms is not None
    await check_account(billing_on, tenant, cost(record.prompt_tokens, 9))
    with HttpConnection(_provider(simulator), None) as connection:
        said = connection.ask(f"/v1/generation?id={record.id}", method="GET").json["data"]
    assert (said["cancelled"], said["native_tokens_completion"]) == (True, 40)


def _provider(simulator: SimulatorThread) -> Gateway:
    """The simulator's address, for a client of the gateway's tests."""
    found = Gateway.__new__(Gateway)
    found.rest = simulator.base_url.removesuffix("/v1")
    return found


# --- providers that break off -----------------------------------------------------------------
@on_both_transports
async def test_portkey_1797_an_answer_that_is_cut_is_no_clean_end(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, transport: str
) -> None:
    """Portkey-AI/gateway#1797: a provider cut in its answer gave a clean 200 without an end.

    Here the stream ends with an error, and a plain call with an error's status.
    """
    for cut in ("rst", "fin"):
        prompt, _ = marked(f"tokens=40,cut={cut},cut_after=6")
        chat = await CHATS[transport].send(gateway, tenant, prompt, stream=True)
        await chat.read(1)
        assert await chat.end() in {"INTERRUPTED", "ABORTED"}
        await chat.leave()
        prompt, _ = marked(f"tokens=40,cut={cut},cut_after=6")
        chat = await CHATS[transport].send(gateway, tenant, prompt, stream=False)
        assert await chat.end() in {"PROVIDER_UNAVAILABLE", "UNAVAILABLE"}
        await chat.leave()


@pytest.mark.parametrize(
    "fault",
    ["error_after=6", "cut=rst,cut_after=6", "cut=fin,cut_after=6", "end_after=6", "hang_after=6"],
)
async def test_litellm_30667_a_stream_that_fails_in_the_middle_has_its_usage(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, fault: str
) -> None:
    """BerriAI/litellm#30667: a stream that failed on the way (timeout, reset, error) logged no
    usage, though the provider had billed what came."""
    prompt, mark = marked(f"tokens=40,{fault}")
    chat = await CHATS["rest"].send(gateway, tenant, prompt, stream=True, timeout_s=1)
    assert await chat.end() in {"INTERRUPTED", "DEADLINE"}
    await chat.leave()
    record = await reached(simulator, mark)
    attempt = await charged(gateway, tenant, record)
    assert (attempt.completion_tokens, attempt.estimated) == (6, True)
    await check_account(gateway, tenant, cost(record.prompt_tokens, 6))


async def test_litellm_39462_partial_usage_survives_where_another_model_might_have_answered(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """BerriAI/litellm#39462: a fallback in the middle of a stream lost the usage of the first part.

    Here nothing falls back once the caller has a part of an answer: the call ends with an error,
    and that part is charged at the price of the model that gave it.
    """
    prompt, mark = marked("tokens=40,error_after=6")
    events = await asyncio.to_thread(streamed, gateway, tenant, prompt, "omni/auto")
    error = json.loads(events[-1])["error"]
    (record,) = calls_of(simulator, mark)
    attempt = await charged(gateway, tenant, record)
    assert error["code"] == "interrupted"
    assert (attempt.model, attempt.completion_tokens) == (f"sim/{record.model}", 6)
    assert int(error["omni"]["charged_nanousd"]) == attempt.cost_nanousd
    await check_account(gateway, tenant, attempt.cost_nanousd or 0)


async def test_litellm_30787_a_placeholder_is_not_taken_for_the_usage_of_a_cut_stream(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """BerriAI/litellm#30667, PR#30787: an Anthropic stream begins with a placeholder for its output
    tokens, which was all that a cut one was charged.

    Here usage that came before more of the answer says nothing about the answer.
    """
    for fault in ("error_after=20", "hang_after=20"):
        prompt, mark = marked(f"tokens=40,usage=early,{fault}")
        chat = await CHATS["rest"].send(gateway, tenant, prompt, stream=True)
        await chat.read(20)
        await chat.leave()
        record = await reached(simulator, mark, 20)
        assert (await charged(gateway, tenant, record)).completion_tokens == 20


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("fault", ["error_after=headers", "status=500", "cut_after=headers"])
async def test_new_api_4168_no_answer_costs_nothing(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, fault: str, stream: bool
) -> None:
    """QuantumNous/new-api#4168: a call that its provider failed before a single token was charged
    its prompt."""
    prompt, mark = marked(fault)
    chat = await CHATS["rest"].send(gateway, tenant, prompt, stream=stream)
    assert await chat.end() == "PROVIDER_UNAVAILABLE"
    await chat.leave()
    attempt = await charged(gateway, tenant, await reached_any(simulator, mark))
    assert (attempt.outcome, attempt.cost_nanousd) == ("failed", 0)
    await check_account(gateway, tenant)


async def reached_any(simulator: SimulatorThread, mark: str) -> CallRecord:
    """The record of a marked call, also of one that was refused unread."""
    record = await soon(lambda: simulator.record_asked(mark))
    assert record is not None
    return record


@pytest.mark.parametrize("came", [0, 3])
async def test_new_api_5288_an_error_text_is_no_output(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, came: int
) -> None:
    """QuantumNous/new-api#5288, #5290: the text of an error that a provider sent instead of an
    answer, or in the middle of one, was counted and billed as output."""
    prompt, mark = marked(f"tokens=40,error_after={came or 'headers'}")
    chat = await CHATS["rest"].send(gateway, tenant, prompt, stream=True)
    assert await chat.end() == ("INTERRUPTED" if came else "PROVIDER_UNAVAILABLE")
    await chat.leave()
    record = await reached_any(simulator, mark)
    attempt = await charged(gateway, tenant, record)
    assert record.bytes > 200  # the error's text was there
    assert (attempt.completion_tokens or 0) == came
    await check_account(gateway, tenant, cost(record.prompt_tokens, came) if came else 0)


async def test_llmgateway_3264_usage_of_nulls_is_no_usage(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """theopenco/llmgateway PR#3264: usage came back as nulls, and the call's tokens were lost.

    Here nulls are no report, and the answer is counted.
    """
    prompt, mark = marked("tokens=40,usage=null")
    await asyncio.to_thread(streamed, gateway, tenant, prompt)
    record = await reached(simulator, mark)
    attempt = await charged(gateway, tenant, record)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (record.prompt_tokens, 40)
    assert attempt.estimated
    await check_account(gateway, tenant, cost(record.prompt_tokens, 40))
