"""Every surface in front of every dialect: the official clients, the simulator as each provider."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from gateway import Gateway, SimulatorThread, Tenant, eventually
from omni_grpc_client import Omni

from omni_grpc.simulator import CallRecord

MODELS = {
    "openai": "openai/gpt-4o",
    "azure": "azure/gpt-4o",
    "responses": "deep/thinker",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "google/gemini-2.5-flash",
    "cohere": "cohere/command-a-03-2025",
    "bedrock": "amazon-bedrock/anthropic.claude-haiku-4-5-20251001-v1:0",
}
REASONERS = {
    "responses": "deep/thinker",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "google/gemini-2.5-flash",
    "bedrock": "amazon-bedrock/anthropic.claude-haiku-4-5-20251001-v1:0",
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tenant(every_gateway: Gateway) -> Tenant:
    return every_gateway.tenant(10**11)


@pytest.fixture(scope="module")
def client(every_gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{every_gateway.rest}/v1", api_key=tenant.api_key, max_retries=0
    ) as made:
        yield made


@pytest.fixture(scope="module")
def claude(every_gateway: Gateway, tenant: Tenant) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=every_gateway.rest, api_key=tenant.api_key, max_retries=0
    ) as made:
        yield made


def last(simulator: SimulatorThread) -> CallRecord:
    record = simulator.simulator.log[-1]
    assert eventually(lambda: record.ended_ms is not None)
    return record


def asked(dialect: str, text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"{text} ({dialect})"}]


TOOL = {"name": "look_up", "description": "Looks up a city.", "parameters": SCHEMA}


# --- OpenAI's chat completions ------------------------------------------------------------------
@pytest.mark.parametrize("dialect", MODELS)
def test_chat_plain_and_streamed_are_the_same_answer_at_the_same_charge(
    client: openai.OpenAI, simulator: SimulatorThread, dialect: str
) -> None:
    messages = asked(dialect, "Tell me something. [sim tokens=12]")
    plain = client.chat.completions.create(model=MODELS[dialect], messages=messages)
    record = last(simulator)
    assert plain.model == MODELS[dialect]
    assert plain.usage is not None
    assert plain.usage.prompt_tokens == record.billed_prompt_tokens
    assert plain.usage.completion_tokens == record.billed_completion_tokens == 12
    assert plain.choices[0].finish_reason == "stop"
    streamed = list(
        client.chat.completions.create(
            model=MODELS[dialect],
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(choice.delta.content or "" for chunk in streamed for choice in chunk.choices)
    assert text == plain.choices[0].message.content
    assert streamed[-1].usage is not None
    assert streamed[-1].usage.to_dict() == plain.usage.to_dict()
    assert plain.usage.to_dict()["cost_nanousd"] > 0


@pytest.mark.parametrize("dialect", MODELS)
@pytest.mark.parametrize("streamed", [False, True])
def test_chat_tools_go_round(
    client: openai.OpenAI, simulator: SimulatorThread, dialect: str, streamed: bool
) -> None:
    messages = asked(dialect, "Please call look_up.")
    tools: Any = [{"type": "function", "function": TOOL}]
    if streamed:
        with client.chat.completions.stream(
            model=MODELS[dialect], messages=messages, tools=tools
        ) as stream:
            completion = stream.get_final_completion()
    else:
        completion = client.chat.completions.create(
            model=MODELS[dialect], messages=messages, tools=tools
        )
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    (called,) = choice.message.tool_calls or ()
    assert called.function.name == "look_up"
    city = json.loads(called.function.arguments)["city"]
    messages += [
        choice.message.model_dump(exclude_none=True, exclude={"parsed"}),
        {"role": "tool", "tool_call_id": called.id, "content": f"{city} is fine."},
    ]
    answer = client.chat.completions.create(model=MODELS[dialect], messages=messages, tools=tools)
    assert f"{city} is fine." in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("dialect", MODELS)
def test_chat_answers_in_the_form_of_a_schema(client: openai.OpenAI, dialect: str) -> None:
    found = client.chat.completions.create(
        model=MODELS[dialect],
        messages=asked(dialect, "Where?"),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "place", "schema": SCHEMA, "strict": True},
        },
    )
    assert set(json.loads(found.choices[0].message.content or "")) == {"city"}


@pytest.mark.parametrize("dialect", MODELS)
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_providers_error_has_one_meaning_whatever_its_dialect(
    client: openai.OpenAI, dialect: str, status: int, tenant: Tenant, every_gateway: Gateway
) -> None:
    with Omni(every_gateway.grpc, api_key=tenant.api_key) as omni:
        before = omni.balance().available_nanousd
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(
                model=MODELS[dialect],
                messages=asked(dialect, f"[sim status={status},retry_after_ms=1]"),
            )
        assert caught.value.status_code == (400 if status == 400 else 503)
        reason = caught.value.body["omni"]["reason"]
        assert reason == ("PROVIDER_REJECTED" if status == 400 else "PROVIDER_UNAVAILABLE")
        assert omni.balance().available_nanousd == before


@pytest.mark.parametrize("dialect", MODELS)
def test_a_stream_that_the_provider_cuts_is_an_error_to_the_caller(
    client: openai.OpenAI, dialect: str
) -> None:
    texts: list[str] = []

    def read() -> None:
        for chunk in client.chat.completions.create(
            model=MODELS[dialect],
            messages=asked(dialect, "[sim tokens=20,delay_ms=1,cut_after=9,cut=fin]"),
            stream=True,
        ):
            texts.extend(choice.delta.content or "" for choice in chunk.choices)

    with pytest.raises(openai.APIError) as caught:
        read()
    assert "".join(texts)
    assert caught.value.code == "interrupted"


@pytest.mark.parametrize("dialect", MODELS)
def test_what_a_provider_cannot_do_is_refused_by_name_or_left_out_and_told(
    client: openai.OpenAI, simulator: SimulatorThread, dialect: str
) -> None:
    more: Any = {
        "model": MODELS[dialect],
        "messages": asked(dialect, "Say."),
        "seed": 7,
        "logit_bias": {"50256": -1},
        "reasoning_effort": "low",
    }
    optional = {"omni": {"optional": ["seed", "logit_bias", "reasoning_effort"]}}
    found = client.chat.completions.with_raw_response.create(**more, extra_body=optional)
    seen = last(simulator).seen
    ignored = set(found.headers.get("x-omni-ignored", "").split(","))
    for field in optional["omni"]["optional"]:
        told = field in ignored
        arrived = field in seen or (field == "reasoning_effort" and "reasoning_budget" in seen)
        assert told != arrived, (field, ignored, seen)
    refused = ignored & {"seed", "logit_bias"}
    if refused:
        calls = len(simulator.simulator.log)
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**more)
        assert caught.value.param in {*refused, "model"}
        assert len(simulator.simulator.log) == calls


# --- OpenAI's responses ---------------------------------------------------------------------------
@pytest.mark.parametrize("dialect", MODELS)
def test_responses_plain_and_streamed_are_the_same_answer(
    client: openai.OpenAI, simulator: SimulatorThread, dialect: str
) -> None:
    text = f"Tell me something. [sim tokens=12] ({dialect})"
    plain = client.responses.create(model=MODELS[dialect], input=text)
    record = last(simulator)
    assert plain.status == "completed"
    assert plain.usage is not None
    assert plain.usage.input_tokens == record.billed_prompt_tokens
    assert plain.usage.output_tokens == record.billed_completion_tokens == 12
    with client.responses.stream(model=MODELS[dialect], input=text) as stream:
        final = stream.get_final_response()
    assert final.output_text == plain.output_text != ""


@pytest.mark.parametrize("dialect", REASONERS)
def test_responses_carry_reasoning_into_the_next_turn(
    client: openai.OpenAI, simulator: SimulatorThread, dialect: str
) -> None:
    tools: Any = [{"type": "function", "strict": False, **TOOL}]
    first = client.responses.create(
        model=REASONERS[dialect],
        input=f"[sim reasoning=8] Please call look_up. ({dialect})",
        tools=tools,
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content"],
    )
    (called,) = (item for item in first.output if item.type == "function_call")
    assert any(item.type == "reasoning" for item in first.output)
    following: list[Any] = [
        {"role": "user", "content": f"[sim reasoning=8] Please call look_up. ({dialect})"},
        *(item.to_dict() for item in first.output),
        {"type": "function_call_output", "call_id": called.call_id, "output": "It is fine."},
    ]
    second = client.responses.create(
        model=REASONERS[dialect],
        input=following,
        tools=tools,
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content"],
    )
    assert "It is fine." in second.output_text
    assert last(simulator).seen["reasoning_blocks"]


# --- Anthropic's messages -------------------------------------------------------------------------
@pytest.mark.parametrize("dialect", MODELS)
def test_messages_plain_and_streamed_are_the_same_answer(
    claude: anthropic.Anthropic, simulator: SimulatorThread, dialect: str
) -> None:
    messages = asked(dialect, "Tell me something. [sim tokens=12]")
    plain = claude.messages.create(model=MODELS[dialect], messages=messages, max_tokens=100)
    record = last(simulator)
    assert plain.stop_reason == "end_turn"
    assert plain.usage.input_tokens == record.billed_prompt_tokens
    assert plain.usage.output_tokens == record.billed_completion_tokens == 12
    with claude.messages.stream(model=MODELS[dialect], messages=messages, max_tokens=100) as stream:
        final = stream.get_final_message()
    assert final.content[0].to_dict()["text"] == plain.content[0].to_dict()["text"] != ""
    assert final.usage.output_tokens == 12


@pytest.mark.parametrize("dialect", MODELS)
@pytest.mark.parametrize("streamed", [False, True])
def test_messages_tools_go_round(claude: anthropic.Anthropic, dialect: str, streamed: bool) -> None:
    messages: list[Any] = asked(dialect, "Please call look_up.")
    more: Any = {
        "model": MODELS[dialect],
        "max_tokens": 200,
        "tools": [{"name": "look_up", "description": "Looks up.", "input_schema": SCHEMA}],
    }
    if streamed:
        with claude.messages.stream(messages=messages, **more) as stream:
            found = stream.get_final_message()
    else:
        found = claude.messages.create(messages=messages, **more)
    assert found.stop_reason == "tool_use"
    (used,) = (block for block in found.content if block.type == "tool_use")
    assert used.name == "look_up"
    city = used.input["city"]
    messages += [
        {"role": "assistant", "content": [block.to_dict() for block in found.content]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": used.id, "content": f"{city} is fine."}
            ],
        },
    ]
    answer = claude.messages.create(messages=messages, **more)
    assert f"{city} is fine." in answer.content[-1].to_dict()["text"]


@pytest.mark.parametrize("dialect", REASONERS)
def test_messages_carry_thinking_into_the_next_turn(
    claude: anthropic.Anthropic, simulator: SimulatorThread, dialect: str
) -> None:
    messages: list[Any] = asked(dialect, "[sim reasoning=8] Please call look_up.")
    more: Any = {
        "model": REASONERS[dialect],
        "max_tokens": 4096,
        "tools": [{"name": "look_up", "description": "Looks up.", "input_schema": SCHEMA}],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    }
    found = claude.messages.create(messages=messages, **more)
    assert any(block.type in ("thinking", "redacted_thinking") for block in found.content)
    (used,) = (block for block in found.content if block.type == "tool_use")
    messages += [
        {"role": "assistant", "content": [block.to_dict() for block in found.content]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": used.id, "content": "Fine."}],
        },
    ]
    answer = claude.messages.create(messages=messages, **more)
    assert "Fine." in answer.content[-1].to_dict()["text"]
    assert last(simulator).seen["reasoning_blocks"]


# --- gRPC -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("dialect", MODELS)
def test_grpc_plain_and_streamed_are_the_same_answer(
    every_gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, dialect: str
) -> None:
    text = f"Tell me something. [sim tokens=12] ({dialect})"
    with Omni(every_gateway.grpc, api_key=tenant.api_key) as omni:
        plain = omni.chat(MODELS[dialect], text)
        record = last(simulator)
        assert plain.usage.completion_tokens == record.billed_completion_tokens == 12
        assert plain.cost_nanousd > 0
        with omni.stream_chat(MODELS[dialect], text) as stream:
            assert stream.result().text == plain.text
