"""Wrong amounts that users of other gateways reported; see docs/peers.md."""

import asyncio

import psycopg
import pytest
from books import CREDITS, check_account, cost, settled
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, chat_body
from left_chats import MODEL, marked, reached
from omni_grpc_client import AsyncOmni, AttemptRecord, NotFound

from omni_grpc.simulator import SIMULATED_MODELS, CallRecord

streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
PRICES = {f"sim/{model.id}": model for model in SIMULATED_MODELS}


async def answered(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    behaviour: str,
    *,
    stream: bool,
    model: str = MODEL,
) -> tuple[CallRecord, AttemptRecord]:
    """A whole answer: what the provider saw of it, and what the books say."""
    prompt, mark = marked(behaviour)
    await asyncio.to_thread(_ask, gateway, tenant, chat_body(model, prompt, stream=stream))
    record = await reached(simulator, mark)
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    assert attempt.outcome == "answered"
    return record, attempt


def _ask(gateway: Gateway, tenant: Tenant, body: bytes) -> None:
    with HttpConnection(gateway, tenant.api_key) as connection:
        answer = connection.ask(body=body)
    assert answer.status == 200
    if "text/event-stream" in answer.headers["content-type"]:
        assert answer.events[-1] == "[DONE]"


def priced(model: str, prompt: int, cached: int, completion: int) -> int:
    """By the catalog, in nano-USD, rounded up."""
    facts = PRICES[model]
    nano = (
        (prompt - cached) * facts.prompt_nanousd_per_mtok
        + cached * facts.cached_read_nanousd_per_mtok
        + completion * facts.completion_nanousd_per_mtok
    )
    return -(-nano // 1_000_000)


# --- what was reported ------------------------------------------------------------------------
@streamed_or_plain
async def test_litellm_37923_an_answer_without_usage_is_not_free(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    """BerriAI/litellm#37923: streams whose usage was not understood were logged at $0 (about 830
    EUR at the provider against 1.47 USD in the books), and no budget ever tripped."""
    record, attempt = await answered(gateway, tenant, simulator, "usage=none", stream=stream)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (record.prompt_tokens, 40)
    assert attempt.estimated
    await check_account(gateway, tenant, cost(record.prompt_tokens, 40))


@streamed_or_plain
async def test_litellm_37992_an_explicit_zero_stays_zero(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    """BerriAI/litellm#37992: a provider that reported zero tokens was charged by an estimate."""
    _, attempt = await answered(gateway, tenant, simulator, "usage=zero", stream=stream)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (0, 0)
    assert (attempt.cost_nanousd, attempt.estimated) == (0, False)
    await check_account(gateway, tenant)


@streamed_or_plain
async def test_litellm_37923_of_half_a_report_the_other_half_is_counted(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    """BerriAI/litellm#37923, in the small: a report without a count of the output."""
    record, attempt = await answered(gateway, tenant, simulator, "usage=half", stream=stream)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (record.prompt_tokens, 40)
    assert attempt.estimated
    await check_account(gateway, tenant, cost(record.prompt_tokens, 40))


@pytest.mark.parametrize("usage", ["twice", "corrected", "every"])
async def test_of_several_reports_the_last_one_counts(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, usage: str
) -> None:
    """Added up, or the first one taken, the same reports bill another amount."""
    record, attempt = await answered(gateway, tenant, simulator, f"usage={usage}", stream=True)
    assert (attempt.completion_tokens, attempt.estimated) == (40, False)
    await check_account(gateway, tenant, cost(record.prompt_tokens, 40))


async def test_usage_in_every_chunk_is_exact_also_where_the_stream_is_cut(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    prompt, mark = marked("usage=every,error_after=11")
    with HttpConnection(gateway, tenant.api_key) as connection:
        answer = connection.ask(body=chat_body(MODEL, prompt, stream=True))
    assert "error" in answer.events[-1]
    record = await reached(simulator, mark)
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    assert (attempt.completion_tokens, attempt.estimated) == (11, False)


# --- parts and wholes -------------------------------------------------------------------------
@streamed_or_plain
@pytest.mark.parametrize("usage", ["right", "apart", "none"])
async def test_litellm_39850_reasoning_is_billed_once(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, usage: str, stream: bool
) -> None:
    """BerriAI/litellm#39850: reasoning tokens were billed as reasoning and as completion again, 64
    to 78 % too high. (And not at all, where a provider reports them beside the completion: xAI.)"""
    record, attempt = await answered(
        gateway, tenant, simulator, f"tokens=10,usage={usage}", stream=stream, model="sim/reasoner"
    )
    assert (attempt.completion_tokens, attempt.reasoning_tokens) == (34, 24)
    assert attempt.cost_nanousd == priced("sim/reasoner", record.prompt_tokens, 0, 34)
    await check_account(gateway, tenant, attempt.cost_nanousd or 0)


@streamed_or_plain
async def test_litellm_14849_cached_tokens_are_billed_once(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    """BerriAI/litellm#14849, #9812, #6575: cached tokens were billed at the cache's price, and
    once more within the prompt (0.7642 USD where 0.1849 were due)."""
    record, attempt = await answered(
        gateway, tenant, simulator, "tokens=10", stream=stream, model="sim/cached"
    )
    assert attempt.cached_read_tokens == record.cached_tokens > 0
    due = priced("sim/cached", record.prompt_tokens, record.cached_tokens, 10)
    assert attempt.cost_nanousd == due
    assert due < cost(record.prompt_tokens, 10)
    await check_account(gateway, tenant, due)


# --- whose price, whose account ---------------------------------------------------------------
@streamed_or_plain
async def test_litellm_39294_each_attempt_has_its_own_models_price(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    """BerriAI/litellm#39294: all attempts of a fallback chain were priced at one model, 35 % too
    low or 109 % too high; and attempts that gave nothing were charged."""
    prompt, mark = marked("status=503,tokens=10")
    body = chat_body("sim/fast", prompt, stream=stream, omni={"fallback_models": ["sim/vision"]})
    await asyncio.to_thread(_ask, gateway, tenant, body)
    first, second = (one for one in simulator.simulator.log if mark in one.behaviour)
    failed, won = (await settled(gateway, tenant, second)).attempts
    assert first.model != second.model
    assert (failed.model, failed.outcome) == (f"sim/{first.model}", "failed")
    assert failed.cost_nanousd == 0
    assert (won.model, won.outcome) == (f"sim/{second.model}", "answered")
    due = priced(won.model, second.prompt_tokens, 0, 10)
    assert won.cost_nanousd == due != priced(failed.model, second.prompt_tokens, 0, 10)
    assert failed.price_version != won.price_version
    await check_account(gateway, tenant, due)


@streamed_or_plain
async def test_another_model_that_claims_the_answer_changes_no_price(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    """The price was pinned before the provider was called: its word on who answered is no price."""
    record, attempt = await answered(
        gateway, tenant, simulator, "as_model=sim/vision", stream=stream
    )
    assert attempt.model == MODEL
    await check_account(gateway, tenant, cost(record.prompt_tokens, 40))


@streamed_or_plain
async def test_what_a_provider_reports_above_the_hold_is_not_the_customers(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, stream: bool
) -> None:
    record, attempt = await answered(gateway, tenant, simulator, "usage=over", stream=stream)
    assert attempt.cost_nanousd == attempt.held_nanousd
    reported = cost(attempt.prompt_tokens or 0, attempt.completion_tokens or 0)
    with psycopg.connect(gateway.database_url) as connection:
        lost = connection.execute(
            "SELECT sum(p.loss) FROM posting p JOIN account a ON a.id = p.wallet"
            " JOIN org o ON o.id = a.org_id WHERE o.slug = %s",
            [tenant.org],
        ).fetchone()
    assert lost is not None
    assert lost[0] == reported - (attempt.cost_nanousd or 0) > 0
    assert record.completion_tokens < (attempt.completion_tokens or 0)
    await check_account(gateway, tenant, attempt.cost_nanousd or 0)


async def test_tensorzero_3862_receipts_stand_under_the_account_that_paid(
    gateway: Gateway, simulator: SimulatorThread
) -> None:
    """tensorzero/tensorzero PR#3862: what a call consumed was returned to the accounts of another.

    Here thirty calls of three tenants at once, on one connection pool and one lane, stand each
    under their own, and no tenant sees another's.
    """
    tenants = [gateway.tenant() for _ in range(3)]

    async def one(number: int) -> tuple[int, CallRecord]:
        who = number % 3
        record, _ = await answered(
            gateway, tenants[who], simulator, f"tokens={number + 1}", stream=number % 2 == 0
        )
        return who, record

    calls = await asyncio.gather(*(one(number) for number in range(30)))
    for who, tenant in enumerate(tenants):
        own = [record for whose, record in calls if whose == who]
        assert len(own) == 10
        costs = [cost(record.prompt_tokens, record.completion_tokens) for record in own]
        await check_account(gateway, tenant, *costs)
        async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
            assert (await omni.balance()).posted_nanousd == CREDITS - sum(costs)
            for whose, record in calls:
                call_id = record.headers["x-client-request-id"]
                if whose == who:
                    assert (await omni.usage(call_id)).account == tenant.account
                else:
                    with pytest.raises(NotFound):
                        await omni.usage(call_id)
