"""Routing over real sockets: names under omni/, fallbacks, breakers, estimates and explanations."""

import json

import grpc
import pytest
from books import settled
from gateway import Gateway, HttpConnection, RestCall, SimulatorThread, bearer
from left_chats import marked, reached
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc


def body(model: str, text: str = "Say something.", **fields: object) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "messages": messages, **fields}).encode()


@pytest.mark.parametrize(
    "model", ["omni/auto", "omni/balanced", "omni/cheap", "omni/best", "omni/fast"]
)
def test_each_name_of_the_router_is_answered_and_charged(gateway: Gateway, model: str) -> None:
    tenant = gateway.tenant()
    with HttpConnection(gateway, tenant.api_key) as http:
        found = http.ask("/v1/chat/completions", body(model))
        assert found.status == 200, found.json
        assert found.headers["x-omni-model"].startswith("sim/")
        if model != "omni/fast":  # speeds were measured by whatever was called before
            # Nobody rated the simulator's models: the cheapest is taken, and says what it is.
            assert found.headers["x-omni-model"] == "sim/small"
            assert "made by the simulator" in found.json["choices"][0]["message"]["content"]
        assert float(found.headers["x-omni-cost-usd"]) > 0


def test_an_unknown_name_of_the_router_says_which_there_are(gateway: Gateway) -> None:
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        found = http.ask("/v1/chat/completions", body("omni/dearest"))
    assert found.status == 404
    assert "omni/cheap" in found.json["error"]["message"]


def test_an_estimate_says_what_the_call_then_costs_at_most(gateway: Gateway) -> None:
    tenant = gateway.tenant()
    with HttpConnection(gateway, tenant.api_key) as http:
        found = http.ask("/v1/estimate", body("omni/auto", max_tokens=50)).json
        assert found["object"] == "estimate"
        assert found["analysis"]["task"]
        assert found["credits_suffice"] is True
        assert 0 < found["cost_nanousd"] <= found["cost_max_nanousd"]
        asked = http.ask("/v1/chat/completions", body(found["model"], max_tokens=50))
        charged = round(1e9 * float(asked.headers["x-omni-cost-usd"]))
    assert 0 < charged <= found["cost_max_nanousd"]


def test_an_explanation_names_every_offer_with_its_score_or_its_reason(gateway: Gateway) -> None:
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        found = http.ask("/v1/router/debug", body("omni/auto")).json
    chosen = found["attempts"][0]["model"]
    assert chosen in found["reason"]
    scored = [one for one in found["offers"] if "excluded" not in one]
    excluded = [one for one in found["offers"] if "excluded" in one]
    assert scored[0]["model"] == chosen
    assert [one["score"] for one in scored] == sorted((o["score"] for o in scored), reverse=True)
    assert {part["name"] for part in scored[0]["parts"]} == {"cost", "latency", "task", "quality"}
    assert excluded
    assert all(one["excluded"] for one in excluded)


def test_the_same_over_grpc_in_pages(gateway: Gateway) -> None:
    tenant = gateway.tenant()
    prompt = pb.ChatPrompt(
        model="omni/cheap",
        messages=[pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="Hello")])],
    )
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = pb_grpc.RouterServiceStub(channel)
        meta = bearer(tenant.api_key)
        estimate = stub.EstimateChat(pb.EstimateChatRequest(prompt=prompt), metadata=meta).estimate
        assert estimate.credits_suffice
        assert estimate.cost_nanousd <= estimate.cost_max_nanousd
        seen: list[str] = []
        token = ""
        while True:
            asked = pb.ExplainRouteRequest(prompt=prompt, page_size=3, page_token=token)
            page = stub.ExplainRoute(asked, metadata=meta)
            seen += [one.model for one in page.offers]
            token = page.next_page_token
            if not token:
                break
        assert len(seen) == page.offer_count == len(set(seen))


def test_preferences_leave_out_what_they_deny(gateway: Gateway) -> None:
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        first = http.ask("/v1/router/debug", body("omni/auto")).json["attempts"][0]["model"]
        omni = {"denied_models": [first]}
        other = http.ask("/v1/router/debug", body("omni/auto", omni=omni)).json
        assert other["attempts"][0]["model"] != first
        none = http.ask("/v1/router/debug", body("omni/auto", omni={"allowed_providers": ["x"]}))
        assert none.status == 200  # it is asked most where nothing is left
        assert none.json["attempts"] == []
        assert "allowed_providers" in none.json["reason"]
        assert none.json["offers"]
        assert all(one["excluded"] for one in none.json["offers"])
        wrong = http.ask("/v1/router/debug", body("omni/auto", omni={"task": "knitting"}))
        assert (wrong.status, wrong.error["param"]) == (400, "omni.task")


def test_no_call_costs_more_than_its_caller_allows(gateway: Gateway) -> None:
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        asked = body("omni/auto", "Tell me all.", omni={"max_cost_usd": "0.0004"})
        found = http.ask("/v1/chat/completions", asked)
        assert found.status == 200
        assert float(found.headers["x-omni-cost-usd"]) <= 0.0004
        tight = http.ask("/v1/chat/completions", body("omni/auto", omni={"max_cost_usd": 1e-9}))
        assert (tight.status, tight.error["param"]) == (400, "omni.max_cost_usd")
        assert "Raise max_cost to at least 0." in tight.error["message"]
        denied = http.ask("/v1/chat", body("omni/auto", omni={"denied_providers": ["sim"]}))
        assert (denied.status, denied.error["param"]) == (400, "omni.denied_providers")
        zero = http.ask("/v1/chat/completions", body("omni/auto", omni={"max_cost_usd": 0}))
        assert (zero.status, zero.error["param"]) == (400, "omni.max_cost_usd")


def test_a_cost_that_no_model_meets_is_named_as_its_caller_named_it(gateway: Gateway) -> None:
    fields = body("sim/fast", omni={"max_cost_usd": 1e-9})
    turn = {"role": "user", "content": "Hi."}
    omni = {"max_cost_usd": 1e-9}
    tight = {
        "/v1/chat/completions": (fields, "omni.max_cost_usd"),
        "/v1/responses": (
            json.dumps({"model": "sim/fast", "input": "Hi.", "omni": omni}).encode(),
            "omni.max_cost_usd",
        ),
        "/v1/chat": (fields, "omni.max_cost_usd"),
        "/v1/agent-step": (body("sim/fast", max_cost=1e-9), "max_cost"),
    }
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        for path, (asked, named) in tight.items():
            found = http.ask(path, asked)
            assert (found.status, found.error["param"]) == (400, named), (path, found.body)
        for cost in (0, -1, 1e-12):
            found = http.ask("/v1/chat", body("sim/fast", max_cost=cost))
            assert (found.status, found.error["param"]) == (400, "max_cost")
        asked = json.dumps(
            {"model": "sim/fast", "max_tokens": 9, "messages": [turn], "omni": omni}
        ).encode()
        found = http.ask("/v1/messages", asked)
        assert found.status == 400
        assert b"omni.max_cost_usd" in found.body


def test_the_short_form_of_a_chat(gateway: Gateway) -> None:
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        asked = {
            "messages": [{"role": "user", "content": "Hello"}],
            "priority": "cheap",
            "latency_pref": "fast",
            "max_cost": 0.01,
        }
        found = http.ask("/v1/chat", json.dumps(asked).encode()).json
        assert found["output"]
        assert found["model_used"].startswith("sim/")
        assert 0 < float(found["cost"]) <= 0.01
        assert found["latency_ms"] >= 0
        assert http.ask(f"/v1/calls/{found['request_id']}").status == 200
        for name, words in (
            ("priority", "cheap, balanced, best"),
            ("latency_pref", "normal, fast"),
        ):
            wrong = http.ask("/v1/chat", json.dumps({**asked, name: "cheapest"}).encode())
            assert f"Use one of {words}." in wrong.error["message"]
        wrong = http.ask("/v1/chat", json.dumps({**asked, "max_cost": "$1"}).encode())
        assert "such as 0.002" in wrong.error["message"]
        streamed = http.ask("/v1/chat", json.dumps({**asked, "stream": True}).encode())
        assert (streamed.status, streamed.error["param"]) == (400, "stream")


def test_the_steps_of_a_run_add_up_each_once(gateway: Gateway) -> None:
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        asked = body("sim/fast")
        asked = json.dumps({**json.loads(asked), "run_id": "run-1"}).encode()
        costs = []
        for step in range(3):
            found = http.ask("/v1/agent-step", asked, **{"idempotency-key": f"step-{step}"}).json
            costs.append(found["cost"])
            assert found["run"]["steps"] == step + 1
        again = http.ask("/v1/agent-step", asked, **{"idempotency-key": "step-2"}).json
        assert again["run"]["steps"] == 3
        total = sum(round(1e9 * float(cost)) for cost in costs)
        assert round(1e9 * float(again["run"]["cost"])) == total


async def test_a_step_that_is_charged_without_an_answer_counts_in_its_run(
    gateway: Gateway, simulator: SimulatorThread
) -> None:
    tenant = gateway.tenant()
    prompt, mark = marked("hang_after=headers")
    turns = [{"role": "user", "content": prompt}]
    left = {"model": "sim/fast", "messages": turns, "run_id": "run"}
    async with await RestCall.send(gateway, tenant.api_key, left, path="/v1/agent-step"):
        record = await reached(simulator, mark)
    usage = await settled(gateway, tenant, record)
    assert usage.cost_nanousd
    with HttpConnection(gateway, tenant.api_key) as http:
        refused = http.ask("/v1/agent-step", body("sim/fast", "[sim status=400]", run_id="run"))
        assert refused.status == 400  # free, so that it counts nowhere
        found = http.ask("/v1/agent-step", body("sim/fast", run_id="run")).json
    assert (found["run"]["steps"], found["run"]["unanswered_steps"]) == (1, 1)
    in_all = usage.cost_nanousd + round(1e9 * float(found["cost"]))
    assert round(1e9 * float(found["run"]["cost"])) == in_all


def test_a_named_fallback_answers_where_the_first_is_down_and_the_breaker_then_spares_it(
    gateway: Gateway,
) -> None:
    with HttpConnection(gateway, gateway.tenant().api_key) as http:
        omni = {"fallback_models": ["sim/echo"]}
        for _ in range(5):
            found = http.ask("/v1/chat/completions", body("sim/error-500", omni=omni))
            assert found.status == 200, found.json
            assert found.headers["x-omni-model"] == "sim/echo"
        call = http.ask(f"/v1/calls/{found.headers['x-request-id']}").json
        assert [one["outcome"] for one in call["attempts"]][-1] == "answered"
        metrics = http.ask("/metrics").body.decode()
    assert 'omni_breaker_open{model="sim/error-500"' in metrics
