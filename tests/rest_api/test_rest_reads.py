"""The cold routes: models, the ledger's reads, probes, and what no route takes."""

import datetime as dt
from uuid import uuid4

import openai
import pytest
from raw_client import RawClient, chat
from rest_rig import ACCOUNT, OTHER_ACCOUNT, OTHER_KEY, Service

from omni_grpc.billing.usage import RoutedCall

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


# --- models -----------------------------------------------------------------------------------
async def test_models_are_those_that_a_chat_can_name_here(raw: RawClient) -> None:
    answer = await raw.get("/v1/models")
    assert answer.json["object"] == "list"
    names = [model["id"] for model in answer.json["data"]]
    assert names == [
        "omni/auto", "omni/balanced", "omni/cheap", "omni/best", "omni/fast",
        "router/maker/large", "sim/fast",
    ]  # fmt: skip
    fast = answer.json["data"][-1]
    released = dt.datetime(2025, 1, 2, tzinfo=dt.UTC)
    assert (fast["object"], fast["owned_by"]) == ("model", "sim")
    assert fast["created"] == released.timestamp()
    assert fast["context_token_count"] == 128_000
    assert fast["pricing"] == {
        "version": 3,
        "rates": [
            {"unit": "completion", "min_prompt_token_count": 0, "nanousd_per_mtok": 600_000_000},
            {"unit": "prompt", "min_prompt_token_count": 0, "nanousd_per_mtok": 150_000_000},
        ],
    }
    (rating,) = fast["ratings"]
    assert (rating["task"], rating["source"], rating["estimated"]) == ("overall", "estimate", True)
    assert (fast["canonical_model"], fast["tags"], fast["replacement"]) == ("fast", [], None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sim/fast", "sim/fast"),
        ("sim%2Ffast", "sim/fast"),
        ("router/maker/large", "router/maker/large"),
        ("router%2Fmaker%2Flarge", "router/maker/large"),
        ("fast", "sim/fast"),
        ("quick", "sim/fast"),
        ("omni/auto", "omni/auto"),
        ("omni/best", "omni/best"),
    ],
)
async def test_a_model_is_found_by_any_name_that_means_it(
    raw: RawClient, path: str, expected: str
) -> None:
    answer = await raw.get(f"/v1/models/{path}")
    assert (answer.status, answer.json["id"]) == (200, expected)


@pytest.mark.parametrize(
    "path", ["nope", "sim/fest", "sim/unpriced", "sim/embedder", "elsewhere/fast", "%00", "%ff"]
)
async def test_a_model_that_cannot_be_called_here_is_404(raw: RawClient, path: str) -> None:
    answer = await raw.get(f"/v1/models/{path}")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    if path == "sim/fest":
        assert "Did you mean 'sim/fast'" in answer.error["message"]


async def test_the_sdk_lists_and_retrieves_models(sdk: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in sdk.models.list()]
    assert "router/maker/large" in listed
    found = await sdk.models.retrieve("router/maker/large")
    assert (found.id, found.owned_by) == ("router/maker/large", "router")
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("nope")


# --- the ledger -------------------------------------------------------------------------------
async def test_the_balance_is_exact_in_both_units(raw: RawClient) -> None:
    body = (await raw.get("/v1/balance")).json
    assert body == {
        "object": "balance",
        "account": "accounts/acme",
        "posted_nanousd": 5_000_000_001,
        "posted_usd": "5.000000001",
        "held_nanousd": 1_000,
        "held_usd": "0.000001",
        "unresolved_nanousd": 20,
        "unresolved_usd": "0.00000002",
        "available_nanousd": 4_999_998_981,
        "available_usd": "4.999998981",
        "read_time": "2026-01-02T00:00:00Z",
    }


async def test_transactions_come_in_pages_newest_first(service: Service, raw: RawClient) -> None:
    service.ledger.add_entries(5)
    path, seen = "/v1/transactions?page_size=2", []
    token = ""
    while True:
        page = (await raw.get(f"{path}&page_token={token}")).json
        seen += [(entry["kind"], entry["amount_nanousd"]) for entry in page["data"]]
        token = page["next_page_token"]
        assert page["has_more"] is bool(token)
        if not token:
            break
    assert seen == [("charge", -5), ("charge", -4), ("charge", -3), ("charge", -2), ("grant", -1)]
    entry = page["data"][0]
    assert entry["id"] == "accounts/acme/ledgerEntries/1"
    assert entry["amount_usd"] == "-0.000000001"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("page_size=-1", "page_size"),
        ("page_size=many", "page_size"),
        ("page_size=1.0", "page_size"),
        ("page_size=", "page_size"),
        ("page_size=%C2%B2", "page_size"),
        ("page_size=99999999999", "page_size"),
        ("page_token=made-up", "page_token"),
        ("page_token=%00%ff", "page_token"),
        ("page_size=1&page_size=2", "page_size"),
        ("page%5Fsize=1&page_size=1", "page_size"),
        ("x=1&x=2", "x"),
    ],
)
async def test_pages_that_cannot_be_are_refused_by_name(
    raw: RawClient, query: str, param: str
) -> None:
    answer = await raw.get(f"/v1/transactions?{query}")
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_a_page_token_is_good_for_its_own_account_alone(
    service: Service, raw: RawClient
) -> None:
    service.ledger.add_entries(5)
    token = (await raw.get("/v1/transactions?page_size=2")).json["next_page_token"]
    answer = await raw.get(f"/v1/transactions?page_token={token}", key=OTHER_KEY)
    assert (answer.status, answer.error["param"]) == (400, "page_token")


async def test_a_call_shows_what_it_cost_to_its_owner_alone(
    service: Service, raw: RawClient
) -> None:
    own, other = service.ledger.add_usage(ACCOUNT), service.ledger.add_usage(OTHER_ACCOUNT)
    body = (await raw.get(f"/v1/calls/{own}")).json
    assert (body["id"], body["object"], body["account"]) == (str(own), "call", "accounts/acme")
    assert (body["cost_nanousd"], body["cost_usd"]) == (123, "0.000000123")
    attempt = body["attempts"][0]
    assert (attempt["outcome"], attempt["held_nanousd"]) == ("answered", 900)
    assert (attempt["prompt_token_count"], attempt["reasoning_token_count"]) == (3, None)
    assert body["call_report"] is None
    missing = [await raw.get(f"/v1/calls/{call}") for call in (other, uuid4(), "x", "%00")]
    assert {(answer.status, answer.error["code"]) for answer in missing} == {(404, "not_found")}
    assert service.endings.seen[0] == ("rest", "/v1/calls/{id}", "OK")


async def test_a_call_tells_what_is_noted_of_it(service: Service, raw: RawClient) -> None:
    own = service.ledger.add_usage(ACCOUNT)
    service.usage.routed[own] = RoutedCall(
        own, ACCOUNT, 1, "omni/auto", "sim/fast", "coding", "hard", "global/cheap", "", "",
        "sim/best", 3, 70, None, None, -53, 123, None, 900, "OK", 1, {"team": "red"}, "",
    )  # fmt: skip
    body = (await raw.get(f"/v1/calls/{own}")).json
    begun = dt.datetime.fromisoformat(body["create_time"])
    assert abs(begun - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert body["key"] == "0123456789ab"
    assert body["call_report"] == {
        "requested_model": "omni/auto",
        "task": "coding",
        "complexity": "hard",
        "policy": "global/cheap",
        "experiment": None,
        "arm": None,
        "premium_model": "sim/best",
        "premium_price_version": 3,
        "premium_nanousd": 70,
        "premium_usd": "0.00000007",
        "saved_nanousd": -53,
        "saved_usd": "-0.000000053",
        "single_model": None,
        "single_nanousd": None,
        "single_usd": None,
        "first_token_ms": None,
        "duration_ms": 900,
        "reason": "OK",
        "tags": {"team": "red"},
        "end_user": None,
    }


# --- probes -----------------------------------------------------------------------------------
async def test_probes_need_no_key(service: Service, raw: RawClient) -> None:
    assert (await raw.get("/health", key=None)).json == {"status": "ok"}
    assert (await raw.get("/ready", key=None)).status == 200
    service.is_ready = False
    assert (await raw.get("/ready", key=None)).status == 503
    assert (await raw.get("/health", key=None)).status == 200
    metrics = await raw.get("/metrics", key=None)
    assert metrics.body == b"omni_calls 1\n"
    assert metrics.headers["content-type"] == "text/plain; version=1.0.0"
    assert service.endings.seen == []


# --- what no route takes ----------------------------------------------------------------------
@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/chat/completions/", "/v2/models", "/v1/balance/", "/%00", "*"]
)
async def test_an_unknown_path_is_404_in_openais_shape(raw: RawClient, path: str) -> None:
    answer = await raw.ask(chat(), path=path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert (await raw.ask(chat())).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/sim/fast", "GET"),
        ("PUT", "/v1/balance", "GET"),
        ("POST", "/health", "GET"),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_is_right(
    raw: RawClient, method: str, path: str, allowed: str
) -> None:
    answer = await raw.ask(chat(), method=method, path=path)
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert allowed in answer.headers["allow"]
    assert (await raw.ask(chat())).status == 200


async def test_head_is_get_without_a_body(raw: RawClient) -> None:
    await raw.send(method="HEAD", path="/v1/models")
    status, headers = await raw.head()
    assert (status, int(headers["content-length"]) > 100) == (200, True)
    assert (await raw.get("/health")).status == 200


# --- pages of other origins -------------------------------------------------------------------
async def test_web_pages_may_call_only_from_the_origins_that_are_set(raw: RawClient) -> None:
    origin = "https://app.example"
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }
    assert (await raw.get("/v1/models", headers={"origin": origin})).status == 200
    async with Service(cors_origins=(origin,)) as open_service:
        client = await RawClient.connect(open_service)
        allowed = await client.ask(method="OPTIONS", path="/v1/chat/completions", headers=asked)
        assert allowed.status == 200
        assert allowed.headers["access-control-allow-origin"] == origin
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        for stream in (False, True):
            answer = await client.ask(chat(stream=stream), headers={"origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert "x-request-id" in answer.headers["access-control-expose-headers"]
        other = await client.ask(chat(), headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        client.leave()
