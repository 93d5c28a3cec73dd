"""What Bedrock refuses the simulator refuses too, in AWS's words and form."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from omni_grpc.simulator import Simulator

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
BEARER = {"authorization": "Bearer k"}
HELLO = [{"role": "user", "content": [{"text": "Hi"}]}]
ASSISTANT = {"role": "assistant", "content": [{"text": "x"}]}
SPEC = {"name": "f", "inputSchema": {"json": {"type": "object"}}}
TOOLS = {"tools": [{"toolSpec": SPEC}]}
USE = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "t1", "content": [{"text": "r"}]}}
IMAGE = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}


def document(name: str = "a") -> dict[str, Any]:
    return {"document": {"format": "pdf", "name": name, "source": {"bytes": "AAAA"}}}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def asked(*blocks: Any) -> dict[str, Any]:
    return {"messages": [user({"text": "Hi"}, *blocks)]}


def thinking(**more: Any) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": 1_024, **more}}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(
    http: aiohttp.ClientSession,
    simulator: Simulator,
    body: object,
    model: str = "fast",
    **headers: str,
) -> tuple[int, str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"{simulator.origin}/model/{model}/converse"
    async with http.post(url, data=data, headers=headers or BEARER) as answer:
        kind = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
        return answer.status, kind, await answer.json()


WRONG: dict[str, Any] = {
    "no JSON": b"{",
    "no messages": {},
    "none at all": {"messages": []},
    "no content": {"messages": [{"role": "user", "content": []}]},
    "content as text": {"messages": [{"role": "user", "content": "Hi"}]},
    "unknown role": {"messages": [{"role": "tool", "content": [{"text": "x"}]}]},
    "assistant first": {"messages": [ASSISTANT]},
    "two users": {"messages": [*HELLO, *HELLO]},
    "blank text": asked({"text": " \n"}),
    "empty block": asked({}),
    "two in one block": asked({"text": "a", **IMAGE}),
    "unknown image": asked({"image": {"format": "bmp", "source": {"bytes": "AAAA"}}}),
    "no base64": asked({"image": {"format": "png", "source": {"bytes": "!!"}}}),
    "unknown audio": asked({"audio": {"format": "midi", "source": {"bytes": "AAAA"}}}),
    "name of a document": asked(document("a_b.pdf")),
    "two blanks in a name": asked(document("a  b")),
    "one name twice": asked(document(), document()),
    "document alone": {"messages": [user(document())]},
    "image of the assistant": {"messages": [*HELLO, {"role": "assistant", "content": [IMAGE]}]},
    "unknown mark": asked({"cachePoint": {"type": "x"}}),
    "unknown time of a mark": asked({"cachePoint": {"type": "default", "ttl": "2h"}}),
    "calls without tools": {
        "messages": [*HELLO, {"role": "assistant", "content": [USE]}, user(RESULT)]
    },
    "result of no call": {"messages": [user(RESULT)], "toolConfig": TOOLS},
    "call without result": {
        "messages": [*HELLO, {"role": "assistant", "content": [USE]}, *HELLO],
        "toolConfig": TOOLS,
    },
    "mark in a result": {
        "messages": [
            *HELLO,
            {"role": "assistant", "content": [USE]},
            user(
                {
                    "toolResult": {
                        "toolUseId": "t1",
                        "content": [{"cachePoint": {"type": "default"}}],
                    }
                }
            ),
        ],
        "toolConfig": TOOLS,
    },
    "failed result without words": {
        "messages": [
            *HELLO,
            {"role": "assistant", "content": [USE]},
            user({"toolResult": {"toolUseId": "t1", "content": [], "status": "error"}}),
        ],
        "toolConfig": TOOLS,
    },
    "no tools": {**asked(), "toolConfig": {"tools": []}},
    "name of a tool": {
        **asked(),
        "toolConfig": {"tools": [{"toolSpec": {**SPEC, "name": "a b"}}]},
    },
    "no schema": {**asked(), "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}]}},
    "schema of no object": {
        **asked(),
        "toolConfig": {"tools": [{"toolSpec": {**SPEC, "inputSchema": {"json": {}}}}]},
    },
    "empty description": {
        **asked(),
        "toolConfig": {"tools": [{"toolSpec": {**SPEC, "description": ""}}]},
    },
    "one tool twice": {**asked(), "toolConfig": {"tools": TOOLS["tools"] * 2}},
    "choice of no tool": {
        **asked(),
        "toolConfig": {**TOOLS, "toolChoice": {"tool": {"name": "g"}}},
    },
    "two choices": {
        **asked(),
        "toolConfig": {**TOOLS, "toolChoice": {"any": {}, "auto": {}}},
    },
    "max tokens": {**asked(), "inferenceConfig": {"maxTokens": 0}},
    "temperature": {**asked(), "inferenceConfig": {"temperature": 1.5}},
    "top p": {**asked(), "inferenceConfig": {"topP": -0.1}},
    "empty stop": {**asked(), "inferenceConfig": {"stopSequences": [""]}},
    "schema of the answer": {
        **asked(),
        "outputConfig": {
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{"}}}
        },
    },
    "form of the answer": {
        **asked(),
        "outputConfig": {
            "textFormat": {"type": "json", "structure": {"jsonSchema": {"schema": "{}"}}}
        },
    },
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_request_is_refused_as_aws_does(simulator, http, name):
    status, kind, body = await post(http, simulator, WRONG[name])
    assert (status, kind) == (400, "ValidationException")
    assert list(body) == ["message"]
    assert body["message"]


CLAUDES_WRONG: dict[str, Any] = {
    "unknown field": {"additionalModelRequestFields": {"seed": 1}},
    "unknown thinking": {"additionalModelRequestFields": thinking(type="much")},
    "small budget": {"additionalModelRequestFields": thinking(budget_tokens=1_023)},
    "no budget": {"additionalModelRequestFields": {"thinking": {"type": "enabled"}}},
    "budget of all": {
        "additionalModelRequestFields": thinking(),
        "inferenceConfig": {"maxTokens": 1_024},
    },
    "cool thinking": {
        "additionalModelRequestFields": thinking(),
        "inferenceConfig": {"temperature": 0.5},
    },
    "top k of thinking": {"additionalModelRequestFields": {**thinking(), "top_k": 5}},
    "forced thinking": {
        "additionalModelRequestFields": thinking(),
        "toolConfig": {**TOOLS, "toolChoice": {"any": {}}},
    },
    "effort": {"additionalModelRequestFields": {"output_config": {"effort": "huge"}}},
}


@pytest.mark.parametrize("name", CLAUDES_WRONG)
async def test_what_claude_would_refuse_is_refused_of_claude(simulator, http, name):
    body = {**asked(), **CLAUDES_WRONG[name]}
    status, kind, _ = await post(http, simulator, body, CLAUDE)
    assert (status, kind) == (400, "ValidationException")


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("small", {"toolConfig": TOOLS}),
        ("fast", asked(IMAGE)),
        ("fast", asked(document())),
        ("small", {"messages": [user({"text": "word " * 9_000})]}),
    ],
)
async def test_what_a_model_cannot_do_is_refused(simulator, http, model, more):
    status, kind, _ = await post(http, simulator, {**asked(), **more}, model)
    assert (status, kind) == (400, "ValidationException")


async def test_a_model_that_is_not_there_is_not_found(simulator, http):
    found = await post(http, simulator, asked(), "sim%2Fnothing")
    assert found[:2] == (404, "ResourceNotFoundException")


async def test_what_is_not_known_is_let_pass(simulator, http):
    body = {**asked(), "requestMetadata": {"a": "b"}, "guardrailConfig": {}, "new": 1}
    assert (await post(http, simulator, body))[0] == 200


# --- signatures ---------------------------------------------------------------------------------
def signed(url: str, body: bytes, key: str = "k", **more: str) -> dict[str, str]:
    """As AWS's client signs, with the same word as id and secret."""
    request = AWSRequest("POST", url, {"Content-Type": "application/json"}, body)
    scope = {"service": "bedrock", "region": "eu-west-1", **more}
    auth = SigV4Auth(ReadOnlyCredentials(key, key, None), scope["service"], scope["region"])
    auth.add_auth(request)
    return dict(request.headers.items())


def changed(name: str, value: str) -> Any:
    def change(headers: dict[str, str]) -> None:
        headers[name] = value

    return change


def unsigned(name: str) -> Any:
    def change(headers: dict[str, str]) -> None:
        headers["Authorization"] = headers["Authorization"].replace(f"{name};", "")

    return change


def dated(minutes: int) -> Any:
    """So long after the test sends it: a date that was made before may be the right one by then."""

    def change(headers: dict[str, str]) -> None:
        moment = datetime.now(UTC) + timedelta(minutes=minutes)
        headers["X-Amz-Date"] = moment.strftime("%Y%m%dT%H%M%SZ")

    return change


FORGED: dict[str, Any] = {
    "another type": changed("Content-Type", "text/plain"),
    "another date": dated(2),
    "an old date": dated(-6),
    "no date": changed("X-Amz-Date", "today"),
    "a token that is not signed": changed("X-Amz-Security-Token", "t"),
    "a host that is not signed": unsigned("host"),
    "a type that is not signed": unsigned("content-type"),
    "another body": changed("X-Amz-Content-Sha256", "0" * 64),
}


async def test_a_signature_is_believed(simulator, http):
    body = json.dumps(asked()).encode()
    headers = signed(f"{simulator.origin}/model/fast/converse", body)
    assert (await post(http, simulator, body, **headers))[0] == 200


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_request_is_not_believed(simulator, http, name):
    body = json.dumps(asked()).encode()
    headers = signed(f"{simulator.origin}/model/fast/converse", body)
    FORGED[name](headers)
    found = await post(http, simulator, body, **headers)
    assert found[:2] == (403, "InvalidSignatureException")


async def test_a_signature_is_of_one_address_one_service_and_one_body(simulator, http):
    body = json.dumps(asked()).encode()
    right = f"{simulator.origin}/model/fast/converse"
    for headers, sent in (
        (signed(f"{simulator.origin}/model/slow/converse", body), body),
        (signed(f"{right}-stream", body), body),
        (signed(right.replace("127.0.0.1", "localhost"), body), body),
        (signed(right, body, service="s3"), body),
        (signed(right, body), body + b" "),
    ):
        found = await post(http, simulator, sent, **headers)
        assert found[:2] == (403, "InvalidSignatureException")


async def test_who_does_not_sign_is_told_so(simulator, http):
    none = await post(http, simulator, asked(), **{"x-sim": ""})
    half = await post(http, simulator, asked(), authorization="AWS4-HMAC-SHA256 Credential=k")
    assert none[:2] == (403, "MissingAuthenticationTokenException")
    assert half[:2] == (403, "IncompleteSignatureException")
