"""The official OpenAI SDK, sync and async, against the running gateway: only its URL is changed.

What an answer says that it cost is what the ledger says, to the nano-dollar.
"""

import asyncio
import base64
import gzip
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pydantic
import pytest
import yaml
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, eventually
from omni_grpc_client import AsyncOmni, Omni
from openai.types.chat import ChatCompletion

from omni_grpc.core.money import nanousd_from_usd, usd_text

GRANTED = 10**9
SAY: Any = [{"role": "user", "content": "Say something."}]
COST = 10 * 150 + 40 * 600
PIXEL = base64.b64encode(bytes(67)).decode()
IMAGE: Any = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    }
]


def tool(name: str, **properties: str) -> Any:
    parameters = {
        "type": "object",
        "properties": {field: {"type": kind} for field, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("weather", city="string"), tool("clock", zone="string")]
CALL_BOTH: Any = [{"role": "user", "content": "Please call weather and call clock."}]


class City(pydantic.BaseModel):
    name: str
    population: int
    rivers: list[str]


@pytest.fixture
def sdk(gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    url = f"{gateway.rest}/v1"
    with openai.OpenAI(base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
async def asdk(gateway: Gateway, tenant: Tenant) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{gateway.rest}/v1"
    async with openai.AsyncOpenAI(
        base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30
    ) as made:
        yield made


@pytest.fixture
def ledger(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def check_cost(ledger: Omni, completion: ChatCompletion, nanousd: int) -> None:
    """The answer, the usage record and the ledger agree."""
    assert completion.usage is not None
    extra = completion.usage.model_extra or {}
    assert extra["cost_nanousd"] == nanousd
    assert extra["cost"] == float(usd_text(nanousd))
    record = ledger.usage(completion.id)
    assert record.cost_nanousd == nanousd
    (attempt,) = record.attempts
    assert attempt.prompt_tokens == completion.usage.prompt_tokens
    assert attempt.completion_tokens == completion.usage.completion_tokens
    newest = next(iter(ledger.ledger_entries(page_size=1)))
    assert (newest.amount_nanousd, newest.reference) == (-nanousd, completion.id)


# --- answers --------------------------------------------------------------------------------------
def test_a_plain_answer_costs_what_its_headers_and_the_ledger_say(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    raw = sdk.chat.completions.with_raw_response.create(model="sim/fast", messages=SAY)
    completion = raw.parse()
    assert completion.object == "chat.completion"
    assert completion.model == "sim/fast"
    assert completion._request_id == completion.id
    (choice,) = completion.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason == "stop"
    check_cost(ledger, completion, COST)
    assert raw.headers["x-request-id"] == completion.id
    assert raw.headers["x-omni-model"] == "sim/fast"
    assert raw.headers["x-omni-provider"] == "sim"
    assert nanousd_from_usd(raw.headers["x-omni-cost-usd"]) == COST
    balance = nanousd_from_usd(raw.headers["x-omni-balance-usd"])
    assert balance == ledger.balance().available_nanousd == GRANTED - COST
    assert ledger.chat("sim/fast", "Say something.").text == choice.message.content


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_sends_each_thing_once_and_ends_with_its_usage_if_asked(
    sdk: openai.OpenAI, ledger: Omni, include_usage: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if include_usage else {}
    chunks = list(
        sdk.chat.completions.create(model="sim/fast", messages=SAY, stream=True, **options)
    )
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    *pieces, last = chunks if include_usage else [*chunks, None]
    assert all(len(piece.choices) == 1 for piece in pieces)
    assert all(piece.usage is None for piece in pieces)
    assert [piece.choices[0].delta.role for piece in pieces if piece.choices[0].delta.role] == [
        "assistant"
    ]
    finishes = [piece.choices[0].finish_reason for piece in pieces]
    assert (finishes[-1], set(finishes[:-1])) == ("stop", {None})
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == ledger.chat("sim/fast", "Say something.").text
    assert ledger.usage(chunks[0].id).cost_nanousd == COST
    if last is not None:
        assert last.choices == []
        assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (10, 40)
        assert last.usage.model_extra["cost_nanousd"] == COST


def test_a_stream_ends_with_a_comment_that_says_its_cost(
    gateway: Gateway, tenant: Tenant, ledger: Omni
) -> None:
    with HttpConnection(gateway, tenant.api_key) as http:
        answer = http.chat(stream=True)
    *_, comment, done, end = answer.body.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    said = json.loads(comment.removeprefix(": omni "))
    assert said["call_id"] == answer.headers["x-request-id"]
    assert said["cost_nanousd"] == ledger.usage(said["call_id"]).cost_nanousd == COST
    assert said["balance_nanousd"] == ledger.balance().available_nanousd


def test_the_accumulating_stream_helper_yields_the_plain_answer(sdk: openai.OpenAI) -> None:
    plain = sdk.chat.completions.create(model="sim/fast", messages=SAY)
    with sdk.chat.completions.stream(
        model="sim/fast", messages=SAY, stream_options={"include_usage": True}
    ) as stream:
        kinds = Counter(event.type for event in stream)
        gathered = stream.get_final_completion()
    assert kinds["content.done"] == 1
    assert gathered.choices[0].message.content == plain.choices[0].message.content
    assert gathered.choices[0].message.role == "assistant"
    assert gathered.usage is not None
    assert plain.usage is not None
    assert gathered.usage.total_tokens == plain.usage.total_tokens


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_in_parallel_and_their_results_taken(
    sdk: openai.OpenAI, ledger: Omni, streamed: bool
) -> None:
    if streamed:
        with sdk.chat.completions.stream(
            model="sim/fast", messages=CALL_BOTH, tools=TOOLS,
            stream_options={"include_usage": True},
        ) as stream:  # fmt: skip
            stream.until_done()
            completion: ChatCompletion = stream.get_final_completion()
    else:
        completion = sdk.chat.completions.create(model="sim/fast", messages=CALL_BOTH, tools=TOOLS)
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    calls: Any = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "clock"]
    assert [set(json.loads(call.function.arguments)) for call in calls] == [{"city"}, {"zone"}]
    assert len({call.id for call in calls}) == 2
    assert completion.usage is not None
    charged = (completion.usage.model_extra or {})["cost_nanousd"]
    assert ledger.usage(completion.id).cost_nanousd == charged
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} is fine"}
        for call in calls
    ]
    said = choice.message.model_dump(include={"role", "content", "tool_calls"})
    for call in said["tool_calls"]:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    answer = sdk.chat.completions.create(
        model="sim/fast", messages=[*CALL_BOTH, said, *results], tools=TOOLS
    )
    text = answer.choices[0].message.content or ""
    assert "weather is fine and clock is fine" in text


def test_a_tool_can_be_forced_forbidden_and_called_alone(sdk: openai.OpenAI) -> None:
    def names(**options: Any) -> list[str]:
        completion = sdk.chat.completions.create(
            model="sim/fast", messages=CALL_BOTH, tools=TOOLS, **options
        )
        calls: Any = completion.choices[0].message.tool_calls or []
        return [call.function.name for call in calls]

    assert names(tool_choice={"type": "function", "function": {"name": "clock"}}) == ["clock"]
    assert names(tool_choice="none") == []
    assert names(parallel_tool_calls=False) == ["weather"]


def test_structured_output_parses_into_a_pydantic_model(sdk: openai.OpenAI, ledger: Omni) -> None:
    completion = sdk.chat.completions.parse(model="sim/fast", messages=SAY, response_format=City)
    assert isinstance(completion.choices[0].message.parsed, City)
    assert completion.usage is not None
    check_cost(ledger, completion, (completion.usage.model_extra or {})["cost_nanousd"])
    with sdk.chat.completions.stream(
        model="sim/fast", messages=SAY, response_format=City
    ) as stream:
        stream.until_done()
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert parsed == completion.choices[0].message.parsed
    plain = sdk.chat.completions.create(
        model="sim/fast", messages=SAY, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(plain.choices[0].message.content or ""), dict)


def test_images_are_read_and_counted(sdk: openai.OpenAI, ledger: Omni) -> None:
    completion = sdk.chat.completions.create(model="sim/vision", messages=IMAGE)
    assert completion.usage is not None
    prompt = completion.usage.prompt_tokens
    assert prompt > 765
    check_cost(ledger, completion, prompt * 2_500 + 40 * 10_000)


@pytest.mark.parametrize("streamed", [False, True])
def test_logprobs_come_for_each_token(sdk: openai.OpenAI, streamed: bool) -> None:
    options: Any = {"logprobs": True, "top_logprobs": 2}
    if streamed:
        chunks = sdk.chat.completions.create(model="sim/fast", messages=SAY, stream=True, **options)
        found = [
            token
            for chunk in chunks
            for choice in chunk.choices
            if choice.logprobs
            for token in choice.logprobs.content or []
        ]
    else:
        completion = sdk.chat.completions.create(model="sim/fast", messages=SAY, **options)
        logprobs = completion.choices[0].logprobs
        assert logprobs is not None
        found = logprobs.content or []
    assert len(found) == 40
    assert all(len(token.top_logprobs) == 2 for token in found)
    assert all(bytes(token.bytes or []).decode() == token.token for token in found)


def test_choices_stop_limit_and_seed_do_what_they_say(sdk: openai.OpenAI, ledger: Omni) -> None:
    two = sdk.chat.completions.create(model="sim/fast", messages=SAY, n=2)
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].message.content != two.choices[1].message.content
    check_cost(ledger, two, 10 * 150 + 80 * 600)
    indexes = Counter(
        choice.index
        for chunk in sdk.chat.completions.create(model="sim/fast", messages=SAY, n=2, stream=True)
        for choice in chunk.choices
        if choice.finish_reason
    )
    assert indexes == {0: 1, 1: 1}
    text = two.choices[0].message.content or ""
    word = text.split()[5]
    stopped = sdk.chat.completions.create(model="sim/fast", messages=SAY, stop=[word])
    assert stopped.choices[0].message.content == text[: text.index(word)]
    short = sdk.chat.completions.create(model="sim/fast", messages=SAY, max_completion_tokens=3)
    assert short.choices[0].finish_reason == "length"
    check_cost(ledger, short, 10 * 150 + 3 * 600)
    answers = [
        sdk.chat.completions.create(model="sim/fast", messages=SAY, seed=seed).choices[0].message
        for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reasoning_models_thoughts_are_sent_and_charged(
    sdk: openai.OpenAI, ledger: Omni, streamed: bool
) -> None:
    ask: Any = {"model": "sim/reasoner", "messages": SAY, "reasoning_effort": "high"}
    if streamed:
        chunks = list(
            sdk.chat.completions.create(stream=True, stream_options={"include_usage": True}, **ask)
        )
        call_id, usage = chunks[0].id, chunks[-1].usage
        thought = "".join(
            (choice.delta.model_extra or {}).get("reasoning_content", "")
            for chunk in chunks
            for choice in chunk.choices
        )
    else:
        completion = sdk.chat.completions.create(**ask)
        call_id, usage = completion.id, completion.usage
        thought = (completion.choices[0].message.model_extra or {})["reasoning_content"]
    assert thought
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 48
    assert usage.completion_tokens == 48 + 40
    assert ledger.usage(call_id).cost_nanousd == 10 * 1_100 + 88 * 4_400


def test_cached_prompt_tokens_cost_their_own_price(sdk: openai.OpenAI, ledger: Omni) -> None:
    completion = sdk.chat.completions.create(model="sim/cached", messages=SAY)
    assert completion.usage is not None
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 5
    check_cost(ledger, completion, 5 * 75 + 5 * 150 + 40 * 600)


def test_refusals_and_filters_are_told_apart_from_answers(sdk: openai.OpenAI) -> None:
    refused = sdk.chat.completions.create(model="sim/refusal", messages=SAY).choices[0]
    assert refused.message.refusal
    assert refused.message.content is None
    filtered = sdk.chat.completions.create(model="sim/filter", messages=SAY).choices[0]
    assert filtered.finish_reason == "content_filter"
    with pytest.raises(openai.ContentFilterFinishReasonError):
        sdk.chat.completions.parse(model="sim/filter", messages=SAY, response_format=City)


def test_fields_that_the_gateway_does_not_know_reach_the_provider(sdk: openai.OpenAI) -> None:
    completion = sdk.chat.completions.create(
        model="sim/fast", messages=SAY, metadata={"sim": "tokens=3"}, user="someone"
    )
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 3


def test_models_are_listed_and_retrieved_by_any_name(sdk: openai.OpenAI) -> None:
    listed = {model.id: model for model in sdk.models.list()}
    assert {"sim/fast", "sim/vision", "omni/auto"} <= set(listed)
    # Speeds move with every call, and the list of them is told again for some seconds.
    one, of_list = sdk.models.retrieve("sim/fast"), listed["sim/fast"]
    moving = {"measured_speed"}
    assert one.model_dump(exclude=moving) == of_list.model_dump(exclude=moving)
    assert sdk.models.retrieve("fast").id == "sim/fast"
    assert listed["sim/fast"].owned_by == "sim"
    assert (listed["sim/fast"].model_extra or {})["pricing"]["rates"]
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.models.retrieve("sim/nothing")
    assert missing.value.code == "model_not_found"


# --- async ----------------------------------------------------------------------------------------
async def test_the_async_client_does_the_same(asdk: openai.AsyncOpenAI, sdk: openai.OpenAI) -> None:
    plain = await asdk.chat.completions.create(model="sim/fast", messages=SAY)
    stream = await asdk.chat.completions.create(model="sim/fast", messages=SAY, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == plain.choices[0].message.content
    async with asdk.chat.completions.stream(
        model="sim/fast", messages=CALL_BOTH, tools=TOOLS
    ) as tools:
        await tools.until_done()
        calls: Any = (await tools.get_final_completion()).choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "clock"]
    parsed = await asdk.chat.completions.parse(model="sim/fast", messages=SAY, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)
    assert "sim/fast" in [model.id async for model in asdk.models.list()]
    with pytest.raises(openai.BadRequestError):
        await asdk.chat.completions.create(model="sim/fast", messages=[])


async def test_50_streams_at_once_are_whole_and_charged_each_once(
    gateway: Gateway, tenant: Tenant, asdk: openai.AsyncOpenAI
) -> None:
    async def one(number: int) -> tuple[str, str, int]:
        asked: Any = [{"role": "user", "content": f"Tell me of number {number}."}]
        stream = await asdk.chat.completions.create(
            model="sim/fast", messages=asked, stream=True, stream_options={"include_usage": True},
            max_completion_tokens=200,
        )  # fmt: skip
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        assert chunks[-1].usage is not None
        return chunks[0].id, text, (chunks[-1].usage.model_extra or {})["cost_nanousd"]

    answers = await asyncio.gather(*(one(number) for number in range(50)))
    assert len({call_id for call_id, _, _ in answers}) == 50
    assert len({text for _, text, _ in answers}) == 50
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        charged = {
            entry.reference: -entry.amount_nanousd
            async for entry in omni.ledger_entries(page_size=20)
            if entry.amount_nanousd < 0
        }
        balance = await omni.balance()
    assert charged == {call_id: cost for call_id, _, cost in answers}
    assert balance.posted_nanousd == GRANTED - sum(charged.values())
    assert balance.held_nanousd == 0


# --- failures -------------------------------------------------------------------------------------
def test_failures_are_the_sdks_own_exceptions(
    gateway: Gateway, tenant: Tenant, sdk: openai.OpenAI, ledger: Omni
) -> None:
    with gateway.admin() as omni:
        billing = omni.create_api_key(f"orgs/{tenant.org}", scopes=["billing"]).secret
    create = sdk.chat.completions.create

    def fails(kind: type[openai.APIStatusError], **fields: Any) -> openai.APIStatusError:
        with pytest.raises(kind) as caught:
            create(**{"model": "sim/fast", "messages": SAY, **fields})
        assert type(caught.value) is kind
        assert caught.value.request_id
        return caught.value

    with pytest.raises(openai.AuthenticationError) as unknown:
        sdk.with_options(api_key="nonsense").models.list()
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as denied:
        sdk.with_options(api_key=billing).models.list()
    assert denied.value.code == "scope_missing"
    wrong = fails(openai.BadRequestError, temperature=3)
    assert (wrong.param, wrong.code, wrong.type) == (
        "temperature", "invalid_value", "invalid_request_error",
    )  # fmt: skip
    assert fails(openai.NotFoundError, model="sim/nothing").code == "model_not_found"
    assert fails(openai.BadRequestError, model="sim/error-400").code == "provider_rejected"
    assert fails(openai.UnprocessableEntityError, model="sim/error-422").status_code == 422
    failed = fails(openai.InternalServerError, model="sim/error-500")
    assert (failed.status_code, failed.code) == (503, "provider_unavailable")
    ledger.create_hold(GRANTED)
    held = fails(openai.RateLimitError)
    assert held.code == "credits_held"
    assert held.response.headers["retry-after"] == "1"


def test_a_call_that_cannot_be_paid_is_402_with_what_is_needed(gateway: Gateway) -> None:
    poor = gateway.tenant(nanousd=1_000)
    with openai.OpenAI(base_url=f"{gateway.rest}/v1", api_key=poor.api_key) as sdk:
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError) as refused:
                sdk.chat.completions.create(model="sim/fast", messages=SAY, stream=stream)
            assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")
            assert refused.value.type == "insufficient_quota"
            assert refused.value.response.headers["x-should-retry"] == "false"
            body: Any = refused.value.body
            assert int(body["omni"]["available_nanousd"]) == 1_000
            assert int(body["omni"]["needed_nanousd"]) > 4_096 * 600


@pytest.mark.parametrize("model", ["cut-mid", "fin-mid", "truncated", "error-mid", "bad-json"])
def test_a_stream_that_its_provider_cuts_raises_and_costs_what_came(
    sdk: openai.OpenAI, ledger: Omni, model: str
) -> None:
    stream = sdk.chat.completions.create(model=f"sim/{model}", messages=SAY, stream=True)
    pieces: list[str] = []
    with pytest.raises(openai.APIError, match="broke off") as cut:
        pieces.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert cut.value.code == "interrupted"
    call_id = stream.response.headers["x-request-id"]
    assert ledger.usage(call_id).cost_nanousd == 10 * 150 + 5 * 600


def test_retries_are_made_where_they_help_and_never_of_what_was_charged(
    sdk: openai.OpenAI, simulator: SimulatorThread, ledger: Omni
) -> None:
    def calls_of(model: str, kind: type[openai.APIError], retries: int, **more: str) -> int:
        before = len(simulator.simulator.log)
        with pytest.raises(kind):
            sdk.with_options(max_retries=retries).chat.completions.create(
                model=model, messages=SAY, extra_headers=more
            )
        return len(simulator.simulator.log) - before

    assert calls_of("sim/error-503", openai.InternalServerError, 0) == 1
    assert calls_of("sim/error-503", openai.InternalServerError, 1) == 2
    assert calls_of("sim/error-400", openai.BadRequestError, 2) == 1
    late = {"x-omni-timeout-ms": "1500"}  # enough to reach the provider on a busy machine
    assert calls_of("sim/hang", openai.InternalServerError, 2, **late) == 1
    assert eventually(lambda: ledger.balance().available_nanousd == GRANTED - 10 * 150)


# --- OpenAI's own document ------------------------------------------------------------------------
DOCUMENT = Path(os.environ.get("OMNI_TEST_DATA", "")) / "openai_schema" / "openapi.yml.gz"
ASKED: dict[str, dict[str, Any]] = {
    "text": {},
    "choices": {"n": 2},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "tools": {"messages": CALL_BOTH, "tools": TOOLS},
    "json": {"response_format": {"type": "json_object"}},
    "length": {"max_tokens": 3},
    "image": {"model": "sim/vision", "messages": IMAGE},
    **{
        name: {"model": f"sim/{name}"}
        for name in (
            "empty", "refusal", "filter", "reasoner", "cached", "burst",
            "no-usage", "usage-zero", "usage-over", "usage-every", "wrong-model", "crlf",
        )
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def components() -> Any:
    if not os.environ.get("OMNI_TEST_DATA") or not DOCUMENT.is_file():
        pytest.skip("OMNI_TEST_DATA names no folder with openai_schema/openapi.yml.gz to check by")
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


def _checker(components: Any, name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", ASKED)
def test_every_body_and_chunk_is_what_openais_document_says(
    gateway: Gateway, tenant: Tenant, components: Any, name: str
) -> None:
    with HttpConnection(gateway, tenant.api_key) as http:
        plain = http.chat(**ASKED[name])
        streamed = http.chat(**ASKED[name], stream=True, stream_options={"include_usage": True})
    assert (plain.status, streamed.status) == (200, 200)
    _checker(components, "CreateChatCompletionResponse").validate(plain.json)
    *chunks, done = streamed.events
    assert done == "[DONE]"
    checker = _checker(components, "CreateChatCompletionStreamResponse")
    for chunk in chunks:
        checker.validate(json.loads(chunk))


def test_lists_of_models_and_errors_are_what_openais_document_says(
    gateway: Gateway, tenant: Tenant, components: Any
) -> None:
    with HttpConnection(gateway, tenant.api_key) as http:
        listed, one = http.ask("/v1/models"), http.ask("/v1/models/sim/fast")
        errors = [
            http.ask("/v1/models/sim/nothing"),
            http.ask("/v1/nothing"),
            http.ask(body=b"{"),
            *(http.chat(f"sim/error-{status}") for status in (400, 429, 500)),
        ]
        cut = http.chat("sim/cut-mid", stream=True)
    _checker(components, "ListModelsResponse").validate(listed.json)
    _checker(components, "Model").validate(one.json)
    for error in [answer.json for answer in errors] + [json.loads(cut.events[-1])]:
        _checker(components, "ErrorResponse").validate(error)
