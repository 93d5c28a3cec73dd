"""What `omni-grpc usage` draws: starts in the zone that was asked for, and every digit of money."""

import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console, RenderableType

from omni_grpc.billing.usage import Bucket, Dimension, UsageSummary, UsageSums
from omni_grpc.cli.usage import picture_of, table_of_rows

KOLKATA = ZoneInfo("Asia/Kolkata")
SUMS = UsageSums(calls=1_234_567, prompt=987_654_321, completion=87_654_321, cost=123_456_789_012)


def rows_at(start: datetime) -> list[UsageSummary]:
    found = UsageSummary(
        start=start, end=start, provider="", model="", task="", key="", team="", sums=SUMS
    )
    return [found]


def printed(drawn: RenderableType, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(drawn, crop=False)
    return out.getvalue()


@pytest.mark.parametrize(
    ("bucket", "shown"),
    [
        (Bucket.MONTH, "2026-11 "),
        (Bucket.DAY, "2026-11-01 "),
        (Bucket.HOUR, "2026-11-01 00:00 "),
    ],
)
def test_starts_are_told_in_the_zone_that_was_asked_for(bucket: Bucket, shown: str) -> None:
    rows = rows_at(datetime(2026, 10, 31, 18, 30, tzinfo=UTC))  # midnight of November there
    assert shown in printed(picture_of(rows, bucket, KOLKATA))
    table = printed(table_of_rows(rows, SUMS, bucket, frozenset(), KOLKATA))
    assert shown in table
    assert "2026-10" not in table


def test_every_digit_is_shown_in_a_narrow_terminal() -> None:
    rows = rows_at(datetime(2026, 10, 31, 18, 30, tzinfo=UTC))
    dimensions = frozenset({Dimension.MODEL})
    table = printed(table_of_rows(rows, SUMS, Bucket.DAY, dimensions, KOLKATA), 80)
    for shown in ("1,234,567", "987,654,321", "87,654,321", "123.456789", "failed", "refunded"):
        assert shown in table
    assert "…" not in table
    assert "123.456789 USD" in printed(picture_of(rows, Bucket.DAY, KOLKATA), 60)
