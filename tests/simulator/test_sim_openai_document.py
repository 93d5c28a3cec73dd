"""Bodies and chunks against OpenAI's published API document, where the test data are there.

`OMNI_TEST_DATA` names a folder that contains `openai_schema/openapi.yml.gz`.
"""

import copy
import gzip
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from sim_raw import RawCall

from omni_grpc.simulator import SIMULATED_MODELS, Simulator

DOCUMENT = Path(os.environ.get("OMNI_TEST_DATA", "")) / "openai_schema" / "openapi.yml.gz"
pytestmark = pytest.mark.skipif(
    not os.environ.get("OMNI_TEST_DATA") or not DOCUMENT.is_file(),
    reason="OMNI_TEST_DATA names no folder with openai_schema/openapi.yml.gz: nothing to check by",
)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
REQUESTS: dict[str, Any] = {
    "text": {},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "choices": {"n": 2},
    "tools": {"tools": TOOLS, "tool_choice": "required"},
    "length": {"max_tokens": 3},
    **{model.id: {"model": model.id} for model in SIMULATED_MODELS if model.id in (
        "echo", "burst", "cached", "reasoner", "vision", "empty", "refusal", "filter",
        "no-usage", "usage-twice", "usage-zero", "usage-over", "wrong-model", "long-line", "crlf",
    )},
}  # fmt: skip


@pytest.fixture(scope="module")
def components() -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with gzip.open(DOCUMENT) as file:
        document = yaml.load(file, Loader=loader)
    return _with_nulls(document["components"])


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


def validator(components: Any, name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", REQUESTS)
async def test_answers_are_what_the_document_says(
    simulator: Simulator, components: Any, name: str
) -> None:
    body = copy.deepcopy(REQUESTS[name])
    plain = await RawCall.post(simulator, "connection: close\r\n", **body)
    await plain.read_to_end()
    validator(components, "CreateChatCompletionResponse").validate(json.loads(plain.body))
    streamed = await RawCall.post(
        simulator,
        "connection: close\r\n",
        stream=True,
        stream_options={"include_usage": True},
        **body,
    )
    await streamed.read_to_end()
    checker = validator(components, "CreateChatCompletionStreamResponse")
    assert len(streamed.chunks) > 1
    for chunk in streamed.chunks:
        checker.validate(chunk)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_errors_are_what_the_document_says(
    simulator: Simulator, components: Any, status: int
) -> None:
    for stream in (True, False):
        call = await RawCall.post(
            simulator, "connection: close\r\n", model=f"error-{status}", stream=stream
        )
        await call.read_to_end()
        validator(components, "ErrorResponse").validate(json.loads(call.body))


async def test_the_list_of_models_is_what_the_document_says(
    simulator: Simulator, components: Any
) -> None:
    call = await RawCall.send(
        simulator, "GET /v1/models HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n"
    )
    await call.read_to_end()
    validator(components, "ListModelsResponse").validate(json.loads(call.body))
