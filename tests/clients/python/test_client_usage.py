"""Usage records and sums: each request, and what it returns."""

from datetime import UTC, datetime, timedelta

import pytest
from client_fake_routing import SECONDS
from omni.billing.v1 import billing_service_pb2 as pb
from omni_grpc_client import FieldInvalid
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
    assert (total.calls, total.cost_nanousd, total.saved_nanousd) == (6, 2_500_000, -500_000)
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
        ({"group_by": ["model", "org"]}, FieldInvalid, "none of provider, model, task, key, team"),
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
