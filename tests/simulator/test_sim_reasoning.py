"""Blocks of reasoning as OpenRouter documents them, through the official SDK's extra fields."""

from typing import Any

import openai
import pytest
from sim_raw import HELLO

from omni_grpc.simulator import Simulator

ASKS: Any = {"reasoning": {"max_tokens": 100, "summary": "auto"}}


def turns(details: Any) -> Any:
    return [*HELLO, {"role": "assistant", "content": "x", "reasoning_details": details}, *HELLO]


async def test_blocks_are_told_only_to_those_who_ask_as_openrouter_does(
    client: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    ask: Any = {"model": "sim/reasoner", "messages": HELLO}
    bare: Any = (await client.chat.completions.create(**ask)).choices[0].message
    assert bare.reasoning_content
    assert "reasoning_details" not in (bare.model_extra or {})
    told: Any = (await client.chat.completions.create(extra_body=ASKS, **ask)).choices[0].message
    (block,) = told.reasoning_details
    assert block["type"] == "reasoning.text"
    assert block["text"] == told.reasoning_content == bare.reasoning_content
    assert block["signature"]
    seen = simulator.log[-1].seen
    assert (seen["reasoning_budget"], seen["reasoning_summary"]) == (100, "auto")


async def test_a_streamed_block_comes_in_pieces_and_its_signature_before_the_answer(
    client: openai.AsyncOpenAI,
) -> None:
    ask: Any = {"model": "sim/reasoner", "messages": HELLO, "extra_body": ASKS}
    plain: Any = (await client.chat.completions.create(**ask)).choices[0].message
    deltas: list[Any] = [
        chunk.choices[0].delta
        async for chunk in await client.chat.completions.create(stream=True, **ask)
    ]
    pieces = [
        (place, detail)
        for place, delta in enumerate(deltas)
        for detail in (delta.model_extra or {}).get("reasoning_details", ())
    ]
    assert "".join(one.get("text", "") for _, one in pieces) == plain.reasoning_content
    (signed,) = [place for place, one in pieces if one.get("signature")]
    assert signed == max(place for place, _ in pieces)
    assert signed < min(place for place, delta in enumerate(deltas) if delta.content)
    assert pieces[-1][1]["signature"] == plain.reasoning_details[0]["signature"]


async def test_a_block_comes_back_as_it_was_or_is_refused(
    client: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    ask: Any = {"model": "sim/reasoner", "extra_body": ASKS}
    told: Any = (await client.chat.completions.create(messages=HELLO, **ask)).choices[0].message
    (block,) = told.reasoning_details
    await client.chat.completions.create(messages=turns([block]), **ask)
    assert simulator.log[-1].seen["reasoning_blocks"] == 1
    for touched in ({"text": "other"}, {"signature": None}):
        with pytest.raises(openai.BadRequestError, match="signature"):
            await client.chat.completions.create(messages=turns([{**block, **touched}]), **ask)
    foreign = [{"type": "reasoning.text", "text": "x", "format": "anthropic-claude-v1"}]
    await client.chat.completions.create(messages=turns(foreign), **ask)


@pytest.mark.parametrize(
    "body",
    [
        {"reasoning": {"effort": "low", "max_tokens": 5}},
        {"reasoning": {"max_tokens": 0}},
        {"reasoning": {"summary": "long"}},
        {"top_k": -1},
        {"logit_bias": {"1": 101}},
    ],
)
async def test_settings_that_cannot_be_are_refused(
    client: openai.AsyncOpenAI, body: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="sim/fast", messages=HELLO, extra_body=body)


async def test_what_was_seen_is_logged_under_the_fields_names(
    client: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    mark = {"type": "ephemeral"}
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look.", "cache_control": mark},
                {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "file", "file": {"file_id": "file-1"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        *HELLO,
    ]
    tool = {"type": "function", "function": {"name": "f", "strict": True}, "cache_control": mark}
    body: Any = {
        "model": "sim/vision",
        "messages": messages,
        "tools": [tool],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "stop": "x",
        "n": 2,
        "logit_bias": {"5": -1},
    }
    await client.chat.completions.create(**body)
    assert simulator.log[-1].seen == {
        "images": 1,
        "image_urls": 1,
        "file_ids": 1,
        "system": "Be brief.",
        "refusals": 1,
        "cache_marks": 2,
        "tools": ["f"],
        "tool_choice": {"name": "f"},
        "parallel_tool_calls": False,
        "strict_tools": 1,
        "temperature": 0.5,
        "stop": ["x"],
        "n": 2,
        "logit_bias": {"5": -1.0},
    }
