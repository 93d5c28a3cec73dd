"""Billing, catalog and administration: each method, its request, and what it returns."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from client_fake_service import COST_NANOUSD, LEDGER_ENTRIES, answers, fails
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode
from omni.admin.v1 import admin_service_pb2 as admin_pb
from omni.billing.v1 import billing_service_pb2 as billing_pb
from omni.catalog.v1 import catalog_service_pb2 as catalog_pb
from omni.router.v1 import router_service_pb2 as router_pb
from omni_grpc_client import ExperimentArm, HoldFinal, Internal, MediaFile, Rate, ScoreRule

MOMENT = datetime.fromtimestamp(1_750_000_000, UTC)


async def test_a_balance_tells_its_four_amounts(omni, service):
    balance = await omni.balance()
    assert balance.account == "accounts/acme"
    assert balance.posted_nanousd == 5_000_000_000
    assert balance.held_nanousd == 500_000_000
    assert balance.unresolved_nanousd == 0
    assert balance.available_nanousd == 4_500_000_000
    assert balance.read_time == MOMENT
    await omni.balance("acme")
    await omni.balance("accounts/acme")
    accounts = [request.account for request in service.requests("GetBalance")]
    assert accounts == ["", "accounts/acme", "accounts/acme"]


async def test_an_amount_that_the_service_forgot_is_a_fault_not_zero(omni, service):
    balance = billing_pb.Balance(account="accounts/acme", posted_nanousd=5)
    service.script("GetBalance", answers(billing_pb.GetBalanceResponse(balance=balance)))
    with pytest.raises(Internal, match=r"lacks Balance\.held_nanousd"):
        await omni.balance()


async def test_ledger_entries_come_over_all_pages(omni, service):
    entries = [entry async for entry in omni.ledger_entries()]
    assert [entry.reference for entry in entries] == [f"call_{n}" for n in range(LEDGER_ENTRIES)]
    assert entries[3].kind == "charge"
    assert (entries[3].amount_nanousd, entries[3].balance_after_nanousd) == (-3, 997)
    assert len(service.requests("ListLedgerEntries")) == 3


async def test_pages_are_fetched_as_they_are_read(omni, service):
    async for entry in omni.ledger_entries("acme", page_size=10):
        if entry.reference == "call_10":
            break
    first, second = service.requests("ListLedgerEntries")
    assert (first.parent, first.page_size, first.page_token) == ("accounts/acme", 10, "")
    assert second.page_token == "10"


async def test_a_list_goes_on_from_a_page_token(omni):
    pages = [page async for page in omni.ledger_entries(page_size=50).by_page()]
    assert [len(page.items) for page in pages] == [50, 50, 20]
    token = pages[0].next_page_token
    rest = [entry async for entry in omni.ledger_entries(page_token=token)]
    assert len(rest) == LEDGER_ENTRIES - 50
    assert pages[-1].next_page_token == ""


async def test_an_empty_page_in_the_middle_does_not_end_a_list(omni, service):
    empty = billing_pb.ListLedgerEntriesResponse(next_page_token="100")
    service.script("ListLedgerEntries", answers(empty))
    assert len([entry async for entry in omni.ledger_entries()]) == 20


async def test_a_usage_record_tells_what_a_cut_call_cost(omni):
    record = await omni.usage("call_9")
    assert (record.call_id, record.cost_nanousd) == ("call_9", COST_NANOUSD)
    (attempt,) = record.attempts
    assert (attempt.outcome, attempt.held_nanousd) == ("cancelled", 9_000_000)
    assert (attempt.prompt_tokens, attempt.cached_read_tokens) == (9, 0)
    assert attempt.reasoning_tokens is None
    assert attempt.markup_ppm == 50_000
    assert attempt.end_time is not None


async def test_a_cost_that_is_not_final_is_none(omni, service):
    record = billing_pb.UsageRecord(attempts=[billing_pb.AttemptRecord(outcome="running")])
    service.script(
        "GetUsageRecord", answers(billing_pb.GetUsageRecordResponse(usage_record=record))
    )
    record = await omni.usage("call_9")
    assert record.cost_nanousd is None
    assert record.attempts[0].cost_nanousd is None


async def test_a_grant_is_written_with_its_reason(omni, service):
    entry = await omni.grant_credits("acme", 10**15, reason="welcome")
    assert (entry.kind, entry.amount_nanousd, entry.reference) == ("grant", 10**15, "welcome")
    (request,) = service.requests("GrantCredits")
    assert request.account == "accounts/acme"
    assert uuid.UUID(request.request_id)


async def test_a_grant_may_expire(omni, service):
    moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    await omni.grant_credits("acme", 1, expire_time=moment)
    await omni.grant_credits("acme", 1)
    first, second = service.requests("GrantCredits")
    assert first.expire_time.ToDatetime(tzinfo=UTC) == moment
    assert not second.HasField("expire_time")
    with pytest.raises(ValueError, match="time zone"):
        await omni.grant_credits("acme", 1, expire_time=moment.replace(tzinfo=None))


async def test_a_refund_names_a_call_or_a_hold(omni, service):
    entry = await omni.refund_charge("acme", 7, call_id="call_1", attempt_number=2, reason="sorry")
    assert (entry.kind, entry.amount_nanousd, entry.reference) == ("refund", 7, "sorry")
    hold = await omni.create_hold(5_000)
    await omni.refund_charge("accounts/acme", 8, hold=hold, request_id="mine")
    await omni.refund_charge("acme", 9, hold=hold.name)
    first, second, third = service.requests("RefundCharge")
    assert (first.account, first.call_id, first.attempt_number) == ("accounts/acme", "call_1", 2)
    assert uuid.UUID(first.request_id)
    assert (second.hold, second.request_id) == (hold.name, "mine")
    assert not second.HasField("attempt_number")
    assert third.hold == hold.name
    for both_or_none in ({}, {"call_id": "call_1", "hold": hold}):
        with pytest.raises(TypeError, match="either call_id or hold"):
            await omni.refund_charge("acme", 7, **both_or_none)


async def test_unresolved_attempts_are_listed_and_resolved(omni, service):
    found = [attempt async for attempt in omni.unresolved_attempts("acme", page_size=2)]
    assert [one.call_id for one in found] == ["call_0", "call_1", "call_2"]
    assert [one.parent for one in service.requests("ListUnresolvedAttempts")] == [
        "accounts/acme"
    ] * 2
    attempt = found[0]
    assert (attempt.held_nanousd, attempt.provider_ref) == (9_000_000, "gen-0")
    assert attempt.lease_time == MOMENT
    settled = await omni.settle_attempt(attempt, 10, 0, cached_read_tokens=3)
    assert (settled.outcome, settled.cost_nanousd, settled.prompt_tokens) == (
        "cancelled", COST_NANOUSD, 10,
    )  # fmt: skip
    assert (await omni.void_attempt(attempt.name)).cost_nanousd == 0
    assert (await omni.write_off_attempt(attempt)).outcome == "unknown"
    await omni.write_off_attempt(attempt, 0)
    await omni.settle_attempt(attempt, images=2)
    with pytest.raises(TypeError, match="no option 'cached_reads'"):
        await omni.settle_attempt(attempt, 10, 0, cached_reads=3)
    settle, void, write_off, without_loss, painted = service.requests("ResolveAttempt")
    assert {one.name for one in (settle, void, write_off)} == {attempt.name}
    assert settle.settlement.HasField("completion_token_count")
    assert settle.settlement.cached_read_token_count == 3
    assert not settle.settlement.HasField("reasoning_token_count")
    assert painted.settlement == billing_pb.Settlement(image_count=2)
    assert void.WhichOneof("resolution") == "voiding"
    assert not write_off.write_off.HasField("loss_nanousd")
    assert without_loss.write_off.HasField("loss_nanousd")


async def test_a_hold_is_made_settled_and_released(omni, service):
    hold = await omni.create_hold(5_000, account="acme", ttl_s=90.5)
    assert (hold.state, hold.amount_nanousd, hold.settled_nanousd) == ("open", 5_000, None)
    assert hold.expire_time is not None
    (created,) = service.requests("CreateHold")
    assert created.ttl.ToMilliseconds() == 90_500
    settled = await omni.settle_hold(hold, 0)
    assert (settled.name, settled.state, settled.settled_nanousd) == (hold.name, "settled", 0)
    assert service.requests("SettleHold")[0].HasField("amount_nanousd")
    released = await omni.release_hold("accounts/acme/holds/2")
    assert (released.name, released.state) == ("accounts/acme/holds/2", "voided")


async def test_a_hold_without_a_time_to_live_leaves_it_to_the_service(omni, service):
    await omni.create_hold(5_000)
    assert not service.requests("CreateHold")[0].HasField("ttl")


async def test_each_call_that_moves_money_has_its_own_request_id_unless_named(omni, service):
    await omni.release_hold("accounts/acme/holds/1")
    await omni.release_hold("accounts/acme/holds/1")
    await omni.release_hold("accounts/acme/holds/1", request_id="mine")
    first, second, third = [one.request_id for one in service.requests("ReleaseHold")]
    assert first != second
    assert third == "mine"


async def test_a_failed_call_that_moves_money_tells_its_request_id(omni, service):
    service.script("SettleHold", fails(StatusCode.FAILED_PRECONDITION, "HOLD_FINAL"))
    with pytest.raises(HoldFinal) as caught:
        await omni.settle_hold("accounts/acme/holds/1", 1)
    assert caught.value.request_id == service.requests("SettleHold")[0].request_id


@pytest.mark.parametrize("amount", [1.5, "1", 2**63])
async def test_an_amount_that_is_no_int64_is_refused_before_it_is_sent(omni, service, amount):
    with pytest.raises((TypeError, ValueError)):
        await omni.grant_credits("acme", amount)
    assert service.seen == []


async def test_a_model_is_found_as_chats_name_it_or_by_its_resource_name(omni, service):
    model = await omni.model("openrouter/anthropic/claude-x")
    assert model.name == "providers/openrouter/models/anthropic/claude-x"
    assert model.context_tokens == 128_000
    assert model.output_tokens is None
    assert model.input_modalities == ("text", "image")
    assert model.pricing.version == 7
    assert model.pricing.rates[1] == Rate("prompt", 200_000, 300_000_000)
    assert (model.tools, model.callable, model.deprecated) == (True, True, False)
    assert model.release_time is None
    await omni.model("providers/openai/models/gpt-4o")
    await omni.model("gpt-4o")
    names = [request.name for request in service.requests("GetModel")]
    assert names[1:] == ["providers/openai/models/gpt-4o", "gpt-4o"]


async def test_a_model_without_a_known_price_has_none(omni, service):
    service.script("GetModel", answers(catalog_pb.GetModelResponse(model=catalog_pb.Model())))
    assert (await omni.model("a/b")).pricing is None


async def test_models_are_filtered_and_paged(omni, service):
    where = 'provider = "openai" AND tools = true'
    models = [model.model async for model in omni.models(where, page_size=2)]
    assert models == ["openai/gpt-0", "openai/gpt-1", "openai/gpt-2"]
    assert {request.filter for request in service.requests("ListModels")} == {where}


async def test_an_org_gets_keys_whose_secret_is_told_once_and_shown_nowhere(omni, service):
    org = await omni.create_org("acme", display_name="Acme Ltd")
    assert (org.name, org.account, org.display_name) == ("orgs/acme", "accounts/acme", "Acme Ltd")
    made = await omni.create_api_key(org, display_name="ci", scopes="inference")
    assert made.secret == "omni_the_new_secret"
    assert "the_new_secret" not in repr(made)
    assert made.api_key.scopes == ("inference", "billing")
    await omni.create_api_key("acme", scopes=["inference", "billing"])
    first, second = service.requests("CreateApiKey")
    assert (first.parent, list(first.scopes)) == ("orgs/acme", ["inference"])
    assert (second.parent, list(second.scopes)) == ("orgs/acme", ["inference", "billing"])


async def test_keys_are_listed_and_revoked(omni, service):
    keys = [key async for key in omni.list_api_keys("acme", page_size=2)]
    assert [key.name for key in keys] == [f"orgs/acme/apiKeys/{n}" for n in range(3)]
    assert keys[0].create_time == MOMENT
    assert keys[0].revoke_time is None
    revoked = await omni.revoke_api_key(keys[0])
    assert revoked.revoke_time is not None
    await omni.revoke_api_key("orgs/acme/apiKeys/9")
    names = [request.name for request in service.requests("RevokeApiKey")]
    assert names == ["orgs/acme/apiKeys/0", "orgs/acme/apiKeys/9"]


async def test_a_key_is_rotated_and_tells_all_of_itself(omni, service):
    old = admin_pb.ApiKey(name="orgs/acme/apiKeys/1", parent="orgs/acme/teams/web", models=["a/*"])
    old.expire_time.FromDatetime(MOMENT)
    service.script(
        "RotateApiKey",
        answers(
            admin_pb.RotateApiKeyResponse(
                api_key=admin_pb.ApiKey(name="orgs/acme/apiKeys/2"),
                secret="omni_the_new_secret",
                replaced_api_key=old,
            )
        ),
    )
    turned = await omni.rotate_api_key(old.name, overlap=timedelta(hours=2))
    assert (turned.api_key.name, turned.secret) == ("orgs/acme/apiKeys/2", "omni_the_new_secret")
    assert "the_new_secret" not in repr(turned)
    key = turned.replaced
    assert (key.parent, key.models, key.expire_time) == (
        "orgs/acme/teams/web",
        ("a/*",),
        MOMENT,
    )
    (request,) = service.requests("RotateApiKey")
    assert request.overlap.seconds == 7_200
    await omni.create_api_key(key.parent, models=["a/b"], expire_time=MOMENT)
    (made,) = service.requests("CreateApiKey")
    assert (made.parent, list(made.models), made.expire_time.ToDatetime(tzinfo=UTC)) == (
        key.parent,
        ["a/b"],
        MOMENT,
    )


async def test_what_is_no_request_is_refused_before_it_is_sent(omni, service):
    for message in (admin_pb.Org(), catalog_pb.SyncCatalogRequest(), router_pb.StreamChatRequest()):
        with pytest.raises(TypeError, match="no request of a unary RPC"):
            await omni.call(message)
    assert service.seen == []


async def reach_routing(omni):
    await omni.estimate_chat("m", "hi")
    await omni.explain_route("m", "hi")
    _ = [row async for row in omni.usage_summaries()]
    _ = [record async for record in omni.usage_records()]
    policy = await omni.create_routing_policy("p", ScoreRule())
    await omni.update_routing_policy(policy, order=1)
    await omni.routing_policy(policy.name)
    _ = [one async for one in omni.routing_policies()]
    await omni.delete_routing_policy(policy)
    experiment = await omni.create_experiment("x", [ExperimentArm(name="a", share_ppm=1)])
    await omni.update_experiment(experiment, salt="s")
    await omni.experiment(experiment.name)
    _ = [one async for one in omni.experiments()]
    await omni.experiment_report(experiment)
    await omni.delete_experiment(experiment)


async def reach_catalog(omni):
    await omni.update_model("a/b", enabled=True)
    await omni.resolve_model("a/b")
    _ = [change async for change in omni.model_changes()]
    _ = [alias async for alias in omni.aliases()]
    await omni.set_alias("alias", ["a/b"])
    await omni.delete_alias("alias")
    async with omni.sync_catalog() as sync:
        await sync.result()


async def test_every_rpc_of_the_contract_is_reachable(omni, service):
    await omni.chat("m", "hi")
    async with omni.stream_chat("m", "hi") as stream:
        await stream.result()
    await omni.embed("m", "hi")
    await omni.generate_images("m", "a cat")
    async with omni.synthesize_speech("m", "hi", voice="alloy") as speech:
        await speech.result()
    await omni.transcribe("m", MediaFile(b"sound", "said.wav"))
    await omni.balance()
    _ = [entry async for entry in omni.ledger_entries()]
    await omni.usage("call")
    await omni.grant_credits("acme", 1)
    await omni.refund_charge("acme", 1, call_id="call")
    _ = [attempt async for attempt in omni.unresolved_attempts()]
    await omni.void_attempt("accounts/acme/unresolvedAttempts/1")
    hold = await omni.create_hold(1)
    await omni.settle_hold(hold, 1)
    await omni.release_hold(hold)
    await omni.model("a/b")
    _ = [model async for model in omni.models()]
    org = await omni.create_org("acme")
    await omni.create_api_key(org)
    _ = [key async for key in omni.list_api_keys(org)]
    await omni.revoke_api_key("orgs/acme/apiKeys/1")
    await omni.rotate_api_key("orgs/acme/apiKeys/1")
    await reach_routing(omni)
    await reach_catalog(omni)
    methods = [
        method
        for file in (router_pb, billing_pb, catalog_pb, admin_pb)
        for rpcs in file.DESCRIPTOR.services_by_name.values()
        for method in rpcs.methods
    ]
    contract = {method.name for method in methods}
    reached = {one.method for one in service.seen}
    for method in methods:
        if method.name not in reached:
            answer = await omni.call(GetMessageClass(method.input_type)())
            assert answer.DESCRIPTOR is method.output_type
    assert {one.method for one in service.seen} == contract
