"""The official SDK, pointed straight at the simulator."""

import asyncio
import json
from enum import Enum
from typing import Any

import jsonschema
import openai
import pydantic
import pytest
from sim_raw import HELLO, answer_tokens

from omni_grpc.catalog.tokens import count_answer, count_text
from omni_grpc.simulator import SIMULATED_MODELS, Simulator

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
                "unit": {"enum": ["c", "f"]},
            },
            "required": ["city", "days", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "get_time"}}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def test_a_plain_answer_reports_what_it_has(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="sim/fast", messages=HELLO)
    text = answer.choices[0].message.content
    assert answer.usage is not None
    assert text is not None
    assert answer.model == "sim/fast"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == count_text(text) == 40
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 40
    assert answer.system_fingerprint
    assert answer._request_id


def test_the_synchronous_client_works_too(simulator_url: str) -> None:
    with openai.OpenAI(base_url=simulator_url, api_key="unused", max_retries=0) as client:
        plain = client.chat.completions.create(model="echo", messages=HELLO)
        assert plain.choices[0].message.content == HELLO[0]["content"]
        with client.chat.completions.create(model="echo", messages=HELLO, stream=True) as stream:
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == HELLO[0]["content"]
        assert len(client.models.list().data) == len(SIMULATED_MODELS)


@pytest.mark.parametrize("model", ["fast", "echo", "reasoner", "refusal", "burst", "empty"])
async def test_stream_and_plain_answer_are_the_same(client: openai.AsyncOpenAI, model: str) -> None:
    plain = await client.chat.completions.create(model=model, messages=HELLO, n=2)
    async with client.chat.completions.stream(
        model=model, messages=HELLO, n=2, stream_options={"include_usage": True}
    ) as stream:
        streamed = await stream.get_final_completion()
    assert streamed.usage == plain.usage
    for one, other in zip(streamed.choices, plain.choices, strict=True):
        assert (one.message.content or None) == (other.message.content or None)
        assert one.message.refusal == other.message.refusal
        assert one.finish_reason == other.finish_reason


async def test_the_demo_says_that_it_is_simulated_and_names_the_topic(
    client: openai.AsyncOpenAI,
) -> None:
    stream = await client.chat.completions.create(
        model="sim/demo",
        messages=user("Why do Kubernetes pods restart?"),
        stream=True,
        extra_headers={"x-sim": "first_ms=0,delay_ms=0"},
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text.startswith("This answer was made by the simulator")
    assert "Kubernetes pods restart" in text


async def test_equal_requests_get_equal_answers(client: openai.AsyncOpenAI) -> None:
    async def ask(model: str, text: str, seed: int | None = None) -> str | None:
        answer = await client.chat.completions.create(model=model, messages=user(text), seed=seed)
        return answer.choices[0].message.content

    first = await ask("fast", "a")
    assert first == await ask("fast", "a") == await ask("sim/fast", "a")
    others = [await ask("fast", "b"), await ask("burst", "a"), await ask("fast", "a", 7)]
    assert len({first, *others}) == 4
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    same = await client.chat.completions.create(model="fast", messages=parts)
    assert same.choices[0].message.content == first


async def test_max_tokens_cuts_and_says_so(client: openai.AsyncOpenAI) -> None:
    for limit in ({"max_tokens": 7}, {"max_completion_tokens": 7}):
        answer = await client.chat.completions.create(model="fast", messages=HELLO, **limit)
        text = answer.choices[0].message.content
        assert text is not None
        assert answer.usage is not None
        assert answer.choices[0].finish_reason == "length"
        assert count_text(text) == answer.usage.completion_tokens == 7


async def test_a_stop_string_ends_the_answer_before_itself(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="fast", messages=HELLO)
    text = whole.choices[0].message.content or ""
    words: list[Any] = [text[60:70], text[33:35], [text[80:90], text[20:25], "no such text"]]
    for stop, first in zip(words, (words[0], words[1], text[20:25]), strict=True):
        answer = await client.chat.completions.create(model="fast", messages=HELLO, stop=stop)
        cut = answer.choices[0].message.content or ""
        assert cut == text[: text.find(first)]
        assert answer.usage is not None
        assert answer.usage.completion_tokens == count_text(cut)
        assert answer.choices[0].finish_reason == "stop"


async def test_several_choices_differ_and_all_count(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="fast", messages=HELLO, n=3)
    texts = [choice.message.content or "" for choice in answer.choices]
    assert len(set(texts)) == 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens == count_answer(texts) == 120


async def test_logprobs_name_every_token(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="fast", messages=HELLO, logprobs=True, top_logprobs=3
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert "".join(entry.token for entry in logprobs.content) == answer.choices[0].message.content
    for entry in logprobs.content:
        assert entry.logprob <= 0
        assert bytes(entry.bytes or []).decode() == entry.token
        tops = [top.logprob for top in entry.top_logprobs]
        assert len(tops) == 3
        assert tops == sorted(tops, reverse=True)
    stream = await client.chat.completions.create(
        model="fast", messages=HELLO, logprobs=True, stream=True
    )
    streamed = [c.choices[0].logprobs async for c in stream if c.choices[0].delta.content]
    assert [lp.content[0].token for lp in streamed if lp and lp.content] == [
        entry.token for entry in logprobs.content
    ]


async def test_the_user_can_have_tools_called(client: openai.AsyncOpenAI) -> None:
    messages = user("Please call get_weather, call get_time, and call `get_weather` again")
    tools = [WEATHER, CLOCK]
    plain = await client.chat.completions.create(model="fast", messages=messages, tools=tools)
    calls = plain.choices[0].message.tool_calls or []
    assert plain.choices[0].finish_reason == "tool_calls"
    assert plain.choices[0].message.content is None
    assert [c.function.name for c in calls] == ["get_weather", "get_time", "get_weather"]
    assert len({call.id for call in calls}) == 3
    for call in (calls[0], calls[2]):
        jsonschema.validate(json.loads(call.function.arguments), WEATHER["function"]["parameters"])
    assert json.loads(calls[1].function.arguments) == {}
    assert plain.usage is not None
    assert plain.usage.completion_tokens == count_answer(
        text for call in calls for text in (call.function.name, call.function.arguments)
    )
    one = await client.chat.completions.create(
        model="fast", messages=messages, tools=tools, parallel_tool_calls=False
    )
    assert len(one.choices[0].message.tool_calls or []) == 1


async def test_tool_calls_stream_in_fragments(client: openai.AsyncOpenAI) -> None:
    messages = user("call get_weather and call get_time")
    asked: Any = {"model": "fast", "messages": messages, "tools": [WEATHER, CLOCK]}
    chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **asked)]
    fragments = [f for c in chunks for f in c.choices[0].delta.tool_calls or ()]
    openers = [fragment for fragment in fragments if fragment.id]
    assert [(f.index, f.type, f.function and f.function.name) for f in openers] == [
        (0, "function", "get_weather"),
        (1, "function", "get_time"),
    ]
    assert len(fragments) > 8
    assert all(f.function and not f.function.name for f in fragments if not f.id)
    sent = 0
    for position, chunk in enumerate(chunks):
        sent += bool(chunk.choices[0].delta.tool_calls)
        so_far = [c.model_dump(exclude_unset=True) for c in chunks[: position + 1]]
        assert answer_tokens(so_far) >= sent
    async with client.chat.completions.stream(**asked) as stream:
        final = await stream.get_final_completion()
    plain = await client.chat.completions.create(**asked)
    one, other = (a.choices[0].message.tool_calls or [] for a in (final, plain))
    assert [call.function.arguments for call in one] == [call.function.arguments for call in other]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("required", ["get_weather"]),
        ({"type": "function", "function": {"name": "get_time"}}, ["get_time"]),
        ("none", []),
        ("auto", []),
    ],
)
async def test_tool_choice_is_obeyed(
    client: openai.AsyncOpenAI, choice: Any, called: list[str]
) -> None:
    answer = await client.chat.completions.create(
        model="fast", messages=user("What now?"), tools=[WEATHER, CLOCK], tool_choice=choice
    )
    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == called


async def test_tool_results_are_answered_in_words(client: openai.AsyncOpenAI) -> None:
    messages = user("call get_time")
    first = await client.chat.completions.create(model="fast", messages=messages, tools=[CLOCK])
    said = first.choices[0].message
    assert said.tool_calls
    messages.append(said.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "12:30"})
    second = await client.chat.completions.create(model="fast", messages=messages, tools=[CLOCK])
    assert second.choices[0].message.content == "The tools answered: 12:30"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(pydantic.BaseModel):
    name: str
    colour: Colour
    weight: float | None


class Machine(pydantic.BaseModel):
    title: str
    parts: list[Part]
    children: list["Machine"]
    works: bool


async def test_structured_output_parses_into_pydantic(client: openai.AsyncOpenAI) -> None:
    for seed in range(8):
        answer = await client.chat.completions.parse(
            model="fast", messages=HELLO, response_format=Machine, seed=seed
        )
        assert isinstance(answer.choices[0].message.parsed, Machine)


async def test_json_mode_answers_an_object(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="fast", messages=user("in JSON"), response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


@pytest.mark.parametrize(("effort", "expected"), [("low", 12), (None, 24), ("high", 48)])
async def test_reasoning_is_sent_apart_and_counted(
    client: openai.AsyncOpenAI, effort: Any, expected: int
) -> None:
    extra = {"reasoning_effort": effort} if effort else {}
    answer = await client.chat.completions.create(model="reasoner", messages=HELLO, **extra)
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == expected
    assert answer.usage.completion_tokens == expected + 40
    thought = getattr(answer.choices[0].message, "reasoning_content", "")
    assert count_text(thought) == expected
    short = await client.chat.completions.create(
        model="reasoner", messages=HELLO, max_completion_tokens=5, **extra
    )
    assert short.choices[0].message.content == ""
    assert short.choices[0].finish_reason == "length"


async def test_a_share_of_the_prompt_was_cached(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="cached", messages=user("word " * 101))
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    cached = answer.usage.prompt_tokens_details.cached_tokens
    assert cached == answer.usage.prompt_tokens // 2 > 50


async def test_images_count_as_stated_numbers(client: openai.AsyncOpenAI) -> None:
    def picture(detail: str) -> Any:
        url = {"url": "data:image/png;base64,AAAA", "detail": detail}
        return [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]

    counts = []
    for messages in (user(""), picture("low"), picture("high")):
        answer = await client.chat.completions.create(model="vision", messages=messages)
        assert answer.usage is not None
        counts.append(answer.usage.prompt_tokens)
    assert [count - counts[0] for count in counts] == [0, 85, 765]
    with pytest.raises(openai.BadRequestError, match="does not take image"):
        await client.chat.completions.create(model="fast", messages=picture("low"))


async def test_unknown_names_are_answered_so_that_any_application_can_be_pointed_here(
    client: openai.AsyncOpenAI,
) -> None:
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert answer.model == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="sim/no-such", messages=HELLO)


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == [f"sim/{model.id}" for model in SIMULATED_MODELS]
    assert (await client.models.retrieve("sim/demo")).id == "sim/demo"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("sim/no-such")


async def test_the_sdk_retries_what_is_worth_it(simulator: Simulator) -> None:
    async with openai.AsyncOpenAI(
        base_url=simulator.base_url, api_key="unused", max_retries=2
    ) as client:
        headers = {"x-sim": "status=429,retry_after_ms=1,once=first"}
        answer = await client.chat.completions.create(
            model="fast", messages=HELLO, extra_headers=headers
        )
    assert answer.choices[0].message.content
    assert [record.status for record in simulator.log] == [429, 200]


async def test_hundreds_of_calls_at_once_are_answered(
    simulator: Simulator, client: openai.AsyncOpenAI
) -> None:
    async def one(number: int) -> str | None:
        answer = await client.chat.completions.create(model="echo", messages=user(f"call {number}"))
        return answer.choices[0].message.content

    assert await asyncio.gather(*map(one, range(300))) == [f"call {n}" for n in range(300)]
    assert [record.call for record in simulator.log] == list(range(1, 301))
