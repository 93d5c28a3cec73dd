"""Responses, their events and items, and completions against OpenAI's published API document.

`OMNI_TEST_DATA` names a folder that contains `openai_schema/openapi.yml.gz`.
"""

import json
from typing import Any

import pytest
import test_completions_texts as texts
from raw_client import RawClient
from responses_client import PATH, ask, events_of, response_of
from rest_rig import Service
from test_responses_answers import BLOCKS, CALLS, TOKENS, answering, streaming
from test_responses_kept import ITEMS
from test_rest_openai_document import DOCUMENT, check, components

from omni_grpc.core.chat import Answer, ChatDelta, Logprobs, ToolCallDelta
from omni_grpc.core.usage import Usage

__all__ = ["components"]
pytestmark = [
    pytest.mark.asyncio(loop_factories=["uvloop"]),
    pytest.mark.skipif(
        not DOCUMENT.is_file(),
        reason="OMNI_TEST_DATA names no folder with openai_schema/openapi.yml.gz",
    ),
]

ASKED: Any = {
    "instructions": "Be kind.",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "f"}],
    },
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "reasoning": {"effort": "high", "summary": "auto"},
    "max_output_tokens": 9,
    "temperature": 0.5,
    "metadata": {"a": "b"},
    "user": "u",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
}
EVENTS = {
    "response.created": "ResponseCreatedEvent",
    "response.in_progress": "ResponseInProgressEvent",
    "response.completed": "ResponseCompletedEvent",
    "response.incomplete": "ResponseIncompleteEvent",
    "response.failed": "ResponseFailedEvent",
    "response.output_item.added": "ResponseOutputItemAddedEvent",
    "response.output_item.done": "ResponseOutputItemDoneEvent",
    "response.content_part.added": "ResponseContentPartAddedEvent",
    "response.content_part.done": "ResponseContentPartDoneEvent",
    "response.output_text.delta": "ResponseTextDeltaEvent",
    "response.output_text.done": "ResponseTextDoneEvent",
    "response.refusal.delta": "ResponseRefusalDeltaEvent",
    "response.refusal.done": "ResponseRefusalDoneEvent",
    "response.function_call_arguments.delta": "ResponseFunctionCallArgumentsDeltaEvent",
    "response.function_call_arguments.done": "ResponseFunctionCallArgumentsDoneEvent",
    "response.reasoning_summary_part.added": "ResponseReasoningSummaryPartAddedEvent",
    "response.reasoning_summary_part.done": "ResponseReasoningSummaryPartDoneEvent",
    "response.reasoning_summary_text.delta": "ResponseReasoningSummaryTextDeltaEvent",
    "response.reasoning_summary_text.done": "ResponseReasoningSummaryTextDoneEvent",
}


async def test_plain_responses(components: Any, service: Service, raw: RawClient) -> None:
    check(components, "Response", response_of(await raw.ask(ask(), path=PATH)))
    answering(
        service,
        Answer(text="a", refusal="No.", reasoning="hm", reasoning_blocks=BLOCKS, tool_calls=CALLS),
        "length",
        logprobs=Logprobs(content=TOKENS),
        usage=Usage(prompt=9, cached_read=1, cached_write=2, completion=7, reasoning=4),
        service_tier="default",
    )
    for asked in ({}, ASKED):
        body = response_of(await raw.ask(ask(**asked), path=PATH))
        check(components, "Response", body)
        for item in body["output"]:
            check(components, "OutputItem", item)


@pytest.mark.parametrize("finish", ["tool_calls", "length"])
async def test_events(components: Any, service: Service, raw: RawClient, finish: Any) -> None:
    streaming(
        service,
        (ChatDelta(reasoning="hm", reasoning_blocks=BLOCKS),),
        (ChatDelta(text="a"), ChatDelta(text="b", logprobs=Logprobs(content=TOKENS))),
        (ChatDelta(refusal="No."),),
        (
            ChatDelta(
                tool_calls=(ToolCallDelta(index=0, id="call_1", name="f", arguments_json="{}"),),
                finish_reason=finish,
            ),
        ),
        service_tier="default",
    )
    events = events_of(await raw.ask(ask(stream=True, **ASKED), path=PATH))
    assert len({event["type"] for event in events}) >= len(EVENTS) - 2
    for event in events:
        check(components, EVENTS[event["type"]], event)
        check(components, "ResponseStreamEvent", event)


async def test_failures(components: Any, service: Service, raw: RawClient) -> None:
    check(components, "ErrorResponse", (await raw.ask(b"{}", path=PATH)).json)
    streaming(service, (ChatDelta(text="a"),), usage=None)  # fails where it is written
    *_, error, failed = events_of(await raw.ask(ask(stream=True), path=PATH))
    check(components, "ResponseErrorEvent", error)
    check(components, "ResponseFailedEvent", failed)


async def test_input_items(components: Any) -> None:
    async with Service(store_hours=1) as service:
        raw = await RawClient.connect(service)
        made = response_of(await raw.ask(ask(ITEMS), path=PATH))
        listed = (await raw.get(f"{PATH}/{made['id']}/input_items")).json
        check(components, "ResponseItemList", listed)
        for item in listed["data"]:
            check(components, "ItemResource", item)
        raw.leave()


async def test_completions(components: Any, raw: RawClient) -> None:
    check(
        components, "CreateCompletionResponse", (await raw.ask(texts.ask(), path=texts.PATH)).json
    )
    answer = await raw.ask(texts.ask(stream=True), path=texts.PATH)
    for chunk in answer.chunks:
        # The document's own example of a stream has null there, which its schema forgets.
        choice = chunk["choices"][0]
        choice["finish_reason"] = choice["finish_reason"] or "stop"
        check(components, "CreateCompletionResponse", chunk)
    assert json.dumps(answer.chunks)
