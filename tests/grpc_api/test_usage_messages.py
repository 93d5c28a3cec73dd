"""Reports of usage as messages: what a request may say, and that nothing is lost in an answer."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc.billing import AttemptRecord, UsageRecord
from omni_grpc.billing.usage import Bucket, Dimension, ListedCall, RoutedCall, UsageSums
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId, CallId, KeyId
from omni_grpc.core.usage import Usage
from omni_grpc.grpc_api import usage_request as read
from omni_grpc.grpc_api import usage_response as show

MOST = 2**63 - 1


@pytest.mark.parametrize(
    "stamp",
    [
        Timestamp(seconds=MOST),
        Timestamp(seconds=-MOST),
        Timestamp(seconds=253_402_300_800),
        Timestamp(nanos=-1),
        Timestamp(nanos=10**9),
    ],
)
@pytest.mark.parametrize("field", ["start_time", "end_time"])
def test_a_moment_that_is_none_is_refused(stamp: Timestamp, field: str) -> None:
    for request in (pb.SummarizeUsageRequest(), pb.ListUsageRecordsRequest()):
        assert read.moment(request, field) is None
        getattr(request, field).CopyFrom(stamp)
        with pytest.raises(FieldInvalid) as caught:
            read.moment(request, field)
        assert caught.value.field == field


def test_values_that_a_newer_client_may_send_are_refused_by_name() -> None:
    assert read.bucket(pb.USAGE_BUCKET_UNSPECIFIED) is Bucket.DAY
    twice = [pb.USAGE_DIMENSION_KEY, pb.USAGE_DIMENSION_KEY]
    assert read.dimensions(twice) == {Dimension.KEY}
    for value in (-1, 99, 2**31 - 1):
        with pytest.raises(FieldInvalid) as caught:
            read.bucket(value)
        assert caught.value.field == "bucket"
    for value in (0, 99):
        with pytest.raises(FieldInvalid) as caught:
            read.dimensions([pb.USAGE_DIMENSION_KEY, value])
        assert caught.value.field == "group_by"


def test_each_sum_has_its_field() -> None:
    names = UsageSums.__struct_fields__
    found = show.sums(UsageSums(**{name: place for place, name in enumerate(names, 1)}))
    assert [value for _, value in found.ListFields()] == list(range(1, len(names) + 1))
    edge = show.sums(UsageSums(cost=MOST, saved=-MOST))
    assert (edge.cost_nanousd, edge.saved_nanousd) == (MOST, -MOST)


def test_a_listed_call_says_what_is_known_and_leaves_out_what_is_not() -> None:
    call_id = CallId(UUID(int=1 << 90))
    attempt = AttemptRecord(1, "a/b", "answered", 9, 7, 3, 0, Usage(prompt=0), None)
    call = ListedCall(
        record=UsageRecord(call_id, AccountId(1), (attempt,)),
        start=datetime(2026, 1, 2, tzinfo=UTC),
        key_id=KeyId(5),
        key="prefix",
        routed=None,
    )
    bare = show.record("accounts/acme", call)
    assert not bare.HasField("call_report")
    assert (bare.call_id, bare.cost_nanousd, bare.key) == (str(call_id), 7, "prefix")
    assert bare.create_time.ToDatetime(tzinfo=UTC) == call.start
    routed = RoutedCall(
        call_id, 1, 5, "omni/auto", "a/b", "chat", "hard", "p", "e", "arm", None, None, None, None,
        None, None, 7, 0, 2**31 - 1, "OK", 1, {"a": "b"}, "u",
    )  # fmt: skip
    report = show.record(
        "accounts/acme",
        ListedCall(record=call.record, start=call.start, key_id=call.key_id, key="", routed=routed),
    ).call_report
    assert not report.HasField("premium_nanousd")
    assert not report.HasField("saved_nanousd")
    assert report.HasField("first_token_ms")
    assert (report.duration_ms, dict(report.tags)) == (2**31 - 1, {"a": "b"})
