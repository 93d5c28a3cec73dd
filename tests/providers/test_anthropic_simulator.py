"""The dialect against the simulator over a socket: what a right provider does, and each fault."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from provider_calls import KEY, make_spec
from pydantic import SecretStr
from streamed import cancelled_at_random, last_record, read

from omni_grpc.catalog import tokens
from omni_grpc.core.chat import (
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    ChatProvider,
    Malformed,
    Misconfigured,
    Overloaded,
    ProviderFault,
    Providers,
    ProviderSettings,
    RateLimited,
    Rejected,
    StreamError,
    TimedOut,
    Timeouts,
    Truncated,
    Unreachable,
)
from omni_grpc.simulator import Simulator

SCHEMA = (
    '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],'
    '"additionalProperties":false}'
)
WEATHER = Tool(name="get_weather", description="The weather.", parameters_json=SCHEMA)
TIME = Tool(name="get_time", parameters_json='{"type": "object", "properties": {}}')

Connect = Callable[..., Awaitable[ChatProvider]]


@pytest.fixture
async def reach(simulator: Simulator) -> AsyncIterator[Connect]:
    """Makes a client of the simulator as Anthropic, or as Vertex with other paths."""
    opened: list[Providers] = []

    async def reach(timeouts: Timeouts | None = None, base: str = "", **spec) -> ChatProvider:
        spec = {"auth": "header", "auth_header": "x-api-key", **spec}
        made = msgspec.structs.replace(make_spec(timeouts, **spec), dialect="anthropic")
        settings = {"p": ProviderSettings(base_url=simulator.origin + base, api_key=SecretStr(KEY))}
        providers = Providers(settings, specs=(made,))
        await providers.open()
        opened.append(providers)
        return providers.get("p")

    yield reach
    for providers in opened:
        await providers.close()


@pytest.fixture
def behave(call):
    """A call of the model `fast`, refined by a behaviour."""

    def behave(behaviour: str = "", **more):
        text = f"[sim {behaviour}] Hi" if behaviour else "Hi"
        return call(**{"model": "fast", "messages": (Message(role="user", content=text),), **more})

    return behave


# --- plain and streamed say the same ------------------------------------------------------------
CALL_BOTH = (Message(role="user", content="Call get_weather, then call get_time."),)
REQUESTS = {
    "text": {},
    "system": {
        "messages": (
            Message(role="system", content="Be brief."),
            Message(role="user", content="Hi"),
            Message(role="assistant", content="Hello."),
            Message(role="developer", content="Be briefer."),
            Message(role="user", content="And?"),
        )
    },
    "reasoning": {"model": "reasoner", "reasoning_effort": "low"},
    "budget": {"model": "reasoner", "reasoning_budget": 1500},
    "redacted": {
        "model": "reasoner",
        "reasoning_effort": "low",
        "messages": (
            Message(role="user", content="ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9"),
        ),
    },
    "one_tool": {"tools": (WEATHER,), "tool_choice": ToolChoice(name="get_weather")},
    "parallel_tools": {"tools": (WEATHER, TIME), "messages": CALL_BOTH},
    "no_parallel_tools": {
        "tools": (WEATHER, TIME),
        "messages": CALL_BOTH,
        "parallel_tool_calls": False,
    },
    "tool_results": {
        "tools": (WEATHER,),
        "messages": (
            Message(role="user", content="Weather?"),
            Message(
                role="assistant",
                tool_calls=(
                    ToolCall(id="c1", name="get_weather", arguments_json='{"city":"X"}'),
                    ToolCall(id="c2", name="get_weather", arguments_json='{"city":"Y"}'),
                ),
            ),
            Message(role="tool", tool_call_id="c1", content="Rain."),
            Message(role="tool", tool_call_id="c2", content="Sun."),
        ),
    },
    "schema": {
        "response_format": ResponseFormat(kind="json_schema", name="city", schema_json=SCHEMA)
    },
    "json": {"response_format": ResponseFormat(kind="json_object")},
    "json_or_tool": {
        "response_format": ResponseFormat(kind="json_object"),
        "tools": (WEATHER,),
        "messages": (Message(role="user", content="Call get_weather."),),
    },
    "short": {"output_tokens_max": 5},
    "cached": {"model": "cached"},
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
async def test_an_answer_is_the_same_plain_and_streamed(simulator, reach, call, dispatched, name):
    provider = await reach()
    request = call(**{"model": "fast", "output_tokens_max": 4000, **REQUESTS[name]})
    plain = await provider.complete(request, dispatched)
    record = await last_record(simulator)
    stream = await provider.open_stream(request, dispatched)
    streamed = await read(stream)
    assert stream.ended
    assert stream.usage.prompt == plain.usage.prompt == record.prompt_tokens
    assert stream.usage.completion == plain.usage.completion == record.completion_tokens
    assert stream.usage.reasoning == plain.usage.reasoning == record.reasoning_tokens
    assert stream.usage.cached_read == plain.usage.cached_read == record.cached_tokens
    assert (stream.model, stream.service_tier) == (plain.model, plain.service_tier)
    assert plain.id == record.id
    (choice,) = plain.choices
    assert streamed.finish == choice.finish_reason
    told = streamed.answer()
    # A provider's compact JSON is not the fragments that it streamed: only the values are the same.
    assert [json.loads(call.arguments_json) for call in told.tool_calls] == [
        json.loads(call.arguments_json) for call in choice.answer.tool_calls
    ]
    assert msgspec.structs.replace(told, tool_calls=()) == msgspec.structs.replace(
        choice.answer, tool_calls=()
    )
    _check_answer(name, choice, plain.usage, record)


def _check_answer(name, choice, usage, record) -> None:
    answer = choice.answer
    kinds = [block.kind for block in answer.reasoning_blocks]
    if name == "system":
        assert record.seen["system"] == "Be brief.\nBe briefer."
    elif name in {"reasoning", "budget"}:
        assert kinds == ["text"]
        assert answer.reasoning == answer.reasoning_blocks[0].text != ""
        assert usage.reasoning > 0
    elif name == "redacted":
        assert (kinds, answer.reasoning) == (["encrypted"], None)
        assert usage.reasoning > 0
    elif name in {"one_tool", "no_parallel_tools", "json_or_tool"}:
        assert [call.name for call in answer.tool_calls] == ["get_weather"]
        assert choice.finish_reason == "tool_calls"
    elif name == "parallel_tools":
        assert [call.name for call in answer.tool_calls] == ["get_weather", "get_time"]
    elif name == "tool_results":
        assert record.seen["tool_results"] == 2
        assert answer.text == "The tools answered: Rain. and Sun."
    elif name == "schema":
        assert json.loads(answer.text)["city"]
    elif name == "json":
        assert isinstance(json.loads(answer.text), dict)
        assert choice.finish_reason == "stop"
    elif name == "short":
        assert (choice.finish_reason, usage.completion) == ("length", 5)
    elif name == "cached":
        assert usage.cached_read > 0


async def test_a_text_that_was_counted_before_the_call_counts_the_same(
    simulator, reach, call, dispatched
):
    usage = (await (await reach()).complete(call(model="fast"), dispatched)).usage
    assert usage.prompt == tokens.count_message("user", ("Hi",)) + tokens.REPLY_PRIMING


async def test_vertex_answers_at_its_own_paths(simulator, reach, call, dispatched):
    base = "/v1/projects/p-1/locations/europe-west1/publishers/anthropic"
    provider = await reach(
        base=base,
        auth="bearer",
        chat_path="models/{model}:rawPredict",
        chat_stream_path="models/{model}:streamRawPredict",
    )
    request = call(model="claude-opus-4-5@20251101")
    plain = await provider.complete(request, dispatched)
    streamed = await read(await provider.open_stream(request, dispatched))
    assert streamed.text == plain.choices[0].answer.text != ""
    assert [record.model for record in simulator.log] == ["claude-opus-4-5@20251101"] * 2


# --- reasoning goes back ------------------------------------------------------------------------
@pytest.mark.parametrize("asked", [{"reasoning_effort": "high"}, {"reasoning_budget": 1024}])
@pytest.mark.parametrize("streams", [False, True])
async def test_thinking_carries_through_a_loop_of_tools(
    simulator, reach, call, dispatched, asked, streams
):
    provider = await reach()
    messages = (Message(role="user", content="Call get_weather."),)
    more = {"model": "reasoner", "tools": (WEATHER,), "output_tokens_max": 4000, **asked}
    first = call(messages=messages, **more)
    if streams:
        answer = (await read(await provider.open_stream(first, dispatched))).answer()
    else:
        answer = (await provider.complete(first, dispatched)).choices[0].answer
    said = Message(
        role="assistant",
        reasoning_blocks=answer.reasoning_blocks,
        tool_calls=answer.tool_calls,
    )
    result = Message(role="tool", tool_call_id=answer.tool_calls[0].id, content="Rain.")
    second = call(messages=(*messages, said, result), **more)
    found = await provider.complete(second, dispatched)
    assert found.choices[0].answer.reasoning
    assert simulator.log[-1].seen["reasoning_blocks"] == 1
    forged = msgspec.structs.replace(answer.reasoning_blocks[0], text="Something else.")
    said = msgspec.structs.replace(said, reasoning_blocks=(forged,))
    with pytest.raises(Rejected) as caught:
        await provider.complete(call(messages=(*messages, said, result), **more), dispatched)
    assert "signature" in caught.value.provider_message


async def test_a_budget_in_a_loop_of_tools_without_thinking_is_no_error(
    simulator, reach, call, dispatched
):
    messages = (
        Message(role="user", content="Go"),
        Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments_json="{}"),)),
        Message(role="tool", tool_call_id="c", content="x"),
    )
    request = call(
        model="claude-haiku-4-5", messages=messages, reasoning_effort="low", output_tokens_max=4000
    )
    await (await reach()).complete(request, dispatched)
    assert "reasoning_budget" not in simulator.log[-1].seen


# --- usage --------------------------------------------------------------------------------------
async def test_what_is_written_to_the_cache_is_counted_by_its_life(
    simulator, reach, call, dispatched
):
    provider = await reach()
    messages = (
        Message(role="system", content=(TextPart(text="Long. " * 50, cache="1h"),)),
        Message(role="user", content=(TextPart(text="A page. " * 30, cache="5m"),)),
        Message(role="user", content="Well?"),
    )
    for model, share in (("fast", 0), ("cached", 50)):
        request = call(model=model, messages=messages)
        usage = (await provider.complete(request, dispatched)).usage
        stream = await provider.open_stream(request, dispatched)
        await read(stream)
        assert stream.usage == usage
        assert simulator.log[-1].seen["cache_marks"] == 2
        assert usage.cached_read == usage.prompt * share // 100
        assert usage.cached_read + usage.cached_write < usage.prompt
        assert usage.cached_write > usage.cached_write_1h > 0


@pytest.mark.parametrize("way", ["right", "twice", "every", "corrected", "over"])
async def test_the_last_usage_counts(simulator, reach, behave, dispatched, way):
    stream = await (await reach()).open_stream(behave(f"usage={way},tokens=9"), dispatched)
    await read(stream)
    assert stream.usage.completion == (207 if way == "over" else 9)


@pytest.mark.parametrize("way", ["none", "null", "early", "half", "zero"])
async def test_what_was_not_counted_is_not_known(simulator, reach, behave, dispatched, way):
    provider = await reach()
    stream = await provider.open_stream(behave(f"usage={way}"), dispatched)
    await read(stream)
    assert stream.ended
    if way in {"none", "null"}:
        assert stream.usage is None
    elif way == "zero":
        assert stream.usage == Usage(
            prompt=0, cached_read=0, cached_write=0, cached_write_1h=0, completion=0, reasoning=0
        )
    else:
        assert stream.usage.prompt == simulator.log[-1].prompt_tokens
        assert stream.usage.completion is None
    plain = await provider.complete(behave(f"usage={way}"), dispatched)
    assert (plain.usage is None) is (way in {"none", "null"})


# --- how it is written --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "behaviour",
    ["crlf", "comments", "crlf,comments,burst", "burst", "long_line=300000", "no_done",
     "ping_ms=1,delay_ms=2,tokens=5"],
)  # fmt: skip
async def test_the_way_of_writing_changes_nothing(simulator, reach, behave, dispatched, behaviour):
    stream = await (await reach()).open_stream(behave(f"say=Hello,{behaviour}"), dispatched)
    assert (await read(stream)).text == "Hello"
    assert stream.ended


async def test_refusals_stops_and_models_are_told(simulator, reach, behave, dispatched):
    provider = await reach()
    refused = await provider.complete(behave("refusal"), dispatched)
    assert refused.choices[0].finish_reason == "content_filter"
    stopping = behave("say=one two three", sampling=Sampling(stop=("zzz", " two")))
    plain = (await provider.complete(stopping, dispatched)).choices[0]
    assert (plain.answer.text, plain.finish_reason, plain.stop_sequence) == ("one", "stop", " two")
    streamed = await read(await provider.open_stream(stopping, dispatched))
    assert (streamed.text, streamed.finish, streamed.stop_sequence) == ("one", "stop", " two")
    other = await provider.complete(behave("as_model=other-2"), dispatched)
    assert other.model == "other-2"


# --- faults -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("behaviour", "kind", "texts"),
    [
        ("cut_after=headers", Truncated, 0),
        ("cut_after=5", Truncated, 5),
        ("cut_after=5,cut=fin", Truncated, 5),
        ("cut_after=5,cut=fin,cut_inside", Truncated, 5),
        ("end_after=5", Truncated, 5),
        ("error_after=5,status=529", Overloaded, 0),
        ("error_after=5", StreamError, 5),
        ("bad_json_after=5", Malformed, 5),
    ],
)
@pytest.mark.parametrize("way", ["", ",burst"])
async def test_a_fault_of_a_stream_comes_after_what_was_sent(
    simulator, reach, behave, dispatched, behaviour, kind, texts, way
):
    stream = (await reach()).open_stream(behave(behaviour + way), dispatched)
    told: list[str] = []

    async def run() -> None:
        async for deltas in await stream:
            told.extend(delta.text for delta in deltas)

    with pytest.raises(kind) as caught:
        await run()
    assert type(caught.value) is kind
    assert tokens.count_text("".join(told)) == texts
    if texts:
        assert stream.usage.prompt == simulator.log[-1].prompt_tokens
        assert stream.usage.completion is None


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        ("cut_after=headers", Truncated, None),
        ("bad_json_after=5", Malformed, None),
        ("status=400", Rejected, "invalid_request_error"),
        ("status=401", Misconfigured, "authentication_error"),
        ("status=402", Misconfigured, "billing_error"),
        ("status=404", Misconfigured, "not_found_error"),
        ("status=413", Rejected, "request_too_large"),
        ("status=500", Overloaded, "api_error"),
        ("status=529", Overloaded, "overloaded_error"),
    ],
)
async def test_a_fault_of_a_plain_answer(
    simulator, reach, behave, dispatched, behaviour, kind, code
):
    with pytest.raises(ProviderFault) as caught:
        await (await reach()).complete(behave(behaviour), dispatched)
    assert type(caught.value) is kind
    assert caught.value.code == code


async def test_nothing_that_was_answered_is_unreachable(simulator, reach, behave, dispatched):
    with pytest.raises(Unreachable):
        await (await reach()).complete(behave("cut_after=request"), dispatched)


async def test_retry_advice_is_passed_on(simulator, reach, behave, dispatched):
    with pytest.raises(RateLimited) as caught:
        await (await reach()).complete(behave("status=429,retry_after_ms=1500"), dispatched)
    assert (caught.value.retry_after_s, caught.value.code) == (1.5, "rate_limit_error")


async def test_a_provider_that_hangs_times_out(simulator, reach, behave, dispatched):
    provider = await reach(Timeouts(first_byte_s=0.1, between_bytes_s=0.1))
    with pytest.raises(TimedOut):
        await read(await provider.open_stream(behave("hang_after=3"), dispatched))
    assert (await last_record(simulator)).outcome == "cancelled"


async def test_what_cannot_be_said_is_never_sent(simulator, reach, call, dispatched):
    provider = await reach()
    with pytest.raises(FieldInvalid):
        provider.complete(call(reasoning_effort="extreme"), dispatched)
    assert (dispatched.count, simulator.log) == (0, ())


# --- cancelling ---------------------------------------------------------------------------------
async def test_a_cancelled_stream_is_told_as_it_was_sent(simulator, reach, behave):
    provider = await reach()
    call = behave("delay_ms=1,tokens=15")
    outcomes: list[str] = []
    async for stream, record in cancelled_at_random(provider, simulator, call):
        known = stream.usage is not None and stream.usage.completion is not None
        assert known == record.usage_sent
        outcomes.append(record.outcome)
    assert outcomes.count("cancelled") > 8
