"""LiteLLM as a client of the running gateway: only its base URL is changed."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from gateway import Gateway, Tenant
from omni_grpc_client import Omni
from sdk_models import CHAT_MODELS

# Before the import: else it fetches a price list from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

pytestmark = [
    pytest.mark.parametrize("model", CHAT_MODELS),
    # Its own use of pydantic.
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*' attribute on the instance"),
]

SAY = [{"role": "user", "content": "Say something."}]
CALL_BOTH = [{"role": "user", "content": "Please call weather and call clock."}]


@pytest.fixture(scope="module")
def gateway(every_gateway: Gateway) -> Gateway:
    """All providers are at the simulator."""
    return every_gateway


def tool(name: str, field: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {field: {"type": "string"}},
        "required": [field],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("weather", "city"), tool("clock", "zone")]


@pytest.fixture
def ledger(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


@pytest.fixture
def options(gateway: Gateway, tenant: Tenant, model: str) -> dict[str, Any]:
    """What every call is made with; `openai/` names the dialect that it speaks to us."""
    return {
        "model": f"openai/{model}",
        "api_base": f"{gateway.rest}/v1",
        "api_key": tenant.api_key,
        "max_retries": 0,
        "timeout": 30,
    }


def test_a_completion_is_charged_by_what_it_counts(options: dict[str, Any], ledger: Omni) -> None:
    said: Any = litellm.completion(messages=SAY, **options)
    (choice,) = said.choices
    assert choice.message.content
    assert choice.finish_reason == "stop"
    newest = next(iter(ledger.ledger_entries(page_size=1)))
    (attempt,) = ledger.usage(newest.reference).attempts
    assert attempt.prompt_tokens == said.usage.prompt_tokens
    assert attempt.completion_tokens == said.usage.completion_tokens


def test_a_stream_adds_up_to_the_plain_answer(options: dict[str, Any]) -> None:
    plain: Any = litellm.completion(messages=SAY, **options)
    chunks = list(
        litellm.completion(
            messages=SAY, stream=True, stream_options={"include_usage": True}, **options
        )
    )
    whole: Any = litellm.stream_chunk_builder(chunks, messages=SAY)
    assert whole.choices[0].message.content == plain.choices[0].message.content
    assert whole.usage.total_tokens == plain.usage.total_tokens


async def test_the_asynchronous_calls_work_too(options: dict[str, Any]) -> None:
    plain: Any
    streamed: Any
    plain, streamed = await asyncio.gather(
        litellm.acompletion(messages=SAY, **options),
        litellm.acompletion(messages=SAY, stream=True, **options),
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in streamed]
    assert "".join(pieces) == plain.choices[0].message.content


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_and_answered(options: dict[str, Any], streamed: bool) -> None:
    found: Any = litellm.completion(messages=CALL_BOTH, tools=TOOLS, stream=streamed, **options)
    if streamed:
        found = litellm.stream_chunk_builder(list(found), messages=CALL_BOTH)
    message = found.choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["weather", "clock"]
    assert all(isinstance(json.loads(call.function.arguments), dict) for call in message.tool_calls)
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} is fine"}
        for call in message.tool_calls
    ]
    answer: Any = litellm.completion(
        messages=[*CALL_BOTH, message.model_dump(), *results], tools=TOOLS, **options
    )
    assert "weather is fine and clock is fine" in answer.choices[0].message.content


def test_an_error_is_the_class_that_litellm_has_for_it(options: dict[str, Any]) -> None:
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(messages=SAY, **{**options, "model": "openai/sim/none"})
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(messages=SAY, **{**options, "api_key": "omni_wrong"})
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(messages=SAY, seed="x", **options)
