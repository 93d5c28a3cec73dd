"""Reasoning, cache marks and optional settings, in a body and in an answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from raw_client import RawClient, chat
from rest_rig import Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import (
    OPTIONAL_FIELDS,
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    Choice,
    FilePart,
    ImagePart,
    Message,
    ReasoningBlock,
    SafetySetting,
    TextPart,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.usage import Usage
from omni_grpc.rest_api.openai import ChatOrder, read_chat
from omni_grpc.rest_api.streaming import IGNORED_BYTES_MAX

TEXT = ReasoningBlock(kind="text", format="anthropic", text="hm", signature="c2ln")
SUMMARY = ReasoningBlock(kind="summary", format="responses", text="In short.", id="rs_1")
ENCRYPTED = ReasoningBlock(kind="encrypted", format="openai", data="ZW5j", id="call_1")
BLOCKS = (TEXT, SUMMARY, ENCRYPTED)
DETAILS = [
    {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "id": None,
     "format": "anthropic", "index": 0},
    {"type": "reasoning.summary", "summary": "In short.", "id": "rs_1",
     "format": "responses", "index": 1},
    {"type": "reasoning.encrypted", "data": "ZW5j", "id": "call_1",
     "format": "openai", "index": 2},
]  # fmt: skip
MARK: dict[str, Any] = {"type": "ephemeral"}


def read(**fields: Any) -> ChatOrder:
    return read_chat(chat(**fields))


def turn(**fields: Any) -> Message:
    return read(messages=[fields]).request.messages[0]


def refused(**fields: Any) -> str | None:
    with pytest.raises(FieldInvalid) as caught:
        read(**fields)
    assert caught.value.field is not None
    assert caught.value.field in str(caught.value)
    return caught.value.field


# --- what a body asks -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "effort", "budget", "summary"),
    [
        ({"reasoning_effort": "low"}, "low", None, None),
        ({"reasoning": {"effort": "high"}}, "high", None, None),
        ({"reasoning": {"effort": "high"}, "reasoning_effort": "high"}, "high", None, None),
        ({"reasoning": {"max_tokens": 2000}}, None, 2000, None),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, "low", None, "auto"),
        ({"reasoning": {"enabled": True}}, "medium", None, None),
        ({"reasoning": {"enabled": True, "max_tokens": 9}}, None, 9, None),
        ({"reasoning": {"enabled": False}}, "none", None, None),
        ({"reasoning": {"effort": None, "exclude": None}}, None, None, None),
        ({"reasoning": None}, None, None, None),
        ({}, None, None, None),
    ],
)
def test_how_much_to_reason_is_read(
    fields: dict[str, Any], effort: str | None, budget: int | None, summary: str | None
) -> None:
    request = read(**fields).request
    assert request.reasoning_effort == effort
    assert request.reasoning_budget == budget
    assert request.reasoning_summary == summary
    assert request.extra == {}


def test_reasoning_can_be_kept_out_of_the_answer() -> None:
    assert read(reasoning={"exclude": True}).hide_reasoning
    assert not read(reasoning={"exclude": False}).hide_reasoning


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "reasoning.effort"),
        ({"reasoning": {"enabled": False, "effort": "low"}}, "reasoning.enabled"),
        ({"reasoning": {"enabled": False, "max_tokens": 5}}, "reasoning.enabled"),
        ({"reasoning": {"max_tokens": 0}}, "reasoning.max_tokens"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"reasoning": {"budget": 5}}, "reasoning.budget"),
        ({"reasoning": "high"}, "reasoning"),
        ({"top_k": -1}, "top_k"),
        ({"safety_settings": [{"category": "X"}]}, "safety_settings[0].threshold"),
        ({"safety_settings": [{"category": "X", "threshold": ""}]}, "safety_settings[0].threshold"),
        ({"omni": {"optional": ["messages"]}}, "omni.optional[0]"),
        ({"omni": {"optional": ["seed", "sed"]}}, "omni.optional[1]"),
        ({"omni": {"optional": "seed"}}, "omni.optional"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    assert refused(**fields) == field


def test_settings_are_read() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    optional = sorted(OPTIONAL_FIELDS)
    request = read(top_k=40, safety_settings=settings, omni={"optional": optional}).request
    assert request.sampling.top_k == 40
    assert request.safety == (
        SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE"),
    )
    assert request.optional == OPTIONAL_FIELDS
    assert request.extra == {}
    assert read(top_k=0).request.sampling.top_k is None


def test_cache_marks_are_read_on_parts_and_tools() -> None:
    message = turn(
        role="user",
        content=[
            {"type": "text", "text": "x", "cache_control": MARK},
            {"type": "image_url", "image_url": {"url": "data:,x"}, "cache_control": MARK},
            {"type": "file", "file": {"file_id": "f"}, "cache_control": MARK | {"ttl": "1h"}},
            {"type": "text", "text": "y", "cache_control": None},
        ],
    )
    assert message.content == (
        TextPart(text="x", cache="5m"),
        ImagePart(url="data:,x", cache="5m"),
        FilePart(file_id="f", cache="1h"),
        TextPart(text="y"),
    )
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": MARK | {"ttl": "5m"}}
    assert read(tools=[tool]).request.tools[0].cache == "5m"


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "text", "text": "x", "cache_control": {"type": "long"}}, "cache_control.type"),
        (
            {"type": "text", "text": "x", "cache_control": MARK | {"ttl": "2h"}},
            "cache_control.ttl",
        ),
        (
            {
                "type": "input_audio",
                "input_audio": {"data": "AA==", "format": "wav"},
                "cache_control": MARK,
            },
            "cache_control",
        ),
    ],
)
def test_marks_that_cannot_be_are_refused_by_name(part: dict[str, Any], field: str) -> None:
    found = refused(messages=[{"role": "user", "content": [part]}])
    assert found == f"messages[0].content[0].{field}"


def test_blocks_of_reasoning_are_read_as_they_were_written() -> None:
    message = turn(role="assistant", content="x", reasoning_details=DETAILS)
    assert message.reasoning_blocks == BLOCKS
    bare = [{"type": "reasoning.text", "text": "x"}]
    assert turn(role="assistant", content="x", reasoning_details=bare).reasoning_blocks == (
        ReasoningBlock(kind="text", format="openai", text="x"),
    )


@pytest.mark.parametrize(
    ("detail", "field"),
    [
        ({"type": "reasoning.text"}, "text"),
        ({"type": "reasoning.encrypted", "data": ""}, "data"),
        ({"type": "thinking", "text": "x"}, "type"),
        ({"type": "reasoning.text", "text": 5}, "text"),
        ({"type": "reasoning.text", "text": "x", "format": "f" * 65}, "format"),
    ],
)
def test_blocks_that_cannot_be_are_refused_by_name(detail: dict[str, Any], field: str) -> None:
    message = {"role": "assistant", "content": "x", "reasoning_details": [detail]}
    assert refused(messages=[message]) == f"messages[0].reasoning_details[0].{field}"


def test_blocks_of_reasoning_belong_to_assistants() -> None:
    message = {"role": "user", "content": "x", "reasoning_details": DETAILS}
    assert refused(messages=[message]) == "messages[0].reasoning_details"


# --- what an answer says --------------------------------------------------------------------------
def script_answer(service: Service, **changed: Any) -> None:
    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        answer = Answer(text="x", reasoning="hm", reasoning_blocks=BLOCKS)
        choice = Choice(index=0, answer=answer, finish_reason="stop", stop_sequence="END")
        return completion(call, **{"choices": (choice,), **changed})

    service.chats.complete_script = script


def script_stream(service: Service, **changed: Any) -> None:
    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call, **changed)
        yield (ChatDelta(reasoning="hm"),)
        yield (ChatDelta(reasoning_blocks=BLOCKS[:1]),)
        yield (ChatDelta(text="x", reasoning_blocks=BLOCKS[1:]),)
        yield (ChatDelta(text="y", finish_reason="stop", stop_sequence="END"),)
        yield completion(call, **changed)

    service.chats.stream_script = script


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_plain_answer_has_its_blocks_and_its_stop_sequence(
    service: Service, raw: RawClient
) -> None:
    usage = Usage(prompt=9, completion=5, cached_write=4, cached_write_1h=3, completion_image=2)
    script_answer(service, usage=usage)
    body = (await raw.ask(chat())).json
    (choice,) = body["choices"]
    assert choice["message"]["reasoning_content"] == "hm"
    assert choice["message"]["reasoning_details"] == DETAILS
    assert choice["stop_sequence"] == "END"
    assert body["usage"]["prompt_tokens_details"] == {
        "cache_write_tokens": 4,
        "cache_write_1h_tokens": 3,
    }
    assert body["usage"]["completion_tokens_details"] == {"image_tokens": 2}
    hidden = (await raw.ask(chat(reasoning={"exclude": True}))).json["choices"][0]["message"]
    assert not {"reasoning_content", "reasoning_details"} & set(hidden)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_each_streamed_block_is_whole_and_has_a_number_of_its_own(
    service: Service, raw: RawClient
) -> None:
    script_stream(service)
    choices = [chunk["choices"][0] for chunk in (await raw.ask(chat(stream=True))).chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {"reasoning_details": DETAILS[:1]},
        {"content": "x", "reasoning_details": DETAILS[1:]},
        {"content": "y"},
        {},
    ]
    assert [choice.get("stop_sequence") for choice in choices] == [None] * 4 + ["END"]
    hidden = await raw.ask(chat(stream=True, reasoning={"exclude": True}))
    assert [chunk["choices"][0]["delta"] for chunk in hidden.chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "x"},
        {"content": "y"},
        {},
    ]


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_reader_is_pinged_on_while_reasoning_is_kept_from_it() -> None:
    thinking = asyncio.Event()

    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (ChatDelta(text="x"),)
        while not thinking.is_set():
            await asyncio.sleep(0.002)
            yield (ChatDelta(reasoning="hm"),)
        yield (ChatDelta(finish_reason="stop"),)
        yield completion(call)

    async with Service(ping_seconds=0.05) as service:
        service.chats.stream_script = script
        raw = await RawClient.connect(service)
        await raw.send(chat(stream=True, reasoning={"exclude": True}))
        await raw.head()
        assert b'"content":"x"' in await raw.chunk()
        for _ in range(3):
            assert await raw.chunk() == b": ping\n\n"
        thinking.set()
        while (last := await raw.chunk()) == b": ping\n\n":  # one more may have been due
            pass
        assert b'"finish_reason":"stop"' in last
        raw.leave()


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_the_accumulator_of_the_sdk_keeps_the_blocks_apart(service: Service) -> None:
    script_stream(service)
    url = service.base_url
    async with (
        openai.AsyncOpenAI(base_url=url, api_key="omni_test", max_retries=0) as client,
        client.chat.completions.stream(
            model="sim/fast", messages=[{"role": "user", "content": "Hi"}]
        ) as stream,
    ):
        found = await stream.get_final_completion()
    said: Any = found.choices[0].message
    assert (said.content, said.reasoning_content) == ("xy", "hm")
    assert json.loads(json.dumps(said.reasoning_details)) == DETAILS


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_what_was_not_sent_is_told_in_a_header(service: Service, raw: RawClient) -> None:
    ignored = ("seed", "messages[0]", "a b\r\nx: y", "ü")
    told = "seed,messages[0],a%20b%0D%0Ax%3A%20y,%C3%BC"
    script_answer(service, ignored=ignored)
    assert (await raw.ask(chat())).headers["x-omni-ignored"] == told
    script_stream(service, ignored=ignored)
    assert (await raw.ask(chat(stream=True))).headers["x-omni-ignored"] == told
    script_answer(service, ignored=tuple(f"field_{number}" for number in range(1000)))
    many = (await raw.ask(chat())).headers["x-omni-ignored"]
    assert len(many) <= IGNORED_BYTES_MAX + len(",...")
    assert many.endswith(",...")
    script_answer(service)
    assert "x-omni-ignored" not in (await raw.ask(chat())).headers
