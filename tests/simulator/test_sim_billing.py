"""What the simulator bills, what it says of it, and the record that it keeps."""

import asyncio
import json
from typing import Any

import pytest
from sim_raw import RawCall, ended

from omni_grpc.simulator import CallRecord, Simulator

CLOSE = "connection: close\r\n"


async def call(simulator: Simulator, sim: str, *, stream: bool = True, **body: Any) -> RawCall:
    """An answer read until the connection ends."""
    asked = {"stream_options": {"include_usage": True}} if stream else {}
    sent = await RawCall.post(simulator, f"{CLOSE}x-sim: {sim}\r\n", stream=stream, **asked, **body)
    await sent.read_to_end()
    return sent


async def left(simulator: Simulator, sim: str, *, stream: bool = True) -> CallRecord:
    """The record of a call whose peer left while it waited."""
    sent = await RawCall.post(simulator, f"x-sim: {sim}\r\n", stream=stream)
    if stream:
        await sent.read_until(b'"content":" ')
    sent.writer.transport.abort()
    (record,) = await ended(simulator)
    return record


async def looked_up(simulator: Simulator, completion_id: str) -> tuple[int, dict[str, Any]]:
    asked = await RawCall.send(
        simulator, f"GET /v1/generation?id={completion_id} HTTP/1.1\r\nhost: sim\r\n{CLOSE}\r\n"
    )
    await asked.read_to_end()
    return asked.status, json.loads(asked.body)


async def reports(simulator: Simulator, sim: str) -> list[dict[str, Any]]:
    chunks = (await call(simulator, sim)).chunks
    return [chunk["usage"] for chunk in chunks if chunk.get("usage")]


async def test_an_answer_is_billed_as_it_was_sent(simulator: Simulator) -> None:
    await call(simulator, "tokens=7")
    (record,) = await ended(simulator)
    assert (record.billed_prompt_tokens, record.billed_completion_tokens) == (
        record.prompt_tokens,
        7,
    )


async def test_a_caller_who_leaves_stops_the_bill(simulator: Simulator) -> None:
    record = await left(simulator, "tokens=9,hang_after=5")
    assert record.outcome == "cancelled"
    assert (record.completion_tokens, record.billed_completion_tokens) == (5, 5)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_may_not_stop_the_bill(
    simulator: Simulator, stream: bool
) -> None:
    record = await left(simulator, "tokens=9,hang_after=5,bills_on", stream=stream)
    assert record.outcome == "cancelled"
    assert record.completion_tokens == (5 if stream else 0)
    assert record.billed_completion_tokens == 9
    assert record.billed_prompt_tokens == record.prompt_tokens


async def test_what_was_refused_is_not_billed(simulator: Simulator) -> None:
    await call(simulator, "status=503")
    (record,) = await ended(simulator)
    assert (record.billed_prompt_tokens, record.billed_completion_tokens) == (0, 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_output_limit_can_be_ignored(simulator: Simulator, stream: bool) -> None:
    await call(simulator, "tokens=50,no_limit", stream=stream, max_tokens=10)
    (record,) = await ended(simulator)
    assert (record.max_tokens, record.completion_tokens) == (10, 50)


# --- what it says -----------------------------------------------------------------------------
async def test_usage_can_be_a_placeholder_in_the_first_chunk(simulator: Simulator) -> None:
    (early,) = await reports(simulator, "usage=early")
    assert early["completion_tokens"] == 1


async def test_usage_can_be_corrected(simulator: Simulator) -> None:
    wrong, right = await reports(simulator, "usage=corrected")
    assert (wrong["completion_tokens"], right["completion_tokens"]) == (1, 40)


async def test_usage_can_be_half_of_one(simulator: Simulator) -> None:
    (half,) = await reports(simulator, "usage=half")
    assert set(half) == {"prompt_tokens", "total_tokens"}


async def test_usage_can_be_nulls(simulator: Simulator) -> None:
    (null,) = await reports(simulator, "usage=null")
    assert set(null.values()) == {None}


async def test_reasoning_can_stand_beside_the_completion(simulator: Simulator) -> None:
    (apart,) = await reports(simulator, "usage=apart,reasoning=10")
    assert apart["completion_tokens"] == 40
    assert apart["completion_tokens_details"]["reasoning_tokens"] == 10
    assert apart["total_tokens"] == apart["prompt_tokens"] + 50


# --- the record -------------------------------------------------------------------------------
async def test_the_record_says_what_was_billed(simulator: Simulator) -> None:
    answered = await call(simulator, "tokens=8,reasoning=3,cached=50", model="sim/fast")
    (record,) = await ended(simulator)
    assert f"x-generation-id: {record.id}\r\n" in answered.head
    status, body = await looked_up(simulator, record.id)
    data = body["data"]
    assert (status, data["id"], data["cancelled"]) == (200, record.id, False)
    assert data["native_tokens_prompt"] == record.prompt_tokens
    assert data["native_tokens_completion"] == 11
    assert data["native_tokens_reasoning"] == 3
    assert data["native_tokens_cached"] == record.prompt_tokens // 2
    cached = record.prompt_tokens // 2
    nano = (record.prompt_tokens - cached) * 150 + cached * 75 + 11 * 600
    assert data["total_cost"] == pytest.approx(nano / 1e9)


async def test_the_record_of_a_cancelled_call_says_so(simulator: Simulator) -> None:
    record = await left(simulator, "tokens=9,hang_after=5,bills_on")
    _, body = await looked_up(simulator, record.id)
    assert (body["data"]["cancelled"], body["data"]["native_tokens_completion"]) == (True, 9)


async def test_there_is_no_record_of_a_running_call_nor_of_an_unknown_one(
    simulator: Simulator,
) -> None:
    simulator.gates.close("night")
    running = await RawCall.post(simulator, "x-sim: gate=night\r\n")
    async with asyncio.timeout(20):
        while not simulator.gates.waiting("night"):
            await asyncio.sleep(0.01)
    for completion_id in (simulator.log[0].id, "gen-none", ""):
        status, body = await looked_up(simulator, completion_id)
        assert (status, "not found" in body["error"]["message"]) == (404, True)
    await running.close()


async def test_a_record_can_be_late(simulator: Simulator) -> None:
    await call(simulator, "tokens=1,record_ms=60000")
    (record,) = await ended(simulator)
    assert (await looked_up(simulator, record.id))[0] == 404
