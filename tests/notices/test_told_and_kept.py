"""Webhooks, audit logs, statements and policies over gRPC and REST, on a whole gateway."""

import asyncio
import csv
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import psycopg
import pytest
from gateway import Gateway, Refusal, SimulatorThread, bearer, refusal, running
from gateway_fixtures import check_books, simulator
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from omni.admin.v1 import admin_service_pb2 as admin
from omni.admin.v1 import webhooks_pb2 as hooks
from omni.billing.v1 import billing_service_pb2 as billing
from omni.billing.v1 import statements_pb2 as statements
from omni.catalog.v1 import catalog_service_pb2 as catalog
from patient_database import patient_database
from webhook_receiver import Receiver, verified

from omni_grpc.notices import LowBalanceWatch
from omni_grpc.storage import EmbeddedPostgres

__all__ = ["simulator"]
"""A fixture of the end-to-end tests, used here too."""

SECONDS_MAX = 60.0
SERVICES = {
    admin.DESCRIPTOR: "AdminService",
    billing.DESCRIPTOR: "BillingService",
    catalog.DESCRIPTOR: "CatalogService",
}


class ReceiverThread:
    """A receiver with a loop of its own, beside tests that wait."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.receiver.start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.receiver.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Caller:
    """One key, on both transports."""

    def __init__(self, gateway: Gateway, channel: grpc.Channel, org: str, key: str) -> None:
        self._gateway = gateway
        self._channel = channel
        self.org = f"orgs/{org}"
        self.account = f"accounts/{org}"
        self._key = key

    def __call__(self, request: Message) -> Any:
        name = type(request).__name__.removesuffix("Request")
        for file, service in SERVICES.items():
            method = file.services_by_name[service].methods_by_name.get(name)
            if method is not None:
                call = self._channel.unary_unary(
                    f"/{method.containing_service.full_name}/{name}",
                    request_serializer=lambda message: message.SerializeToString(),
                    response_deserializer=GetMessageClass(method.output_type).FromString,
                )
                return call(
                    request, metadata=bearer(self._key), timeout=SECONDS_MAX, wait_for_ready=True
                )
        raise LookupError(name)

    def refused(self, request: Message) -> tuple[str, str]:
        found: Refusal = refusal(lambda: self(request))
        return found.code, found.message

    def rest(
        self, method: str, path: str, body: object = None, accept: str = "*/*"
    ) -> tuple[int, str, Any]:
        """The status, the content's type, and the content: of JSON the value."""
        connection = http.client.HTTPConnection(self._gateway.rest.removeprefix("http://"))
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"authorization": f"Bearer {self._key}", "accept": accept},
            )
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        kind = answer.headers["content-type"]
        return (
            answer.status,
            kind,
            json.loads(content) if kind == "application/json" else content.decode(),
        )


class House:
    """A gateway, its operator, and two tenants with keys of every kind."""

    def __init__(self, gateway: Gateway, channel: grpc.Channel) -> None:
        self.gateway = gateway
        self._channel = channel
        self.operator = Caller(gateway, channel, "operator", gateway.admin_key)
        self.acme = gateway.tenant(10**9).org
        self.other = gateway.tenant(10**9).org
        self.manager = self._caller(self.acme, "management", "viewing", "billing")
        self.viewer = self._caller(self.acme, "viewing")
        self.stranger = self._caller(self.other, "management", "viewing", "billing")

    def _caller(self, org: str, *scopes: str) -> Caller:
        request = admin.CreateApiKeyRequest(parent=f"orgs/{org}", scopes=scopes)
        return Caller(self.gateway, self._channel, org, self.operator(request).secret)

    def entries(self, caller: Caller, **asked: str) -> list[Any]:
        request = admin_list(caller.org, **asked)
        return list(caller(request).audit_entries)


def admin_list(parent: str, **asked: str) -> Message:
    from omni.admin.v1 import audit_pb2

    return audit_pb2.ListAuditEntriesRequest(parent=parent, **asked)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def house(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    name, admin_key = template
    url = postgres.create_database("told_and_kept", template=name)
    folder = tmp_path_factory.mktemp("told")
    environment = {"OMNI_WEBHOOK_PRIVATE_HOSTS": "true"}
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    with running(made) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        yield House(gateway, channel)
    check_books(url, folder)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    thread = ReceiverThread()
    yield thread.receiver
    thread.stop()


def wait_for(condition: Any) -> None:
    until = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


async def look_for_low_balances(url: str) -> int:
    """As another worker does, before those of the gateway come to it."""
    async with patient_database(url, "tests") as database:
        return await LowBalanceWatch(database).look()


def create(parent: str, name: str, url: str, **fields: Any) -> Message:
    webhook = hooks.Webhook(url=url, **fields)
    return hooks.CreateWebhookRequest(parent=parent, webhook_id=name, webhook=webhook)


def test_a_low_balance_is_told_to_the_webhook_and_every_change_is_in_the_log(
    house: House, receiver: Receiver
) -> None:
    manager = house.manager
    made = manager(create(manager.org, "hook", receiver.url, events=["balance.low"]))
    name = f"{manager.org}/webhooks/hook"
    assert made.webhook.name == name
    assert made.webhook.active
    assert made.secret.startswith("whsec_")
    org = admin.Org(name=manager.org, low_balance_nanousd=2 * 10**9)
    manager(admin.UpdateOrgRequest(org=org, update_mask={"paths": ["low_balance_nanousd"]}))
    assert asyncio.run(look_for_low_balances(house.gateway.database_url)) <= 1
    wait_for(lambda: receiver.received)
    [request] = receiver.received
    body = verified(made.secret, request.headers, request.body)
    assert body["type"] == "balance.low"
    assert body["data"]["account"] == manager.account
    # Tests before it may have spent of it, or granted more.
    assert 0 < body["data"]["available_nanousd"] < 2 * 10**9

    [delivery] = manager(hooks.ListWebhookDeliveriesRequest(parent=name)).deliveries
    assert json.loads(delivery.body_json) == body
    wait_for(
        lambda: (
            manager(
                hooks.ListWebhookDeliveriesRequest(
                    parent=name, state=hooks.DELIVERY_STATE_DELIVERED
                )
            ).deliveries
        )
    )
    assert manager.rest("POST", f"/v1/admin/{delivery.name}:replay")[2]["state"] == "pending"
    wait_for(lambda: len(receiver.received) == 2)
    assert receiver.received[1].id == request.id == delivery.name.rpartition("/")[2]

    etag = made.webhook.etag
    change = hooks.Webhook(name=name, etag=etag, active=False)
    update = hooks.UpdateWebhookRequest(webhook=change, update_mask={"paths": ["active"]})
    changed = manager(update).webhook
    assert (changed.active, changed.url) == (False, receiver.url)
    assert manager.refused(update)[0] == "ABORTED"
    assert manager(hooks.GetWebhookRequest(name=name)).webhook == changed
    manager(hooks.DeleteWebhookRequest(name=name, etag=changed.etag))
    assert manager.refused(hooks.GetWebhookRequest(name=name))[0] == "NOT_FOUND"

    entries = house.entries(manager, resource=name)
    assert [entry.action for entry in entries] == [
        "DeleteWebhook", "UpdateWebhook", "ReplayWebhookDelivery", "CreateWebhook",
    ]  # fmt: skip
    first = entries[-1]
    assert first.actor.startswith(f"{manager.org}/apiKeys/")
    assert first.peer == "127.0.0.1"
    assert first.call_id
    assert not first.old_json
    assert json.loads(first.new_json)["url"] == receiver.url
    assert made.secret.removeprefix("whsec_") not in "".join(map(str, entries))


def test_webhooks_over_rest(house: House) -> None:
    manager = house.manager
    path = f"/v1/admin/{manager.org}/webhooks"
    body = {"webhook_id": "rest", "webhook": {"url": "https://example.com/x"}}
    status, _, made = manager.rest("POST", path, body)
    assert status == 200, made
    assert made["secret"].startswith("whsec_")
    status, _, listed = manager.rest("GET", path)
    assert status == 200
    assert f"{manager.org}/webhooks/rest" in [one["name"] for one in listed["data"]]
    status, _, changed = manager.rest(
        "PATCH", f"{path}/rest", {"events": ["balance.low"], "etag": made["webhook"]["etag"]}
    )
    assert (status, changed["events"]) == (200, ["balance.low"])
    status, _, page = manager.rest("GET", f"{path}/rest/deliveries?state=dead")
    assert (status, page["data"]) == (200, [])
    assert manager.rest("POST", path, body)[0] == 409
    assert manager.rest("POST", path, body | {"more": 1})[0] == 400
    assert manager.rest("DELETE", f"{path}/rest")[0] == 200
    assert manager.rest("GET", f"{path}/rest")[0] == 404


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("x", {"url": "https://example.com"}),
        ("Hook", {"url": "https://example.com"}),
        ("hook-x", {"url": "ftp://example.com"}),
        ("hook-x", {"url": ""}),
        ("hook-x", {"url": "https://example.com", "events": ["org.created"]}),
    ],
)
def test_wrong_webhooks_are_refused(house: House, name: str, fields: dict[str, Any]) -> None:
    request = create(house.manager.org, name, **fields)
    assert house.manager.refused(request)[0] == "INVALID_ARGUMENT"


def test_webhooks_are_listed_in_pages_and_there_are_not_too_many(house: House) -> None:
    stranger = house.stranger
    for number in range(20):
        stranger(create(stranger.org, f"hook-{number:02}", "https://example.com"))
    assert (
        "most it can have"
        in stranger.refused(create(stranger.org, "hook-more", "https://example.com"))[1]
    )
    names: list[str] = []
    token = ""
    while True:
        page = stranger(
            hooks.ListWebhooksRequest(parent=stranger.org, page_size=7, page_token=token)
        )
        names += [one.name.rpartition("/")[2] for one in page.webhooks]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"hook-{number:02}" for number in range(20)]


def test_what_is_another_organisation_s_is_as_if_it_did_not_exist(house: House) -> None:
    house.manager(create(house.manager.org, "mine", "https://example.com"))
    mine, none = f"{house.manager.org}/webhooks/mine", "orgs/nobody-here/webhooks/mine"
    for make in (
        lambda name: hooks.GetWebhookRequest(name=name),
        lambda name: hooks.DeleteWebhookRequest(name=name),
        lambda name: hooks.ListWebhookDeliveriesRequest(parent=name),
        lambda name: hooks.UpdateWebhookRequest(
            webhook=hooks.Webhook(name=name, url="https://example.com")
        ),
        lambda name: admin_list(name.split("/webhooks")[0]),
        lambda name: create(name.split("/webhooks")[0], "theirs", "https://example.com"),
        lambda name: statements.GetStatementRequest(
            account=name.split("/webhooks")[0].replace("orgs", "accounts"), month="2026-01"
        ),
    ):
        foreign, missing = house.stranger.refused(make(mine)), house.stranger.refused(make(none))
        assert foreign[0] == missing[0] == "NOT_FOUND"
        assert foreign[1].replace(house.acme, "nobody-here") == missing[1]
    assert house.viewer(hooks.GetWebhookRequest(name=mine)).webhook.name == mine
    assert house.viewer.refused(hooks.DeleteWebhookRequest(name=mine))[0] == "PERMISSION_DENIED"


def test_organisations_set_routing_policies_for_their_own_calls_alone(house: House) -> None:
    def policy(parent: str) -> Message:
        return admin.CreateRoutingPolicyRequest(
            parent=parent,
            routing_policy_id="mine",
            routing_policy=admin.RoutingPolicy(score=admin.ScoreRule()),
        )

    manager, stranger = house.manager, house.stranger
    name = manager(policy(manager.org)).routing_policy.name
    assert manager(admin.GetRoutingPolicyRequest(name=name)).routing_policy.name == name
    assert manager.refused(policy("global"))[0] == "PERMISSION_DENIED"
    assert house.viewer.refused(policy(house.viewer.org))[0] == "PERMISSION_DENIED"
    house.operator(policy("global"))
    assert (
        manager.refused(admin.GetRoutingPolicyRequest(name="global/routingPolicies/mine"))[0]
        == "NOT_FOUND"
    )
    listed = manager(admin.ListRoutingPoliciesRequest()).routing_policies
    assert [one.name for one in listed] == [name]
    assert stranger(admin.ListRoutingPoliciesRequest()).routing_policies == []
    for make in (
        lambda one: admin.GetRoutingPolicyRequest(name=one),
        lambda one: admin.DeleteRoutingPolicyRequest(name=one),
        lambda one: admin.UpdateRoutingPolicyRequest(
            routing_policy=admin.RoutingPolicy(name=one, score=admin.ScoreRule())
        ),
    ):
        foreign = stranger.refused(make(name))
        missing = stranger.refused(make(name.replace(house.acme, "nobody-here")))
        assert foreign[0] == missing[0] == "NOT_FOUND"
        assert foreign[1].replace(house.acme, "nobody-here") == missing[1]
    manager(admin.DeleteRoutingPolicyRequest(name=name))
    house.operator(admin.DeleteRoutingPolicyRequest(name="global/routingPolicies/mine"))
    assert [entry.action for entry in house.entries(manager, resource=name)] == [
        "DeleteRoutingPolicy", "CreateRoutingPolicy",
    ]  # fmt: skip
    assert [
        entry.action
        for entry in house.entries(house.operator, resource="global/routingPolicies/mine")
    ] == ["DeleteRoutingPolicy", "CreateRoutingPolicy"]


def test_a_grant_is_told_once_however_often_it_is_repeated_and_the_statement_has_it(
    house: House,
) -> None:
    request = billing.GrantCreditsRequest(
        account=house.manager.account, amount_nanousd=7, reason="=gift", request_id="told-once"
    )
    entry = house.operator(request).ledger_entry
    assert house.operator(request).ledger_entry == entry
    [told] = house.entries(house.manager, action="GrantCredits", resource=entry.name)
    assert told.actor.startswith("orgs/operator/apiKeys/")
    assert json.loads(told.new_json)["amount_nanousd"] == 7

    month = f"{datetime.now(UTC):%Y-%m}"
    found = house.manager(statements.GetStatementRequest(month=month)).statement
    assert found.name == f"{house.manager.account}/statements/{month}"
    assert found.opening_nanousd == 0
    assert found.granted_nanousd >= 10**9 + 7
    change = found.granted_nanousd + found.refunded_nanousd
    assert found.closing_nanousd == change - found.charged_nanousd - found.expired_nanousd
    assert not found.final
    status, kind, shown = house.manager.rest("GET", f"/v1/statements/{month}")
    assert (status, kind, shown["csv"]) == (200, "application/json", found.csv)
    status, kind, text = house.manager.rest("GET", f"/v1/statements/{month}", accept="text/csv")
    assert (status, kind) == (200, "text/csv; charset=utf-8; header=present")
    assert text == found.csv
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert "'=gift" in [row["reference"] for row in rows]
    status, _, foreign = house.viewer.rest(
        "GET", f"/v1/statements/{month}?account=accounts/{house.other}"
    )
    assert status == 404, foreign
    assert house.manager.rest("GET", "/v1/statements/2026-13")[0] == 400


def test_refunds_and_what_is_said_of_the_catalog_are_in_the_log_of_whom_they_concern(
    house: House,
) -> None:
    operator, manager = house.operator, house.manager
    hold = manager(billing.CreateHoldRequest(amount_nanousd=9, request_id="h")).hold
    manager(billing.SettleHoldRequest(name=hold.name, amount_nanousd=9, request_id="s"))
    refund = billing.RefundChargeRequest(
        account=manager.account, hold=hold.name, amount_nanousd=4, request_id="r"
    )
    entry = operator(refund).ledger_entry
    assert operator(refund).ledger_entry == entry
    [told] = house.entries(manager, action="RefundCharge")
    assert (told.resource, json.loads(told.new_json)["amount_nanousd"]) == (entry.name, 4)

    scope = manager.org
    for targets in (["sim/small"], ["sim/fast"]):
        alias = catalog.Alias(name="told-alias", scope=scope, targets=targets)
        operator(catalog.SetAliasRequest(alias=alias))
    operator(catalog.DeleteAliasRequest(name="told-alias", scope=scope))
    found = house.entries(manager, resource=f"{scope}/aliases/told-alias")
    assert [one.action for one in found] == ["DeleteAlias", "SetAlias", "SetAlias"]
    assert json.loads(found[1].old_json)["targets"] == ["sim/small"]
    assert json.loads(found[1].new_json)["targets"] == ["sim/fast"]
    assert not found[0].new_json

    model = operator(catalog.ListModelsRequest(page_size=1)).models[0]
    change = catalog.Model(name=model.name, tags=["told"])
    operator(catalog.UpdateModelRequest(model=change, update_mask={"paths": ["tags"]}))
    [said] = house.entries(operator, resource=model.name)
    assert (said.action, said.old_json) == ("UpdateModel", "")
    assert json.loads(said.new_json)["tags"] == ["told"]


def test_a_receipt_is_of_a_top_up_that_was_paid(house: House) -> None:
    paid, open_one = "0190a000-0000-7000-8000-000000000001", "0190a000-0000-7000-8000-000000000002"
    with psycopg.connect(house.gateway.database_url, autocommit=True) as sql:
        sql.execute(
            "INSERT INTO top_up (id, org_id, account_id, method, state, amount, credited, network,"
            " payment_id, payer, request_id, fingerprint, expire_time, pay_time)"
            " SELECT x.id::uuid, o.id, o.account_id, 'c', x.state::\"char\", 5, 5, 'stripe:live',"
            " 'pi_1', 'visa 4242', x.id, '', now(), x.pay_time FROM org o,"
            " (VALUES (%s, 'S', now()), (%s, 'O', NULL)) x (id, state, pay_time)"
            " WHERE o.slug = %s",
            (paid, open_one, house.acme),
        )

    def receipt(account: str, top_up: str) -> Message:
        return statements.GetReceiptRequest(name=f"{account}/topUps/{top_up}")

    found = house.manager(receipt(house.manager.account, paid)).receipt
    assert (found.number, found.amount_nanousd) == (f"R-{paid}", 5)
    assert "card visa 4242" in found.text
    assert house.manager.refused(receipt(house.manager.account, open_one))[0] == "NOT_FOUND"
    assert house.stranger.refused(receipt(house.manager.account, paid))[0] == "NOT_FOUND"
    assert house.stranger.refused(receipt(house.stranger.account, paid))[0] == "NOT_FOUND"
    path = f"/v1/{house.manager.account}/topUps/{paid}/receipt"
    assert house.manager.rest("GET", path)[2]["number"] == f"R-{paid}"


def test_the_logs_of_all_that_was_done_here_are_whole(house: House) -> None:
    from omni.admin.v1 import audit_pb2

    for caller in (house.manager, house.operator):
        verdict = caller(audit_pb2.VerifyAuditLogRequest(parent=caller.org))
        assert verdict.entry_count > 0
        assert not verdict.first_broken_entry
