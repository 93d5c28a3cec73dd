import asyncio

import grpc
import pytest
from gateway import Gateway, SimulatorThread, Tenant
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc
from omni_grpc_client import AsyncOmni, CreditsExhausted, ModelNotFound, Omni


def _prompt(text: str, model: str = "sim/fast") -> pb.ChatPrompt:
    return pb.ChatPrompt(
        model=model, messages=[pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=text)])]
    )


def test_an_answer_is_charged_by_the_providers_count_to_the_nano_dollar(
    gateway: Gateway, tenant: Tenant
) -> None:
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        answer = omni.chat("sim/fast", "Say something.")
        price = {rate.unit: rate.nanousd_per_mtok for rate in omni.model("sim/fast").pricing.rates}
        usage = answer.usage
        tokens_times_price = (
            usage.prompt_tokens * price["prompt"] + usage.completion_tokens * price["completion"]
        )
        assert answer.text
        assert answer.cost_nanousd == -(-tokens_times_price // 1_000_000)
        assert answer.balance_nanousd == 10**9 - answer.cost_nanousd
        assert omni.balance().available_nanousd == 10**9 - answer.cost_nanousd
        record = omni.usage(answer.call_id)
        assert record.cost_nanousd == answer.cost_nanousd
        assert [attempt.outcome for attempt in record.attempts] == ["answered"]
        entries = list(omni.ledger_entries())
        assert [entry.amount_nanousd for entry in entries] == [-answer.cost_nanousd, 10**9]
        assert entries[0].reference == answer.call_id


def test_a_stream_is_started_deltas_and_one_completion(gateway: Gateway, tenant: Tenant) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = pb_grpc.RouterServiceStub(channel)
        events = list(
            stub.StreamChat(
                pb.StreamChatRequest(prompt=_prompt("Say something.")),
                metadata=(("authorization", f"Bearer {tenant.api_key}"),),
                timeout=30,
            )
        )
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "completion"
    assert set(kinds[1:-1]) == {"delta"}
    text = "".join(event.delta.text for event in events)
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        assert omni.chat("sim/fast", "Say something.").text == text


async def test_the_async_client_streams_tools_and_structured_output(
    gateway: Gateway, tenant: Tenant
) -> None:
    from omni_grpc_client import JsonSchema, Tool

    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        tool = Tool(
            name="weather",
            parameters={"type": "object", "properties": {"city": {"type": "string"}}},
        )
        async with omni.stream_chat("sim/fast", "call weather", tools=[tool]) as stream:
            async for _ in stream:
                pass
            calls = stream.completion.choices[0].tool_calls
        assert [call.name for call in calls] == ["weather"]
        schema = JsonSchema(
            name="answer",
            schema={
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
                "additionalProperties": False,
            },
        )
        answer = await omni.chat("sim/fast", "a number", response_format=schema)
        import json

        assert isinstance(json.loads(answer.text)["n"], int)


def test_what_cannot_be_paid_is_refused_with_what_is_needed_and_there(gateway: Gateway) -> None:
    poor = gateway.tenant(nanousd=1_000)
    with Omni(gateway.grpc, api_key=poor.api_key) as omni:
        with pytest.raises(CreditsExhausted) as refused:
            omni.chat("sim/fast", "Say something.")
        assert refused.value.needed_nanousd > 1_000
        assert refused.value.available_nanousd == 1_000
        assert omni.balance().available_nanousd == 1_000


def test_shorten_takes_the_output_limit_that_the_credits_cover(gateway: Gateway) -> None:
    poor = gateway.tenant(nanousd=20_000)
    with Omni(gateway.grpc, api_key=poor.api_key) as omni:
        with omni.stream_chat("sim/fast", "Say something.", short_credits="shorten") as stream:
            granted = stream.started.max_output_tokens
            completion = stream.result()
        assert 0 < granted < 40
        assert completion.usage.completion_tokens == granted
        assert completion.choices[0].finish_reason == "length"
        assert 0 <= completion.balance_nanousd < 20_000


def test_an_unknown_model_is_not_found_and_a_near_name_is_told(
    gateway: Gateway, tenant: Tenant
) -> None:
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        with pytest.raises(ModelNotFound, match="sim/fast"):
            omni.chat("sim/fest", "hello")
        assert omni.chat("fast", "a bare id").model == "sim/fast"
        assert omni.chat("omni/auto", "any that can").model.startswith("sim/")


def test_holds_of_ones_own_work_settle_and_release(gateway: Gateway, tenant: Tenant) -> None:
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        hold = omni.create_hold(1_000_000, ttl_s=60)
        assert omni.balance().held_nanousd == 1_000_000
        settled = omni.settle_hold(hold.name, 400_000)
        assert settled.settled_nanousd == 400_000
        assert omni.balance().available_nanousd == 10**9 - 400_000
        other = omni.create_hold(5, ttl_s=60)
        omni.release_hold(other.name)
        assert omni.balance().held_nanousd == 0


async def test_a_cancelled_stream_costs_what_the_provider_sent(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        async with omni.stream_chat("sim/slow", "Go on for a while.") as stream:
            pieces = 0
            async for piece in stream:
                pieces += bool(piece.text)
                if pieces == 3:
                    break
            call_id = stream.started.call_id
        async with asyncio.timeout(30):
            while (record := await omni.usage(call_id)).attempts[0].cost_nanousd is None:
                await asyncio.sleep(0.02)
        attempt = record.attempts[0]
        sent = simulator.record_of(call_id)
        assert attempt.outcome == "cancelled"
        assert attempt.completion_tokens == sent.completion_tokens
        assert attempt.prompt_tokens == sent.prompt_tokens
