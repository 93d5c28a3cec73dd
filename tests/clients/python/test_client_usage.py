"""Usage records and sums, and syncs of the catalog: each request, and what it returns."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from client_fake_routing import SECONDS, progress
from client_fake_service import fails, hangs, streams
from grpc import StatusCode
from omni.billing.v1 import billing_service_pb2 as pb
from omni.catalog.v1 import catalog_service_pb2 as catalog_pb
from omni_grpc_client import (
    Busy,
    Deadline,
    FieldInvalid,
    Internal,
    SourceOutcome,
    SyncedChange,
    Timeouts,
    WaitingPrice,
)
from omni_grpc_client.usage_sums import total_usage

MOMENT = datetime.fromtimestamp(SECONDS, UTC)


async def test_usage_records_are_filtered_and_tell_how_calls_were_routed(omni, service):
    where = 'model = "openai/gpt-4o"'
    records = [
        one async for one in omni.usage_records("acme", where, start_time=MOMENT, page_size=2)
    ]
    assert [one.call_id for one in records] == ["call_0", "call_1", "call_2"]
    first, second, _ = records
    assert (first.key, first.create_time) == ("0123456789ab", MOMENT)
    assert (first.report.task, first.report.saved_nanousd) == ("coding", 63)
    assert (first.report.tags, first.report.end_user) == ({"team": "red"}, "ada")
    assert (first.report.first_token_ms, first.report.single_nanousd) == (None, None)
    assert second.report is None
    for request in service.requests("ListUsageRecords"):
        assert (request.parent, request.filter) == ("accounts/acme", where)
        assert request.start_time.ToSeconds() == SECONDS
        assert not request.HasField("end_time")


async def test_usage_is_summed_by_time_and_what_is_named(omni, service):
    query = {"bucket": "hour", "group_by": ["model", "task"], "time_zone": "Europe/Berlin"}
    rows = [one async for one in omni.usage_summaries("acme", page_size=2, **query)]
    assert [one.model for one in rows] == ["a/0", "a/1", "a/2"]
    assert (rows[1].sums.calls, rows[1].sums.cost_nanousd) == (2, 1)
    assert rows[1].sums.saved_nanousd == -1
    assert rows[0].end_time - rows[0].start_time == timedelta(days=1)
    first, second = service.requests("SummarizeUsage")
    assert first == pb.SummarizeUsageRequest(
        account="accounts/acme",
        bucket=pb.USAGE_BUCKET_HOUR,
        group_by=[pb.USAGE_DIMENSION_MODEL, pb.USAGE_DIMENSION_TASK],
        time_zone="Europe/Berlin",
        page_size=2,
    )
    assert second.page_token == "2"
    _ = [one async for one in omni.usage_summaries(group_by="key")]
    assert service.requests("SummarizeUsage")[2].group_by == [pb.USAGE_DIMENSION_KEY]


async def test_a_total_is_one_answer(omni, service):
    total = await omni.usage_total("acme", start_time=MOMENT)
    assert (total.calls, total.cost_nanousd, total.saved_nanousd) == (6, 3, -3)
    (request,) = service.requests("SummarizeUsage")
    assert (request.bucket, request.page_size) == (pb.USAGE_BUCKET_WHOLE, 1)


def test_every_sum_of_the_contract_is_told():
    """A count that the contract gains makes this fail until the client has it."""
    fields = pb.UsageSums.DESCRIPTOR.fields
    raw = pb.UsageSums(**{field.name: field.number for field in fields})
    sums = total_usage("", {}).parse(pb.SummarizeUsageResponse(total=raw))
    told = {getattr(sums, name) for name in type(sums).__slots__ if name != "raw"}
    assert told == {field.number for field in fields}


async def test_a_summary_that_cannot_be_is_refused_before_it_is_sent(omni, service):
    for query, error, message in (
        ({"bucket": "week"}, FieldInvalid, "none of hour, day, month, whole"),
        ({"group_by": ["model", "team"]}, FieldInvalid, "none of provider, model, task, key"),
        ({"by": "model"}, TypeError, "no option 'by'"),
        ({"end_time": MOMENT.replace(tzinfo=None)}, ValueError, "end_time needs a time zone"),
    ):
        with pytest.raises(error, match=message):
            _ = [one async for one in omni.usage_summaries(**query)]
    with pytest.raises(TypeError, match="no option 'bucket'"):
        await omni.usage_total(bucket="day")
    with pytest.raises(TypeError, match="no option 'group_by'"):
        _ = [one async for one in omni.usage_records(group_by="model")]
    assert service.seen == []


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
    assert request == catalog_pb.SyncCatalogRequest(sources=["models.dev"], dry_run=True)


async def test_a_sync_without_an_eye_on_its_steps(omni, service):
    async with omni.sync_catalog(accept=True) as sync:
        report = await sync.result()
    assert report is sync.report
    assert service.requests("SyncCatalog") == [catalog_pb.SyncCatalogRequest(accept=True)]


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
    service.script("SyncCatalog", streams(progress("a", catalog_pb.SYNC_STAGE_READ)))
    async with omni.sync_catalog() as sync:
        with pytest.raises(Internal, match="no report"):
            await sync.result()


async def test_leaving_a_sync_early_ends_it_at_the_service(omni, service):
    service.script(
        "SyncCatalog", streams(progress("a", catalog_pb.SYNC_STAGE_FETCHING), then=hangs)
    )
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
        assert 40 < service.seen[0].time_remaining_s <= 50
        service.script("SyncCatalog", hangs)
        async with omni.sync_catalog(timeout=0.2) as sync:
            with pytest.raises(Deadline):
                await sync.result()
