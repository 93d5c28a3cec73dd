"""The dialect against a simulator that checks signatures: right answers, and each fault."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from streamed import cancelled_at_random, last_record, read

from omni_grpc.catalog import tokens
from omni_grpc.core.chat import (
    FilePart,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    ChatProvider,
    Malformed,
    Misconfigured,
    Overloaded,
    ProviderFault,
    Providers,
    ProviderSettings,
    ProviderSpec,
    RateLimited,
    Rejected,
    StreamError,
    TimedOut,
    Timeouts,
    Truncated,
    Unreachable,
)
from omni_grpc.simulator import Simulator

KEY = "AKIDEXAMPLE"
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
WEATHER = Tool(
    name="get_weather",
    description="The weather of a place.",
    parameters_json='{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)
TIME = Tool(name="get_time", parameters_json='{"type": "object", "properties": {}}')


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(key=KEY) as simulator:
        yield simulator


@pytest.fixture
async def client(simulator):
    """Makes a client of the simulator, as the settings make one."""
    opened: list[Providers] = []

    async def client(timeouts: Timeouts | None = None, **more: object) -> ChatProvider:
        spec = ProviderSpec(
            id="p",
            dialect="bedrock",
            auth="aws",
            variables={"region": "R", "access_key": "A", "secret_key": "S"},
            timeouts=timeouts or Timeouts(),
            bills_after_cancel=bool(more.get("bills_after_cancel")),
        )
        values = {"region": "eu-west-1", "access_key": KEY, "secret_key": KEY}
        given = ProviderSettings(
            base_url=simulator.origin,
            variables={name: SecretStr(value) for name, value in values.items()},
        )
        providers = Providers({"p": given}, specs=(spec,))
        await providers.open()
        opened.append(providers)
        return providers.get("p")

    yield client
    for providers in opened:
        await providers.close()


@pytest.fixture
def behave(call):
    """A call of the model `fast`, refined by a behaviour."""

    def behave(behaviour: str = "", **more: object):
        messages = (Message(role="user", content=f"Hi [sim {behaviour}]"),)
        return call(**{"model": "fast", "messages": messages, **more})

    return behave


# --- right answers ------------------------------------------------------------------------------
def said(*texts: str) -> dict:
    return {"messages": tuple(Message(role="user", content=text) for text in texts)}


REQUESTS: dict[str, dict] = {
    "plain": {},
    "system": {"messages": (Message(role="system", content="Be brief."), *said("Hi")["messages"])},
    "one_tool": {"tools": (WEATHER,), "tool_choice": ToolChoice(name="get_weather")},
    "parallel_tools": {
        "tools": (WEATHER, TIME),
        **said("call get_weather and call get_time"),
    },
    "after_tools": {
        "tools": (WEATHER,),
        "messages": (
            Message(role="user", content="The weather?"),
            Message(
                role="assistant",
                tool_calls=(ToolCall(id="c1", name="get_weather", arguments_json='{"city":"X"}'),),
            ),
            Message(role="tool", tool_call_id="c1", content="Rain."),
        ),
    },
    "reasoning": {
        "model": CLAUDE,
        "reasoning_effort": "high",
        "output_tokens_max": 4_000,
        **said("Hi [sim reasoning=9]"),
    },
    "schema": {
        "response_format": ResponseFormat(
            kind="json_schema",
            name="city",
            schema_json='{"type":"object","properties":{"name":{"type":"string"}},'
            '"required":["name"],"additionalProperties":false}',
        )
    },
    "media": {
        "model": "vision",
        "messages": (
            Message(
                role="user",
                content=(
                    TextPart(text="What is this?", cache="5m"),
                    ImagePart(url="data:image/png;base64,AAAA"),
                    FilePart(file_data="data:application/pdf;base64,AAAA", filename="a_b.pdf"),
                ),
            ),
        ),
    },
    "settings": {
        "model": CLAUDE,
        "sampling": Sampling(temperature=0.5, top_p=0.9, top_k=5, stop=("zzz",)),
    },
    "short": {"output_tokens_max": 5},
    "cached": {"model": "cached"},
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_an_answer_is_the_same_plain_and_streamed(simulator, client, call, dispatched, name):
    provider = await client()
    request = call(**{"model": "fast", **REQUESTS[name]})
    plain = await provider.complete(request, dispatched)
    record = await last_record(simulator)
    stream = await provider.open_stream(request, dispatched)
    streamed = await read(stream)
    (choice,) = plain.choices
    assert stream.ended
    assert plain.usage is not None
    assert stream.usage == plain.usage
    assert plain.usage.prompt == record.prompt_tokens
    assert plain.usage.completion == record.completion_tokens
    assert plain.usage.cached_read == record.cached_tokens
    assert streamed.finish == choice.finish_reason
    assert streamed.text == (choice.answer.text or "")
    assert streamed.reasoning == (choice.answer.reasoning or "")
    assert streamed.blocks == choice.answer.reasoning_blocks
    assert [call[1:] for call in streamed.calls.values()] == [
        [call.name, call.arguments_json] for call in choice.answer.tool_calls
    ]
    _check_answer(name, plain, record)


def _check_answer(name, plain, record) -> None:
    (choice,) = plain.choices
    if name == "system":
        assert record.seen["system"] == "Be brief."
    elif name in {"one_tool", "parallel_tools"}:
        assert choice.finish_reason == "tool_calls"
        assert len(choice.answer.tool_calls) == (2 if name == "parallel_tools" else 1)
        assert json.loads(choice.answer.tool_calls[0].arguments_json)["city"]
    elif name == "after_tools":
        assert choice.answer.text == "The tools answered: Rain."
    elif name == "reasoning":
        assert record.seen == {"reasoning_budget": 3_200}
        assert choice.answer.reasoning_blocks[0].signature
    elif name == "schema":
        assert json.loads(choice.answer.text)["name"]
    elif name == "media":
        assert record.seen == {"images": 1, "files": 1, "cache_marks": 1}
    elif name == "settings":
        assert record.seen == {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["zzz"]}
    elif name == "short":
        assert (choice.finish_reason, plain.usage.completion) == ("length", 5)
    elif name == "cached":
        assert plain.usage.cached_read > 0


@pytest.mark.parametrize("way", ["right", "twice", "every"])
async def test_the_usage_counts(simulator, client, behave, dispatched, way):
    provider = await client()
    stream = await provider.open_stream(behave(f"usage={way},delay_ms=1,tokens=9"), dispatched)
    await read(stream)
    record = await last_record(simulator)
    assert stream.usage.completion == record.completion_tokens == 9


async def test_nothing_is_nothing_and_half_is_half(client, behave, dispatched):
    provider = await client()
    for way, told in (
        ("none", None),
        ("null", None),
        ("zero", Usage(prompt=0, cached_read=0, cached_write=0, completion=0)),
    ):
        stream = await provider.open_stream(behave(f"usage={way}"), dispatched)
        await read(stream)
        assert stream.usage == told
        assert stream.ended
        assert (await provider.complete(behave(f"usage={way}"), dispatched)).usage == told
    stream = await provider.open_stream(behave("usage=early"), dispatched)
    await read(stream)
    assert stream.usage.prompt > 0
    assert stream.usage.completion is None


@pytest.mark.parametrize("way", ["long_line=300000", "burst", "delay_ms=1"])
async def test_the_way_of_writing_changes_nothing(client, behave, dispatched, way):
    provider = await client()
    stream = await provider.open_stream(behave(f"say=One%20two%20three.,{way}"), dispatched)
    assert (await read(stream)).text == "One two three."


# --- faults -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("behaviour", "kind", "texts"),
    [
        ("cut_after=request", Unreachable, 0),
        ("cut_after=headers", Truncated, 0),
        ("cut_after=5", Truncated, 5),
        ("cut_after=5,cut=fin", Truncated, 5),
        ("cut_after=5,cut=fin,cut_inside", Truncated, 5),
        ("end_after=5", Truncated, 5),
        ("error_after=5", StreamError, 5),
        ("error_after=headers", Overloaded, 0),
        ("bad_json_after=5", Malformed, 5),
        ("status=500", Overloaded, 0),
        ("status=400", Rejected, 0),
        ("status=403", Misconfigured, 0),
        ("status=408", Overloaded, 0),
        ("status=429", RateLimited, 0),
        ("status=503", Overloaded, 0),
    ],
)
async def test_a_fault_of_a_stream_comes_after_what_was_sent(
    client, behave, dispatched, behaviour, kind, texts
):
    provider = await client()
    told: list[str] = []

    async def run() -> None:
        async for deltas in await provider.open_stream(behave(behaviour), dispatched):
            told.extend(delta.text for delta in deltas)

    with pytest.raises(ProviderFault) as caught:
        await run()
    assert type(caught.value) is kind
    assert caught.value.dispatched is True
    assert tokens.count_text("".join(told)) == texts


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("cut_after=request", Unreachable),
        ("cut_after=5", Truncated),
        ("bad_json_after=5", Malformed),
        ("status=400", Rejected),
        ("status=429", RateLimited),
        ("status=503", Overloaded),
    ],
)
async def test_a_fault_of_a_plain_answer(client, behave, dispatched, behaviour, kind):
    provider = await client()
    with pytest.raises(ProviderFault) as caught:
        await provider.complete(behave(behaviour), dispatched)
    assert type(caught.value) is kind


async def test_the_providers_own_words_are_told(client, call, dispatched):
    provider = await client()
    with pytest.raises(Rejected) as caught:
        await provider.complete(call(model="fast", sampling=Sampling(temperature=1.5)), dispatched)
    assert "temperature" in caught.value.provider_message


async def test_a_provider_that_falls_silent_times_out(simulator, client, behave, dispatched):
    provider = await client(Timeouts(first_byte_s=5, between_bytes_s=0.2))
    with pytest.raises(TimedOut) as caught:
        await read(await provider.open_stream(behave("hang_after=3"), dispatched))
    assert caught.value.wait == "between_bytes"
    assert (await last_record(simulator)).outcome == "cancelled"


# --- cancelling ---------------------------------------------------------------------------------
async def test_a_cancelled_stream_is_told_as_it_was_sent(simulator, client, behave):
    provider = await client()
    call = behave("delay_ms=1,tokens=15")
    outcomes: list[str] = []
    async for stream, record in cancelled_at_random(provider, simulator, call):
        assert (stream.usage is not None) == record.usage_sent
        outcomes.append(record.outcome)
    assert outcomes.count("cancelled") > 5


async def test_a_cancelled_stream_is_read_to_its_usage_where_it_bills_on(
    simulator, client, behave, dispatched
):
    provider = await client(bills_after_cancel=True)
    stream = provider.open_stream(behave("delay_ms=5,tokens=20,bills_on"), dispatched)

    async def run() -> None:
        async for _ in await stream:
            pass

    task = asyncio.ensure_future(run())
    while not (simulator.log and simulator.log[-1].completion_tokens > 3):
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait({task})
    async for _ in stream.drain():
        pass
    assert stream.ended
    assert stream.usage.completion == (await last_record(simulator)).billed_completion_tokens == 20
