"""Budgets as callers and administrators meet them, over each API."""

import uuid
from typing import Any

import grpc
import psycopg
from budget_scene import asked, budget, got, settled
from gateway import (
    Gateway,
    HttpAnswer,
    HttpConnection,
    RestCall,
    Tenant,
    asking,
    bearer,
    chat_body,
    eventually,
    refusal,
    soon,
)
from google.protobuf import field_mask_pb2
from omni.admin.v1 import admin_service_pb2_grpc, budgets_pb2
from omni.billing.v1 import billing_service_pb2, billing_service_pb2_grpc
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc


async def test_what_a_call_does_not_use_comes_back_however_it_ends(
    gateway: Gateway, tenant: Tenant
) -> None:
    org = f"orgs/{tenant.org}"
    dollars = budget(gateway, org, period="month", amount_nanousd=10**12)
    tokens = budget(gateway, org, period="week", token_count=10**9)
    with HttpConnection(gateway, tenant.api_key) as caller:
        assert caller.chat().status == 200
        assert caller.chat(text=asking("status=500")).status == 503
        assert caller.chat("sim/cut", omni={"fallback_models": ["sim/fast"]}).status == 200
        assert caller.ask(body=chat_body("sim/cut-mid", stream=True)).status == 200
    body = {"model": "sim/fast", "stream": True, "messages": [{"role": "user", "content": "Hi."}]}
    async with await RestCall.send(gateway, tenant.api_key, body) as call:
        await call.head()
        async for _ in call.events():
            break
    shown = await soon(lambda: settled(gateway, dollars))
    assert shown
    with psycopg.connect(gateway.database_url) as sql:
        row = sql.execute(
            "SELECT sum(p.amount)::bigint, sum(coalesce(u.prompt, 0) + coalesce(u.completion, 0))"
            " FROM posting p JOIN usage_record u ON u.hold_id = p.id"
            " JOIN org o ON o.account_id = p.wallet WHERE o.slug = %s AND p.kind = 'S'",
            [tenant.org],
        ).fetchone()
    assert row
    assert (int(shown["spent"]), int(settled(gateway, tokens)["spent"])) == row


def told_ppm(gateway: Gateway, name: str) -> int:
    with psycopg.connect(gateway.database_url, autocommit=True) as sql:
        row = sql.execute(
            "SELECT w.told_ppm FROM budget_window w JOIN budget b ON b.id = w.budget_id"
            " WHERE budget_name(b) = %s",
            [name],
        ).fetchone()
    assert row
    return int(row[0])


def test_a_changed_limit_holds_at_once_and_a_deleted_one_never_again(
    gateway: Gateway, tenant: Tenant
) -> None:
    name = budget(gateway, f"orgs/{tenant.org}", period="day", amount_nanousd=10**9)

    def change(**fields: Any) -> HttpAnswer:
        return asked(gateway, name, fields, method="PATCH")

    with HttpConnection(gateway, tenant.api_key) as caller:
        assert caller.chat(max_tokens=20).status == 200
        spent = int(got(gateway, name)["spent"])
        assert spent > 0
        assert eventually(lambda: told_ppm(gateway, name) == 0)
        changed = change(amount_nanousd=spent)
        assert (changed.status, changed.json["spent"]) == (200, spent)
        assert told_ppm(gateway, name) == 1_000_000
        refused = caller.chat(max_tokens=20)
        assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
        assert (refused.error["type"], refused.error["code"]) == (
            "insufficient_quota",
            "budget_exhausted",
        )
        assert change(amount_nanousd=0).status == 200
        assert caller.chat(max_tokens=20).status == 429
        assert change(amount_nanousd=10**9, etag="7").status == 409
        assert change(amount_nanousd=10**9).status == 200
        assert told_ppm(gateway, name) == 0
        assert caller.chat(max_tokens=20).status == 200
        assert change(amount_nanousd=0).status == 200
        with HttpConnection(gateway, gateway.admin_key) as admin:
            assert admin.ask(f"/v1/admin/{name}", method="DELETE").status == 200
            assert admin.ask(f"/v1/admin/{name}").status == 404
        assert caller.chat(max_tokens=20).status == 200


def test_a_worker_tells_of_what_its_own_calls_spent(gateway: Gateway, tenant: Tenant) -> None:
    name = budget(gateway, f"orgs/{tenant.org}", period="month", token_count=1_000)
    with HttpConnection(gateway, tenant.api_key) as caller:
        for _ in range(100):
            if caller.chat(max_tokens=20).status != 200:
                break
    assert int(got(gateway, name)["spent"]) >= 800
    assert eventually(lambda: told_ppm(gateway, name) == 800_000)


def test_grpc_tells_which_budget_and_administers_it(gateway: Gateway, tenant: Tenant) -> None:
    parent = f"orgs/{tenant.org}"
    metadata = bearer(gateway.admin_key)
    with grpc.insecure_channel(gateway.grpc) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        billing = billing_service_pb2_grpc.BillingServiceStub(channel)
        new = budgets_pb2.Budget(
            amount_nanousd=1_000, period=budgets_pb2.BUDGET_PERIOD_WEEK, time_zone="Europe/Berlin"
        )
        request = budgets_pb2.CreateBudgetRequest(parent=parent, budget_id="weekly", budget=new)
        created = admin.CreateBudget(request, metadata=metadata).budget
        assert (created.name, created.WhichOneof("limit")) == (
            f"{parent}/budgets/weekly",
            "amount_nanousd",
        )
        assert created.window_start_time == created.create_time
        assert created.window_end_time.ToDatetime() > created.create_time.ToDatetime()
        prompt = pb.ChatPrompt(model="sim/fast", max_output_token_count=20)
        prompt.messages.add(role=pb.ROLE_USER).parts.add(text="Hello.")
        found = refusal(
            lambda: pb_grpc.RouterServiceStub(channel).CompleteChat(
                pb.CompleteChatRequest(prompt=prompt), metadata=bearer(tenant.api_key)
            )
        )
        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "BUDGET_EXHAUSTED")
        assert found.details["QuotaFailure"].violations[0].subject == created.name
        assert found.metadata["budget"] == created.name
        assert found.trailers["grpc-retry-pushback-ms"] == "-1"

        def hold(amount: int) -> billing_service_pb2.CreateHoldResponse:
            return billing.CreateHold(  # type: ignore[no-any-return]  # the stubs are untyped
                billing_service_pb2.CreateHoldRequest(
                    parent=tenant.account, amount_nanousd=amount, request_id=str(uuid.uuid4())
                ),
                metadata=bearer(tenant.api_key),
            )

        hold(700)
        assert refusal(lambda: hold(700)).reason == "BUDGET_HELD"
        assert (
            admin.GetBudget(
                budgets_pb2.GetBudgetRequest(name=created.name), metadata=metadata
            ).budget.held
            == 700
        )
        change = budgets_pb2.UpdateBudgetRequest(
            budget=budgets_pb2.Budget(name=created.name, display_name="Ours", etag=created.etag),
            update_mask=field_mask_pb2.FieldMask(paths=["display_name"]),
        )
        changed = admin.UpdateBudget(change, metadata=metadata).budget
        assert (changed.display_name, changed.amount_nanousd) == ("Ours", 1_000)
        assert refusal(lambda: admin.UpdateBudget(change, metadata=metadata)).reason == (
            "ETAG_MISMATCH"
        )
        listed = admin.ListBudgets(budgets_pb2.ListBudgetsRequest(parent=parent), metadata=metadata)
        assert [one.name for one in listed.budgets] == [created.name]
        admin.DeleteBudget(
            budgets_pb2.DeleteBudgetRequest(name=created.name, etag=changed.etag),
            metadata=metadata,
        )


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"period": "day"}, "budget"),
    ({"period": "day", "amount_nanousd": 1, "token_count": 1}, "budget"),
    ({"period": "day", "token_count": -1}, "budget.token_count"),
    ({"period": "day", "token_count": 10**15 + 1}, "budget.token_count"),
    ({"token_count": 1}, "budget.period"),
    ({"period": "year", "token_count": 1}, "budget.period"),
    ({"period": "day", "token_count": 1, "time_zone": "<T>1:00"}, "budget.time_zone"),
    ({"period": "day", "token_count": 1, "time_zone": "Mars/Olympus"}, "budget.time_zone"),
    ({"period": "day", "token_count": 1, "spent": 7}, "budget"),
)


def test_a_budget_that_cannot_be_is_refused(gateway: Gateway, tenant: Tenant) -> None:
    for fields, field in WRONG:
        body = {"budget_id": "wrong", "budget": fields}
        answer = asked(gateway, f"orgs/{tenant.org}/budgets", body)
        assert (answer.status, answer.error["param"].startswith(field)) == (400, True), fields
