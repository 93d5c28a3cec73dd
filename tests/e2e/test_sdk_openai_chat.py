"""The official OpenAI SDK with each model of `CHAT_MODELS`: what must work behind any dialect."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pydantic
import pytest
from gateway import Gateway, Tenant, eventually
from omni_grpc_client import Omni
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from sdk_models import CHAT_MODELS

pytestmark = pytest.mark.parametrize("model", CHAT_MODELS)

SAY: Any = [{"role": "user", "content": "Say something."}]
CALL_BOTH: Any = [{"role": "user", "content": "Please call weather and call clock."}]


class City(pydantic.BaseModel):
    name: str
    population: int
    rivers: list[str]


class Weather(pydantic.BaseModel):
    """Tells the weather."""

    city: str


class Clock(pydantic.BaseModel):
    """Tells the time."""

    zone: str


TOOLS: Any = [
    openai.pydantic_function_tool(Weather, name="weather"),
    openai.pydantic_function_tool(Clock, name="clock"),
]


@pytest.fixture(scope="module")
def gateway(every_gateway: Gateway) -> Gateway:
    """All providers are at the simulator."""
    return every_gateway


@pytest.fixture
def sdk(gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    url = f"{gateway.rest}/v1"
    with openai.OpenAI(base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
async def asdk(gateway: Gateway, tenant: Tenant) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{gateway.rest}/v1"
    async with openai.AsyncOpenAI(
        base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30
    ) as made:
        yield made


@pytest.fixture
def ledger(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def check_cost(ledger: Omni, completion: ChatCompletion) -> None:
    """The usage is what the ledger charged by, and the cost is what it charged."""
    usage = completion.usage
    assert isinstance(usage, CompletionUsage)
    record = ledger.usage(completion.id)
    (attempt,) = record.attempts
    assert attempt.prompt_tokens == usage.prompt_tokens
    assert attempt.completion_tokens == usage.completion_tokens
    assert record.cost_nanousd == (usage.model_extra or {})["cost_nanousd"] > 0


def gathered(sdk: openai.OpenAI, **ask: Any) -> Any:
    with sdk.chat.completions.stream(stream_options={"include_usage": True}, **ask) as stream:
        stream.until_done()
        return stream.get_final_completion()


def test_plain_and_streamed_answers_are_the_same_and_charged(
    sdk: openai.OpenAI, ledger: Omni, model: str
) -> None:
    plain = sdk.chat.completions.create(model=model, messages=SAY)
    streamed = gathered(sdk, model=model, messages=SAY)
    for found in (plain, streamed):
        assert found.choices[0].message.content == plain.choices[0].message.content
        assert found.choices[0].finish_reason == "stop"
        check_cost(ledger, found)


async def test_the_asynchronous_client_works_too(asdk: openai.AsyncOpenAI, model: str) -> None:
    plain = await asdk.chat.completions.create(model=model, messages=SAY)
    stream = await asdk.chat.completions.create(model=model, messages=SAY, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == plain.choices[0].message.content


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_parsed_and_their_results_taken(
    sdk: openai.OpenAI, ledger: Omni, model: str, streamed: bool
) -> None:
    ask: Any = {"model": model, "messages": CALL_BOTH, "tools": TOOLS}
    found: Any = gathered(sdk, **ask) if streamed else sdk.chat.completions.parse(**ask)
    check_cost(ledger, found)
    calls = found.choices[0].message.tool_calls
    assert [type(call.function.parsed_arguments) for call in calls] == [Weather, Clock]
    said = {
        "role": "assistant",
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in calls
        ],
    }
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} is fine"}
        for call in calls
    ]
    answer = sdk.chat.completions.create(
        model=model, messages=[*CALL_BOTH, said, *results], tools=TOOLS
    )
    text = answer.choices[0].message.content or ""
    assert "weather is fine" in text
    assert "clock is fine" in text


def test_a_tool_can_be_forced_and_forbidden(sdk: openai.OpenAI, model: str) -> None:
    def names(choice: Any) -> list[str]:
        found: Any = sdk.chat.completions.create(
            model=model, messages=CALL_BOTH, tools=TOOLS, tool_choice=choice
        )
        return [call.function.name for call in found.choices[0].message.tool_calls or ()]

    assert names({"type": "function", "function": {"name": "clock"}}) == ["clock"]
    assert names("none") == []


def test_structured_output_is_parsed_plain_and_streamed(sdk: openai.OpenAI, model: str) -> None:
    ask: Any = {"model": model, "messages": SAY, "response_format": City}
    plain = sdk.chat.completions.parse(**ask)
    streamed = gathered(sdk, **ask)
    for found in (plain, streamed):
        assert isinstance(found.choices[0].message.parsed, City)
    loose = sdk.chat.completions.create(
        model=model, messages=SAY, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(loose.choices[0].message.content or ""), dict)


def test_a_stream_that_is_left_is_charged_and_the_next_call_works(
    sdk: openai.OpenAI, ledger: Omni, model: str
) -> None:
    with sdk.chat.completions.create(model=model, messages=SAY, stream=True) as stream:
        first = next(iter(stream))
    assert sdk.chat.completions.create(model=model, messages=SAY).choices
    assert eventually(lambda: ledger.usage(first.id).attempts)
