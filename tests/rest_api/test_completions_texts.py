"""`/v1/completions`: a prompt in, `text_completion` out, plain and streamed."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types import Completion
from raw_client import RawAnswer, RawClient
from rest_rig import Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    Choice,
    Logprobs,
    Message,
    ShortCredits,
    TokenLogprob,
    TopLogprob,
)

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

PATH = "/v1/completions"
TOKENS = tuple(
    TokenLogprob(token=text, logprob=-1.0, top_logprobs=(TopLogprob(token="x", logprob=-2.0),))
    for text in ("ab", "c")
)
_completion: Any = pydantic.TypeAdapter(Completion)


def ask(prompt: Any = "Once", **fields: Any) -> bytes:
    return json.dumps({"model": "sim/fast", "prompt": prompt, **fields}).encode()


def body_of(answer: RawAnswer) -> Any:
    assert answer.status == 200, answer.body
    _completion.validate_json(answer.body, strict=True)
    return answer.json


async def test_a_plain_answer_is_a_text_with_its_cost(service: Service, raw: RawClient) -> None:
    answer = await raw.ask(ask(), path=PATH)
    body = body_of(answer)
    assert body["id"] == answer.headers["x-request-id"]
    assert body["object"] == "text_completion"
    assert body["model"] == "sim/fast"
    assert body["choices"] == [
        {"text": "Hello, world", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]
    assert body["usage"]["prompt_tokens"] == 10
    assert body["usage"]["cost_nanousd"] == 1_234_567
    assert answer.headers["x-omni-cost-usd"] == "0.001234567"
    assert service.chats.requests[-1].messages == (Message(role="user", content="Once"),)


async def test_settings_are_read(service: Service, raw: RawClient) -> None:
    asked = ask(
        ["Once"], max_tokens=5, n=2, stop=["a"], temperature=0.5, top_p=0.5, seed=3, logprobs=2,
        frequency_penalty=1, presence_penalty=-1, logit_bias={"50256": -100}, user="u", top_k=3,
        best_of=1, echo=False, suffix=None, omni={"short_credits": "shorten"},
    )  # fmt: skip
    body_of(await raw.ask(asked, path=PATH, headers={"idempotency-key": "mine"}))
    request = service.chats.requests[-1]
    sampling = request.sampling
    assert request.output_tokens_max == 5
    assert (sampling.choice_count, sampling.stop, sampling.seed) == (2, ("a",), 3)
    assert (sampling.temperature, sampling.top_p) == (0.5, 0.5)
    assert (sampling.logprobs, sampling.top_logprobs) == (True, 2)
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (1, -1)
    assert sampling.logit_bias == {"50256": -100}
    assert request.short_credits is ShortCredits.SHORTEN
    assert {name: bytes(raw) for name, raw in request.extra.items()} == {
        "user": b'"u"', "top_k": b"3",
    }  # fmt: skip
    assert service.chats.calls[-1].request_id == "mine"


async def test_logprobs_come_as_columns_with_their_places(service: Service, raw: RawClient) -> None:
    async def plain(call: Call, request: ChatRequest) -> ChatCompletion:
        choices = tuple(
            Choice(
                index=index,
                answer=answer,
                finish_reason="length",
                logprobs=Logprobs(content=TOKENS) if answer.text else None,
            )
            for index, answer in enumerate((Answer(text="abc"), Answer(refusal="No."), Answer()))
        )
        return completion(call, choices=choices, system_fingerprint="fp")

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        for token in TOKENS:
            yield (ChatDelta(text=token.token, logprobs=Logprobs(content=(token,))),)
        yield completion(call)

    service.chats.complete_script, service.chats.stream_script = plain, stream
    body = body_of(await raw.ask(ask(logprobs=1), path=PATH))
    first, second, third = body["choices"]
    assert first["logprobs"] == {
        "tokens": ["ab", "c"],
        "token_logprobs": [-1.0, -1.0],
        "top_logprobs": [{"x": -2.0}, {"x": -2.0}],
        "text_offset": [0, 2],
    }
    assert (second["text"], third["text"]) == ("No.", "")
    assert body["system_fingerprint"] == "fp"
    chunks = (await raw.ask(ask(logprobs=1, stream=True), path=PATH)).chunks
    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks] == [[0], [2]]


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_stream_has_pieces_an_end_and_its_usage_if_asked(
    raw: RawClient, include_usage: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    answer = await raw.ask(ask(stream=True, **options), path=PATH)
    assert answer.headers["content-type"].startswith("text/event-stream")
    comment, done = answer.events[-2:]
    assert done == "data: [DONE]"
    assert json.loads(comment.removeprefix(": omni "))["cost_nanousd"] == 1_234_567
    chunks = answer.chunks
    pieces = chunks[:-1] if include_usage else chunks
    assert {(c["id"], c["object"], c["model"]) for c in chunks} == {
        (answer.headers["x-request-id"], "text_completion", "sim/fast")
    }
    assert "".join(c["choices"][0]["text"] for c in pieces) == "Hello, world"
    assert [c["choices"][0]["finish_reason"] for c in pieces] == [None, "stop"]
    if include_usage:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["cost_nanousd"] == 1_234_567
    assert all(("usage" in c) == include_usage for c in pieces)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("suffix", {"suffix": "end"}),
        ("echo", {"echo": True}),
        ("best_of", {"best_of": 2}),
        ("prompt", {"prompt": [1, 2]}),
        ("prompt", {"prompt": [[1]]}),
        ("prompt", {"prompt": ["a", "b"]}),
        ("prompt", {"prompt": []}),
        ("prompt", {"prompt": 7}),
    ],
)
async def test_what_chats_cannot_do_is_refused_by_name(
    service: Service, raw: RawClient, field: str, changed: Any
) -> None:
    answer = await raw.ask(ask(**{"prompt": "a", **changed}), path=PATH)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == ("unsupported_feature", field)
    assert service.chats.requests == []


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("model", {"model": None}),
        ("logprobs", {"logprobs": 6}),
        ("n", {"n": 0}),
        ("stream_options", {"stream_options": {"include_usage": True}}),
    ],
)
async def test_what_is_wrong_is_named(raw: RawClient, field: str, changed: Any) -> None:
    answer = await raw.ask(ask(**changed), path=PATH)
    assert (answer.status, answer.error["param"]) == (400, field)
    missing = await raw.ask(b'{"model": "sim/fast"}', path=PATH)
    assert missing.error["param"] == "prompt"


async def test_the_sdk_reads_both_forms(sdk: openai.AsyncOpenAI) -> None:
    plain = await sdk.completions.create(model="sim/fast", prompt="Once")
    assert plain.choices[0].text == "Hello, world"
    stream = await sdk.completions.create(model="sim/fast", prompt="Once", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "Hello, world"
