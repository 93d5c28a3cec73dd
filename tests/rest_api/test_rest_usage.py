"""`GET /v1/usage`: what it says, in pages, and what it refuses before anybody is asked."""

from datetime import UTC, datetime

import msgspec
import pytest
from raw_client import RawClient
from rest_rig import ACCOUNT, Service

from omni_grpc.billing.usage import Bucket, Dimension, UsagePage, UsageSummary, UsageSums

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SUMS = UsageSums(calls=2, attempts=3, failed=1, prompt=10, cost=1_500_000_001, saved=-7, compared=1)
ROW = UsageSummary(
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 2, tzinfo=UTC),
    provider="sim",
    model="sim/fast",
    task="",
    key="",
    team="",
    sums=SUMS,
)


async def test_a_report_has_its_rows_its_total_and_where_it_goes_on(
    service: Service, raw: RawClient
) -> None:
    service.usage.page = UsagePage(rows=(ROW,), total=SUMS, next=None)
    service.usage.following = "there"
    path = "/v1/usage?from=2026-01-01&to=2026-01-02T01:00:00%2B01:00&group_by=model,task"
    body = (await raw.get(path)).json
    (row,) = body["data"]
    assert body["has_more"] is True
    assert (row["start_time"], row["end_time"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert (row["model"], row["task"]) == ("sim/fast", "")
    assert not {"provider", "key"} & set(row)
    assert (row["cost_nanousd"], row["cost_usd"]) == (1_500_000_001, "1.500000001")
    assert (row["saved_nanousd"], row["saved_usd"]) == (-7, "-0.000000007")
    assert (row["call_count"], row["attempt_count"], row["failed_attempt_count"]) == (2, 3, 1)
    assert body["total"] == {name: row[name] for name in body["total"]}
    asked = service.usage.asked[-1]
    assert asked["account_id"] == ACCOUNT
    assert asked["start"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert asked["end"] == datetime(2026, 1, 2, tzinfo=UTC)
    assert asked["bucket"] is Bucket.DAY
    assert asked["dimensions"] == {Dimension.MODEL, Dimension.TASK}
    service.usage.following = ""
    last = (await raw.get(f"{path}&page_token={body['next_page_token']}")).json
    assert service.usage.positions == [None, "there"]
    assert (last["has_more"], last["next_page_token"]) == (False, "")


async def test_a_token_of_another_question_is_refused(service: Service, raw: RawClient) -> None:
    service.usage.following = "there"
    token = (await raw.get("/v1/usage?from=2026-01-01")).json["next_page_token"]
    for query in ("from=2026-01-02", "from=2026-01-01&bucket=hour", "from=2026-01-01&group_by=key"):
        answer = await raw.get(f"/v1/usage?{query}&page_token={token}")
        assert (answer.status, answer.error["param"]) == (400, "page_token")
    assert len(service.usage.positions) == 1


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("from=2026-01-01&to=2026-01-01", "to"),
        ("from=yesterday", "from"),
        ("from=", "from"),
        ("from=2026-13-01", "from"),
        ("from=2026-01-01T00:00:00+01:00", "from"),
        ("to=0001-01-01T00:00:00%2B14:00", "to"),
        ("from=" + "9" * 5_000, "from"),
        ("from=9999-01-01", "from"),
        ("bucket=week", "bucket"),
        ("bucket=", "bucket"),
        ("group_by=tag", "group_by"),
        ("group_by=model,", "group_by"),
        ("group_by=model%3BDROP%20TABLE%20posting", "group_by"),
        ("time_zone=Mars/Olympus", "time_zone"),
        ("page_size=-1", "page_size"),
        ("page_size=1e3", "page_size"),
        ("page_token=made-up", "page_token"),
        ("account=acme", "account"),
        ("groupby=model", "groupby"),
        ("%00=1", "\x00"),
        ("bucket=day&bucket=month", "bucket"),
        ("from=2026-01-01&time_zone=UTC&from=2026-01-01", "from"),
    ],
)
async def test_a_query_that_cannot_be_is_refused_by_name(
    raw: RawClient, query: str, param: str
) -> None:
    answer = await raw.get(f"/v1/usage?{query}")
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["type"] == "invalid_request_error"


async def test_an_account_that_is_not_ones_own_is_not_there(
    service: Service, raw: RawClient
) -> None:
    answer = await raw.get("/v1/usage?account=accounts/other")
    assert answer.status == 404
    assert service.usage.asked == []
    assert (await raw.get("/v1/usage?account=accounts/acme")).status == 200


async def test_sums_at_the_edge_are_told_with_every_digit(service: Service, raw: RawClient) -> None:
    most = 2**63 - 1
    sums = msgspec.structs.replace(SUMS, cost=most, saved=-most)
    service.usage.page = UsagePage(rows=(), total=sums, next=None)
    total = (await raw.get("/v1/usage")).json["total"]
    assert (total["cost_nanousd"], total["cost_usd"]) == (most, "9223372036.854775807")
    assert total["saved_usd"] == "-9223372036.854775807"
