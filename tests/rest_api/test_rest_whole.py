"""The REST API over everything real: SDKs in front, the simulator behind, money in between."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pydantic
import pytest
from quick_clusters import MIGRATED, quick_server
from raw_client import HELLO, RawClient, chat
from whole_rig import Whole, running, seed_simulator

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PROMPT_RATE, COMPLETION_RATE = 150, 600
"""Nano-USD a token of the simulator's plain models."""

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One database for all tests here: each has an organisation of its own."""
    folder = tmp_path_factory.mktemp("rest")
    with quick_server(folder) as server:
        url = server.create_database("rest", template=MIGRATED)
        asyncio.run(seed_simulator(url))
        yield url


@pytest.fixture
async def whole(database_url: str) -> AsyncIterator[Whole]:
    async with running(database_url) as served:
        yield served


@pytest.fixture
async def key(whole: Whole) -> str:
    return await whole.new_key()


@pytest.fixture
async def client(whole: Whole, key: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=whole.base_url, api_key=key, max_retries=0, timeout=30
    ) as made:
        yield made


@pytest.fixture
async def raw(whole: Whole) -> AsyncIterator[RawClient]:
    client = await RawClient.connect(whole)
    yield client
    client.leave()


async def spent(whole: Whole, key: str) -> int:
    """What a key's organisation was charged, once nothing is held any more."""
    raw = await RawClient.connect(whole)
    async with asyncio.timeout(20):
        while True:
            balance = (await raw.get("/v1/balance", key=key)).json
            if balance["held_nanousd"] == 0:
                break
            await asyncio.sleep(0.005)
    raw.leave()
    assert balance["unresolved_nanousd"] == 0
    return 10**9 - int(balance["posted_nanousd"])


async def test_answers_are_charged_to_the_nano_dollar_and_everywhere_the_same(
    whole: Whole, key: str, client: openai.AsyncOpenAI, raw: RawClient
) -> None:
    plain = await client.chat.completions.create(model="sim/fast", messages=HELLO)
    assert plain.usage is not None
    usage: Any = plain.usage
    expected = usage.prompt_tokens * PROMPT_RATE + usage.completion_tokens * COMPLETION_RATE
    assert usage.cost_nanousd == expected
    assert plain._request_id == plain.id

    stream = await client.chat.completions.create(
        model="fast", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content
    last: Any = chunks[-1].usage
    assert last.cost_nanousd == expected

    assert await spent(whole, key) == 2 * expected
    for call_id in (plain.id, chunks[0].id):
        record = (await raw.get(f"/v1/calls/{call_id}", key=key)).json
        assert record["cost_nanousd"] == expected
    entries = (await raw.get("/v1/transactions", key=key)).json["data"]
    assert [entry["amount_nanousd"] for entry in entries] == [-expected, -expected, 10**9]
    assert entries[0]["reference"] == chunks[0].id


async def test_the_synchronous_client_works_too(whole: Whole, key: str) -> None:
    def talk() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=whole.base_url, api_key=key, max_retries=0) as client:
            plain = client.chat.completions.create(model="sim/echo", messages=HELLO)
            with client.chat.completions.create(
                model="sim/echo", messages=HELLO, stream=True
            ) as stream:
                pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model="sim/nothing", messages=HELLO)
            return plain.choices[0].message.content, "".join(pieces)

    assert await asyncio.to_thread(talk) == ("Hello", "Hello")


async def test_tools_are_called_plain_and_streamed(client: openai.AsyncOpenAI) -> None:
    asked: Any = {
        "model": "sim/fast",
        "messages": HELLO,
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    }
    plain = await client.chat.completions.create(**asked)
    async with client.chat.completions.stream(**asked) as stream:
        streamed = await stream.get_final_completion()
    for found in (plain, streamed):
        assert found.choices[0].finish_reason in ("tool_calls", "stop")
        calls = found.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].function.name == "get_weather"
        assert "city" in json.loads(calls[0].function.arguments)


async def test_structured_output_is_parsed(client: openai.AsyncOpenAI) -> None:
    class Place(pydantic.BaseModel):
        city: str
        people: int

    parsed = await client.chat.completions.parse(
        model="sim/fast", messages=HELLO, response_format=Place
    )
    assert isinstance(parsed.choices[0].message.parsed, Place)


async def test_reasoning_choices_and_logprobs_arrive(client: openai.AsyncOpenAI) -> None:
    thought = await client.chat.completions.create(
        model="sim/reasoner", messages=HELLO, reasoning_effort="low"
    )
    message: Any = thought.choices[0].message
    assert message.reasoning_content
    assert thought.usage is not None
    assert thought.usage.completion_tokens_details is not None
    assert thought.usage.completion_tokens_details.reasoning_tokens
    several = await client.chat.completions.create(
        model="sim/fast", messages=HELLO, n=3, logprobs=True, top_logprobs=2, max_tokens=4
    )
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in several.choices} == {"length"}
    logprobs = several.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content[0].top_logprobs) == 2


async def test_without_credits_a_call_is_402_and_nobody_is_asked(
    whole: Whole, raw: RawClient
) -> None:
    key = await whole.new_key(nanousd=0)
    answer = await raw.ask(chat(), key=key)
    assert (answer.status, answer.error["code"]) == (402, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.error["omni"]["needed_nanousd"]) > 0
    assert not whole.simulator.log


async def test_what_cannot_be_answered_costs_nothing(
    whole: Whole, raw: RawClient, key: str
) -> None:
    long: Any = [{"role": "user", "content": "word " * 200_000}]
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        ("sim/nothing", {}, 404, "model_not_found"),
        ("sim/small", {"max_tokens": 5_000}, 400, "invalid_value"),
        ("sim/small", {"tools": [WEATHER]}, 400, "unsupported_feature"),
        ("sim/small", {"messages": long}, 400, "context_length_exceeded"),
        ("sim/error-400", {}, 400, "provider_rejected"),
        ("sim/error-401", {}, 503, "provider_unavailable"),
        ("sim/error-429", {}, 503, "provider_unavailable"),
        ("sim/cut", {}, 503, "provider_unavailable"),
    ]
    for (model, fields, status, code), stream in itertools.product(cases, (False, True)):
        answer = await raw.ask(chat(**{"model": model, "stream": stream, **fields}), key=key)
        assert (answer.status, answer.error["code"]) == (status, code)
        assert "charged_nanousd" not in answer.error["omni"]
    assert await spent(whole, key) == 0


async def test_a_stream_that_its_provider_cuts_is_charged_for_what_came(
    whole: Whole, raw: RawClient, key: str
) -> None:
    answer = await raw.ask(chat("sim/error-mid", stream=True), key=key)
    error = answer.chunks[-1]["error"]
    assert (answer.status, error["code"]) == (200, "interrupted")
    seen = whole.seen(answer.headers["x-request-id"])
    expected = seen.prompt_tokens * PROMPT_RATE + seen.completion_tokens * COMPLETION_RATE
    assert error["omni"]["charged_nanousd"] == str(expected)
    assert await spent(whole, key) == expected


@pytest.mark.parametrize("events", [0, 1, 3])
async def test_a_stream_that_its_reader_leaves_is_charged_for_what_was_sent(
    whole: Whole, raw: RawClient, key: str, events: int
) -> None:
    await raw.send(chat("sim/slow", stream=True), key=key)
    _, headers = await raw.head()
    for _ in range(events):
        await raw.chunk()
    raw.leave(rudely=True)
    assert await whole.endings.next() == ["CANCELLED"]
    await whole.chats.drain()
    seen = whole.seen(headers["x-request-id"])
    async with asyncio.timeout(20):
        while seen.outcome == "running":
            await asyncio.sleep(0.005)
    assert seen.outcome == "cancelled"
    assert seen.completion_tokens < 40
    expected = seen.prompt_tokens * PROMPT_RATE + seen.completion_tokens * COMPLETION_RATE
    assert await spent(whole, key) == expected


async def test_a_plain_call_that_its_caller_leaves_stops_the_provider(
    whole: Whole, raw: RawClient, key: str
) -> None:
    await raw.send(chat("sim/hang"), key=key)
    async with asyncio.timeout(20):
        while not whole.simulator.log:
            await asyncio.sleep(0.005)
    raw.leave()
    assert await whole.endings.next() == ["CANCELLED"]
    (seen,) = whole.simulator.log
    async with asyncio.timeout(20):
        while seen.outcome == "running":
            await asyncio.sleep(0.005)
    assert seen.outcome == "cancelled"
    assert await spent(whole, key) == seen.prompt_tokens * PROMPT_RATE
