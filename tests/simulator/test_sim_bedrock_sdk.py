"""AWS's own client, pointed straight at the simulator."""

import asyncio
import base64
import contextlib
import http.client
import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import jsonschema
import pytest
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EventStreamError

from omni_grpc.catalog.tokens import count_answer, count_text
from omni_grpc.simulator import Simulator

KEY = "AKIDEXAMPLE"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}},
    {"toolSpec": {"name": "get_time", "inputSchema": {"json": {"type": "object"}}}},
]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """A simulator with a key, in a thread of its own, for a client that blocks."""
    ready: queue.Queue[tuple[Simulator, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        async with Simulator(key=KEY) as running:
            stop = asyncio.Event()
            ready.put((running, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    running, loop, stop = ready.get(timeout=60)
    yield running
    loop.call_soon_threadsafe(stop.set)
    thread.join(timeout=60)


def connect(simulator: Simulator, key: str = KEY, secret: str = KEY, **more: Any) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=simulator.origin,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
        **more,
    )


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[Any]:
    made = connect(simulator)
    yield made
    made.close()


def user(text: str, *blocks: Any) -> Any:
    return [{"role": "user", "content": [{"text": text}, *blocks]}]


def events(answer: Any) -> list[tuple[str, Any]]:
    with contextlib.closing(answer["stream"]) as stream:
        return [item for event in stream for item in event.items()]


def put_together(answer: Any) -> tuple[list[Any], str, Any]:
    """A stream as the plain answer would be: blocks, stop reason, usage."""
    blocks: dict[int, Any] = {}
    arguments: dict[int, str] = {}
    reason, usage = "", None
    for name, body in events(answer):
        index = body.get("contentBlockIndex", -1)
        if name == "contentBlockStart":
            blocks[index] = {"toolUse": dict(body["start"]["toolUse"])}
            arguments[index] = ""
        elif name == "contentBlockDelta":
            ((kind, piece),) = body["delta"].items()
            if kind == "text":
                blocks.setdefault(index, {"text": ""})["text"] += piece
            elif kind == "toolUse":
                arguments[index] += piece["input"]
            else:
                empty = {"reasoningContent": {"reasoningText": {"text": "", "signature": ""}}}
                said = blocks.setdefault(index, empty)["reasoningContent"]["reasoningText"]
                ((field, text),) = piece.items()
                said[field] += text
        elif name == "messageStop":
            reason = body["stopReason"]
        elif name == "metadata":
            usage = body["usage"]
    for index, text in arguments.items():
        blocks[index]["toolUse"]["input"] = json.loads(text)
    return [blocks[index] for index in sorted(blocks)], reason, usage


def test_a_plain_answer_reports_what_it_has(client):
    answer = client.converse(modelId="sim/fast", messages=user("Tell me about the sea."))
    (block,) = answer["output"]["message"]["content"]
    usage = answer["usage"]
    assert answer["output"]["message"]["role"] == "assistant"
    assert answer["stopReason"] == "end_turn"
    assert usage["outputTokens"] == count_text(block["text"]) == 40
    assert usage["totalTokens"] == usage["inputTokens"] + 40
    assert answer["metrics"]["latencyMs"] >= 0


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"inferenceConfig": {"maxTokens": 7}},
        {"toolConfig": {"tools": TOOLS, "toolChoice": {"any": {}}}},
        {"toolConfig": {"tools": TOOLS}, "messages": user("call get_weather and call get_time")},
        {"messages": user("Hi [sim reasoning=6,tokens=4]")},
        {"messages": user("Hi [sim refusal]")},
        {"messages": user("Hi [sim cached=50]")},
        {"messages": user("Hi [sim finish=content_filter]")},
    ],
    ids=["text", "short", "forced", "parallel", "reasoning", "refusal", "cached", "filter"],
)
def test_stream_and_plain_answer_are_the_same(client, more):
    asked = {"modelId": "fast", "messages": user("Hi"), **more}
    plain = client.converse(**asked)
    streamed = put_together(client.converse_stream(**asked))
    assert streamed == (
        plain["output"]["message"]["content"],
        plain["stopReason"],
        plain["usage"],
    )


def test_the_events_come_in_their_order(client):
    asked = {"modelId": "fast", "messages": user("call get_weather [sim reasoning=2]")}
    found = events(client.converse_stream(**asked, toolConfig={"tools": TOOLS}))
    names = [name for name, _ in found]
    assert names[0] == "messageStart"
    assert names[-2:] == ["messageStop", "metadata"]
    assert [name for name in names if name != "contentBlockDelta"][1:-2] == [
        "contentBlockStop",
        "contentBlockStart",
        "contentBlockStop",
    ]
    indices = [body["contentBlockIndex"] for name, body in found if name.startswith("contentBlock")]
    assert indices == sorted(indices)


def test_max_tokens_cuts_and_says_so(client):
    answer = client.converse(
        modelId="fast", messages=user("Hi"), inferenceConfig={"maxTokens": 7, "temperature": 0.0}
    )
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"]["outputTokens"] == 7


def test_tools_are_called_as_their_schemas_want(client, simulator):
    messages = user("Please call get_weather, call get_time, and call get_weather again")
    answer = client.converse(modelId="fast", messages=messages, toolConfig={"tools": TOOLS})
    uses = [block["toolUse"] for block in answer["output"]["message"]["content"]]
    assert answer["stopReason"] == "tool_use"
    assert [use["name"] for use in uses] == ["get_weather", "get_time", "get_weather"]
    assert len({use["toolUseId"] for use in uses}) == 3
    jsonschema.validate(uses[0]["input"], SCHEMA)
    assert answer["usage"]["outputTokens"] == count_answer(
        text
        for use in uses
        for text in (use["name"], json.dumps(use["input"], separators=(",", ":")))
    )
    results = [
        {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"json": {"n": place}}]}}
        for place, use in enumerate(uses)
    ]
    messages += [answer["output"]["message"], {"role": "user", "content": results}]
    answer = client.converse(modelId="fast", messages=messages, toolConfig={"tools": TOOLS})
    (block,) = answer["output"]["message"]["content"]
    assert block["text"].startswith("The tools answered: ")
    assert simulator.log[-1].seen["tool_results"] == 3


@pytest.mark.parametrize(
    ("choice", "called", "seen"),
    [
        ({"any": {}}, ["get_weather"], "required"),
        ({"tool": {"name": "get_time"}}, ["get_time"], {"name": "get_time"}),
        ({"auto": {}}, [], "auto"),
    ],
)
def test_the_choice_of_tools_is_obeyed(client, simulator, choice, called, seen):
    answer = client.converse(
        modelId="fast", messages=user("Hi"), toolConfig={"tools": TOOLS, "toolChoice": choice}
    )
    blocks = answer["output"]["message"]["content"]
    assert [block["toolUse"]["name"] for block in blocks if "toolUse" in block] == called
    assert simulator.log[-1].seen["tool_choice"] == seen


def test_reasoning_has_a_proof_and_can_be_carried_back(client, simulator):
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1_024}}
    asked: Any = {
        "modelId": CLAUDE,
        "inferenceConfig": {"maxTokens": 2_000},
        "additionalModelRequestFields": thinking,
    }
    messages = user("Hi [sim reasoning=6,tokens=4]")
    answer = client.converse(messages=messages, **asked)
    thought, text = answer["output"]["message"]["content"]
    said = thought["reasoningContent"]["reasoningText"]
    assert said["signature"]
    assert answer["usage"]["outputTokens"] == count_answer([said["text"], text["text"]]) == 10
    assert simulator.log[-1].seen == {"reasoning_budget": 1_024}
    messages += [answer["output"]["message"], *user("And now? [sim tokens=3]")]
    assert client.converse(messages=messages, **asked)["usage"]["outputTokens"] == 3
    assert simulator.log[-1].seen["reasoning_blocks"] == 1


def test_a_structured_answer_fits_its_schema(client, simulator):
    form = {
        "type": "json_schema",
        "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "city"}},
    }
    answer = client.converse(modelId="fast", messages=user("Hi"), outputConfig={"textFormat": form})
    jsonschema.validate(json.loads(answer["output"]["message"]["content"][0]["text"]), SCHEMA)
    assert simulator.log[-1].seen == {"response_format": "json_schema"}


def test_all_that_was_understood_is_in_the_log(client, simulator):
    mark = {"cachePoint": {"type": "default", "ttl": "1h"}}
    media = [
        {"image": {"format": "png", "source": {"bytes": b"png"}}},
        {"audio": {"format": "wav", "source": {"bytes": b"wav"}}},
        {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"pdf"}}},
        mark,
    ]
    strict = {"toolSpec": {**TOOLS[0]["toolSpec"], "strict": True}}
    client.converse(
        modelId="anthropic.claude-opus-4-6-v1",
        messages=user("Hi", *media),
        system=[{"text": "Be brief."}, mark],
        inferenceConfig={"maxTokens": 900, "topP": 0.5, "stopSequences": ["zzz"]},
        toolConfig={"tools": [strict, mark]},
        additionalModelRequestFields={
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "low"},
        },
    )
    record = simulator.log[-1]
    assert record.seen == {
        "images": 1,
        "audios": 1,
        "files": 1,
        "cache_marks": 3,
        "system": "Be brief.",
        "tools": ["get_weather"],
        "strict_tools": 1,
        "top_p": 0.5,
        "stop": ["zzz"],
        "reasoning_effort": "low",
        "reasoning_summary": "summarized",
    }
    until = time.monotonic() + 20  # the answer may be read before its record is written
    while record.ended_ms is None and time.monotonic() < until:
        time.sleep(0.001)
    assert (record.max_tokens, record.status) == (900, 200)
    assert record.billed_completion_tokens == record.completion_tokens == 40


@pytest.mark.parametrize(
    "model", [CLAUDE, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x-1:0"]
)
def test_any_id_of_a_model_can_stand_in_the_path(client, simulator, model):
    client.converse(modelId=model, messages=user("Hi"))
    assert simulator.log[-1].model == model


# --- errors -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_errors_are_awss(client, status, kind):
    for call in (client.converse, client.converse_stream):
        with pytest.raises(getattr(client.exceptions, kind)) as caught:
            call(modelId="fast", messages=user(f"[sim status={status}]"))
        assert caught.value.response["Error"]["Message"]
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("", "internalServerException"),
        (",error_code=ThrottlingException", "throttlingException"),
        (",error_code=ModelStreamErrorException", "modelStreamErrorException"),
    ],
)
def test_an_error_in_the_middle_is_an_exception_of_the_stream(client, code, kind):
    answer = client.converse_stream(modelId="fast", messages=user(f"Hi [sim error_after=3{code}]"))
    came: list[str] = []

    def read() -> None:
        with contextlib.closing(answer["stream"]) as stream:
            for event in stream:
                came.extend(event)

    with pytest.raises(EventStreamError) as caught:
        read()
    assert caught.value.response["Error"]["Code"] == kind
    assert came.count("contentBlockDelta") == 3


def test_a_broken_event_has_a_wrong_checksum(client):
    answer = client.converse_stream(modelId="fast", messages=user("Hi [sim bad_json_after=3]"))
    with pytest.raises(ChecksumMismatch):
        events(answer)


def test_who_signs_with_another_secret_is_refused(simulator):
    for key, secret, kind in (
        (KEY, "another", "InvalidSignatureException"),
        ("SOMEBODY", "SOMEBODY", "UnrecognizedClientException"),
    ):
        other = connect(simulator, key, secret)
        with pytest.raises(ClientError) as caught:
            other.converse(modelId="fast", messages=user("Hi"))
        assert caught.value.response["Error"]["Code"] == kind
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        other.close()


def test_a_session_token_is_signed_too(simulator):
    other = connect(simulator, aws_session_token=base64.b64encode(b"token").decode())
    assert other.converse(modelId="fast", messages=user("Hi"))["stopReason"] == "end_turn"
    other.close()


def test_a_key_of_bedrocks_own_is_a_bearer(simulator):
    """Asked by hand: AWS's client shows a bearer over TLS only."""
    body = json.dumps({"messages": user("Hi")}).encode()
    for headers, status, said in (
        ({"Authorization": f"Bearer {KEY}"}, 200, "end_turn"),
        ({"Authorization": "Bearer another"}, 403, "security token"),
        ({"Authorization": "AWS4-HMAC-SHA256 nonsense"}, 403, "security token"),
        ({}, 403, "security token"),
    ):
        connection = http.client.HTTPConnection(simulator.origin.removeprefix("http://"))
        connection.request("POST", "/model/fast/converse", body, headers)
        answer = connection.getresponse()
        assert (answer.status, said in answer.read().decode()) == (status, True)
        connection.close()
