"""What the simulator refuses of a generateContent request, as Google does."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from omni_grpc.simulator import Simulator

TEXT: Any = {"text": "Hi"}
USER: Any = {"role": "user", "parts": [TEXT]}
CALL: Any = {"functionCall": {"name": "f", "args": {"a": 1}}}
CALLED: Any = {"role": "model", "parts": [CALL]}
RESULT: Any = {"functionResponse": {"name": "f", "response": {"output": "x"}}}
RESULTED: Any = {"role": "user", "parts": [RESULT]}
TOOLS: Any = [{"functionDeclarations": [{"name": "f"}]}]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(
    http: aiohttp.ClientSession,
    simulator: Simulator,
    model: str = "fast",
    verb: str = "generateContent",
    **body: Any,
) -> tuple[int, Any]:
    url = f"{simulator.origin}/v1beta/models/{model}:{verb}"
    async with http.post(url, json={"contents": [USER], **body}) as answer:
        return answer.status, await answer.json()


def turns(*contents: Any) -> dict[str, Any]:
    return {"contents": list(contents)}


def generation(**config: Any) -> dict[str, Any]:
    return {"generationConfig": config}


def calling(**config: Any) -> dict[str, Any]:
    return {"tools": TOOLS, "toolConfig": {"functionCallingConfig": config}}


WRONG: dict[str, dict[str, Any]] = {
    "no contents": turns(),
    "unknown field": {"foo": 1},
    "unknown field inside": generation(maxTokens=5),
    "unknown role": turns({"role": "system", "parts": [TEXT]}),
    "no parts": turns({"role": "user", "parts": []}),
    "empty part": turns({"role": "user", "parts": [{}]}),
    "two kinds in one part": turns({"role": "user", "parts": [TEXT | CALL]}),
    "result of no call": turns(USER, RESULTED),
    "call without its result": turns(USER, CALLED, USER),
    "too few results": turns(USER, {"role": "model", "parts": [CALL, CALL]}, RESULTED),
    "result of another function": turns(
        USER,
        CALLED,
        {"role": "user", "parts": [{"functionResponse": {"name": "g", "response": {}}}]},
    ),
    "call in the first turn": turns(CALLED, RESULTED),
    "call by the user": turns(USER, {"role": "user", "parts": [CALL]}, RESULTED),
    "limit of nothing": generation(maxOutputTokens=0),
    "temperature": generation(temperature=2.5),
    "topP": generation(topP=1.5),
    "many candidates": generation(candidateCount=9),
    "many stops": generation(stopSequences=list("abcdef")),
    "large seed": generation(seed=2**31),
    "logprobs unasked": generation(logprobs=2),
    "many logprobs": generation(responseLogprobs=True, logprobs=21),
    "form": generation(responseMimeType="text/html"),
    "schema without its form": generation(responseJsonSchema={"type": "object"}),
    "two schemas": generation(
        responseMimeType="application/json", responseSchema={}, responseJsonSchema={}
    ),
    "level": generation(thinkingConfig={"thinkingLevel": "MUCH"}),
    "level and budget": generation(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 5}),
    "function's name": {"tools": [{"functionDeclarations": [{"name": "1 f"}]}]},
    "function twice": {"tools": TOOLS * 2},
    "two schemas of a function": {
        "tools": [
            {"functionDeclarations": [
                {"name": "f", "parameters": {}, "parametersJsonSchema": {}}
            ]}
        ]
    },
    "mode": calling(mode="SOMETIMES"),
    "names without their mode": calling(mode="AUTO", allowedFunctionNames=["f"]),
    "unknown name": calling(mode="ANY", allowedFunctionNames=["g"]),
    "mode without functions": {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    "category": {"safetySettings": [{"category": "HARM", "threshold": "OFF"}]},
    "threshold": {
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "SOME"}]
    },
    "signature that is no base64": turns(
        USER, {"role": "model", "parts": [TEXT | {"thoughtSignature": "%"}]}, USER
    ),
    "signature that is none": turns(
        USER, {"role": "model", "parts": [TEXT | {"thoughtSignature": "AAAA"}]}, USER
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_refused(http, simulator: Simulator, name: str) -> None:
    status, answer = await post(http, simulator, **WRONG[name])
    assert status == 400
    error = answer["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"]
    assert simulator.log[-1].billed_prompt_tokens == 0


async def test_both_spellings_of_names_are_read(http, simulator: Simulator) -> None:
    status, _ = await post(
        http,
        simulator,
        system_instruction={"parts": [TEXT]},
        generation_config={"max_output_tokens": 5, "top_k": 3},
        contents=[USER, {"role": "model", "parts": [{"function_call": {
            "name": "f", "args": {"some_key": 1}}}]}, RESULTED],
    )  # fmt: skip
    assert status == 200
    assert simulator.log[-1].max_tokens == 5
    assert simulator.log[-1].seen["top_k"] == 3


async def test_body_that_is_no_json_is_refused(http, simulator: Simulator) -> None:
    url = f"{simulator.origin}/v1beta/models/fast:generateContent"
    for body in (b"", b"{", b"[]", b"\xff", b"[" * 100_000):
        async with http.post(url, data=body) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (generation(thinkingConfig={"thinkingLevel": "LOW"}), "Thinking level is not supported"),
        (
            {"tools": TOOLS, **generation(responseMimeType="application/json")},
            "response mime type",
        ),
    ],
)
async def test_what_older_models_cannot_do(http, simulator, body: Any, message: str) -> None:
    status, answer = await post(http, simulator, "gemini-2.5-flash", **body)
    assert status == 400
    assert message in answer["error"]["message"]
    assert (await post(http, simulator, "gemini-3-flash", **body))[0] == 200


async def test_a_call_of_the_current_turn_needs_its_signature(http, simulator) -> None:
    conversation = turns(USER, CALLED, RESULTED)
    status, answer = await post(http, simulator, "gemini-3-flash", **conversation)
    assert status == 400
    assert "missing a thought_signature" in answer["error"]["message"]
    assert (await post(http, simulator, "gemini-2.5-flash", **conversation))[0] == 200
    over = turns(USER, CALLED, RESULTED, {"role": "model", "parts": [TEXT]}, USER)
    assert (await post(http, simulator, "gemini-3-flash", **over))[0] == 200
    stand_in = {"thoughtSignature": "skip_thought_signature_validator"}
    given = turns(USER, {"role": "model", "parts": [CALL | stand_in]}, RESULTED)
    assert (await post(http, simulator, "gemini-3-flash", **given))[0] == 200


async def test_a_signature_is_bound_to_its_part(http, simulator: Simulator) -> None:
    _, answer = await post(http, simulator, "gemini-3-flash")
    content = answer["candidates"][0]["content"]
    signature = content["parts"][0]["thoughtSignature"]
    assert (await post(http, simulator, **turns(USER, content, USER)))[0] == 200
    moved = {"role": "model", "parts": [TEXT | {"thoughtSignature": signature}]}
    status, answer = await post(http, simulator, **turns(USER, moved, USER))
    assert status == 400
    assert answer["error"]["message"] == "Corrupted thought signature."


async def test_a_stream_is_asked_for_with_events(http, simulator: Simulator) -> None:
    status, _ = await post(http, simulator, verb="streamGenerateContent")
    assert status == 400
    url = f"{simulator.origin}/v1beta/models/sim/fast:streamGenerateContent?alt=sse"
    async with http.post(url, json=turns(USER)) as answer:
        assert answer.content_type == "text/event-stream"
        lines = (await answer.read()).split(b"\n")
    assert all(line.startswith(b"data: {") for line in lines if line)


async def test_a_model_that_is_not_there_is_not_found(http, simulator: Simulator) -> None:
    status, answer = await post(http, simulator, "sim/none")
    assert status == 404
    assert answer["error"]["status"] == "NOT_FOUND"


async def test_a_key_may_come_in_its_own_header_or_as_a_bearer(http) -> None:
    async with Simulator(key="k") as simulator:
        url = f"{simulator.origin}/v1beta/models/fast:generateContent"
        for headers, status in (
            ({"x-goog-api-key": "k"}, 200),
            ({"authorization": "Bearer k"}, 200),
            ({"x-goog-api-key": "x"}, 400),
            ({}, 400),
        ):
            async with http.post(url, json=turns(USER), headers=headers) as answer:
                assert answer.status == status
        vertex = "v1/projects/p/locations/l/publishers/google/models/fast:generateContent"
        url = f"{simulator.origin}/{vertex}"
        async with http.post(url, json=turns(USER)) as answer:
            assert answer.status == 401


async def test_googles_own_form_of_schemas_is_read(http, simulator: Simulator) -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "name": {"type": "STRING", "nullable": True},
            "sizes": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "2"},
            "kind": {"type": "STRING", "enum": ["a", "b"]},
        },
        "required": ["name", "sizes", "kind"],
        "propertyOrdering": ["name", "sizes", "kind"],
    }
    form = generation(responseMimeType="application/json", responseSchema=schema)
    status, answer = await post(http, simulator, **form)
    assert status == 200
    assert '"sizes":[' in answer["candidates"][0]["content"]["parts"][0]["text"]
    functions = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    config = {"functionCallingConfig": {"mode": "ANY"}}
    _, answer = await post(http, simulator, tools=functions, toolConfig=config)
    call = answer["candidates"][0]["content"]["parts"][0]["functionCall"]
    assert set(call["args"]) == {"name", "sizes", "kind"}
