"""LangChain's ChatOpenAI against the running gateway: only its URL is changed."""

from collections.abc import Iterator
from typing import Any

import httpx
import pydantic
import pytest
from gateway import Gateway, Tenant
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from omni_grpc_client import Omni
from pydantic import SecretStr
from sdk_models import CHAT_MODELS

pytestmark = pytest.mark.parametrize("model", CHAT_MODELS)


class City(pydantic.BaseModel):
    """A city."""

    name: str
    population: int
    rivers: list[str]


@tool
def weather(city: str) -> str:
    """Tells the weather in a city."""
    return f"fine in {city}"


@tool
def clock(zone: str) -> str:
    """Tells the time in a zone."""
    return f"noon in {zone}"


@pytest.fixture(scope="module")
def gateway(every_gateway: Gateway) -> Gateway:
    """All providers are at the simulator."""
    return every_gateway


@pytest.fixture
def ledger(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def made(gateway: Gateway, tenant: Tenant, model: str, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{gateway.rest}/v1",
        api_key=SecretStr(tenant.api_key),
        model=model,
        max_retries=0,
        timeout=30,
        stream_usage=True,
        **more,
    )


@pytest.fixture
def chat(gateway: Gateway, tenant: Tenant, model: str) -> ChatOpenAI:
    return made(gateway, tenant, model)


def check_cost(ledger: Omni, said: AIMessage) -> None:
    """What LangChain counts is what was charged by."""
    assert said.usage_metadata is not None
    newest = next(iter(ledger.ledger_entries(page_size=1)))
    (attempt,) = ledger.usage(newest.reference).attempts
    assert attempt.prompt_tokens == said.usage_metadata["input_tokens"]
    assert attempt.completion_tokens == said.usage_metadata["output_tokens"]


def test_invoke_answers_and_is_charged_by_what_it_counts(chat: ChatOpenAI, ledger: Omni) -> None:
    said = chat.invoke([HumanMessage("Say something.")])
    assert isinstance(said, AIMessage)
    assert said.text
    assert said.response_metadata["finish_reason"] == "stop"
    check_cost(ledger, said)


def test_stream_adds_up_to_what_invoke_says(chat: ChatOpenAI, ledger: Omni) -> None:
    whole: AIMessageChunk | None = None
    for chunk in chat.stream("Say something."):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    check_cost(ledger, whole)
    assert whole.text == chat.invoke("Say something.").text


async def test_the_asynchronous_calls_work_too(
    gateway: Gateway, tenant: Tenant, model: str
) -> None:
    async with httpx.AsyncClient() as client:  # its own would be shared by the loops of all tests
        chat = made(gateway, tenant, model, http_async_client=client)
        plain = await chat.ainvoke("Say something.")
        streamed = "".join([chunk.text async for chunk in chat.astream("Say something.")])
    assert streamed == plain.text


@pytest.mark.parametrize("streamed", [False, True])
def test_bound_tools_are_called_and_answered(chat: ChatOpenAI, streamed: bool) -> None:
    bound = chat.bind_tools([weather, clock])
    asked = HumanMessage("Please call weather and call clock.")
    if streamed:
        first, *others = bound.stream([asked])
        said = first
        for chunk in others:
            said = said + chunk
    else:
        said = bound.invoke([asked])
    assert [call["name"] for call in said.tool_calls] == ["weather", "clock"]
    results = [
        ToolMessage({"weather": weather, "clock": clock}[call["name"]].invoke(call["args"]),
                    tool_call_id=call["id"])
        for call in said.tool_calls
    ]  # fmt: skip
    answer = bound.invoke([asked, said, *results])
    assert "fine in" in answer.text
    assert "noon in" in answer.text


def test_a_tool_can_be_forced(chat: ChatOpenAI) -> None:
    said = chat.bind_tools([weather, clock], tool_choice="clock").invoke("Hello.")
    assert [call["name"] for call in said.tool_calls] == ["clock"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_the_pydantic_model(chat: ChatOpenAI, method: str) -> None:
    found = chat.with_structured_output(City, method=method).invoke("Name a city.")
    assert isinstance(found, City)
