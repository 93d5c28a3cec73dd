"""Rate limits as callers meet them: over every API, for every kind of call."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import grpc
import openai
import pytest
from gateway import (
    KEY_HASH_SECRET,
    Gateway,
    HttpAnswer,
    HttpConnection,
    RestCall,
    SimulatorThread,
    Tenant,
    asking,
    bearer,
    chat_body,
    eventually,
    refusal,
)
from google.protobuf import field_mask_pb2
from limited import limit
from omni.admin.v1 import admin_service_pb2_grpc, rate_limits_pb2
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc
from typer.testing import CliRunner

from omni_grpc.cli.app import app
from omni_grpc.limits.store import RATE_LIMITS_MAX


@pytest.fixture
def caller(gateway: Gateway, tenant: Tenant) -> Iterator[HttpConnection]:
    with HttpConnection(gateway, tenant.api_key) as connection:
        yield connection


def test_openai_s_client_is_told_its_limit(gateway: Gateway, tenant: Tenant) -> None:
    name = limit(gateway, tenant, requests_per_minute=2, tokens_per_minute=100_000)
    client = openai.OpenAI(base_url=f"{gateway.rest}/v1", api_key=tenant.api_key, max_retries=0)
    seen = []
    for stream in (False, True):
        asked: Any = {"model": "sim/fast", "max_tokens": 20, "stream": stream}
        raw = client.chat.completions.with_raw_response.create(
            messages=[{"role": "user", "content": "Hello."}], **asked
        )
        seen.append(raw.headers)
    assert [one["x-ratelimit-remaining-requests"] for one in seen] == ["1", "0"]
    assert seen[0]["x-ratelimit-limit-requests"] == "2"
    assert seen[0]["x-ratelimit-reset-requests"].startswith("1m")
    assert seen[0]["x-ratelimit-limit-tokens"] == "100000"
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(
            model="sim/fast", messages=[{"role": "user", "content": "Hello."}]
        )
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "rate_limit_error"
    assert name in refused.value.message
    headers = refused.value.response.headers
    assert 0 < int(headers["retry-after"]) <= 61
    assert headers["x-ratelimit-remaining-requests"] == "0"


def test_a_limit_of_a_key_is_that_key_s_alone(gateway: Gateway, tenant: Tenant) -> None:
    with gateway.admin() as omni:
        other = omni.create_api_key(f"orgs/{tenant.org}").secret
    limit(gateway, tenant, f"/apiKeys/{tenant.api_key.split('_')[1]}", requests_per_minute=1)
    with HttpConnection(gateway, tenant.api_key) as mine:
        assert [mine.chat().status for _ in range(2)] == [200, 429]
    with HttpConnection(gateway, other) as theirs:
        answer = theirs.chat()
        assert answer.status == 200
        assert "x-ratelimit-limit-requests" not in answer.headers


def test_operators_limit_by_commands(
    gateway: Gateway, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        "DATABASE_URL": gateway.database_url,
        "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
        "COLUMNS": "300",
    }

    def run(*words: str, code: int = 0) -> str:
        found = CliRunner().invoke(app, ("limits", *words), env=environment, catch_exceptions=False)
        assert found.exit_code == code, found.output
        return found.output if code else found.stdout

    name = f"orgs/{tenant.org}/rateLimits/few"
    made = json.loads(
        run(
            "create", "few", "--org", tenant.org, "--requests", "2", "--concurrent", "1",
            "--model", "openai/*", "--json",
        )
    )  # fmt: skip
    assert (made["name"], made["models"]) == (name, ["openai/*"])
    changed = json.loads(run("update", name, "--concurrent", "0", "--json"))
    assert (changed["requests_per_minute"], changed["concurrent_count"]) == (2, None)
    assert "--requests, --tokens" in run("update", name, code=1)
    assert json.loads(run("get", name, "--json")) == changed
    assert name in run("get", name)
    assert name in run("list", "--org", tenant.org)
    assert "is gone" in run("delete", name)
    assert "There is no" in run("delete", name, code=1)
    assert "There is no" in run("get", name, code=1)


def test_anthropic_s_client_is_told_in_its_own_words(gateway: Gateway, tenant: Tenant) -> None:
    limit(gateway, tenant, requests_per_minute=1)
    client = anthropic.Anthropic(base_url=gateway.rest, api_key=tenant.api_key, max_retries=0)
    asked: Any = {
        "model": "sim/fast",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": "Hello."}],
    }
    headers = client.messages.with_raw_response.create(**asked).headers
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert "x-ratelimit-limit-requests" not in headers
    with pytest.raises(anthropic.RateLimitError) as refused:
        client.messages.create(**asked)
    assert refused.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_grpc_has_the_same_in_trailers_and_details(gateway: Gateway, tenant: Tenant) -> None:
    name = limit(gateway, tenant, requests_per_minute=1)
    prompt = pb.ChatPrompt(model="sim/fast", max_output_token_count=20)
    prompt.messages.add(role=pb.ROLE_USER).parts.add(text="Hello.")
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = pb_grpc.RouterServiceStub(channel)
        stream = stub.StreamChat(
            pb.StreamChatRequest(prompt=prompt), metadata=bearer(tenant.api_key), timeout=30
        )
        assert list(stream)
        trailers = dict(stream.trailing_metadata())
        assert trailers["x-ratelimit-limit-requests"] == "1"
        assert trailers["x-ratelimit-remaining-requests"] == "0"
        found = refusal(
            lambda: stub.CompleteChat(
                pb.CompleteChatRequest(prompt=prompt), metadata=bearer(tenant.api_key), timeout=30
            )
        )
    assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert found.details["QuotaFailure"].violations[0].subject == name
    assert 0 < found.details["RetryInfo"].retry_delay.ToMilliseconds() <= 61_000
    assert int(found.trailers["grpc-retry-pushback-ms"]) > 0
    assert found.trailers["x-ratelimit-remaining-requests"] == "0"


def test_what_a_call_did_not_use_is_given_back(
    gateway: Gateway, tenant: Tenant, caller: HttpConnection
) -> None:
    limit(gateway, tenant, tokens_per_minute=2_000)
    first = caller.chat(max_tokens=1_000)
    used = first.json["usage"]["total_tokens"]
    second = caller.chat(max_tokens=1_000)
    assert second.status == 200, second.body
    reserved = 2_000 - int(second.headers["x-ratelimit-remaining-tokens"])
    assert 1_000 < reserved < 1_200 + used
    too_large = caller.chat(max_tokens=2_000)
    assert too_large.status == 429
    assert too_large.error["code"] == "rate_limit_exceeded"
    assert too_large.headers["x-should-retry"] == "false"
    assert "retry-after" not in too_large.headers


def test_a_repeat_costs_a_request_and_no_tokens(
    gateway: Gateway, tenant: Tenant, caller: HttpConnection
) -> None:
    limit(gateway, tenant, requests_per_minute=10, tokens_per_minute=2_000)
    left = []
    for _ in range(3):
        answer = caller.ask(body=chat_body(max_tokens=50), idempotency_key="once")
        assert answer.status == 200, answer.body
        left.append(answer.headers)
    remaining = [int(one["x-ratelimit-remaining-requests"]) for one in left]
    assert remaining == [9, 8, 7]
    assert left[1]["x-ratelimit-remaining-tokens"] == left[2]["x-ratelimit-remaining-tokens"]


def test_estimates_and_reads_do_not_count(
    gateway: Gateway, tenant: Tenant, caller: HttpConnection
) -> None:
    limit(gateway, tenant, requests_per_minute=1)
    for path in ("/v1/estimate", "/v1/router/debug"):
        answer = caller.ask(path, chat_body())
        assert answer.status == 200, answer.body
        assert "x-ratelimit-limit-requests" not in answer.headers
    assert caller.ask("/v1/models").status == 200
    assert caller.chat().status == 200
    assert caller.chat().status == 429


def test_an_attempt_without_room_is_left_out(
    gateway: Gateway, tenant: Tenant, caller: HttpConnection
) -> None:
    limit(gateway, tenant, models=["sim/fast"], requests_per_minute=1)
    fallbacks = {"omni": {"fallback_models": ["sim/reasoner"]}}
    models = [caller.chat(**fallbacks).headers["x-omni-model"] for _ in range(2)]
    assert models == ["sim/fast", "sim/reasoner"]
    assert caller.chat().status == 429
    assert caller.chat("sim/reasoner").status == 200


def test_embeddings_count_too(gateway: Gateway, tenant: Tenant, caller: HttpConnection) -> None:
    limit(gateway, tenant, requests_per_minute=1)
    body = json.dumps({"model": "sim/embed", "input": "Hello."}).encode()
    first = caller.ask("/v1/embeddings", body)
    assert first.status == 200, first.body
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert caller.ask("/v1/embeddings", body).status == 429


async def test_a_place_is_free_when_its_caller_leaves(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    limit(gateway, tenant, concurrent_count=1)
    gate = uuid.uuid4().hex
    simulator.close_gate(gate)
    body = {
        "model": "sim/fast",
        "stream": True,
        "messages": [{"role": "user", "content": asking(f"gate={gate}")}],
    }

    def chat() -> HttpAnswer:
        with HttpConnection(gateway, tenant.api_key) as other:
            answer: HttpAnswer = other.chat()
            return answer

    async with await RestCall.send(gateway, tenant.api_key, body):
        assert await asyncio.to_thread(eventually, lambda: simulator.waiting(gate))
        refused = await asyncio.to_thread(chat)
        assert refused.status == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.error["omni"]["kind"] == "concurrent"
    assert await asyncio.to_thread(eventually, lambda: chat().status == 200)
    simulator.open_gate(gate)


# --- administration -------------------------------------------------------------------------------
def test_limits_are_administered_over_rest(gateway: Gateway, tenant: Tenant) -> None:
    name = limit(gateway, tenant, models=["openai/*", "gpt-4o"], requests_per_minute=5)
    with HttpConnection(gateway, gateway.admin_key) as admin:
        path = f"/v1/admin/{name}"
        made = admin.ask(path).json
        assert made["models"] == ["openai/*", "gpt-4o"]
        assert made["requests_per_minute"] == 5
        assert made["tokens_per_minute"] is None
        change = json.dumps({"tokens_per_minute": 9, "etag": made["etag"]}).encode()
        changed = admin.ask(path, change, method="PATCH").json
        assert (changed["requests_per_minute"], changed["tokens_per_minute"]) == (5, 9)
        stale = admin.ask(path, change, method="PATCH")
        assert (stale.status, stale.error["code"]) == (409, "etag_mismatch")
        listed = admin.ask(f"/v1/admin/orgs/{tenant.org}/rateLimits").json
        assert [one["name"] for one in listed["data"]] == [name]
        assert admin.ask(path, method="DELETE").status == 200
        assert admin.ask(path).status == 404
        log = admin.ask(f"/v1/admin/orgs/{tenant.org}/auditEntries?resource={name}").json["data"]
    assert [one["action"] for one in log] == [
        "DeleteRateLimit",
        "UpdateRateLimit",
        "CreateRateLimit",
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "rate_limit"),
        ({"requests_per_minute": 0}, "rate_limit.requests_per_minute"),
        ({"tokens_per_minute": 10**13}, "rate_limit.tokens_per_minute"),
        ({"concurrent_count": -1}, "rate_limit.concurrent_count"),
        ({"requests_per_minute": 1, "models": ["*"]}, "rate_limit.models"),
        ({"requests_per_minute": 1, "models": ["a"] * 65}, "rate_limit.models"),
        ({"requests_per_minute": 1, "speed": 1}, "rate_limit"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_its_field(
    gateway: Gateway, fields: dict[str, Any], field: str
) -> None:
    with HttpConnection(gateway, gateway.admin_key) as admin:
        body = {"rate_limit_id": "some", "rate_limit": fields}
        answer = admin.ask("/v1/admin/orgs/operator/rateLimits", json.dumps(body).encode())
    assert answer.status == 400, answer.body
    assert answer.error["param"] == field


def test_a_parent_has_so_many_limits_at_most_and_lists_them_by_pages(
    gateway: Gateway, tenant: Tenant
) -> None:
    path = f"/v1/admin/orgs/{tenant.org}/rateLimits"
    with HttpConnection(gateway, gateway.admin_key) as admin:
        for number in range(RATE_LIMITS_MAX + 1):
            body = {"rate_limit_id": f"r{number:02}", "rate_limit": {"concurrent_count": 9}}
            made = admin.ask(path, json.dumps(body).encode())
            assert made.status == (200 if number < RATE_LIMITS_MAX else 409), made.body
        assert made.error["param"] == "parent"
        first = admin.ask(f"{path}?page_size=20").json
        rest = admin.ask(f"{path}?page_size=20&page_token={first['next_page_token']}").json
    ids = [one["name"].rpartition("/")[2] for one in first["data"] + rest["data"]]
    assert ids == [f"r{number:02}" for number in range(RATE_LIMITS_MAX)]
    assert not rest["has_more"]


def test_limits_are_administered_over_grpc(gateway: Gateway, tenant: Tenant) -> None:
    parent, metadata = f"orgs/{tenant.org}", bearer(gateway.admin_key)
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        asked = rate_limits_pb2.CreateRateLimitRequest(parent=parent, rate_limit_id="both")
        asked.rate_limit.requests_per_minute = 5
        asked.rate_limit.concurrent_count = 2
        made = stub.CreateRateLimit(asked, metadata=metadata).rate_limit
        assert made.name == f"{parent}/rateLimits/both"
        assert not made.HasField("tokens_per_minute")
        again = refusal(lambda: stub.CreateRateLimit(asked, metadata=metadata))
        assert (again.code, again.field) == ("ALREADY_EXISTS", None)
        change = rate_limits_pb2.UpdateRateLimitRequest(
            rate_limit=rate_limits_pb2.RateLimit(name=made.name),
            update_mask=field_mask_pb2.FieldMask(paths=["concurrent_count"]),
        )
        changed = stub.UpdateRateLimit(change, metadata=metadata).rate_limit
        assert not changed.HasField("concurrent_count")
        assert changed.requests_per_minute == 5
        change.update_mask.paths[:] = ["requests_per_minute"]
        nothing = refusal(lambda: stub.UpdateRateLimit(change, metadata=metadata))
        assert nothing.reason == "FIELD_INVALID"
        gone = rate_limits_pb2.DeleteRateLimitRequest(name=made.name)
        stub.DeleteRateLimit(gone, metadata=metadata)
        assert refusal(lambda: stub.DeleteRateLimit(gone, metadata=metadata)).code == "NOT_FOUND"


def test_nobody_sees_or_changes_the_limits_of_others(gateway: Gateway, tenant: Tenant) -> None:
    name = limit(gateway, tenant, requests_per_minute=5)
    other = gateway.tenant()
    with gateway.admin() as omni:
        key = omni.create_api_key(f"orgs/{other.org}", scopes=["management"]).secret
    with HttpConnection(gateway, key) as foreign:
        there = foreign.ask(f"/v1/admin/{name}")
        nowhere = foreign.ask(f"/v1/admin/orgs/{tenant.org}/rateLimits/none")
        assert there.status == nowhere.status == 404
        assert there.error["message"].replace(name, "") == nowhere.error["message"].replace(
            f"orgs/{tenant.org}/rateLimits/none", ""
        )
        assert foreign.ask(f"/v1/admin/{name}", method="DELETE").status == 404
