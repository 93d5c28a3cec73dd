"""The catalog: what operators say of models, aliases, changes and syncs."""

import asyncio
from datetime import UTC, datetime

import pytest
from client_fake_routing import SECONDS, progress
from client_fake_service import answers, fails, hangs, streams
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from omni.catalog.v1 import catalog_service_pb2 as pb
from omni_grpc_client import (
    Alias,
    Busy,
    Deadline,
    Internal,
    OperatorFact,
    Rate,
    SourceOutcome,
    SyncedChange,
    Timeouts,
    WaitingPrice,
)

MOMENT = datetime.fromtimestamp(SECONDS, UTC)
MODEL = "providers/openai/models/gpt-4o"


async def test_what_an_operator_says_reaches_the_contract_and_comes_back(omni, service):
    said = {
        "enabled": False,
        "tags": ["legal"],
        "regions": ["eu"],
        "quality_weight_ppm": 1,
        "routing_weight": 0,
        "replacement": "a/b",
        "deprecate_time": MOMENT,
        "deprecation_reason": "old",
        "price_override": [Rate("prompt", 0, 5)],
    }
    found = await omni.update_model("openai/gpt-4o", etag="e1", **said)
    assert (found.enabled, found.tags, found.regions) == (False, ("legal",), ("eu",))
    assert (found.quality_weight_ppm, found.routing_weight) == (1, 0)
    assert (found.replacement, found.deprecate_time) == ("a/b", MOMENT)
    assert (found.deprecation_reason, found.price_override) == ("old", (Rate("prompt", 0, 5),))
    (request,) = service.requests("UpdateModel")
    assert (request.model.name, request.model.etag) == (MODEL, "e1")
    assert request.update_mask == FieldMask(paths=list(said))
    assert (await omni.update_model(MODEL, price_override=500_000)).price_override == 500_000


async def test_none_takes_an_operators_word_back(omni, service):
    found = await omni.update_model("openai/gpt-4o", price_override=None, deprecate_time=None)
    assert (found.price_override, found.deprecate_time) == (None, None)
    assert (found.quality_weight_ppm, found.routing_weight) == (None, None)
    (request,) = service.requests("UpdateModel")
    assert request.model == pb.Model(name=MODEL)
    assert request.update_mask.paths == ["price_override", "deprecate_time"]


async def test_what_cannot_be_said_of_a_model_is_refused_before_it_is_sent(omni, service):
    for said, error, message in (
        ({"tags": "legal"}, TypeError, "give a list"),
        ({"region": ["eu"]}, TypeError, "an offer has no option 'region'"),
        ({"deprecate_time": MOMENT.replace(tzinfo=None)}, ValueError, "needs a time zone"),
    ):
        with pytest.raises(error, match=message):
            await omni.update_model("openai/gpt-4o", **said)
    with pytest.raises(TypeError, match="give a list"):
        await omni.set_alias("house", "a/b")
    assert service.seen == []


async def test_a_model_tells_how_fast_it_was_measured_to_be(omni, service):
    assert (await omni.model("openai/gpt-4o")).measured_speed is None
    speed = pb.MeasuredSpeed(first_token_ms=412.5, call_count=3.5, source="traffic")
    service.script("GetModel", answers(pb.GetModelResponse(model=pb.Model(measured_speed=speed))))
    found = (await omni.model("openai/gpt-4o")).measured_speed
    assert (found.first_token_ms, found.call_count, found.source) == (412.5, 3.5, "traffic")
    assert (found.output_tokens_per_second, found.reasoning_ratio) == (None, None)


async def test_a_model_tells_whose_its_facts_are(omni, service):
    fact = pb.OperatorFact(field="tags", source="models.yaml", pattern="openai/*")
    raw = pb.Model(operator_facts=[fact], source="models.dev")
    service.script("GetModel", answers(pb.GetModelResponse(model=raw)))
    found = await omni.model("openai/gpt-4o")
    assert found.operator_facts == (OperatorFact("tags", "models.yaml", "openai/*"),)
    assert found.source == "models.dev"


async def test_aliases_are_set_listed_resolved_and_taken_away(omni, service):
    made = await omni.set_alias("house", ["a/b", "a/c"], scope="orgs/acme")
    assert made == Alias("house", ("a/b", "a/c"), "orgs/acme")
    names = [one.name async for one in omni.aliases("orgs/acme", page_size=2)]
    assert names == ["alias-0", "alias-1", "alias-2"]
    meaning = await omni.resolve_model("house")
    assert [one.model for one in meaning.models] == ["openai/gpt-4o"]
    assert (meaning.alias, meaning.warning) == (Alias("house", ("gpt-4o",)), "")
    await omni.delete_alias("house", scope="orgs/acme")
    (request,) = service.requests("DeleteAlias")
    assert (request.name, request.scope) == ("house", "orgs/acme")


async def test_changes_are_filtered_and_paged(omni, service):
    where = 'field = "price"'
    changes = [one async for one in omni.model_changes(where, page_size=2)]
    assert [(one.old_value, one.new_value) for one in changes] == [
        (None, f"prompt={number}") for number in range(3)
    ]
    assert {one.filter for one in service.requests("ListModelChanges")} == {where}


async def test_a_sync_tells_its_steps_and_then_its_report(omni, service):
    async with omni.sync_catalog(["models.dev"], dry_run=True) as sync:
        with pytest.raises(RuntimeError, match="no report yet"):
            _ = sync.report
        steps = [step async for step in sync]
    assert [(step.source, step.stage) for step in steps] == [
        ("models.dev", "fetching"), ("models.dev", "read"),
    ]  # fmt: skip
    assert (steps[0].received_bytes, steps[0].expected_bytes) == (10, None)
    report = sync.report
    assert (report.version, report.dry_run, report.added, report.updated) == (8, True, 1, 2)
    assert report.sources == (
        SourceOutcome(
            source="models.dev",
            stage="read",
            offers=5,
            unpriced_offers=1,
            faults=("a/b: no price",),
            failure="",
        ),
    )
    assert report.changes == (
        SyncedChange(
            model="a/b", field="price", old_value=None, new_value="prompt=1", source="models.dev"
        ),
    )
    assert report.change_count == 4
    assert report.waiting_prices == (
        WaitingPrice(
            model="a/c",
            source="models.dev",
            old_value="prompt=1",
            new_value="prompt=9",
            change_ppm=8_000_000,
        ),
    )
    (request,) = service.requests("SyncCatalog")
    assert request == pb.SyncCatalogRequest(sources=["models.dev"], dry_run=True)


async def test_a_sync_without_an_eye_on_its_steps(omni, service):
    async with omni.sync_catalog(accept=True) as sync:
        report = await sync.result()
    assert report is sync.report
    assert service.requests("SyncCatalog") == [pb.SyncCatalogRequest(accept=True)]


async def test_a_sync_is_not_repeated_and_says_why_it_failed(omni, service):
    busy = fails(StatusCode.UNAVAILABLE, "BUSY", "A sync is running.")
    service.script("SyncCatalog", busy)
    async with omni.sync_catalog() as sync:
        with pytest.raises(Busy, match="is running"):
            await sync.result()
    assert len(service.requests("SyncCatalog")) == 1
    with pytest.raises(RuntimeError, match="no report yet"):
        _ = sync.report


async def test_a_sync_that_ends_without_a_report_broke_the_contract(omni, service):
    service.script("SyncCatalog", streams(progress("a", pb.SYNC_STAGE_READ)))
    async with omni.sync_catalog() as sync:
        with pytest.raises(Internal, match="no report"):
            await sync.result()


async def test_leaving_a_sync_early_ends_it_at_the_service(omni, service):
    service.script("SyncCatalog", streams(progress("a", pb.SYNC_STAGE_FETCHING), then=hangs))
    async with omni.sync_catalog() as sync:
        async for step in sync:
            assert step.stage == "fetching"
            break
    await asyncio.wait_for(service.cancelled.wait(), 10)


async def test_a_sync_is_entered_once_and_before_it_is_read(omni):
    sync = omni.sync_catalog()
    with pytest.raises(RuntimeError, match="enter the sync first"):
        await sync.result()
    async with sync:
        pass
    with pytest.raises(RuntimeError, match="ask for another"):
        async with sync:
            pass
    with pytest.raises(TypeError, match="give a list"):
        async with omni.sync_catalog("models.dev"):
            pass


async def test_a_sync_has_a_time_of_its_own(service, open_client):
    async with open_client(service.target, timeouts=Timeouts(sync_s=50)) as omni:
        async with omni.sync_catalog() as sync:
            await sync.result()
        assert 40 < service.seen[0].time_remaining_s < 60
        service.script("SyncCatalog", hangs)
        async with omni.sync_catalog(timeout=0.2) as sync:
            with pytest.raises(Deadline):
                await sync.result()
