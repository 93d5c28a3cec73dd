"""The dialect against the simulator, both ways: what a right provider does, and each fault."""

import json
import statistics

import msgspec
import pytest
from streamed import cancelled_at_random, last_record, read_choices

from omni_grpc.catalog import tokens
from omni_grpc.core.chat import (
    Message,
    ResponseFormat,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Malformed,
    Misconfigured,
    Overloaded,
    ProviderFault,
    RateLimited,
    Rejected,
    StreamError,
    TimedOut,
    Timeouts,
    Truncated,
    Unreachable,
)

WEATHER = Tool(
    name="get_weather",
    description="The weather of a place.",
    parameters_json='{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)
TIME = Tool(name="get_time", parameters_json='{"type": "object", "properties": {}}')


@pytest.fixture
def behave(call):
    """A call of the model `fast`, refined by a behaviour."""

    def behave(behaviour: str = "", **more: object):
        extra = {"metadata": msgspec.Raw(json.dumps({"sim": behaviour}).encode())}
        return call(**{"model": "fast", "extra": extra, **more})

    return behave


# --- plain and streamed say the same ------------------------------------------------------------
REQUESTS = {
    "text": {},
    "system_and_history": {
        "messages": (
            Message(role="system", content="Be brief."),
            Message(role="user", content="Hi"),
            Message(role="assistant", content="Hello."),
            Message(role="user", content="And?", name="ann"),
        )
    },
    "choices": {"sampling": Sampling(choice_count=3, seed=7, temperature=0.5)},
    "logprobs": {"sampling": Sampling(logprobs=True, top_logprobs=2)},
    "reasoning": {"model": "reasoner", "reasoning_effort": "low"},
    "one_tool": {"tools": (WEATHER,), "tool_choice": ToolChoice(name="get_weather")},
    "parallel_tools": {
        "tools": (WEATHER, TIME),
        "tool_choice": ToolChoice(mode="required"),
        "parallel_tool_calls": True,
        "messages": (Message(role="user", content="Call get_weather, then call get_time."),),
    },
    "tool_results": {
        "tools": (WEATHER,),
        "messages": (
            Message(role="user", content="Weather?"),
            Message(
                role="assistant",
                tool_calls=(ToolCall(id="c1", name="get_weather", arguments_json='{"city":"X"}'),),
            ),
            Message(role="tool", tool_call_id="c1", content="Rain."),
        ),
    },
    "schema": {
        "response_format": ResponseFormat(
            kind="json_schema",
            name="city",
            strict=True,
            schema_json='{"type":"object","properties":{"name":{"type":"string"}},'
            '"required":["name"],"additionalProperties":false}',
        )
    },
    "json": {
        "response_format": ResponseFormat(kind="json_object"),
        "messages": (Message(role="user", content="Answer in JSON."),),
    },
    "stop": {"sampling": Sampling(stop=("zzz",))},
    "short": {"output_tokens_max": 5},
    "cached": {"model": "cached"},
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_an_answer_is_the_same_plain_and_streamed(simulator, connect, call, dispatched, name):
    provider = await connect(simulator.base_url)
    request = call(**{"model": "fast", **REQUESTS[name]})
    plain = await provider.complete(request, dispatched)
    record = await last_record(simulator)
    stream = await provider.open_stream(request, dispatched)
    streamed = await read_choices(stream)
    assert stream.ended
    assert stream.usage == plain.usage
    assert plain.usage is not None
    assert plain.usage.prompt == record.prompt_tokens
    assert plain.usage.completion == record.completion_tokens
    assert plain.usage.reasoning == record.reasoning_tokens
    assert plain.usage.cached_read == record.cached_tokens
    assert stream.model == plain.model
    assert stream.system_fingerprint == plain.system_fingerprint is not None
    assert sorted(streamed) == [choice.index for choice in plain.choices]
    for choice in plain.choices:
        told = streamed[choice.index]
        assert told.finish == choice.finish_reason
        assert told.text == (choice.answer.text or "")
        assert told.reasoning == (choice.answer.reasoning or "")
        assert [call[1:] for call in told.calls.values()] == [
            [call.name, call.arguments_json] for call in choice.answer.tool_calls
        ]
        logprobs = choice.logprobs
        assert told.tokens == [token.token for token in (logprobs and logprobs.content) or ()]
    assert dispatched.count == 2
    _check_answer(name, plain, streamed)


def _check_answer(name, plain, streamed) -> None:
    choice = plain.choices[0]
    if name == "choices":
        assert len(plain.choices) == 3
    elif name == "logprobs":
        assert len(choice.logprobs.content[0].top_logprobs) == 2
    elif name == "reasoning":
        assert choice.answer.reasoning
        assert plain.usage.reasoning > 0
    elif name in {"one_tool", "parallel_tools"}:
        assert choice.finish_reason == "tool_calls"
        assert len(choice.answer.tool_calls) == (2 if name == "parallel_tools" else 1)
        assert json.loads(choice.answer.tool_calls[0].arguments_json)["city"]
        assert streamed[0].calls
    elif name == "schema":
        assert json.loads(choice.answer.text)["name"]
    elif name == "short":
        assert (choice.finish_reason, plain.usage.completion) == ("length", 5)
    elif name == "cached":
        assert plain.usage.cached_read > 0


async def test_the_request_can_be_found_in_the_providers_log(simulator, connect, call, dispatched):
    provider = await connect(simulator.base_url)
    await provider.complete(call(model="fast"), dispatched)
    assert simulator.log[-1].headers["x-client-request-id"] == "0198-call"


async def test_a_refusal_is_told(simulator, connect, behave, dispatched):
    provider = await connect(simulator.base_url)
    plain = await provider.complete(behave("refusal"), dispatched)
    streamed = await read_choices(await provider.open_stream(behave("refusal"), dispatched))
    assert plain.choices[0].answer.refusal == streamed[0].refusal != ""
    assert plain.choices[0].answer.text is None


# --- usage --------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["right", "twice", "every"])
async def test_the_last_usage_counts(simulator, connect, behave, dispatched, way):
    provider = await connect(simulator.base_url)
    stream = await provider.open_stream(behave(f"usage={way},delay_ms=1,tokens=9"), dispatched)
    await read_choices(stream)
    record = await last_record(simulator)
    assert stream.usage.completion == record.completion_tokens == 9


async def test_a_zero_is_a_zero_and_nothing_is_nothing(simulator, connect, behave, dispatched):
    provider = await connect(simulator.base_url)
    for way, usage in (
        ("none", None),
        (
            "zero",
            Usage(
                prompt=0, cached_read=0, prompt_audio=0, completion=0, reasoning=0,
                completion_audio=0,
            ),
        ),
    ):  # fmt: skip
        stream = await provider.open_stream(behave(f"usage={way}"), dispatched)
        await read_choices(stream)
        assert stream.usage == usage
        assert (await provider.complete(behave(f"usage={way}"), dispatched)).usage == usage


# --- how it is written --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "behaviour", ["crlf", "comments", "crlf,comments,burst", "burst", "long_line=300000", "no_done"]
)
async def test_the_way_of_writing_changes_nothing(
    simulator, connect, behave, dispatched, behaviour
):
    provider = await connect(simulator.base_url)
    whole = await provider.complete(behave(), dispatched)
    stream = await provider.open_stream(behave(behaviour), dispatched)
    assert (await read_choices(stream))[0].text == whole.choices[0].answer.text
    assert stream.ended


async def test_the_model_that_really_answered_is_told(simulator, connect, behave, dispatched):
    provider = await connect(simulator.base_url)
    completion = await provider.complete(behave("as_model=other-2"), dispatched)
    assert completion.model == "other-2"


# --- faults -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("behaviour", "kind", "texts"),
    [
        ("cut_after=request", Unreachable, 0),
        ("cut_after=request,cut=fin", Unreachable, 0),
        ("cut_after=headers", Truncated, 0),
        ("cut_after=5", Truncated, 5),
        ("cut_after=5,cut=fin", Truncated, 5),
        ("cut_after=5,cut=fin,cut_inside", Truncated, 5),
        ("end_after=5", Truncated, 5),
        ("error_after=5,status=500", Overloaded, 0),
        ("error_after=5", StreamError, 5),
        ("bad_json_after=5", Malformed, 5),
    ],
)
@pytest.mark.parametrize("way", ["", ",burst"])
async def test_a_fault_of_a_stream_comes_after_what_was_sent(
    simulator, connect, behave, dispatched, behaviour, kind, texts, way
):
    provider = await connect(simulator.base_url)
    told: list[str] = []

    async def run() -> None:
        async for deltas in await provider.open_stream(behave(behaviour + way), dispatched):
            told.extend(delta.text for delta in deltas)

    with pytest.raises(kind) as caught:
        await run()
    assert type(caught.value) is kind
    assert caught.value.dispatched is True
    assert tokens.count_text("".join(told)) == texts


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("cut_after=request", Unreachable),
        ("cut_after=headers", Truncated),
        ("cut_after=5", Truncated),
        ("bad_json_after=5", Malformed),
        ("status=400", Rejected),
        ("status=401", Misconfigured),
        ("status=429,error_code=insufficient_quota", Misconfigured),
        ("status=503", Overloaded),
    ],
)
async def test_a_fault_of_a_plain_answer(simulator, connect, behave, dispatched, behaviour, kind):
    provider = await connect(simulator.base_url)
    with pytest.raises(ProviderFault) as caught:
        await provider.complete(behave(behaviour), dispatched)
    assert type(caught.value) is kind


async def test_retry_advice_is_passed_on(simulator, connect, behave, dispatched):
    provider = await connect(simulator.base_url)
    with pytest.raises(RateLimited) as caught:
        await provider.complete(behave("status=429,retry_after_ms=1500"), dispatched)
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize(
    ("behaviour", "wait"),
    [("hang_after=request", "first_byte"), ("hang_after=3", "between_bytes")],
)
async def test_a_provider_that_hangs_times_out(
    simulator, connect, behave, dispatched, behaviour, wait
):
    timeouts = Timeouts(first_byte_s=0.1, between_bytes_s=0.1)
    provider = await connect(simulator.base_url, timeouts)
    with pytest.raises(TimedOut) as caught:
        await read_choices(await provider.open_stream(behave(behaviour), dispatched))
    assert caught.value.wait == wait
    assert (await last_record(simulator)).outcome == "cancelled"


# --- cancelling ---------------------------------------------------------------------------------
async def test_a_cancelled_stream_is_told_as_it_was_sent(simulator, connect, behave):
    provider = await connect(simulator.base_url)
    call = behave("delay_ms=1,tokens=15")
    outcomes: list[str] = []
    notices_ms: list[float] = []
    async for stream, record in cancelled_at_random(provider, simulator, call, count=100):
        assert (stream.usage is not None) == record.usage_sent
        if record.notice_ms is not None:
            notices_ms.append(record.notice_ms)
        outcomes.append(record.outcome)
    assert statistics.median(notices_ms) < 50  # each, unless the machine stands still
    assert outcomes.count("cancelled") > 20
