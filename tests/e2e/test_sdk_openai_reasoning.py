"""Reasoning that goes back whole, cache marks and optional settings, through the official SDK."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from gateway import Gateway, SimulatorThread, Tenant
from omni_grpc_client import Message, Omni, SafetySetting, Text, user
from sdk_models import REASONING_MODELS

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ASKED: Any = {"role": "user", "content": "Please call weather."}
BUDGET: Any = {"reasoning": {"max_tokens": 2000}}


@pytest.fixture
def sdk(gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    url = f"{gateway.rest}/v1"
    with openai.OpenAI(base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
def omni(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def gathered(sdk: openai.OpenAI, **ask: Any) -> Any:
    with sdk.chat.completions.stream(**ask) as stream:
        stream.until_done()
        return stream.get_final_completion()


@pytest.mark.parametrize("model", REASONING_MODELS)
@pytest.mark.parametrize("streamed", [False, True])
def test_blocks_go_back_to_the_provider_as_it_signed_them(
    sdk: openai.OpenAI, simulator: SimulatorThread, model: str, streamed: bool
) -> None:
    ask: Any = {"model": model, "tools": [TOOL], "extra_body": BUDGET}
    first: Any = (
        gathered(sdk, messages=[ASKED], **ask)
        if streamed
        else sdk.chat.completions.create(messages=[ASKED], **ask)
    )
    message = first.choices[0].message
    (block,) = message.reasoning_details
    assert block["text"] == message.reasoning_content
    assert block["signature"]
    (call,) = message.tool_calls
    history = [
        ASKED,
        {
            "role": "assistant",
            "content": message.content,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": "weather", "arguments": call.function.arguments},
                }
            ],
            "reasoning_content": message.reasoning_content,
            "reasoning_details": message.reasoning_details,
        },
        {"role": "tool", "tool_call_id": call.id, "content": "fine"},
    ]
    second = sdk.chat.completions.create(messages=history, **ask)
    assert "fine" in (second.choices[0].message.content or "")
    seen = simulator.record_of(second.id).seen
    assert seen["reasoning_blocks"] == 1
    assert seen["reasoning_budget"] == 2000
    # The provider knows its own: a block that was touched is refused, and costs nothing.
    history[1] |= {"reasoning_details": [{**block, "text": "Something else."}]}
    with pytest.raises(openai.BadRequestError, match="signature"):
        sdk.chat.completions.create(messages=history, **ask)


@pytest.mark.parametrize("model", REASONING_MODELS)
@pytest.mark.parametrize("streamed", [False, True])
def test_the_python_client_sends_the_blocks_back_with_its_message(
    omni: Omni, simulator: SimulatorThread, model: str, streamed: bool
) -> None:
    ask: Any = {"tools": [TOOL], "reasoning_budget": 2000}
    messages: list[Message] = [user("Please call weather.")]
    if streamed:
        with omni.stream_chat(model, messages, **ask) as stream:
            answer = stream.result()
    else:
        answer = omni.chat(model, messages, **ask)
    (block,) = answer.choices[0].reasoning_blocks
    assert block.text == answer.reasoning
    (call,) = answer.tool_calls
    messages += [answer.message, Message(role="tool", content="fine", tool_call_id=call.id)]
    second = omni.chat(model, messages, **ask)
    assert "fine" in second.text
    assert simulator.record_of(second.call_id).seen["reasoning_blocks"] == 1


@pytest.mark.parametrize("model", REASONING_MODELS)
def test_reasoning_that_is_excluded_is_charged_and_not_shown(
    sdk: openai.OpenAI, omni: Omni, model: str
) -> None:
    hidden: Any = {"reasoning": {"effort": "high", "exclude": True}}
    found = sdk.chat.completions.create(model=model, messages=[ASKED], extra_body=hidden)
    assert not {"reasoning_content", "reasoning_details"} & set(
        found.choices[0].message.model_extra or {}
    )
    (attempt,) = omni.usage(found.id).attempts
    assert attempt.reasoning_tokens


@pytest.mark.parametrize("model", ["sim/fast"])
def test_cache_marks_reach_the_provider_over_both_transports(
    sdk: openai.OpenAI, omni: Omni, simulator: SimulatorThread, model: str
) -> None:
    mark = {"type": "ephemeral", "ttl": "5m"}
    part: Any = {"type": "text", "text": "Keep this.", "cache_control": mark}
    found = sdk.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": [part]}],
        tools=[TOOL | {"cache_control": mark}],
    )
    assert simulator.record_of(found.id).seen["cache_marks"] == 2
    answer = omni.chat(model, [user(Text("Keep this.", "5m"))], top_k=40)
    seen = simulator.record_of(answer.call_id).seen
    assert (seen["cache_marks"], seen["top_k"]) == (1, 40)


@pytest.mark.parametrize("model", ["sim/fast"])
def test_what_a_provider_cannot_do_is_refused_or_left_out_and_told(
    sdk: openai.OpenAI, omni: Omni, model: str
) -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    ask: Any = {"model": model, "messages": [ASKED]}
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(extra_body={"safety_settings": safety}, **ask)
    assert "safety_settings" in caught.value.message
    optional = {"safety_settings": safety, "omni": {"optional": ["safety_settings"]}}
    raw = sdk.chat.completions.with_raw_response.create(extra_body=optional, **ask)
    assert raw.headers["x-omni-ignored"] == "safety_settings"
    with sdk.chat.completions.with_streaming_response.create(
        extra_body=optional, stream=True, **ask
    ) as response:
        assert response.headers["x-omni-ignored"] == "safety_settings"
        response.read()
    answer = omni.chat(
        model,
        "Hi",
        safety_settings=[SafetySetting("HARM_CATEGORY_HARASSMENT", "BLOCK_NONE")],
        optional=["safety_settings"],
    )
    assert answer.ignored == ("safety_settings",)
