"""Google's dialect against the simulator, over a socket: right answers, and each fault."""

import json
from collections.abc import AsyncIterator

import pytest
from provider_calls import KEY, make_call
from pydantic import SecretStr
from streamed import cancelled_at_random, last_record, read_choices

from omni_grpc.catalog import tokens
from omni_grpc.core.chat import (
    FilePart,
    ImagePart,
    Message,
    ResponseFormat,
    SafetySetting,
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
    UpstreamCall,
)
from omni_grpc.simulator import Simulator

WEATHER = Tool(
    name="get_weather",
    description="The weather of a place.",
    parameters_json='{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)
TIME = Tool(name="get_time", parameters_json='{"type": "object", "properties": {}}')
GEMINI = ProviderSpec(
    id="p",
    dialect="gemini",
    auth="header",
    auth_header="x-goog-api-key",
    key_env="P_KEY",
    bills_after_cancel=False,
)


async def providers_of(spec: ProviderSpec, settings: ProviderSettings) -> Providers:
    providers = Providers({"p": settings}, specs=(spec,))
    await providers.open()
    return providers


@pytest.fixture
async def gemini(simulator: Simulator) -> AsyncIterator[ChatProvider]:
    settings = ProviderSettings(base_url=f"{simulator.origin}/v1beta", api_key=SecretStr(KEY))
    providers = await providers_of(GEMINI, settings)
    yield providers.get("p")
    await providers.close()


def ask(behaviour: str = "", model: str = "fast", **more: object) -> UpstreamCall:
    """A call, refined by a behaviour that stands in its message."""
    text = f"Hi [sim {behaviour}]" if behaviour else "Hi"
    more.setdefault("messages", (Message(role="user", content=text),))
    return make_call(model=model, **more)


# --- plain and streamed say the same --------------------------------------------------------------
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
    "budget": {"model": "reasoner", "reasoning_budget": 9_000},
    "hidden": {"model": "reasoner"},
    "one_tool": {"tools": (WEATHER,), "tool_choice": ToolChoice(name="get_weather")},
    "parallel_tools": {
        "tools": (WEATHER, TIME),
        "tool_choice": ToolChoice(mode="required"),
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
    "json": {"response_format": ResponseFormat(kind="json_object")},
    "stop": {"sampling": Sampling(stop=("zzz",))},
    "short": {"output_tokens_max": 5},
    "cached": {"model": "cached"},
    "filter": {"model": "filter"},
    "blocked": {
        "model": "filter",
        "messages": (Message(role="user", content="Hi [sim tokens=0]"),),
    },
    "media": {
        "model": "vision",
        "messages": (
            Message(
                role="user",
                content=(
                    TextPart(text="Look"),
                    ImagePart(url="data:image/png;base64,AAAA"),
                    ImagePart(url="https://x/a.jpg"),
                    FilePart(file_data="data:application/pdf;base64,AAAA"),
                    FilePart(file_id="files/a", filename="a.pdf"),
                ),
            ),
        ),
    },
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_an_answer_is_the_same_plain_and_streamed(simulator, gemini, dispatched, name):
    request = ask(**REQUESTS[name])
    plain = await gemini.complete(request, dispatched)
    record = await last_record(simulator)
    stream = await gemini.open_stream(request, dispatched)
    streamed = await read_choices(stream)
    assert stream.ended
    assert stream.usage == plain.usage
    assert plain.usage is not None
    assert plain.usage.prompt == record.prompt_tokens
    assert plain.usage.completion == record.billed_completion_tokens
    assert (plain.usage.reasoning or 0) == record.reasoning_tokens
    assert (plain.usage.cached_read or 0) == record.cached_tokens
    assert (await last_record(simulator)).billed_completion_tokens == plain.usage.completion
    assert stream.model == plain.model == request.model
    assert sorted(streamed) == [choice.index for choice in plain.choices]
    for choice in plain.choices:
        told = streamed[choice.index]
        assert told.finish == choice.finish_reason
        assert told.text == (choice.answer.text or "")
        assert told.reasoning == (choice.answer.reasoning or "")
        assert [(call.name, call.arguments_json) for call in told.answer().tool_calls] == [
            (call.name, call.arguments_json) for call in choice.answer.tool_calls
        ]
        logprobs = choice.logprobs
        assert told.tokens == [token.token for token in (logprobs and logprobs.content) or ()]
    assert dispatched.count == 2
    _check_answer(name, plain, record)


def _check_answer(name, plain, record) -> None:
    choice = plain.choices[0]
    if name == "choices":
        assert len(plain.choices) == 3
        assert (record.seen["n"], record.seen["seed"]) == (3, 7)
    elif name == "system_and_history":
        assert record.seen["system"] == "Be brief."
    elif name == "logprobs":
        assert len(choice.logprobs.content[0].top_logprobs) == 2
    elif name in {"reasoning", "budget"}:
        assert choice.answer.reasoning
        assert plain.usage.reasoning > 0
    elif name == "hidden":
        assert choice.answer.reasoning is None
        assert plain.usage.reasoning == 24
    elif name in {"one_tool", "parallel_tools"}:
        assert choice.finish_reason == "tool_calls"
        assert len(choice.answer.tool_calls) == (2 if name == "parallel_tools" else 1)
        assert json.loads(choice.answer.tool_calls[0].arguments_json)["city"]
    elif name == "schema":
        assert json.loads(choice.answer.text)["name"]
    elif name == "short":
        assert (choice.finish_reason, plain.usage.completion) == ("length", 5)
    elif name == "cached":
        assert plain.usage.cached_read > 0
    elif name in {"filter", "blocked"}:
        assert choice.finish_reason == "content_filter"
    elif name == "media":
        assert plain.usage.prompt_image == 2 * tokens.IMAGE_TOKENS


async def test_every_setting_reaches_the_provider(simulator, gemini, dispatched):
    request = ask(
        tools=(WEATHER, Tool(name="strict", strict=True)),
        sampling=Sampling(
            temperature=0.25, top_p=0.5, top_k=7, frequency_penalty=0.5, presence_penalty=1.0,
            seed=3, stop=("x",), logprobs=True,
        ),
        safety=(SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="OFF"),),
        reasoning_budget=100,
        reasoning_summary="auto",
    )  # fmt: skip
    await gemini.complete(request, dispatched)
    assert simulator.log[-1].seen == {
        "tools": ["get_weather", "strict"],
        "strict_tools": 2,
        "safety_settings": 1,
        "reasoning_budget": 100,
        "reasoning_summary": "auto",
        "temperature": 0.25,
        "top_p": 0.5,
        "top_k": 7.0,
        "frequency_penalty": 0.5,
        "presence_penalty": 1.0,
        "seed": 3,
        "stop": ["x"],
        "logprobs": True,
    }
    assert simulator.log[-1].max_tokens == 100


# --- what goes back in the next turn --------------------------------------------------------------
@pytest.mark.parametrize("streams", [False, True])
async def test_the_signature_of_a_call_comes_back_to_its_part(
    simulator, gemini, dispatched, streams
):
    """The simulator verifies each signature against the part that it comes in."""
    question = Message(role="user", content="Call get_weather and call get_time.")
    request = ask(model="gemini-3-flash", messages=(question,), tools=(WEATHER, TIME))
    turn = await answer_of(gemini, request, dispatched, streams=streams)
    assert len(turn.reasoning_blocks) == 1
    results = tuple(
        Message(role="tool", tool_call_id=call.id, content=f"{call.name}!")
        for call in reversed(turn.tool_calls)
    )
    again = ask(model="gemini-3-flash", messages=(question, turn, *results), tools=(WEATHER, TIME))
    told = await gemini.complete(again, dispatched)
    assert told.choices[0].answer.text == "The tools answered: get_time! and get_weather!"
    assert simulator.log[-1].seen["reasoning_blocks"] == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_the_signature_of_a_text_comes_back_to_its_part(
    simulator, gemini, dispatched, streams
):
    question = Message(role="user", content="Hi")
    request = ask(model="reasoner", messages=(question,), reasoning_effort="low")
    turn = await answer_of(gemini, request, dispatched, streams=streams)
    assert turn.reasoning
    assert len(turn.reasoning_blocks) == 1
    await gemini.complete(ask(model="reasoner", messages=(question, turn, question)), dispatched)
    assert simulator.log[-1].seen["reasoning_blocks"] == 1


async def test_a_signature_that_was_changed_is_refused(simulator, gemini, dispatched):
    question = Message(role="user", content="Hi")
    request = ask(model="reasoner", messages=(question,), reasoning_effort="low")
    turn = await answer_of(gemini, request, dispatched, streams=False)
    changed = Message(
        role="assistant",
        content=(turn.content or "").upper(),
        reasoning_blocks=turn.reasoning_blocks,
    )
    with pytest.raises(Rejected, match="Corrupted thought signature"):
        await gemini.complete(
            ask(model="reasoner", messages=(question, changed, question)), dispatched
        )


async def test_calls_of_another_model_go_to_one_that_demands_signatures(
    simulator, gemini, dispatched
):
    request = REQUESTS["tool_results"] | {"model": "gemini-3-flash"}
    told = await gemini.complete(ask(**request), dispatched)
    assert told.choices[0].answer.text == "The tools answered: Rain."
    assert "reasoning_blocks" not in simulator.log[-1].seen


async def answer_of(gemini, request, dispatched, *, streams: bool) -> Message:
    if streams:
        return (await read_choices(await gemini.open_stream(request, dispatched)))[0].turn()
    answer = (await gemini.complete(request, dispatched)).choices[0].answer
    return Message(
        role="assistant",
        content=answer.text,
        reasoning=answer.reasoning,
        reasoning_blocks=answer.reasoning_blocks,
        tool_calls=answer.tool_calls,
    )


# --- usage ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["right", "twice", "every", "corrected"])
async def test_the_last_usage_counts(simulator, gemini, dispatched, way):
    stream = await gemini.open_stream(ask(f"usage={way},delay_ms=1,tokens=9"), dispatched)
    await read_choices(stream)
    record = await last_record(simulator)
    assert stream.usage.completion == record.completion_tokens == 9


@pytest.mark.parametrize(
    ("way", "usage"),
    [("none", None), ("null", None), ("zero", Usage(prompt=0, completion=0))],
)
async def test_a_zero_is_a_zero_and_nothing_is_nothing(gemini, dispatched, way, usage):
    stream = await gemini.open_stream(ask(f"usage={way}"), dispatched)
    await read_choices(stream)
    assert stream.usage == usage
    assert (await gemini.complete(ask(f"usage={way}"), dispatched)).usage == usage


@pytest.mark.parametrize("way", ["half", "early"])
async def test_usage_that_does_not_cover_the_answer_counts_the_prompt_alone(
    simulator, gemini, dispatched, way
):
    stream = await gemini.open_stream(ask(f"usage={way},tokens=9"), dispatched)
    await read_choices(stream)
    assert stream.ended
    assert stream.usage.prompt == (await last_record(simulator)).prompt_tokens
    assert stream.usage.completion is None


async def test_a_stream_that_was_cut_knows_what_came_until_then(gemini, dispatched):
    stream = await gemini.open_stream(ask("cut_after=5"), dispatched)
    with pytest.raises(Truncated):
        await read_choices(stream)
    assert stream.usage.completion == 5
    assert not stream.ended


# --- how it is written ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "behaviour", ["crlf", "comments", "crlf,comments,burst", "burst", "long_line=300000"]
)
async def test_the_way_of_writing_changes_nothing(gemini, dispatched, behaviour):
    stream = await gemini.open_stream(ask(f"say=Hello%20world,{behaviour}"), dispatched)
    assert (await read_choices(stream))[0].text == "Hello world"
    assert stream.ended


# --- faults ---------------------------------------------------------------------------------------
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
async def test_a_fault_of_a_stream_comes_after_what_was_sent(
    gemini, dispatched, behaviour, kind, texts, way
):
    told: list[str] = []

    async def run() -> None:
        async for deltas in await gemini.open_stream(ask(behaviour + way), dispatched):
            told.extend(delta.text for delta in deltas)

    with pytest.raises(kind) as caught:
        await run()
    assert type(caught.value) is kind
    assert caught.value.dispatched is True
    assert tokens.count_text("".join(told)) == texts


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        ("cut_after=request", Unreachable, None),
        ("cut_after=5", Truncated, None),
        ("bad_json_after=5", Malformed, None),
        ("status=400", Rejected, "INVALID_ARGUMENT"),
        ("status=401", Misconfigured, "UNAUTHENTICATED"),
        ("status=404", Misconfigured, "NOT_FOUND"),
        ("status=503", Overloaded, "UNAVAILABLE"),
    ],
)
async def test_a_fault_of_a_plain_answer(gemini, dispatched, behaviour, kind, code):
    with pytest.raises(ProviderFault) as caught:
        await gemini.complete(ask(behaviour), dispatched)
    assert type(caught.value) is kind
    assert caught.value.code == code


async def test_retry_advice_is_passed_on(gemini, dispatched):
    for behaviour, seconds in (("status=429", 2.0), ("status=429,retry_after_ms=1500", 1.5)):
        with pytest.raises(RateLimited) as caught:
            await gemini.complete(ask(behaviour), dispatched)
        assert caught.value.retry_after_s == seconds


async def test_a_wrong_key_is_not_the_callers_fault(simulator, dispatched):
    wrong = ProviderSettings(base_url=f"{simulator.origin}/v1beta", api_key=SecretStr("wrong"))
    providers = await providers_of(GEMINI, wrong)
    with pytest.raises(Misconfigured) as caught:
        await providers.get("p").complete(ask(), dispatched)
    assert (caught.value.status, caught.value.code) == (400, "API_KEY_INVALID")
    await providers.close()


async def test_a_provider_that_hangs_times_out(simulator, dispatched):
    settings = ProviderSettings(base_url=f"{simulator.origin}/v1beta", api_key=SecretStr(KEY))
    timeouts = Timeouts(first_byte_s=0.1, between_bytes_s=0.1)
    spec = ProviderSpec(
        id="p", dialect="gemini", auth="header", auth_header="x-goog-api-key", key_env="P_KEY",
        bills_after_cancel=False, timeouts=timeouts,
    )  # fmt: skip
    providers = await providers_of(spec, settings)
    for behaviour, wait in (
        ("hang_after=request", "first_byte"),
        ("hang_after=3", "between_bytes"),
    ):
        with pytest.raises(TimedOut) as caught:
            await read_choices(await providers.get("p").open_stream(ask(behaviour), dispatched))
        assert caught.value.wait == wait
        assert (await last_record(simulator)).outcome == "cancelled"
    await providers.close()


async def test_a_cancelled_stream_is_told_as_it_was_sent(simulator, gemini):
    call = ask("delay_ms=1,tokens=15")
    outcomes: list[str] = []
    async for stream, record in cancelled_at_random(gemini, simulator, call):
        if sent := record.completion_tokens:
            assert stream.usage.completion == sent, "each event tells the usage so far"
        outcomes.append(record.outcome)
    assert outcomes.count("cancelled") > 5


# --- what it cannot do ----------------------------------------------------------------------------
def test_what_cannot_be_carried_is_refused_by_name():
    settings = ProviderSettings(base_url="http://127.0.0.1:9/v1beta", api_key=SecretStr(KEY))
    providers = Providers({"p": settings}, specs=(GEMINI,))
    for more, field in (
        ({"tools": (WEATHER,), "parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"sampling": Sampling(logit_bias={"1": 5.0})}, "logit_bias"),
        (
            {"messages": (Message(role="user", content=(TextPart(text="a", cache="5m"),)),)},
            "messages[0].content[0].cache_control",
        ),
    ):
        refused = providers.refusal("p", ask(**more).request)
        assert refused is not None
        assert refused[1] == field
