"""What routing saved: told with each answer in every form, kept, told again, and summed up."""

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import psycopg
import pytest
from gateway import (
    KEY_HASH_SECRET,
    Gateway,
    HttpConnection,
    RestCall,
    SimulatorThread,
    Tenant,
    asking,
    bearer,
    chat_body,
    eventually,
    refusal,
    running,
)
from gateway_fixtures import check_books
from google.protobuf.timestamp_pb2 import Timestamp
from nursed import run
from omni.billing.v1 import billing_service_pb2 as pb
from omni.billing.v1 import billing_service_pb2_grpc as pb_grpc
from omni.router.v1 import router_service_pb2 as router
from omni.router.v1 import router_service_pb2_grpc as router_grpc

from omni_grpc.storage import EmbeddedPostgres

PREMIUM = "sim/vision"
PREMIUM_PRICE = (2_500_000_000, 10_000_000_000)
MARKUP_PPM = 50_000
RATINGS = "models: {sim/vision: {ratings: {overall: 80}}, sim/demo: {ratings: {overall: 80}}}"
"""Two that are as good as each other, so that the price decides."""


@pytest.fixture(scope="module")
def compared(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway whose operator set a premium model, and takes a markup."""
    name, admin_key = template
    url = postgres.create_database("e2e_savings", template=name)
    folder = tmp_path_factory.mktemp("savings")
    environment = {"OMNI_PREMIUM_MODEL": PREMIUM, "OMNI_MARKUP_PPM": str(MARKUP_PPM)}
    (folder / "models.yaml").write_text(RATINGS)
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    with running(made) as started:
        yield started
    check_books(url, folder)


@pytest.fixture
def caller(compared: Gateway) -> Tenant:
    return compared.tenant()


def complete(
    gateway: Gateway,
    caller: Tenant,
    model: str = "omni/cheap",
    text: str = "Hi.",
    request_id: str = "",
) -> router.ChatCompletion:
    with grpc.insecure_channel(gateway.grpc) as channel:
        found: router.CompleteChatResponse = router_grpc.RouterServiceStub(channel).CompleteChat(
            router.CompleteChatRequest(
                prompt=router.ChatPrompt(
                    model=model,
                    messages=[
                        router.Message(role=router.ROLE_USER, parts=[router.Part(text=text)])
                    ],
                ),
                request_id=request_id,
            ),
            metadata=bearer(caller.api_key),
            timeout=30,
        )
    return found.completion


def summary(gateway: Gateway, caller: Tenant, **fields: object) -> pb.SummarizeUsageResponse:
    with grpc.insecure_channel(gateway.grpc) as channel:
        found: pb.SummarizeUsageResponse = pb_grpc.BillingServiceStub(channel).SummarizeUsage(
            pb.SummarizeUsageRequest(**fields),  # type: ignore[arg-type]  # as tests name them
            metadata=bearer(caller.api_key),
            timeout=30,
        )
    return found


def records(gateway: Gateway, caller: Tenant, **fields: object) -> list[pb.UsageRecord]:
    with grpc.insecure_channel(gateway.grpc) as channel:
        found: pb.ListUsageRecordsResponse = pb_grpc.BillingServiceStub(channel).ListUsageRecords(
            pb.ListUsageRecordsRequest(**fields),  # type: ignore[arg-type]  # as tests name them
            metadata=bearer(caller.api_key),
            timeout=30,
        )
    return list(found.usage_records)


def reported(gateway: Gateway, caller: Tenant) -> list[pb.UsageRecord]:
    """The caller's calls, once each has its report."""

    def found() -> list[pb.UsageRecord]:
        listed = records(gateway, caller)
        return listed if all(one.HasField("call_report") for one in listed) else []

    listed = eventually(found)
    assert isinstance(listed, list)
    assert listed
    return listed


def premium_cost(usage: router.Usage) -> int:
    """What the same tokens cost at the premium model's price, with the markup."""
    prompt, completion = PREMIUM_PRICE
    total = usage.prompt_token_count * prompt + usage.completion_token_count * completion
    return -(-total * (10**6 + MARKUP_PPM) // 10**12)


def test_an_answer_tells_what_its_tokens_would_have_cost(compared: Gateway, caller: Tenant) -> None:
    answer = complete(compared, caller)
    savings = answer.savings
    assert answer.model != PREMIUM
    assert savings.premium_model == PREMIUM
    assert savings.premium_nanousd == premium_cost(answer.usage)
    assert savings.saved_nanousd == savings.premium_nanousd - answer.cost_nanousd > 0


def test_rest_tells_it_in_the_head_the_usage_and_the_comment_of_a_stream(
    compared: Gateway, caller: Tenant
) -> None:
    with HttpConnection(compared, caller.api_key) as http:
        plain = http.ask(body=chat_body("omni/cheap", "Hi."))
        stream = http.ask(
            body=chat_body("omni/cheap", "Hi.", stream=True, stream_options={"include_usage": True})
        )
    usage = plain.json["usage"]
    saved = usage["savings"]["saved_nanousd"]
    assert saved == usage["savings"]["premium_nanousd"] - usage["cost_nanousd"] > 0
    assert round(float(plain.headers["x-omni-savings-usd"]) * 10**9) == saved
    (comment,) = [
        json.loads(line.removeprefix(": omni "))
        for line in stream.body.decode().split("\n")
        if line.startswith(": omni ")
    ]
    assert comment["savings"]["premium_model"] == PREMIUM
    assert comment["savings"]["saved_nanousd"] == saved
    assert json.loads(stream.events[-2])["usage"]["savings"] == comment["savings"]


def test_a_model_that_was_named_is_compared_with_none(compared: Gateway, caller: Tenant) -> None:
    assert not complete(compared, caller, "sim/fast").HasField("savings")
    with HttpConnection(compared, caller.api_key) as http:
        answer = http.chat("sim/fast")
    assert "x-omni-savings-usd" not in answer.headers
    assert "savings" not in answer.json["usage"]
    first, second = reported(compared, caller)
    assert first.call_report.requested_model == second.call_report.requested_model == "sim/fast"
    assert not first.call_report.HasField("premium_nanousd")
    assert summary(compared, caller).total.compared_call_count == 0


def test_a_repeat_tells_the_same_savings_and_counts_once(compared: Gateway, caller: Tenant) -> None:
    first = complete(compared, caller, request_id="once")
    again = complete(compared, caller, request_id="once")
    assert again.savings == first.savings
    assert again.savings.saved_nanousd > 0
    (record,) = reported(compared, caller)
    assert record.call_report.saved_nanousd == first.savings.saved_nanousd
    assert summary(compared, caller).total.compared_call_count == 1


def test_a_report_has_a_call_at_once_and_adds_up_to_the_nano_dollar(
    compared: Gateway, caller: Tenant
) -> None:
    answers = [complete(compared, caller, text=f"{number}.") for number in range(3)]
    answers.append(complete(compared, caller, "sim/fast"))
    total = summary(compared, caller).total
    assert (total.call_count, total.attempt_count) == (4, 4)
    assert total.cost_nanousd == sum(answer.cost_nanousd for answer in answers)
    assert total.prompt_token_count == sum(one.usage.prompt_token_count for one in answers)
    reported(compared, caller)
    found = summary(compared, caller, group_by=[pb.USAGE_DIMENSION_MODEL, pb.USAGE_DIMENSION_TASK])
    assert found.total.saved_nanousd == sum(one.savings.saved_nanousd for one in answers)
    assert found.total.premium_nanousd == sum(one.savings.premium_nanousd for one in answers)
    assert {row.model for row in found.usage_summaries} == {one.model for one in answers}
    for row in found.usage_summaries:
        of_model = [one for one in answers if one.model == row.model]
        assert row.sums.call_count <= len(of_model)
        assert row.start_time.ToDatetime().hour == 0
        assert row.end_time.seconds - row.start_time.seconds == 24 * 3600
    with HttpConnection(compared, caller.api_key) as http:
        answer = http.ask("/v1/usage?bucket=whole&group_by=provider")
    (row,) = answer.json["data"]
    assert row["provider"] == "sim"
    assert row["cost_nanousd"] == answer.json["total"]["cost_nanousd"] == total.cost_nanousd
    assert row["saved_nanousd"] == found.total.saved_nanousd


def test_what_its_caller_said_of_a_call_stands_beside_it(compared: Gateway, caller: Tenant) -> None:
    nasty = "x'; DROP TABLE posting; -- \u2028"
    with HttpConnection(compared, caller.api_key) as http:
        answer = http.ask(
            body=chat_body(
                "omni/cheap", "Hi.", stream=True, omni={"tags": {"team": nasty}, "end_user": "u-1"}
            )
        )
        assert answer.status == 200, answer.body
    (record,) = reported(compared, caller)
    report = record.call_report
    assert report.tags["team"].startswith("x'; DROP TABLE posting; --")
    assert (report.end_user, report.reason, report.requested_model) == ("u-1", "OK", "omni/cheap")
    assert report.task
    assert 0 <= report.first_token_ms <= report.duration_ms
    assert record.key == caller.api_key.split("_")[1]
    age = datetime.now(UTC) - record.create_time.ToDatetime(tzinfo=UTC)
    assert age < timedelta(minutes=1)
    with grpc.insecure_channel(compared.grpc) as channel:
        found: pb.GetUsageRecordResponse = pb_grpc.BillingServiceStub(channel).GetUsageRecord(
            pb.GetUsageRecordRequest(call_id=record.call_id),
            metadata=bearer(caller.api_key),
            timeout=30,
        )
    assert found.usage_record == record
    with HttpConnection(compared, caller.api_key) as http:
        told = http.ask(f"/v1/calls/{record.call_id}").json
    assert told["key"] == record.key
    said = told["call_report"]
    assert (said["task"], said["end_user"]) == (report.task, "u-1")
    assert (said["saved_nanousd"], said["duration_ms"]) == (
        report.saved_nanousd,
        report.duration_ms,
    )
    assert said["tags"] == report.tags


async def test_a_call_that_its_caller_left_is_reported_as_cancelled(
    compared: Gateway, caller: Tenant
) -> None:
    body = {
        "model": "sim/fast",
        "messages": [{"role": "user", "content": asking("delay_ms=200")}],
        "stream": True,
    }
    async with await RestCall.send(compared, caller.api_key, body) as call:
        await call.head()
        async for _ in call.events():
            break
    listed = await asyncio.to_thread(eventually, lambda: records(compared, caller))
    assert listed
    (record,) = await asyncio.to_thread(reported, compared, caller)
    assert record.call_report.reason == "CANCELLED"
    assert record.attempts[0].outcome == "cancelled"
    total = (await asyncio.to_thread(summary, compared, caller)).total
    assert (total.cancelled_attempt_count, total.cost_nanousd) == (1, record.cost_nanousd)


def test_nobody_sees_anothers_usage(compared: Gateway, caller: Tenant) -> None:
    other = compared.tenant()
    complete(compared, caller)
    name = f"accounts/{caller.org}"
    for ask in (
        lambda: summary(compared, other, account=name),
        lambda: records(compared, other, parent=name),
    ):
        refused = refusal(ask)
        assert (refused.code, refused.reason) == ("NOT_FOUND", "NOT_FOUND")
    with HttpConnection(compared, other.api_key) as http:
        assert http.ask(f"/v1/usage?account={name}").status == 404
    assert summary(compared, other).total.call_count == 0
    assert records(compared, other) == []
    operator = Tenant("operator", compared.admin_key)
    assert summary(compared, operator, account=name).total.call_count == 1
    assert len(records(compared, operator, parent=name)) == 1


def test_the_hours_are_counted_while_the_gateway_runs(compared: Gateway, caller: Tenant) -> None:
    complete(compared, caller)

    def counted() -> bool:
        with psycopg.connect(compared.database_url) as sql:
            row = sql.execute(
                "SELECT sum(calls) FROM usage_sum s JOIN org o ON o.account_id = s.wallet"
                " WHERE o.slug = %s AND s.task <> '' AND s.span = 'h'",
                [caller.org],
            ).fetchone()
        return bool(row and row[0] == 1)

    assert eventually(counted)
    assert summary(compared, caller).total.call_count == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "made up"}, "page_token"),
        ({"account": "acme"}, "account"),
        ({"group_by": [0]}, "group_by"),
        ({"bucket": 77}, "bucket"),
        ({"time_zone": "Asia/Kathmandoo"}, "time_zone"),
        ({"start_time": Timestamp(seconds=2), "end_time": Timestamp(seconds=1)}, "end_time"),
        ({"end_time": Timestamp(seconds=2**63 - 1)}, "end_time"),
    ],
)
def test_a_bad_question_is_refused_by_its_field(
    compared: Gateway, caller: Tenant, fields: dict[str, object], field: str
) -> None:
    refused = refusal(lambda: summary(compared, caller, **fields))
    assert (refused.code, refused.field) == ("INVALID_ARGUMENT", field)


def test_a_list_refuses_what_it_cannot_read(compared: Gateway, caller: Tenant) -> None:
    for fields, field in (
        ({"filter": "cost > 3"}, "filter"),
        ({"filter": "model = a'; DROP TABLE posting; --"}, "filter"),
        ({"page_token": "AAAA"}, "page_token"),
        ({"start_time": Timestamp(seconds=2), "end_time": Timestamp(seconds=2)}, "end_time"),
    ):
        refused = refusal(lambda given=fields: records(compared, caller, **given))
        assert (refused.code, refused.field) == ("INVALID_ARGUMENT", field)


def test_the_command_shows_what_the_api_says(compared: Gateway, caller: Tenant) -> None:
    answer = complete(compared, caller)
    reported(compared, caller)

    def command(*words: str) -> str:
        ended = run(
            *("usage", *words),
            environment=os.environ
            | {
                "DATABASE_URL": compared.database_url,
                "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
                "COLUMNS": "160",
            },
            folder=compared.folder,
        )
        assert ended.returncode == (1 if "lost" in words else 0), ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    found = json.loads(command("--org", caller.org, "--by", "model", "--json"))
    (row,) = found["data"]
    assert (row["model"], row["cost_nanousd"]) == (answer.model, answer.cost_nanousd)
    assert found["total"]["saved_nanousd"] == answer.savings.saved_nanousd
    shown = command("--org", caller.org, "--by", "model")
    assert answer.model in shown
    assert "█" in shown
    # The gateway's own worker counts with it, so that how much is left for the command is chance.
    assert int(json.loads(command("rebuild", "--json"))["attempt_count"]) > 0
    assert json.loads(command("--org", caller.org, "--by", "model", "--json")) == found
    assert "--bucket must be one of" in command("--org", caller.org, "--bucket", "lost")
