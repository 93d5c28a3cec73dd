"""At a provider that bills on whoever leaves, calls are read on and charged by its word."""

import asyncio

import openai
import pytest
from gateway import Gateway, SimulatorThread, running, soon
from omni_grpc_client import Omni

TEXT = "A cat sat on the mat."


@pytest.fixture
def bills_on(own_gateway: Gateway) -> Gateway:
    own_gateway.environment = {"OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true"}
    return own_gateway


async def test_speech_and_plain_calls_that_are_left_are_charged_by_the_providers_count(
    bills_on: Gateway, simulator: SimulatorThread
) -> None:
    with running(bills_on):
        tenant = await asyncio.to_thread(bills_on.tenant)
        async with openai.AsyncOpenAI(
            base_url=f"{bills_on.rest}/v1", api_key=tenant.api_key, max_retries=0, timeout=20
        ) as sdk:
            text = f"[sim delay_ms=60] {TEXT}"  # long enough to be left on a busy machine
            asked = sdk.audio.speech.with_streaming_response.create(
                model="sim/voice-tokens", input=text, voice="alloy"
            )
            async with asked as spoken:
                call_id = spoken.headers["x-request-id"]
                await anext(spoken.iter_bytes())
            simulator.close_gate("slow")
            asking = asyncio.create_task(
                sdk.embeddings.create(model="sim/embed", input=f"[sim gate=slow] {TEXT}")
            )
            assert await soon(lambda: simulator.waiting("slow"))
            asking.cancel()
            await asyncio.wait([asking])
            simulator.open_gate("slow")

        def ended() -> object:
            with Omni(bills_on.grpc, api_key=tenant.api_key) as ledger:
                # The entries first: once all of them are there the attempt has ended.
                entries = [one.amount_nanousd for one in ledger.ledger_entries()]
                (attempt,) = ledger.usage(call_id).attempts
                return (attempt, entries) if len(entries) == 3 else None

        found = await asyncio.to_thread(lambda: asyncio.run(soon(ended)))
        assert found
        attempt, entries = found  # type: ignore[misc]  # as made above
        assert (attempt.outcome, attempt.estimated) == ("cancelled", False)
        assert attempt.completion_tokens == 2 * len(text)
        assert attempt.cost_nanousd == attempt.prompt_tokens * 600 + 2 * len(text) * 12_000
        record = simulator.record_asked("gate=slow")
        assert record is not None
        assert sorted(entries)[:2] == sorted([-attempt.cost_nanousd, -record.prompt_tokens * 20])
