"""The dialect `cohere` against the simulator over a socket: answers, faults, cancelling."""

import json

import msgspec
import pytest
from provider_calls import KEY, make_call, make_spec
from pydantic import SecretStr
from streamed import cancelled_at_random, last_record, nothing, read

from omni_grpc.catalog import tokens
from omni_grpc.core.chat import (
    ImagePart,
    Message,
    RefusalPart,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)
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

WEATHER = Tool(
    name="get_weather",
    description="The weather of a place.",
    parameters_json='{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],'
    '"additionalProperties":false}',
)
CLOCK = Tool(name="get_time")
CALL_BOTH = (Message(role="user", content="Call get_weather, then call get_time."),)


@pytest.fixture
async def connect(simulator):
    """Makes a client of the simulator that speaks this dialect."""
    opened: list[Providers] = []

    async def connect(timeouts: Timeouts | None = None) -> ChatProvider:
        spec = msgspec.structs.replace(make_spec(timeouts), dialect="cohere")
        settings = {"p": ProviderSettings(base_url=simulator.origin, api_key=SecretStr(KEY))}
        providers = Providers(settings, specs=(spec,))
        await providers.open()
        opened.append(providers)
        return providers.get("p")

    yield connect
    for providers in opened:
        await providers.close()


def behave(behaviour: str = "", **more: object):
    """A call of the model `fast`, refined by a behaviour."""
    said = (Message(role="user", content=f"Hi [sim {behaviour}]"),)
    return make_call(**{"model": "fast", "messages": said, **more})


# --- plain and streamed say the same ------------------------------------------------------------
REQUESTS = {
    "text": {},
    "history": {
        "messages": (
            Message(role="developer", content="Be brief."),
            Message(role="user", content="Hi"),
            Message(role="assistant", content=(RefusalPart(refusal="No."),)),
            Message(role="user", content=(TextPart(text="And?"),)),
        )
    },
    "image": {
        "model": "vision",
        "messages": (
            Message(role="user", content=(ImagePart(url="https://x/a.png", detail="low"),)),
        ),
    },
    "logprobs": {"sampling": Sampling(logprobs=True)},
    "settings": {"sampling": Sampling(temperature=0.5, top_p=1, top_k=3, seed=7)},
    "stop": {"sampling": Sampling(stop=("e", "zzz"))},
    "thinking": {"model": "reasoner", "reasoning_effort": "high"},
    "no_thinking": {"model": "reasoner", "reasoning_effort": "none"},
    "one_tool": {"tools": (WEATHER, CLOCK), "tool_choice": ToolChoice(name="get_weather")},
    "parallel_tools": {
        "tools": (WEATHER, CLOCK), "tool_choice": ToolChoice(mode="required"),
        "messages": CALL_BOTH,
    },
    "planned_tools": {
        "model": "reasoner", "tools": (WEATHER, CLOCK), "messages": CALL_BOTH,
    },
    "schema": {
        "response_format": ResponseFormat(
            kind="json_schema", name="city", strict=True, schema_json=WEATHER.parameters_json
        )
    },
    "json": {"response_format": ResponseFormat(kind="json_object")},
    "short": {"output_tokens_max": 5},
    "cached": {"model": "cached"},
    "filtered": {"model": "filter"},
    "empty": {"model": "empty"},
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
async def test_an_answer_is_the_same_plain_and_streamed(simulator, connect, name):
    provider = await connect()
    request = make_call(**{"model": "fast", **REQUESTS[name]})
    plain = await provider.complete(request, nothing)
    record = await last_record(simulator)
    stream = await provider.open_stream(request, nothing)
    told = await read(stream)
    assert stream.ended
    assert stream.usage == plain.usage
    assert (plain.usage.prompt, plain.usage.cached_read) == (
        record.billed_prompt_tokens, record.cached_tokens,
    )  # fmt: skip
    assert plain.usage.completion == record.billed_completion_tokens
    (choice,) = plain.choices
    answer = choice.answer
    assert told.finish == choice.finish_reason
    assert (told.text, told.reasoning) == (answer.text or "", answer.reasoning or "")
    assert [one[1:] for one in told.calls.values()] == [
        [call.name, call.arguments_json] for call in answer.tool_calls
    ]
    logprobs = choice.logprobs
    assert told.tokens == [token.token for token in (logprobs and logprobs.content) or ()]
    assert tuple(told.blocks) == answer.reasoning_blocks
    _check_answer(name, plain, record)


def _check_answer(name, plain, record) -> None:
    choice, answer = plain.choices[0], plain.choices[0].answer
    match name:
        case "history":
            assert record.seen == {"system": "Be brief."}
        case "image":
            assert record.seen == {"image_urls": 1}
        case "logprobs":
            assert "".join(token.token for token in choice.logprobs.content) == answer.text
        case "settings":
            assert record.seen == {"temperature": 0.5, "top_p": 0.99, "top_k": 3, "seed": 7}
        case "stop":
            assert (choice.finish_reason, "e" in answer.text) == ("stop", False)
        case "thinking":
            assert tokens.count_text(answer.reasoning) == record.reasoning_tokens == 24
            assert [block.id for block in answer.reasoning_blocks] == [None]
        case "no_thinking":
            assert answer.reasoning is None
        case "one_tool" | "parallel_tools" | "planned_tools":
            assert choice.finish_reason == "tool_calls"
            assert len(answer.tool_calls) == (1 if name == "one_tool" else 2)
            assert json.loads(answer.tool_calls[0].arguments_json)["city"]
            plans = ["tool_plan"] if name == "planned_tools" else []
            assert [block.id for block in answer.reasoning_blocks] == plans
        case "schema":
            assert json.loads(answer.text)["city"]
        case "short":
            assert (choice.finish_reason, plain.usage.completion) == ("length", 5)
        case "cached":
            assert plain.usage.cached_read > 0
        case "filtered":
            assert choice.finish_reason == "content_filter"


@pytest.mark.parametrize("effort", ["high", None])
async def test_reasoning_and_results_go_back(simulator, connect, effort):
    provider = await connect()
    first = make_call(
        model="reasoner",
        reasoning_effort=effort,
        tools=(WEATHER,),
        messages=(Message(role="user", content="call get_weather"),),
    )
    answer = (await provider.complete(first, nothing)).choices[0].answer
    turn = Message(
        role="assistant",
        tool_calls=answer.tool_calls,
        reasoning_blocks=answer.reasoning_blocks,
    )
    result = Message(role="tool", tool_call_id=answer.tool_calls[0].id, content="Rain.")
    second = make_call(model="reasoner", messages=(*first.request.messages, turn, result))
    told = await provider.complete(second, nothing)
    assert told.choices[0].answer.text == "The tools answered: Rain."
    assert simulator.log[-1].seen == {"reasoning_blocks": 1, "tool_results": 1}


# --- usage, and how it is written ---------------------------------------------------------------
async def test_no_usage_is_none(connect):
    provider = await connect()
    stream = await provider.open_stream(behave("usage=none"), nothing)
    await read(stream)
    assert stream.ended
    assert stream.usage is None
    assert (await provider.complete(behave("usage=null"), nothing)).usage is None


@pytest.mark.parametrize("behaviour", ["crlf", "comments", "burst", "long_line=300000", "no_done"])
async def test_the_way_of_writing_changes_nothing(connect, behaviour):
    provider = await connect()
    whole = await provider.complete(behave(behaviour), nothing)
    stream = await provider.open_stream(behave(behaviour), nothing)
    assert (await read(stream)).text == whole.choices[0].answer.text
    assert stream.ended


# --- faults -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("behaviour", "kind", "texts"),
    [
        ("cut_after=request", Unreachable, 0),
        ("cut_after=headers", Truncated, 0),
        ("cut_after=5", Truncated, 5),
        ("cut_after=5,cut=fin,cut_inside", Truncated, 5),
        ("end_after=5", Truncated, 5),
        ("error_after=5,status=500", Overloaded, 0),
        ("error_after=5", StreamError, 5),
        ("bad_json_after=5", Malformed, 5),
    ],
)
@pytest.mark.parametrize("way", ["", ",burst"])
async def test_a_fault_of_a_stream_comes_after_what_was_sent(connect, behaviour, kind, texts, way):
    provider = await connect()
    told: list[str] = []

    async def run() -> None:
        async for deltas in await provider.open_stream(behave(behaviour + way), nothing):
            told.extend(delta.text for delta in deltas)

    with pytest.raises(kind) as caught:
        await run()
    assert type(caught.value) is kind
    assert tokens.count_text("".join(told)) == texts


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("cut_after=5", Truncated),
        ("bad_json_after=5", Malformed),
        ("status=400", Rejected),
        ("status=498", Rejected),
        ("status=401", Misconfigured),
        ("status=429", RateLimited),
        ("status=429,error_code=insufficient_quota", Misconfigured),
        ("status=503", Overloaded),
    ],
)
async def test_a_fault_of_a_plain_answer(connect, behaviour, kind):
    provider = await connect()
    with pytest.raises(ProviderFault) as caught:
        await provider.complete(behave(behaviour), nothing)
    assert type(caught.value) is kind


async def test_a_value_that_cohere_does_not_take_is_its_to_refuse(connect):
    provider = await connect()
    with pytest.raises(Rejected, match="frequency_penalty"):
        await provider.complete(behave(sampling=Sampling(frequency_penalty=1.5)), nothing)


async def test_a_provider_that_hangs_times_out(simulator, connect):
    provider = await connect(Timeouts(first_byte_s=1, between_bytes_s=0.1))
    with pytest.raises(TimedOut):
        await read(await provider.open_stream(behave("hang_after=3"), nothing))
    assert (await last_record(simulator)).outcome == "cancelled"


async def test_a_cancelled_stream_is_told_as_it_was_sent(simulator, connect):
    provider = await connect()
    call = behave("delay_ms=1,tokens=15")
    outcomes: list[str] = []
    async for stream, record in cancelled_at_random(provider, simulator, call):
        assert (stream.usage is not None) == record.usage_sent
        outcomes.append(record.outcome)
    assert outcomes.count("cancelled") > 5
