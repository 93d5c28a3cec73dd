"""Answers, chunks, errors and models against OpenAI's published API document.

`OMNI_TEST_DATA` names a folder that contains `openai_schema/openapi.yml.gz`.
"""

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from raw_client import RawClient, chat
from rest_rig import Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    Choice,
    Logprobs,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
)
from omni_grpc.core.usage import Usage

DOCUMENT = Path(os.environ.get("OMNI_TEST_DATA", "")) / "openai_schema" / "openapi.yml.gz"
pytestmark = [
    pytest.mark.asyncio(loop_factories=["uvloop"]),
    pytest.mark.skipif(
        not os.environ.get("OMNI_TEST_DATA") or not DOCUMENT.is_file(),
        reason="OMNI_TEST_DATA names no folder with openai_schema/openapi.yml.gz",
    ),
]

PROBABLE = Logprobs(
    content=(
        TokenLogprob(
            token="a",
            logprob=-0.5,
            bytes=(97,),
            top_logprobs=(TopLogprob(token="b", logprob=-1.5),),
        ),
    )
)
CALLS = (ToolCall(id="call_1", name="f", arguments_json="{}"),)
USAGE = Usage(
    prompt=9,
    cached_read=1,
    cached_write=2,
    prompt_audio=3,
    completion=7,
    reasoning=4,
    completion_audio=1,
)


@pytest.fixture(scope="module")
def components() -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with gzip.open(DOCUMENT) as file:
        return _with_nulls(yaml.load(file, Loader=loader)["components"])


def _with_nulls(node: Any) -> Any:
    """The document mixes in OpenAPI 3.0's `nullable`, which JSON Schema does not know."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _with_nulls(value) for key, value in node.items()}
    if made.pop("nullable", False) is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made


def check(components: Any, name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    jsonschema.Draft202012Validator(schema).validate(value)


async def test_plain_answers(components: Any, service: Service, raw: RawClient) -> None:
    async def rich(call: Call, request: ChatRequest) -> ChatCompletion:
        choices = (
            Choice(index=0, answer=Answer(tool_calls=CALLS), finish_reason="tool_calls"),
            Choice(index=1, answer=Answer(refusal="No."), finish_reason="content_filter"),
            Choice(
                index=2,
                answer=Answer(text="a", reasoning="hm"),
                finish_reason="length",
                logprobs=PROBABLE,
            ),
        )
        return completion(
            call,
            choices=choices,
            usage=USAGE,
            system_fingerprint="fp",
            service_tier="default",
        )

    check(components, "CreateChatCompletionResponse", (await raw.ask(chat())).json)
    service.chats.complete_script = rich
    check(components, "CreateChatCompletionResponse", (await raw.ask(chat())).json)


async def test_chunks(components: Any, service: Service, raw: RawClient) -> None:
    async def rich(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (
            ChatDelta(reasoning="hm"),
            ChatDelta(text="a", logprobs=PROBABLE),
            ChatDelta(choice_index=1, refusal="No."),
        )
        yield (
            ChatDelta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="f"),)),
            ChatDelta(tool_calls=(ToolCallDelta(index=0, arguments_json="{}"),)),
        )
        yield (
            ChatDelta(finish_reason="tool_calls"),
            ChatDelta(choice_index=1, finish_reason="stop"),
        )
        yield completion(call, usage=USAGE, system_fingerprint="fp", service_tier="default")

    for script in (service.chats.stream_hello, rich):
        service.chats.stream_script = script
        for options in ({}, {"stream_options": {"include_usage": True}}):
            answer = await raw.ask(chat(stream=True, **options))
            assert len(answer.chunks) >= 3
            for chunk in answer.chunks:
                check(components, "CreateChatCompletionStreamResponse", chunk)


async def test_errors_and_models(components: Any, raw: RawClient) -> None:
    for answer in (await raw.ask(b"{}"), await raw.ask(b"", key=None), await raw.get("/nothing")):
        check(components, "ErrorResponse", answer.json)
    listed = (await raw.get("/v1/models")).json
    check(components, "ListModelsResponse", listed)
    for model in listed["data"]:
        check(components, "Model", (await raw.get(f"/v1/models/{model['id']}")).json)
