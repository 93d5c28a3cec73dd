"""The official OpenAI SDK's responses and completions against the running gateway.

What an answer says that it cost is what the ledger says, to the nano-dollar.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pydantic
import pytest
from gateway import Gateway, SimulatorThread, Tenant, eventually
from omni_grpc_client import Omni
from openai.types.responses import Response, ResponseStreamEvent

SAY = "Say something."
COST = 10 * 150 + 40 * 600
CALL_BOTH = "Please call weather and call clock."


def tool(name: str, **properties: str) -> Any:
    parameters = {
        "type": "object",
        "properties": {field: {"type": kind} for field, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "parameters": parameters, "strict": True}


TOOLS = [tool("weather", city="string"), tool("clock", zone="string")]


class City(pydantic.BaseModel):
    name: str
    population: int
    rivers: list[str]


@pytest.fixture
def sdk(gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    with client_of(gateway, tenant) as made:
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


def client_of(gateway: Gateway, tenant: Tenant) -> openai.OpenAI:
    url = f"{gateway.rest}/v1"
    return openai.OpenAI(base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30)


def check(response: Response) -> None:
    """The response is what the SDK's strict types demand."""
    pydantic.TypeAdapter(Response).validate_json(response.to_json(), strict=True)


def charged(response: Response) -> int:
    assert response.usage is not None
    cost: int = (response.usage.model_extra or {})["cost_nanousd"]
    return cost


def call_id(response: Response) -> str:
    """The call's name, which the ledger knows."""
    assert response._request_id is not None
    return response._request_id


# --- answers --------------------------------------------------------------------------------------
def test_a_plain_answer_costs_what_the_ledger_says(sdk: openai.OpenAI, ledger: Omni) -> None:
    response = sdk.responses.create(model="sim/fast", input=SAY)
    check(response)
    assert response.status == "completed"
    assert response.output_text == ledger.chat("sim/fast", SAY).text
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (10, 40)
    assert charged(response) == COST
    assert response.id == f"resp_{call_id(response).replace('-', '')}"
    record = ledger.usage(call_id(response))
    assert record.cost_nanousd == COST
    assert (response.model_extra or {})["store"] is False


def test_a_stream_has_the_plain_answer(sdk: openai.OpenAI, ledger: Omni) -> None:
    events = list(sdk.responses.create(model="sim/fast", input=SAY, stream=True))
    for event in events:
        pydantic.TypeAdapter(ResponseStreamEvent).validate_json(event.to_json(), strict=True)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type == "response.completed"
    check(last.response)
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == last.response.output_text == ledger.chat("sim/fast", SAY).text
    assert charged(last.response) == COST


def test_the_stream_helper_yields_the_plain_answer(sdk: openai.OpenAI) -> None:
    plain = sdk.responses.create(model="sim/fast", input=SAY)
    with sdk.responses.stream(model="sim/fast", input=SAY) as stream:
        kinds = Counter(event.type for event in stream)
        gathered = stream.get_final_response()
    assert kinds["response.output_text.done"] == kinds["response.completed"] == 1
    assert gathered.output_text == plain.output_text
    assert gathered.usage is not None
    assert plain.usage is not None
    assert gathered.usage.total_tokens == plain.usage.total_tokens


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_in_parallel_and_their_results_taken(
    sdk: openai.OpenAI, ledger: Omni, streamed: bool
) -> None:
    response: Any
    if streamed:
        with sdk.responses.stream(model="sim/fast", input=CALL_BOTH, tools=TOOLS) as stream:
            response = stream.get_final_response()
    else:
        response = sdk.responses.create(model="sim/fast", input=CALL_BOTH, tools=TOOLS)
    check(response)
    calls: Any = [item for item in response.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["weather", "clock"]
    assert [set(json.loads(call.arguments)) for call in calls] == [{"city"}, {"zone"}]
    history: list[Any] = [{"role": "user", "content": CALL_BOTH}]
    history += [item.to_dict() for item in response.output]
    for item in history:
        item.pop("parsed_arguments", None)
    history += [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"{call.name} is fine"}
        for call in calls
    ]
    answer = sdk.responses.create(model="sim/fast", input=history, tools=TOOLS)
    assert "weather is fine and clock is fine" in answer.output_text
    assert ledger.usage(call_id(answer)).cost_nanousd == charged(answer)


def test_a_tool_can_be_forced_forbidden_allowed_and_called_alone(sdk: openai.OpenAI) -> None:
    def names(**options: Any) -> list[str]:
        response = sdk.responses.create(model="sim/fast", input=CALL_BOTH, tools=TOOLS, **options)
        check(response)
        return [item.name for item in response.output if item.type == "function_call"]

    clock = {"type": "function", "name": "clock"}
    assert names(tool_choice=clock) == ["clock"]
    assert names(tool_choice="none") == []
    assert names(parallel_tool_calls=False) == ["weather"]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [clock]}
    assert names(tool_choice=allowed) == ["clock"]


def test_structured_output_parses_into_a_pydantic_model(sdk: openai.OpenAI) -> None:
    parsed = sdk.responses.parse(model="sim/fast", input=SAY, text_format=City)
    assert isinstance(parsed.output_parsed, City)
    with sdk.responses.stream(model="sim/fast", input=SAY, text_format=City) as stream:
        assert stream.get_final_response().output_parsed == parsed.output_parsed
    plain = sdk.responses.create(
        model="sim/fast", input=SAY, text={"format": {"type": "json_object"}}
    )
    assert isinstance(json.loads(plain.output_text), dict)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reasoning_models_thoughts_are_told_charged_and_taken_back(
    sdk: openai.OpenAI, ledger: Omni, streamed: bool
) -> None:
    ask: Any = {"model": "sim/reasoner", "input": SAY, "reasoning": {"effort": "high"}}
    response: Any
    if streamed:
        with sdk.responses.stream(**ask) as stream:
            response = stream.get_final_response()
    else:
        response = sdk.responses.create(**ask)
    check(response)
    thought, message = response.output
    assert thought.type == "reasoning"
    assert thought.summary[0].text
    assert message.type == "message"
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens == 48
    assert charged(response) == 10 * 1_100 + 88 * 4_400
    history = [*(item.to_dict() for item in response.output), {"role": "user", "content": SAY}]
    assert sdk.responses.create(model="sim/reasoner", input=history).output_text


def test_a_limit_makes_an_answer_incomplete(sdk: openai.OpenAI) -> None:
    short = sdk.responses.create(model="sim/fast", input=SAY, max_output_tokens=3)
    check(short)
    assert short.status == "incomplete"
    assert short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"
    assert charged(short) == 10 * 150 + 3 * 600


def test_logprobs_come_where_they_are_included(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(
        model="sim/fast",
        input=SAY,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
    )
    check(response)
    (message,) = response.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert len(part.logprobs or []) == 40


def test_a_refusal_is_told_apart(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model="sim/refusal", input=SAY)
    check(response)
    (message,) = response.output
    assert message.type == "message"
    assert [part.type for part in message.content] == ["refusal"]


async def test_the_async_client_streams_too(asdk: openai.AsyncOpenAI) -> None:
    plain = await asdk.responses.create(model="sim/fast", input=SAY)
    async with asdk.responses.stream(model="sim/fast", input=SAY) as stream:
        assert (await stream.get_final_response()).output_text == plain.output_text


def test_a_repeat_gets_the_first_answer_and_pays_nothing(sdk: openai.OpenAI, ledger: Omni) -> None:
    headers = {"Idempotency-Key": "the-same"}
    first = sdk.responses.create(model="sim/fast", input=SAY, extra_headers=headers)
    balance = ledger.balance().available_nanousd
    again = sdk.responses.create(model="sim/fast", input=SAY, extra_headers=headers)
    with sdk.responses.stream(model="sim/fast", input=SAY, extra_headers=headers) as stream:
        streamed = stream.get_final_response()
    assert again.id == first.id == streamed.id
    assert again.output == first.output
    assert streamed.output_text == first.output_text
    assert ledger.balance().available_nanousd == balance


# --- failures -------------------------------------------------------------------------------------
def test_an_error_is_of_the_class_that_the_sdk_knows(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.responses.create(model="sim/none", input=SAY)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as hosted:
        sdk.responses.create(model="sim/fast", input=SAY, tools=[{"type": "web_search"}])
    assert hosted.value.param == "tools[0].type"
    assert hosted.value.code == "unsupported_feature"


def test_a_stream_that_breaks_says_so_and_is_charged(sdk: openai.OpenAI, ledger: Omni) -> None:
    # The behaviour stands in the text: metadata is not the provider's.
    stream = sdk.responses.create(model="sim/fast", input="[sim error_after=3] go", stream=True)
    events = list(stream)
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    error: Any = events[-2]
    assert error.message
    failed: Any = events[-1]
    assert failed.response.status == "failed"
    charged_nanousd = int((error.model_extra or {})["omni"]["charged_nanousd"])
    record = ledger.usage((error.model_extra or {})["request_id"])
    assert record.cost_nanousd == charged_nanousd > 0


def test_a_client_that_leaves_stops_the_provider(
    sdk: openai.OpenAI, simulator: SimulatorThread
) -> None:
    mark = "tokens=500,delay_ms=20"
    stream = sdk.responses.create(model="sim/fast", input=f"[sim {mark}] go", stream=True)
    name = stream.response.headers["x-request-id"]
    for event in stream:
        if event.type == "response.output_text.delta":
            break
    stream.close()
    assert eventually(lambda: simulator.record_of(name).outcome == "cancelled")


# --- kept responses -------------------------------------------------------------------------------
def test_without_keeping_a_previous_response_is_refused(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model="sim/fast", input=SAY, store=True)
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="sim/fast", input=SAY, previous_response_id=response.id)
    assert refused.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(response.id)


def test_kept_responses_go_on_over_workers_and_restarts(own_gateway: Gateway) -> None:
    own_gateway.workers = 2
    own_gateway.environment["OMNI_STORE_RESPONSES_HOURS"] = "1"
    own_gateway.start()
    tenant, other = own_gateway.tenant(), own_gateway.tenant()
    with client_of(own_gateway, tenant) as sdk:
        with sdk.responses.stream(model="sim/fast", input=CALL_BOTH, tools=TOOLS) as stream:
            first = stream.get_final_response()
        outputs: Any = [
            {"type": "function_call_output", "call_id": item.call_id, "output": f"{item.name} ok"}
            for item in first.output
            if item.type == "function_call"
        ]
        second = sdk.responses.create(
            model="sim/fast", input=outputs, previous_response_id=first.id, tools=TOOLS
        )
        assert "weather ok and clock ok" in second.output_text
        assert (second.model_extra or {})["store"] is True
        own_gateway.stop()
        own_gateway.start()
    with client_of(own_gateway, tenant) as sdk:
        again = sdk.responses.retrieve(second.id)
        check(again)
        assert again.output == second.output
        items = sdk.responses.input_items.list(second.id, order="asc", limit=1)
        assert [item.type for item in items] == 2 * ["function_call_output"]
        assert sdk.responses.create(
            model="sim/fast", input="Thanks.", previous_response_id=second.id
        ).output_text
        sdk.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError):
            sdk.responses.create(model="sim/fast", input="More.", previous_response_id=second.id)
    with client_of(own_gateway, other) as stranger, pytest.raises(openai.NotFoundError):
        stranger.responses.retrieve(second.id)


# --- any provider behind --------------------------------------------------------------------------
OPENAI_BY_RESPONSES = """
- {id: openai, dialect: responses, refuses: []}
"""


def test_the_thoughts_of_any_provider_survive_the_round_trip(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    """Their signatures are checked by the simulator, each as its provider checks them."""
    origin = simulator.base_url.removesuffix("/v1")
    file = own_gateway.folder / "providers.yaml"
    file.write_text(OPENAI_BY_RESPONSES)
    own_gateway.environment |= {
        "OMNI_PROVIDERS_FILE": str(file),
        "OMNI_STORE_RESPONSES_HOURS": "1",
        "OPENAI_API_KEY": "k",
        "OMNI_PROVIDER_OPENAI_BASE_URL": f"{origin}/v1",
        "ANTHROPIC_API_KEY": "k",
        "OMNI_PROVIDER_ANTHROPIC_BASE_URL": origin,
        "GEMINI_API_KEY": "k",
        "OMNI_PROVIDER_GOOGLE_BASE_URL": f"{origin}/v1beta",
    }
    own_gateway.start()
    tenant = own_gateway.tenant()
    with (
        client_of(own_gateway, tenant) as sdk,
        Omni(own_gateway.grpc, api_key=tenant.api_key) as ledger,
    ):
        for model in (
            "openai/gpt-5-mini",
            "anthropic/claude-sonnet-4-5",
            "google/gemini-2.5-flash",
        ):
            for streamed in (False, True):
                answer = _use_tools(sdk, model, streamed=streamed)
                check(answer)
                assert "weather is fine and clock is fine" in answer.output_text, model
                seen = simulator.record_of(call_id(answer)).seen
                assert seen["reasoning_blocks"] == 1, model
                assert seen["tool_results"] == 2, model
                assert ledger.usage(call_id(answer)).cost_nanousd == charged(answer)


def _use_tools(sdk: openai.OpenAI, model: str, *, streamed: bool) -> Response:
    """Two turns of an agent: without the service's memory if streamed, else with it."""
    said = f"[sim reasoning=8] {CALL_BOTH}"
    asked: Any = {
        "model": model,
        "instructions": "Be kind.",
        "tools": TOOLS,
        "parallel_tool_calls": True,
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": not streamed,
        "prompt_cache_key": "k",
    }
    first: Any
    if streamed:
        with sdk.responses.stream(input=said, **asked) as stream:
            first = stream.get_final_response()
    else:
        first = sdk.responses.create(input=said, **asked)
    check(first)
    assert [item.type for item in first.output] == ["reasoning"] + 2 * ["function_call"]
    results: list[Any] = [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"{item.name} is fine"}
        for item in first.output
        if item.type == "function_call"
    ]
    if not streamed:
        return sdk.responses.create(input=results, previous_response_id=first.id, **asked)
    history = [item.to_dict() for item in first.output]
    for item in history:
        item.pop("parsed_arguments", None)
    return sdk.responses.create(
        input=[{"role": "user", "content": said}, *history, *results], **asked
    )


# --- the older texts ------------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [False, True])
def test_a_text_is_completed(sdk: openai.OpenAI, ledger: Omni, streamed: bool) -> None:
    expected = ledger.chat("sim/fast", SAY).text
    if not streamed:
        completion = sdk.completions.create(model="sim/fast", prompt=SAY, logprobs=2)
        assert completion.choices[0].text == expected
        assert completion.choices[0].logprobs is not None
        assert len(completion.choices[0].logprobs.tokens or []) == 40
        assert completion.usage is not None
        assert (completion.usage.model_extra or {})["cost_nanousd"] == COST
        assert ledger.usage(completion.id).cost_nanousd == COST
        return
    *pieces, last = sdk.completions.create(
        model="sim/fast", prompt=SAY, stream=True, stream_options={"include_usage": True}
    )
    assert "".join(piece.choices[0].text for piece in pieces) == expected
    assert last.usage is not None
    assert (last.usage.model_extra or {})["cost_nanousd"] == COST
