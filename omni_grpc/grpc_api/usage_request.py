"""Reads the fields of usage requests, or says which of them is wrong."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc.billing.usage import Bucket, Dimension
from omni_grpc.core.errors import FieldInvalid

_BUCKETS: Final = {
    pb.USAGE_BUCKET_UNSPECIFIED: Bucket.DAY,
    pb.USAGE_BUCKET_HOUR: Bucket.HOUR,
    pb.USAGE_BUCKET_DAY: Bucket.DAY,
    pb.USAGE_BUCKET_MONTH: Bucket.MONTH,
    pb.USAGE_BUCKET_WHOLE: Bucket.WHOLE,
}
_DIMENSIONS: Final = {
    pb.USAGE_DIMENSION_PROVIDER: Dimension.PROVIDER,
    pb.USAGE_DIMENSION_MODEL: Dimension.MODEL,
    pb.USAGE_DIMENSION_TASK: Dimension.TASK,
    pb.USAGE_DIMENSION_KEY: Dimension.KEY,
    pb.USAGE_DIMENSION_TEAM: Dimension.TEAM,
}
_Ranged = pb.SummarizeUsageRequest | pb.ListUsageRecordsRequest


def moment(request: _Ranged, field: str) -> datetime | None:
    """A moment of a range; None where it is unset."""
    if not request.HasField(field):
        return None
    try:
        return (
            request.start_time.ToDatetime(tzinfo=UTC)
            if field == "start_time"
            else (request.end_time.ToDatetime(tzinfo=UTC))
        )
    except (ValueError, OverflowError):
        raise FieldInvalid(
            f"{field} must be a timestamp from year 1 to 9999.", field=field
        ) from None


def bucket(value: int) -> Bucket:
    """How time is divided."""
    found = {int(known): one for known, one in _BUCKETS.items()}.get(value)
    if found is None:
        words = ", ".join(map(pb.UsageBucket.Name, list(_BUCKETS)[1:]))
        raise FieldInvalid(f"bucket must be one of {words}.", field="bucket")
    return found


def dimensions(values: Iterable[int]) -> frozenset[Dimension]:
    """What sums are kept apart by; the same one twice is one."""
    known = {int(value): one for value, one in _DIMENSIONS.items()}
    found: set[Dimension] = set()
    for value in values:
        if value not in known:
            words = ", ".join(map(pb.UsageDimension.Name, _DIMENSIONS))
            raise FieldInvalid(f"group_by must be some of {words}.", field="group_by")
        found.add(known[value])
    return frozenset(found)
