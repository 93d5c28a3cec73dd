"""Every way of going wrong, seen from a raw socket."""

import json
from typing import Any

import pytest
from sim_raw import RawCall, ended

from omni_grpc.simulator import SIMULATED_MODELS, Simulator
from omni_grpc.simulator.behaviour import BehaviourError, parse_behaviour

CLOSE = "connection: close\r\n"
STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503)


async def stream(simulator: Simulator, model: str, sim: str = "", **body: Any) -> RawCall:
    """A streamed answer with its usage, read until the connection ends."""
    call = await RawCall.post(
        simulator,
        f"{CLOSE}x-sim: {sim}\r\n",
        model=model,
        stream=True,
        stream_options={"include_usage": True},
        **body,
    )
    await call.read_to_end()
    return call


async def plain(simulator: Simulator, model: str, sim: str = "", **body: Any) -> RawCall:
    call = await RawCall.post(simulator, f"{CLOSE}x-sim: {sim}\r\n", model=model, **body)
    await call.read_to_end()
    return call


async def test_a_healthy_stream_is_exactly_openais(simulator: Simulator) -> None:
    call = await stream(simulator, "fast")
    chunks = call.chunks
    assert call.is_whole
    assert call.data[-1] == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    roles = [c["choices"][0]["delta"].get("role") for c in chunks[:-1]]
    assert roles == ["assistant", *[None] * (len(chunks) - 2)]
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * 41 + ["stop"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == call.tokens == 40
    (record,) = await ended(simulator)
    assert (record.outcome, record.completion_tokens, record.planned_tokens) == ("finished", 40, 40)
    assert record.usage_sent
    assert record.include_usage
    assert record.bytes == len(call.received)
    assert f"x-sim-call: {record.call}\r\n" in call.head + "\r\n"


async def test_usage_is_absent_where_it_was_not_asked_for(simulator: Simulator) -> None:
    call = await RawCall.post(simulator, CLOSE, stream=True)
    await call.read_to_end()
    assert not any("usage" in chunk for chunk in call.chunks)
    assert all(chunk["choices"] for chunk in call.chunks)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("send", [stream, plain])
async def test_an_http_error_comes_before_the_first_byte(
    simulator: Simulator, status: int, send: Any
) -> None:
    call = await send(simulator, f"error-{status}")
    assert call.status == status
    error = json.loads(call.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    assert "content-type: application/json" in call.head
    assert ("retry-after-ms: 1500" in call.head) == ("retry-after: 2" in call.head)
    assert ("retry-after: 2" in call.head) == (status == 429)
    (record,) = await ended(simulator)
    assert (record.status, record.outcome, record.completion_tokens) == (status, "error", 0)


async def test_a_used_up_quota_has_its_own_code(simulator: Simulator) -> None:
    call = await plain(simulator, "error-quota")
    assert json.loads(call.body)["error"]["code"] == "insufficient_quota"


async def test_an_error_in_the_middle_is_an_event_and_the_end(simulator: Simulator) -> None:
    call = await stream(simulator, "error-mid")
    assert call.status == 200
    assert call.is_whole
    assert call.tokens == 5
    assert set(call.chunks[-1]["error"]) == {"message", "type", "param", "code"}
    assert "[DONE]" not in call.data
    (record,) = await ended(simulator)
    assert (record.outcome, record.completion_tokens, record.usage_sent) == ("error", 5, False)
    assert (await plain(simulator, "error-mid")).status == 500


CUTS = {"cut": (0, 0), "cut-headers": (200, 0), "cut-mid": (200, 5), "cut-chunk": (200, 5)}


@pytest.mark.parametrize("model", CUTS)
@pytest.mark.parametrize("reset", [True, False])
async def test_a_cut_stream_ends_where_it_was_told(
    simulator: Simulator, model: str, reset: bool
) -> None:
    status, tokens = CUTS[model]
    call = await stream(simulator, model if reset else model.replace("cut", "fin"))
    assert call.was_reset is reset
    assert (call.status, call.tokens) == (status, tokens)
    assert not call.is_whole
    assert call.body.endswith(b"\n\n") or not call.body or model == "cut-chunk"
    assert call.received.endswith(b"\r\n") == (status == 200 and model != "cut-chunk")
    (record,) = await ended(simulator)
    assert (record.outcome, record.completion_tokens) == ("cut", tokens)
    assert record.status == status
    assert record.bytes == len(call.received)


@pytest.mark.parametrize("model", CUTS)
@pytest.mark.parametrize("reset", [True, False])
async def test_a_cut_plain_answer_is_never_whole(
    simulator: Simulator, model: str, reset: bool
) -> None:
    call = await plain(simulator, model if reset else model.replace("cut", "fin"))
    assert call.was_reset is reset
    assert call.status == CUTS[model][0]
    assert f"content-length: {len(call.body)}\r\n" not in call.head + "\r\n"
    (record,) = await ended(simulator)
    assert (record.outcome, record.completion_tokens) == ("cut", 0)


async def test_a_truncated_stream_ends_in_order_but_unfinished(simulator: Simulator) -> None:
    call = await stream(simulator, "truncated")
    assert call.is_whole
    assert not call.was_reset
    assert call.tokens == 5
    assert "[DONE]" not in call.data
    assert all(c["choices"][0]["finish_reason"] is None for c in call.chunks)
    assert not (await plain(simulator, "truncated")).body.endswith(b"}")


async def test_the_last_line_can_be_missing(simulator: Simulator) -> None:
    call = await stream(simulator, "no-done")
    assert call.is_whole
    assert "[DONE]" not in call.data
    assert call.chunks[-1]["usage"]["completion_tokens"] == 40


async def usages(simulator: Simulator, model: str, **body: Any) -> tuple[list[Any], Any]:
    streamed = await stream(simulator, model, **body)
    whole = json.loads((await plain(simulator, model, **body)).body)
    return [c["usage"] for c in streamed.chunks if c.get("usage")], whole.get("usage")


async def test_usage_can_be_missing(simulator: Simulator) -> None:
    assert await usages(simulator, "no-usage") == ([], None)
    assert [record.usage_sent for record in simulator.log] == [False, False]


async def test_usage_can_come_twice(simulator: Simulator) -> None:
    streamed, whole = await usages(simulator, "usage-twice")
    assert streamed == [whole, whole]


async def test_usage_can_come_in_every_chunk(simulator: Simulator) -> None:
    streamed, whole = await usages(simulator, "usage-every")
    counts = [usage["completion_tokens"] for usage in streamed]
    assert counts == [0, *range(1, 41), 40, 40]
    assert streamed[-1] == whole


async def test_usage_can_be_zero(simulator: Simulator) -> None:
    streamed, whole = await usages(simulator, "usage-zero")
    assert streamed == [whole]
    assert (whole["prompt_tokens"], whole["completion_tokens"], whole["total_tokens"]) == (0, 0, 0)


async def test_usage_can_be_above_what_was_allowed(simulator: Simulator) -> None:
    streamed, whole = await usages(simulator, "usage-over", max_tokens=30)
    assert streamed == [whole]
    assert whole["completion_tokens"] == 67
    assert [record.completion_tokens for record in simulator.log] == [30, 30]


async def test_another_model_can_claim_the_answer(simulator: Simulator) -> None:
    streamed = await stream(simulator, "wrong-model")
    assert {chunk["model"] for chunk in streamed.chunks} == {"gpt-0-sim"}
    assert json.loads((await plain(simulator, "wrong-model")).body)["model"] == "gpt-0-sim"


async def test_one_event_can_be_broken_json(simulator: Simulator) -> None:
    call = await stream(simulator, "bad-json")
    broken = [number for number, data in enumerate(call.data[:-1]) if not data.endswith("}")]
    assert broken == [6]
    assert call.data[-1] == "[DONE]"
    with pytest.raises(json.JSONDecodeError):
        json.loads((await plain(simulator, "bad-json")).body)


async def test_one_line_can_be_huge(simulator: Simulator) -> None:
    call = await stream(simulator, "long-line")
    assert [len(data) > 200_000 for data in call.data] == [True] + [False] * (len(call.data) - 1)
    assert call.tokens == 40


async def test_lines_can_end_in_crlf_with_comments_between(simulator: Simulator) -> None:
    call = await stream(simulator, "crlf")
    assert call.body.count(b": simulated\r\n\r\n") == len(call.data)
    assert call.body.count(b"\n") == call.body.count(b"\r\n")
    assert call.tokens == 40


async def test_a_burst_is_one_write(simulator: Simulator) -> None:
    call = await stream(simulator, "burst")
    assert call.tokens == 100
    assert call.received.partition(b"\r\n\r\n")[2].count(b"\r\ndata: ") == 1


@pytest.mark.parametrize(
    ("model", "text", "finish"), [("empty", "", "stop"), ("filter", None, "content_filter")]
)
async def test_odd_answers(simulator: Simulator, model: str, text: str | None, finish: str) -> None:
    choice = json.loads((await plain(simulator, model)).body)["choices"][0]
    assert choice["finish_reason"] == finish
    assert text is None or choice["message"]["content"] == text


async def test_pings_go_out_while_nothing_else_does(simulator: Simulator) -> None:
    call = await stream(simulator, "fast", "pause_after=3,pause_s=0.5,ping_ms=5")
    assert call.body.count(b": ping\n\n") >= 3
    assert call.tokens == 40


async def test_times_are_kept(simulator: Simulator) -> None:
    await stream(simulator, "fast", "headers_ms=20,first_ms=30,delay_ms=2,tokens=10")
    await plain(simulator, "fast", "headers_ms=20,first_ms=30,delay_ms=2,tokens=10,pause_after=2")
    streamed, whole = await ended(simulator, 2)
    assert streamed.headers_ms
    assert streamed.first_token_ms
    assert streamed.ended_ms
    assert streamed.headers_ms - streamed.received_ms >= 19
    assert streamed.first_token_ms - streamed.headers_ms >= 29
    assert streamed.ended_ms - streamed.first_token_ms >= 17
    assert whole.ended_ms
    assert whole.ended_ms - whole.received_ms >= 1_060


async def test_an_http_1_0_caller_is_answered_without_chunks(simulator: Simulator) -> None:
    body = b'{"model":"fast","stream":true,"messages":[{"role":"user","content":"x"}]}'
    head = f"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {len(body)}\r\n\r\n"
    call = await RawCall.send(simulator, head, body)
    await call.read_to_end()
    assert call.tokens == 40
    assert call.data[-1] == "[DONE]"
    assert "transfer-encoding" not in call.head


async def test_a_connection_takes_the_next_call_after_a_healthy_one(simulator: Simulator) -> None:
    call = await RawCall.post(simulator, stream=True)
    await call.read_until(b"\r\n0\r\n\r\n")
    body = b'{"model":"fast","messages":[{"role":"user","content":"x"}]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: s\r\ncontent-length: {len(body)}\r\n\r\n"
    call.writer.write(head.encode() + body)
    await call.read_until(b'"total_tokens"')
    assert call.received.count(b"HTTP/1.1 200") == 2
    await call.close()


async def test_a_fault_can_strike_once(simulator: Simulator) -> None:
    statuses = [(await plain(simulator, "fast", "status=503,once=a")).status for _ in range(3)]
    assert statuses == [503, 200, 200]
    assert (await plain(simulator, "fast", "status=503,once=b")).status == 503
    simulator.clear_log()
    assert (await plain(simulator, "fast", "status=503,once=a")).status == 503


async def test_the_body_can_choose_and_the_header_has_the_last_word(simulator: Simulator) -> None:
    body = {"metadata": {"sim": "tokens=7,say=never"}}
    call = await plain(simulator, "sim/slow", "delay_ms=0,say=One%2C%20two", **body)
    answer = json.loads(call.body)
    assert answer["choices"][0]["message"]["content"] == "One, two"
    (record,) = await ended(simulator)
    assert record.behaviour == "tokens=7,say=never,delay_ms=0,say=One%2C%20two"


def test_every_models_behaviour_can_be_read() -> None:
    for model in SIMULATED_MODELS:
        parse_behaviour(model.behaviour)
    assert len({model.id for model in SIMULATED_MODELS}) == len(SIMULATED_MODELS)


@pytest.mark.parametrize(
    "text",
    ["fly", "tokens=-1", "tokens=many", "cut=soft", "status=200", "cut_after=-2", "gate=a b"],
)
def test_a_behaviour_that_cannot_be_says_why(text: str) -> None:
    with pytest.raises(BehaviourError, match="x-sim"):
        parse_behaviour(text)


def test_positions_have_names() -> None:
    behaviour = parse_behaviour("hang_after=request, cut_after=headers ,gate_after=3")
    assert (behaviour.hang_after, behaviour.cut_after, behaviour.gate_after) == (-1, 0, 3)
