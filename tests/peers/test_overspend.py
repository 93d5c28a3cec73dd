"""Limits that were passed, and limits that stopped what they should not, as users of other
gateways reported it; see docs/peers.md.

A budget is an account with a limit, a leg of the hold that the wallet is in, decided in the same
statement; tests/e2e/test_budgets.py races real replicas for those of keys, teams and organisations.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import psycopg
import pytest
from cut_proxy import Break, CutProxy
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, chat_body, eventually
from ledger_rig import BUDGETS, UNIT_PRICE, WALLETS, Rig, Worker, final_op, hold_op, until
from ledger_sql import balance
from left_chats import marked
from omni_grpc_client import CreditsExhausted, Omni

import omni_grpc
from omni_grpc.billing import AttemptCharge, AttemptOutcome, Meter, Resolution
from omni_grpc.billing.operations import Code, Final, HoldOp, Leg
from omni_grpc.billing.queue import Result
from omni_grpc.completion import Call, Gates
from omni_grpc.core.chat import ShortCredits
from omni_grpc.core.errors import Internal, LedgerUnavailable
from omni_grpc.core.ids import AccountId, KeyId, OrgId, new_call_id
from omni_grpc.core.usage import Usage
from omni_grpc.identity import Callers, Identity, Principal

WALLET = WALLETS[0]
BUDGET = BUDGETS[0]


async def codes(results: Iterable[Result]) -> Counter[Code]:
    return Counter([(await result).code for result in results])


def limit(sql: psycopg.Connection, amount: int | None, account: int = BUDGET) -> None:
    sql.execute("UPDATE account SET debit_limit = %s WHERE id = %s", [amount, account])


def budgeted(amount: int, budget: int = BUDGET) -> HoldOp:
    """A hold that a budget limits as well as the wallet."""
    return hold_op(amount, legs=[Leg(AccountId(budget), amount, amount)])


async def hold(meter: Meter, prompt: int = 10, output: int = 0) -> AttemptCharge:
    """One attempt; a prompt token costs 1 nano-dollar, a token of the answer 2."""
    return await meter.hold(
        model="sim/one",
        credential="house",
        price=UNIT_PRICE,
        prompt_tokens_max=prompt,
        output_tokens_max=output,
        choice_count=1,
        short_credits=ShortCredits.REFUSE,
        lease_lost=lambda: None,
    )


async def idle(*workers: Worker) -> None:
    await until(lambda: all(worker.lane.depth == 0 for worker in workers))


@contextlib.asynccontextmanager
async def all_deciding(
    url: str, sql: psycopg.Connection, account: int, *, count: int
) -> AsyncIterator[None]:
    """Lets `count` lanes meet at an account that the block makes them decide about: none of them
    can have committed when the last one has begun."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'lane' AND wait_event_type = 'Lock'"
    )
    async with await psycopg.AsyncConnection.connect(url) as holder:
        await holder.execute("SELECT FROM account WHERE id = %s FOR UPDATE", [account])
        yield
        await until(lambda: sql.execute(query).fetchone() == (count,))
        await holder.rollback()


# --- checked, then spent --------------------------------------------------------------------------
async def test_litellm_34732_40095_calls_that_come_at_once_never_pass_a_limit_together(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#34732, #40095: parallel calls of a session, and first calls of a new user,
    all read the same spend below the limit, and all passed.

    Here a call passes by reserving its worst case, and of calls that come at once exactly those
    pass that fit, the first ones on a fresh budget included.
    """
    worker = await rig.worker()
    await worker.grant(1_000)
    limit(sql, 35)
    ops = [budgeted(10) for _ in range(40)]
    outcomes = [await result for result in [worker.lane.hold(op) for op in ops]]
    assert Counter(outcome.code for outcome in outcomes) == {Code.DONE: 3, Code.SHORT: 37}
    assert {outcome.short_account for outcome in outcomes} == {None, BUDGET}
    passed = [op for op, one in zip(ops, outcomes, strict=True) if one.code is Code.DONE]
    await codes(worker.lane.apply(final_op(Final.SETTLE, op.id, 10)) for op in passed)
    assert (await worker.lane.hold(budgeted(10))).code is Code.SHORT
    assert balance(sql, BUDGET) == (-30, 0)


async def test_litellm_26672_24682_30661_23714_33325_34238_replicas_have_one_limit_together(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#26672, PR#24682, PR#30661, #23714, #33325: each process counted the spend by
    itself, so N of them allowed N budgets; #34238: one whose counter had expired took an older,
    lower value for the truth.

    Here no process has a number of its own to decide by: four lanes pass what one would, and a
    worker that has just started decides as they do.
    """
    workers = [await rig.worker() for _ in range(4)]
    await workers[0].grant(1_000)
    limit(sql, 60)
    ops = [budgeted(10) for _ in range(48)]
    async with all_deciding(rig.url, sql, BUDGET, count=4):
        results = [workers[n % 4].lane.hold(op) for n, op in enumerate(ops)]
    assert await codes(results) == {Code.DONE: 6, Code.SHORT: 42}
    passed = [n for n, result in enumerate(results) if result.result().code is Code.DONE]
    await codes(workers[n % 4].lane.apply(final_op(Final.SETTLE, ops[n].id, 10)) for n in passed)
    late = await rig.worker()
    found = await codes(worker.lane.hold(budgeted(1)) for worker in (late, *workers))
    assert found == {Code.SHORT: 5}
    assert balance(sql, WALLET) == (940, 0)


async def test_one_api_2440_new_api_5690_a_large_balance_is_reserved_like_a_small_one(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """songquanpeng/one-api#2440, QuantumNous/new-api#5690: the balance was read, compared, and
    lowered later without a condition; above a hundred times a call's cost it was not even compared.

    Here every call reserves, however much there is; the last nano-dollar is reserved once; and a
    provider that bills more than was reserved cannot take a balance below zero.
    """
    workers = [await rig.worker() for _ in range(2)]
    await workers[0].grant(200 * 5 + 4)
    ops = [hold_op(5) for _ in range(300)]
    async with all_deciding(rig.url, sql, WALLET, count=2):
        results = [workers[n % 2].lane.hold(op) for n, op in enumerate(ops)]
    assert await codes(results) == {Code.DONE: 200, Code.SHORT: 100}
    passed = [op for op, one in zip(ops, results, strict=True) if one.result().code is Code.DONE]
    await codes(workers[0].lane.apply(final_op(Final.SETTLE, op.id, 7)) for op in passed)
    assert balance(sql, WALLET) == (4, 0)
    losses = sql.execute("SELECT sum(debits_posted) FROM account WHERE kind = 5").fetchone()
    assert losses == (200 * 2,)


# --- reserved, and never given back ---------------------------------------------------------------
async def test_new_api_4429_a_call_that_fails_inside_gives_its_reservation_back(rig: Rig) -> None:
    """QuantumNous/new-api#4429: after a panic between the pre-deduction and its end, neither a
    charge nor a refund came; a quarter of a user's money was gone.

    Here the ledger gate ends every hold of a call however its block ends: what was not sent is
    free again, what was sent is listed as unresolved, with its money reserved.
    """
    worker = await rig.worker()
    await worker.grant(100)
    identity = Identity(rig.database, key_hash_secret=bytes(32), clock=worker.clock)
    gates = Gates(Callers(identity), worker.ledger, worker.clock, 10)
    principal = Principal(
        key_id=KeyId(7),
        key_prefix="k",
        org_id=OrgId(1),
        org_slug="one",
        account_id=AccountId(WALLET),
        scopes=frozenset(),
    )
    calls = [Call(id=new_call_id(), create_time=0, due=1e9, principal=principal) for _ in range(2)]

    async def fail(call: Call, *, is_sent: bool) -> None:
        with gates.metered(call):
            assert call.meter
            attempt = await hold(call.meter)
            if is_sent:
                attempt.dispatched()
            raise ZeroDivisionError

    for number, call in enumerate(calls):
        with pytest.raises(ZeroDivisionError):
            await fail(call, is_sent=number == 1)
    await idle(worker)
    found = await worker.ledger.balance(AccountId(WALLET))
    assert (found.posted, found.held, found.unresolved) == (100, 0, 10)
    listed = await worker.ledger.unresolved(None, 10)
    assert [one.call_id for one in listed] == [calls[1].id]


async def test_litellm_27639_35570_29493_every_way_in_which_a_call_ends_ends_its_reservation(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#27639, #35570: some of the ways in which a request ended never took its
    reservation from the counters, which refused others until they expired; PR#29493 lets operators
    turn reservations off for it.

    Here, after any mix of ends, nothing is pending and exactly the charges are missing.
    """
    workers = [await rig.worker() for _ in range(2)]
    await workers[0].grant(10_000)
    chance = random.Random(27639)

    async def call(worker: Worker, how: str) -> int:
        meter = worker.meter()
        asking = asyncio.ensure_future(hold(meter))
        if how == "left before its hold":
            await asyncio.sleep(chance.random() / 1_000)
            asking.cancel()
        try:
            held = await asking
        except asyncio.CancelledError:
            meter.close()
            return 0
        if how in ("answered", "refused", "unresolved"):
            held.dispatched()
        charged = 0
        if how == "answered":
            charged = held.settle(Usage(prompt=3), AttemptOutcome.ANSWERED)
        elif how == "refused":
            held.void(AttemptOutcome.REFUSED)
        meter.close()
        return charged

    ways = ("answered", "refused", "unresolved", "never sent", "left before its hold")
    charged = await asyncio.gather(*[call(workers[n % 2], way) for n, way in enumerate(ways * 30)])
    await idle(*workers)
    for one in await workers[0].ledger.unresolved(None, 100):
        await workers[0].ledger.resolve(one, Resolution.void())
    assert sum(charged) == 30 * 3
    assert balance(sql, WALLET) == (10_000 - 90, 0)


async def test_litellm_36926_40050_30460_what_limits_is_what_was_spent_also_after_lost_answers(
    rig: Rig, url: str, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#36926, #40050, #30460: after timeouts and races the number that limits was
    far above what was spent, so calls were refused until it expired by itself.

    Here a step whose answer was lost is sent again under the same id. After many of them the
    number that limits is the sum of the charges, and a hold for all that is left passes.
    """
    async with CutProxy(url) as proxy:
        worker = await rig.worker(url=proxy.url)
        await worker.grant(1_000)
        limit(sql, 900)
        spent = 0
        for how in [Break.DROP_ANSWER, Break.RESET, Break.CUT_REQUEST] * 4:
            proxy.arm(how)
            with pytest.raises(LedgerUnavailable):  # and the lane voids what it may have made
                await worker.lane.hold(budgeted(100))
            await until(lambda: worker.lane.connected)
            op = budgeted(100)
            assert (await worker.lane.hold(op)).code is Code.DONE
            proxy.arm(how)
            settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 7))
            assert (await settle).code in (Code.DONE, Code.ALREADY)
            spent += 7
        await idle(worker)
        assert balance(sql, BUDGET) == (-spent, 0)
        assert (await worker.lane.hold(budgeted(900 - spent + 1))).code is Code.SHORT
        assert (await worker.lane.hold(budgeted(900 - spent))).code is Code.DONE
        await rig.close()


async def test_litellm_27735_credits_of_a_moment_ago_count_for_every_worker(rig: Rig) -> None:
    """BerriAI/litellm#27735: a key was refused for its spend by a stale copy of it, while its page
    showed that it was below its budget.

    Here a decision and the balance that is shown read the same row, and nothing caches it.
    """
    workers = [await rig.worker() for _ in range(2)]
    for number in range(4):
        asking, granting = workers[number % 2], workers[1 - number % 2]
        assert (await asking.lane.hold(hold_op(10))).code is Code.SHORT
        await granting.grant(10)
        assert await asking.available() == 10
        assert (await asking.lane.hold(hold_op(10))).code is Code.DONE
        assert await granting.available() == 0


async def test_litellm_30684_what_cannot_be_checked_is_refused(rig: Rig, url: str) -> None:
    """BerriAI/litellm PR#30684: without its counter and its database, spend was not verified and
    calls passed; refusing them became an option.

    Here there is no other way: without the database there is no hold, and without a hold no call.
    """
    async with CutProxy(url) as proxy:
        worker = await rig.worker(url=proxy.url)
        await worker.grant(100)
        proxy.down()
        for _ in range(3):  # the first may be the one that finds it out
            with pytest.raises(LedgerUnavailable):
                await hold(worker.meter())
        proxy.up()
        await until(lambda: worker.lane.connected)
        await hold(worker.meter())
        await rig.close()


# --- not saved, not asked, not counted ------------------------------------------------------------
async def test_bifrost_5673_a_limit_that_is_stored_is_the_limit_that_decides(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """maximhq/bifrost#5673: the budget of a key was taken, dropped, and never enforced.

    Here the stored limit is what decides, from the next call on, also where it was lowered below
    what is spent; and a budget that is not there is an error, never a budget without a limit.
    """
    worker = await rig.worker()
    await worker.grant(1_000)
    limit(sql, 5)
    assert (await worker.lane.hold(budgeted(6))).code is Code.SHORT
    limit(sql, 6)
    assert (await worker.lane.hold(budgeted(6))).code is Code.DONE
    limit(sql, 2)
    assert (await worker.lane.hold(budgeted(1))).code is Code.SHORT
    with pytest.raises(Internal):
        await worker.lane.hold(budgeted(1, budget=9_999))
    assert balance(sql, WALLET) == (1_000, 6)


PAID_PATHS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "/v1/embeddings": {"model": "sim/embed", "input": "Hi"},
    "/v1/images/generations": {"model": "sim/image", "prompt": "Hi"},
    "/v1/audio/speech": {"model": "sim/voice", "input": "Hi", "voice": "alloy"},
}
"""The ways to a provider, and the least that each takes."""

OTHER_PATHS = (
    "/openai/v1/chat/completions", "/anthropic/v1/messages", "/genai/v1beta/models/x:generate",
    "/sim/v1/chat/completions", "/passthrough/sim/v1/chat/completions",
    "/openai_passthrough/v1/chat/completions",
)  # fmt: skip
"""The ways past their own books that other gateways have."""


def test_bifrost_2873_there_is_no_way_to_a_provider_around_the_ledger(
    gateway: Gateway, simulator: SimulatorThread
) -> None:
    """maximhq/bifrost#2873: pass-through routes took virtual keys and asked no budget.

    Here a key without credits reaches no provider by any path or RPC, and in the code only the
    room that holds, `completion`, calls one.
    """
    poor = gateway.tenant(nanousd=0)
    calls_before = len(simulator.simulator.log)
    for path, fields in PAID_PATHS.items():
        with HttpConnection(gateway, poor.api_key) as rest:
            body = json.dumps({"model": "sim/fast", **fields}).encode()
            assert b"credits" in (answer := rest.ask(path, body)).body.lower(), (path, answer)
            assert answer.status == 402 or path == "/v1/messages", path
    for path in OTHER_PATHS:
        with HttpConnection(gateway, poor.api_key) as rest:
            assert rest.ask(path, chat_body()).status in (404, 405), path
    with Omni(gateway.grpc, api_key=poor.api_key) as omni:
        with pytest.raises(CreditsExhausted):
            omni.chat("sim/fast", "Say something.")
        with pytest.raises(CreditsExhausted), omni.stream_chat("sim/fast", "Say.") as stream:
            stream.result()
    assert len(simulator.simulator.log) == calls_before
    root = Path(omni_grpc.__file__).parent
    callers = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if any(name in path.read_text("utf-8") for name in (".open_stream(", "provider.complete("))
    }
    assert callers == {"completion"}


async def test_bifrost_5770_a_budget_is_used_up_by_what_was_charged_and_not_by_what_was_held(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """maximhq/bifrost#5770: a rule for "99 % of the budget is used" fired after 0.40 of 15 dollars.

    Here what a budget has spent is the sum of the charges in it; what calls in flight hold stands
    apart from it, and is gone when they end.
    """
    worker = await rig.worker()
    await worker.grant(100_000)
    limit(sql, 15_000)
    for number in range(1, 36):
        op = budgeted(1_000)
        assert (await worker.lane.hold(op)).code is Code.DONE
        assert balance(sql, BUDGET) == (-400 * (number - 1), 1_000)
        await worker.lane.apply(final_op(Final.SETTLE, op.id, 400))
    assert balance(sql, BUDGET) == (-14_000, 0)
    assert (await worker.lane.hold(budgeted(1_001))).code is Code.SHORT
    assert (await worker.lane.hold(budgeted(1_000))).code is Code.DONE


# --- limited too late, or in another unit ---------------------------------------------------------
def test_envoy_ai_gateway_2394_cloudflare_docs_31628_the_call_that_would_pass_the_limit_is_limited(
    gateway: Gateway, simulator: SimulatorThread
) -> None:
    """envoyproxy/ai-gateway#2394: tokens count when a call has ended, so a limit acts on the next
    one; cloudflare/cloudflare-docs PR#31628: credits can go negative.

    Here the call that could pass the limit is refused before its provider is asked, or, where its
    caller prefers that, has its output limited to what is left; and the answer of a provider that
    ignores the limit costs no more than was held.
    """
    granted = 60_000
    tenant = gateway.tenant(granted)
    refused, refused_mark = marked("tokens=5")
    shortened, mark = marked("tokens=3000,no_limit")
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        with pytest.raises(CreditsExhausted):
            omni.chat("sim/fast", refused, max_output_tokens=1_000)
        assert simulator.record_asked(refused_mark) is None
        with omni.stream_chat(
            "sim/fast", shortened, max_output_tokens=1_000, short_credits="shorten"
        ) as stream:
            answer = stream.result()
        record = simulator.record_asked(mark)
        assert record is not None
        assert record.completion_tokens * 600 > granted
        assert 0 < answer.cost_nanousd <= granted
        left = omni.balance()
        assert left.available_nanousd == granted - answer.cost_nanousd >= 0
        with pytest.raises(CreditsExhausted):
            omni.chat("sim/fast", refused)


@pytest.mark.parametrize("stream", [False, True])
def test_envoy_ai_gateway_2248_1754_each_call_takes_its_whole_cost_from_what_is_left(
    stream: bool, gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """envoyproxy/ai-gateway#2248: a call that was not streamed counted 1 instead of its tokens;
    #1754: what was left did not fall at all.

    Here a plain answer and a streamed one cost the same, and the balance falls by that each time.
    """
    left = 10**9
    with (
        HttpConnection(gateway, tenant.api_key) as rest,
        Omni(gateway.grpc, api_key=tenant.api_key) as omni,
    ):
        for tokens in (1, 40):
            prompt, mark = marked(f"tokens={tokens}")
            assert rest.ask(body=chat_body(text=prompt, stream=stream)).status == 200
            record = simulator.record_asked(mark)
            assert record is not None
            assert eventually(lambda record=record: record.ended_ms is not None)
            assert record.completion_tokens == tokens
            left -= record.prompt_tokens * 150 + tokens * 600
            assert omni.balance().available_nanousd == left


async def test_agentgateway_2626_a_limit_is_in_dollars_or_tokens_or_both(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """agentgateway/agentgateway#2626: limits are in tokens or requests, which say little of what
    models of different prices cost.

    Here the wallet is in dollars, and each leg of a hold has its own unit: the tightest decides.
    """
    worker = await rig.worker()
    await worker.grant(10_000)
    dollars, tokens = BUDGETS[:2]
    limit(sql, 1_000, dollars)
    limit(sql, 500, tokens)

    def call(cost: int, count: int) -> HoldOp:
        legs = [Leg(AccountId(dollars), cost, cost), Leg(AccountId(tokens), count, count)]
        return hold_op(cost, legs=legs)

    dear, cheap = call(900, 10), call(90, 480)
    assert await codes([worker.lane.hold(op) for op in (dear, cheap)]) == {Code.DONE: 2}
    too_dear = await worker.lane.hold(call(11, 1))
    too_long = await worker.lane.hold(call(1, 11))
    assert (too_dear.short_account, too_long.short_account) == (dollars, tokens)
    await worker.lane.apply(final_op(Final.SETTLE, dear.id, 800, leg_costs=[800, 9]))
    assert (balance(sql, dollars), balance(sql, tokens)) == ((-800, 90), (-9, 480))
