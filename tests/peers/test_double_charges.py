"""Double charges and double credits that users of other gateways reported; see docs/peers.md."""

import asyncio
import json

import psycopg
import pytest
from cut_proxy import Break, CutProxy
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, chat_body
from ledger_rig import WALLETS, Rig, final_op, hold_op, until
from ledger_sql import balance
from left_chats import marked
from omni_grpc_client import Omni

from omni_grpc.billing.operations import Code, Final
from omni_grpc.core.errors import LedgerUnavailable, RequestIdReused
from omni_grpc.core.ids import AccountId, OrgId

WALLET = WALLETS[0]


async def test_litellm_15740_an_end_that_two_paths_state_is_charged_once(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#15740: /v1/responses ran a chat completion inside, and both logged its cost.

    Here the end of an attempt stands under the attempt's own id: whoever states it again, in the
    same batch or later, from another worker or with another cost, adds nothing. (/v1/responses
    comes in a later part, and through the same door.)
    """
    workers = [await rig.worker() for _ in range(2)]
    await workers[0].grant(100)
    op = hold_op(10)
    await workers[0].lane.hold(op)
    ends = [
        worker.lane.apply(final_op(Final.SETTLE, op.id, cost))
        for cost in (3, 3, 4)
        for worker in workers
    ]
    found = [(await end).code for end in ends]
    assert found.count(Code.DONE) == 1
    assert set(found) == {Code.DONE, Code.ALREADY, Code.DECIDED}
    assert balance(sql, WALLET) == (97, 0)
    counted = sql.execute(
        "SELECT (SELECT count(*) FROM usage_record),"
        " (SELECT count(*) FROM posting WHERE kind = 'S')"
    ).fetchone()
    assert counted == (1, 1)


def test_litellm_17814_an_answer_that_is_fetched_again_is_not_paid_again(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """BerriAI/litellm#17814: each look at a stored response was logged with its full cost again,
    under a new id each time.

    Here a call is fetched again by its request id, plain or streamed, or looked up by its own id;
    the provider is asked once and the account charged once. (/v1/responses/{id} comes in a later
    part, and reads the same kept answer.)
    """
    prompt, mark = marked("tokens=7")
    with (
        HttpConnection(gateway, tenant.api_key) as rest,
        Omni(gateway.grpc, api_key=tenant.api_key) as omni,
    ):
        first = rest.ask(body=chat_body(text=prompt), idempotency_key="fetched")
        assert first.status == 200
        for _ in range(2):
            again = rest.ask(body=chat_body(text=prompt), idempotency_key="fetched")
            assert (again.status, again.json) == (200, first.json)
        streamed = rest.ask(body=chat_body(text=prompt, stream=True), idempotency_key="fetched")
        assert streamed.status == 200
        assert json.loads(streamed.events[0])["id"] == first.json["id"]
        record = simulator.record_asked(mark)
        assert record is not None
        cost = record.prompt_tokens * 150 + record.completion_tokens * 600
        for _ in range(2):
            assert omni.usage(record.headers["x-client-request-id"]).cost_nanousd == cost
        entries = [entry.amount_nanousd for entry in omni.ledger_entries()]
        assert entries == [-cost, 10**9]
        assert omni.balance().available_nanousd == 10**9 - cost


@pytest.mark.parametrize("how", [Break.DROP_ANSWER, Break.RESET, Break.CUT_REQUEST])
async def test_litellm_35569_40572_a_charge_never_stands_beside_its_reservation(
    how: Break, rig: Rig, url: str, sql: psycopg.Connection
) -> None:
    """BerriAI/litellm#35569, PR#40572: where reconciling failed and the cleanup failed too, the
    counter kept the reserved cost and got the actual cost on top.

    Here one statement takes the hold away and posts the charge; a settle whose connection breaks
    is sent again until it is known to have happened once.
    """
    async with CutProxy(url) as proxy:
        worker = await rig.worker(url=proxy.url)
        await worker.grant(100)
        op = hold_op(60)
        await worker.lane.hold(op)
        proxy.arm(how, how)
        settle = worker.lane.apply(final_op(Final.SETTLE, op.id, 25))
        assert (await settle).code in (Code.DONE, Code.ALREADY)
        assert proxy.broken == 2
        assert balance(sql, WALLET) == (75, 0)
        assert (await worker.lane.hold(hold_op(75))).code is Code.DONE
        await rig.close()


async def test_llmgateway_1713_pollinations_10621_akash_3449_a_payment_told_again_is_credited_once(
    rig: Rig, url: str, sql: psycopg.Connection
) -> None:
    """theopenco/llmgateway#1713, pollinations/pollinations#10621: a webhook delivered twice added
    its credits twice; akash-network/console PR#3449: a client that tried again paid, and was
    credited, twice.

    Here credits are added under a request id that stands for one grant for ever, on whatever
    replica, at once or later, and also where the first try's answer was lost after its commit.
    (Payments come in a later part: their own ids are such request ids.)
    """
    async with CutProxy(url) as proxy:
        workers = [await rig.worker(url=proxy.url), await rig.worker()]

        async def told(number: int, amount: int = 50) -> int:
            entry = await workers[number % 2].ledger.grant(
                account_id=AccountId(WALLET),
                org_id=OrgId(1),
                amount=amount,
                reason="payment",
                request_id="pi_1",
            )
            return entry.position

        proxy.arm(Break.DROP_ANSWER)
        with pytest.raises(LedgerUnavailable):
            await told(0)
        await until(lambda: workers[0].lane.connected)
        assert set(await asyncio.gather(*[told(number) for number in range(10)])) == {1}
        assert balance(sql, WALLET) == (50, 0)
        with pytest.raises(RequestIdReused):
            await told(1, amount=51)
        assert balance(sql, WALLET) == (50, 0)
        await rig.close()
