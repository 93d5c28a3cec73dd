"""Thinking between calls goes round by every surface; the provider behind checks its order."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from gateway import Gateway, SimulatorThread, Tenant
from omni_grpc_client import Message, Omni, Tool, tool_result, user

from omni_grpc.simulator.dialects.anthropic_answer import INTERLEAVING_TRIGGER

MODEL = "anthropic/claude-sonnet-4-5"
SCHEMA: Any = {"type": "object", "properties": {}, "additionalProperties": False}
ASK = f"[sim reasoning=16] {INTERLEAVING_TRIGGER} Please call look and call find."
NAMES = ("look", "find")


@pytest.fixture(scope="module")
def tenant(every_gateway: Gateway) -> Tenant:
    return every_gateway.tenant(10**11)


@pytest.fixture(scope="module")
def client(every_gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{every_gateway.rest}/v1", api_key=tenant.api_key, max_retries=0
    ) as made:
        yield made


def arrived(simulator: SimulatorThread) -> None:
    """The next turn had both thoughts, and was not refused."""
    record = simulator.simulator.log[-1]
    assert record.seen["reasoning_blocks"] == record.seen["tool_results"] == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_by_anthropics_sdk(
    every_gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, streamed: bool
) -> None:
    asked: Any = {
        "model": MODEL,
        "max_tokens": 4096,
        "tools": [{"name": name, "input_schema": SCHEMA} for name in NAMES],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    }
    turns: list[Any] = [{"role": "user", "content": ASK}]
    with anthropic.Anthropic(
        base_url=every_gateway.rest, api_key=tenant.api_key, max_retries=0
    ) as claude:
        if streamed:
            with claude.messages.stream(messages=turns, **asked) as stream:
                found = stream.get_final_message()
        else:
            found = claude.messages.create(messages=turns, **asked)
        kinds = [block.type for block in found.content]
        assert kinds == ["thinking", "tool_use", "thinking", "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": f"{block.name} is fine"}
            for block in found.content
            if block.type == "tool_use"
        ]
        turns += [found.to_param(), {"role": "user", "content": results}]
        answer = claude.messages.create(messages=turns, **asked)
    texts = [block.text for block in answer.content if block.type == "text"]
    assert "look is fine and find is fine" in "".join(texts)
    arrived(simulator)


@pytest.mark.parametrize("streamed", [False, True])
def test_by_chat_completions(
    client: openai.OpenAI, simulator: SimulatorThread, streamed: bool
) -> None:
    asked: Any = {
        "model": MODEL,
        "tools": [
            {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in NAMES
        ],
        "extra_body": {"reasoning": {"max_tokens": 2048}},
        "max_tokens": 4096,
    }
    turns: list[Any] = [{"role": "user", "content": ASK}]
    if streamed:
        details: list[Any] = []
        calls: dict[int, Any] = {}
        for chunk in client.chat.completions.create(messages=turns, stream=True, **asked):
            delta = chunk.choices[0].delta.to_dict() if chunk.choices else {}
            details += delta.get("reasoning_details") or []
            for piece in delta.get("tool_calls") or []:
                call = calls.setdefault(piece["index"], piece)
                if call is not piece:
                    call["function"]["arguments"] += piece["function"]["arguments"]
        said: Any = {
            "role": "assistant",
            "tool_calls": [*calls.values()],
            "reasoning_details": details,
        }
    else:
        found = client.chat.completions.create(messages=turns, **asked)
        said = found.choices[0].message.to_dict()
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call["id"], "content": "fine"}
        for call in said["tool_calls"]
    ]
    answer = client.chat.completions.create(messages=[*turns, said, *results], **asked)
    assert answer.choices[0].message.content
    arrived(simulator)


@pytest.mark.parametrize("streamed", [False, True])
def test_by_responses(client: openai.OpenAI, simulator: SimulatorThread, streamed: bool) -> None:
    asked: Any = {
        "model": MODEL,
        "tools": [{"type": "function", "name": name, "parameters": SCHEMA} for name in NAMES],
        "reasoning": {"effort": "high"},
        "max_output_tokens": 4096,
    }
    turns: list[Any] = [{"role": "user", "content": ASK}]
    if streamed:
        with client.responses.stream(input=turns, **asked) as stream:
            for _ in stream:
                pass
            found: Any = stream.get_final_response()
    else:
        found = client.responses.create(input=turns, **asked)
    turns += [item.to_dict() for item in found.output]
    turns += [
        {"type": "function_call_output", "call_id": item.call_id, "output": "fine"}
        for item in found.output
        if item.type == "function_call"
    ]
    for item in turns:
        item.pop("parsed_arguments", None)
    answer = client.responses.create(input=json.loads(json.dumps(turns)), **asked)
    assert answer.output_text
    arrived(simulator)


@pytest.mark.parametrize("streamed", [False, True])
def test_by_grpc(
    every_gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, streamed: bool
) -> None:
    asked: Any = {
        "tools": [Tool(name, parameters=SCHEMA) for name in NAMES],
        "reasoning_budget": 2048,
        "max_output_tokens": 4096,
    }
    with Omni(every_gateway.grpc, api_key=tenant.api_key) as omni:
        turns: list[Message] = [user(ASK)]
        if streamed:
            with omni.stream_chat(MODEL, turns, **asked) as stream:
                found = stream.result()
        else:
            found = omni.chat(MODEL, turns, **asked)
        assert [block.calls_before for block in found.message.reasoning_blocks] == [0, 1]
        turns.append(found.message)
        turns += [tool_result(call, "fine") for call in found.tool_calls]
        assert omni.chat(MODEL, turns, **asked).text
    arrived(simulator)
